"""`holotype.retrain`: new labels -> a candidate -> two paired tests -> challenger or champion."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from holotype.bundle.bundle import MANIFEST
from holotype.errors import DatasetError, HolotypeError, RunExists, RunLocked, UsageError
from holotype.extras import with_install_advice
from holotype.files import read_json, sha256_of, write_json
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.pipeline.training_run.training_options import Device, Resuming
from holotype.pipeline.training_run.warm_start import with_warm_start
from holotype.progress import Progress, default_progress
from holotype.registry.registry import Registry
from holotype.watching.retraining.champion import Champion, champion_name, read_champion
from holotype.watching.retraining.collected_labels import CollectedLabels, collect_labels
from holotype.watching.retraining.promotion_decision import MARGIN
from holotype.watching.retraining.retraining_data import write_labels
from holotype.watching.retraining.retraining_directory import RetrainingDirectory
from holotype.watching.retraining.retraining_result import Retraining, read_retraining
from holotype.watching.retraining.retraining_schedule import RetrainingSchedule
from holotype.watching.retraining.retraining_steps import (
    RetrainingChoices,
    RetrainingJob,
    Start,
    choices_as_json,
    judge,
    prepare_data,
    register,
    require_right_labels,
    train,
)
from holotype.watching.watch_status import read_watch, watch_folder

PathLike = str | os.PathLike[str]
ROOT = Path("retrained")


@dataclass(frozen=True, eq=False)
class RetrainingRequest:
    """What a caller asks for; see `retrain`."""

    name: str
    sources: tuple[Path, ...]
    output: Path | None
    choices: RetrainingChoices
    schedule: RetrainingSchedule
    progress: Progress = field(default_factory=default_progress)


@with_install_advice
def retrain(
    champion: str,
    *,
    labels: PathLike | Sequence[PathLike],
    output: PathLike | None = None,
    start: Start = "anew",
    promote: bool = False,
    margin: float = MARGIN,
    accept_labels: bool = False,
    device: Device = "auto",
    schedule: RetrainingSchedule = RetrainingSchedule(),
    progress: Progress | None = None,
) -> Retraining:
    """Train a successor of the champion on its own images and on labels that came since.

    Old images keep their parts of the split; a new image that is a copy of an old one or of its
    group stands where that one stands; random images (see `label_next`) never train. The new labels
    are looked at first, and a burst of wrong ones is refused. The candidate is compared with the
    champion on the old test and on the random images, registered, and promoted only where that was
    asked for and both tests allow it. Killed at any moment, the same call goes on.

    Example:
        >>> holotype.retrain("registry://cells", labels="to-label", promote=True)  # doctest: +SKIP
        Retraining of cells/3: promoted

    Args:
        champion: `registry://NAME`; the registry is that of `HOLOTYPE_REGISTRY`.
        labels: folders of `label_next`, CSV files with the columns path and label (and purpose,
            group), or request logs with feedback.
        output: the directory; by default `retrained/NAME-1`, `-2`, …: the one that is unfinished,
            or a new one where there are new labels.
        start: `anew`, or from the weights of the `champion`.
        promote: let it take the champion's place where it is surely better on the fresh labels and
            not worse by more than the margin on the old test.
        margin: accuracy that may be lost on the old test, in [0, 1).
        accept_labels: train on the new labels even where many look wrong.
        device: where the network trains.
        schedule: only after an alarm, again and again, and for how long.

    Returns:
        How it ended. With `schedule.every` it does not return.

    Raises:
        UsageError: a word is wrong, or the champion cannot be retrained.
        DatasetError: no labels, nothing new to train on, or an old image changed.
        RunLocked: another process retrains this classifier.
        Terminated: the budget is used up; the same call goes on.
    """
    if not 0 <= margin < 1:
        raise UsageError(f"--margin is {margin:g}; expected a share of accuracy such as 0.02.")
    sources = [labels] if isinstance(labels, str | os.PathLike) else list(labels)
    if not sources:
        raise UsageError("--with names no labels; expected a folder of `label_next`, or a table.")
    request = RetrainingRequest(
        champion_name(champion),
        tuple(map(Path, sources)),
        None if output is None else Path(output),
        RetrainingChoices(start, margin, accept_labels, promote, device),
        schedule,
        progress or default_progress(),
    )
    if schedule.every_seconds is not None:
        _retrain_again_and_again(request, schedule.every_seconds)
    return retrain_once(request)


def retrain_once(request: RetrainingRequest) -> Retraining:
    """One retraining from its beginning, or from where it was."""
    deadline_s = request.schedule.deadline_s()
    registry = Registry()
    try:
        with _only_one(registry, request.name):
            champion = read_champion(registry, request.name)
            if quiet := _no_alarm(request, champion):
                return quiet
            if request.choices.start == "champion":
                _require_weights(champion)
            directory = _open_directory(request, champion)
            began_with = int(read_json(directory.request)["champion"])
            if began_with != champion.version.version:  # the candidate, promoted a moment ago
                champion = read_champion(registry, request.name, began_with)
            job = RetrainingJob(
                registry, champion, directory, request.choices, deadline_s, request.progress
            )
            if directory.result.is_file():
                found = read_retraining(directory.result, path=directory.path)
                waits = found.outcome == "challenger" and request.choices.promote
                return register(job, judge(job)) if waits else found
            prepare_data(job)
            if refused := require_right_labels(job):
                return refused
            train(job)
            return register(job, judge(job))
    finally:
        registry.close()


def _retrain_again_and_again(request: RetrainingRequest, every_s: float) -> NoReturn:
    """Every so often; what goes wrong once is said, and tried again."""
    while True:
        began = time.monotonic()
        try:
            request.progress.log_all(str(retrain_once(request)).splitlines())
        except HolotypeError as error:
            request.progress.log(f"retraining of {request.name}: {error}")
        time.sleep(max(0.0, every_s - (time.monotonic() - began)))


def _no_alarm(request: RetrainingRequest, champion: Champion) -> Retraining | None:
    """The result where an alarm was waited for and there is none about this champion."""
    if request.schedule.when != "alarm":
        return None
    status = read_watch(request.schedule.watch or watch_folder(request.name))
    number = champion.version.version
    if status.model.digest != champion.bundle.sha256:
        reason = f"{status.model.name} is watched as another version than {number}."
        return Retraining(request.name, "no alarm", (reason,), number)
    if not status.alarm:
        return Retraining(request.name, "no alarm", ("Nothing has changed.",), number)
    return None


def _require_weights(champion: Champion) -> None:
    """Refuse a warm start from a run that no longer holds its weights, or trained only a head."""
    resuming = Resuming(init_from=champion.trained_in)
    with_warm_start(TrainingRequest(data=str(champion.index.root), resuming=resuming))


@contextmanager
def _only_one(registry: Registry, name: str) -> Iterator[None]:
    """Hold the lock of a name in its registry: one retraining at a time.

    Raises:
        RunLocked: another process holds it.
    """
    import filelock

    registry.files.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(registry.files / f".retrain-{name}.lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RunLocked(f"another process retrains {name}; wait for it to end.") from None
    try:
        yield
    finally:
        lock.release()


def _open_directory(request: RetrainingRequest, champion: Champion) -> RetrainingDirectory:
    """The directory to go on with, or a new one whose labels are written.

    Raises:
        RunExists: the output holds something else.
    """
    if request.output is not None:
        directory = RetrainingDirectory(request.output)
        if directory.request.is_file():
            if not _is_same(request, champion, directory):
                raise RunExists(
                    f"{str(directory.path)!r} is a retraining of another champion, of other "
                    "labels, or with other words; name another --output."
                )
        elif directory.path.exists() and any(directory.path.iterdir()):
            raise RunExists(
                f"{str(directory.path)!r} already holds something else; name another --output."
            )
    else:
        directory = _next_directory(request, champion)
    if not directory.labels.is_file():
        _write_request(request, champion, directory)
    return directory


def _next_directory(request: RetrainingRequest, champion: Champion) -> RetrainingDirectory:
    """The last one where it is to go on or has these labels; else the next number."""
    number = 1
    while (ROOT / f"{request.name}-{number}").exists():
        number += 1
    last = RetrainingDirectory(ROOT / f"{request.name}-{number - 1}")
    if number > 1 and last.request.is_file() and _is_same(request, champion, last):
        return last
    return RetrainingDirectory(ROOT / f"{request.name}-{number}")


def _is_same(
    request: RetrainingRequest, champion: Champion, directory: RetrainingDirectory
) -> bool:
    """Whether a directory is of this champion, of these words, and of these labels.

    The champion may be its own candidate, which was promoted. A candidate that is being made goes
    on with the labels that it began with, however many came since.
    """
    began = read_json(directory.request)
    manifest = directory.run.bundle / MANIFEST
    digests = {began["digest"], sha256_of(manifest) if manifest.is_file() else ""}
    if began["choices"] != choices_as_json(request.choices):
        return False
    if champion.bundle.sha256 not in digests:
        return False
    if directory.placement.is_file() and not directory.result.is_file():
        return True
    collected = collect_labels(request.sources, champion.digests)
    return bool(began["labels_sha256"] == _labels_digest(collected))


def _write_request(
    request: RetrainingRequest, champion: Champion, directory: RetrainingDirectory
) -> None:
    """Write what was asked for, and the labels.

    Raises:
        DatasetError: there are none.
    """
    collected = collect_labels(request.sources, champion.digests)
    request.progress.log_all(collected.notes)
    if not collected.images:
        raise DatasetError(
            f"no label came back: {collected.num_unlabelled} images wait for one, and "
            f"{collected.num_not_kept} labelled ones are not kept."
        )
    write_json(
        directory.request,
        {
            "name": champion.name,
            "champion": champion.version.version,
            "digest": champion.bundle.sha256,
            "choices": choices_as_json(request.choices),
            "labels": [os.path.abspath(source) for source in request.sources],
            "labels_sha256": _labels_digest(collected),
            "unlabelled": collected.num_unlabelled,
            "not_kept": collected.num_not_kept,
        },
    )
    write_labels(collected, directory)


def _labels_digest(collected: CollectedLabels) -> str:
    """Of images, labels, purposes and groups."""
    rows = [(each.sha256, each.label, each.purpose, each.group) for each in collected.images]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
