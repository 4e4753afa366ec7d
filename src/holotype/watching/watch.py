"""`holotype.watch`: has anything changed since the classifier was made?"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import exp
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from holotype.bundle.bundle import Bundle, load_bundle
from holotype.errors import DatasetError, RunLocked, UsageError
from holotype.files import write_text
from holotype.progress import Progress, default_progress
from holotype.registry.registered_name import is_registered_name, parse_registered_name
from holotype.registry.registry import Registry
from holotype.run_directory import RunDirectory, run_path
from holotype.serving.request_log.log_row import iso_time
from holotype.watching.log_windows import GroupBy, LogWindow, WatchedLog, WindowSize, seconds_in
from holotype.watching.monitoring.monitors import CHANCE, Monitors
from holotype.watching.monitoring.service_scores import ServiceLimits, service_facts
from holotype.watching.take_windows import WindowTaker, take_windows
from holotype.watching.telling.messages import Telling, sentence, should_tell, tell
from holotype.watching.telling.prometheus_textfile import WATCH_PROM, prometheus_text
from holotype.watching.telling.watch_page import write_page
from holotype.watching.watch_reference import (
    FIRST_IMAGES,
    MIN_IMAGES,
    WatchReference,
    read_reference,
    reference_in_bundle,
    reference_of_first_images,
    reference_of_validation,
)
from holotype.watching.watch_result import Watch
from holotype.watching.watch_state import MAX_RECORDS, ToldState, WatchState, read_state
from holotype.watching.watch_status import (
    WATCH_JSON,
    MonitorRecord,
    WatchedModel,
    WatchStatus,
    read_watch,
    watch_folder,
)

LOCK = ".lock"


@dataclass(frozen=True)
class WatchOptions:
    """How the log is looked at.

    Attributes:
        window: images, such as `200`, or a time, such as `1d`; at most 1,000 of it are looked at.
        since: an ISO 8601 time in UTC at which the first window begins; that of the log by default.
        group_by: what is not independent within a window: images of one request key, or of one
            request where it had none (`auto`), of one `request`, `key` or `client`; or `none`.
        max_errors: percentage of images that may be refused.
        slow_ms: at most 5 % of answers may take longer.
    """

    window: str = "200"
    since: str | None = None
    group_by: GroupBy = "auto"
    max_errors: float = 5.0
    slow_ms: float = 1000.0

    def __post_init__(self) -> None:
        _ = self.size, self.limits, self.since_s

    @property
    def size(self) -> WindowSize:
        return WindowSize.parse(self.window)

    @property
    def limits(self) -> ServiceLimits:
        return ServiceLimits(self.max_errors, self.slow_ms)

    @property
    def since_s(self) -> float | None:
        if self.since is None:
            return None
        try:
            found = datetime.fromisoformat(self.since)
        except ValueError:
            raise UsageError(
                f"--since is {self.since!r}; expected a time such as 2026-11-26 or "
                "2026-11-26T20:15."
            ) from None
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def watch(
    model: str | os.PathLike[str],
    *,
    log: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    every: str | None = None,
    options: WatchOptions = WatchOptions(),
    telling: Telling = Telling(),
    on_look: Callable[[Watch], None] | None = None,
    progress: Progress | None = None,
) -> Watch:
    """Hold the request log against the validation images, and say whether something changed.

    Called again, it goes on where it was. In a year in which nothing changes, the chance of any
    false alarm is at most 5 %, if images of different request keys are independent.

    Example:
        >>> holotype.watch("registry://cells@champion", log="log")  # doctest: +SKIP
        cells: all clear.
        windows: 31, 1 of them new

    Args:
        model: `registry://NAME@ALIAS`, which is followed when it moves, a run or a bundle.
        log: the folder that `holotype serve --log` writes.
        output: where the report, `watch.json` and the state are; by default `watch-NAME`.
        every: look again after this time, such as `1h`, until interrupted; by default once.
        options: windows, groups and limits.
        telling: who is told.
        on_look: called after every look.
        progress: where it is shown that something takes long.

    Raises:
        UsageError: an option makes no sense.
        DatasetError: there is no log in the folder, or too few images in it for a reference.
        RunLocked: another process watches into the same folder.
        NotABundle: there is no classifier.
    """
    pause_s = None if every is None else seconds_in(every, "--every")
    folder = Path(output) if output is not None else watch_folder(_name(model))
    if not Path(log).is_dir():
        raise DatasetError(f"there is no request log {os.fspath(log)!r}; check the path.")
    opened = _opened(model)  # refused before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / LOCK, timeout=0).acquire()
    except Timeout:
        raise RunLocked(f"another process watches into {str(folder)!r}; choose another.") from None
    with lock:
        while True:
            found = _look(
                opened, Path(log), folder, options, telling, progress or default_progress()
            )
            if on_look is not None:
                on_look(found)
            if pause_s is None:
                return found
            time.sleep(pause_s)
            opened = _opened(model)  # its alias may have moved


def _look(
    opened: tuple[WatchedModel, Bundle, RunDirectory],
    log: Path,
    folder: Path,
    options: WatchOptions,
    telling: Telling,
    progress: Progress,
) -> Watch:
    """Take what is new in the log, write what was found, and tell who is to know."""
    now_s = time.time()
    watched, bundle, run = opened
    rows = WatchedLog(log, bundle.sha256, options.size, options.group_by)
    reference = _reference(bundle, run, rows, folder, progress)
    taker = WindowTaker.of(bundle, rows, options.limits, reference)
    state = _state(taker, options, folder)
    newest, taken = take_windows(taker, state, folder, now_s)
    service = _service(folder, newest)
    status = _status(watched, log, state, bundle, taker.accuracy(state), service)
    status.write(folder)
    write_text(folder / WATCH_PROM, prometheus_text(status))
    write_page(folder / "index.html", status, log)
    missed = _missed(state.told.get("caller", ToldState()), state, status)
    failures = _tell(state, status, telling, now_s)
    state.write(folder)
    said = "" if missed is None else sentence(missed)
    return Watch(folder, status, taken, tuple(failures), said)


def _missed(told: ToldState, state: WatchState, status: WatchStatus) -> WatchStatus | None:
    """An alarm that came and ended since a channel was told anything."""
    alarm = state.ended
    if alarm is None or status.alarm or told.alarm or told.ended == alarm.since:
        return None
    return replace(
        status, alarm=True, kind=alarm.kind, alarm_since=alarm.since,
        change_since=alarm.change_since, changes=alarm.changes,
    )  # fmt: skip


def _tell(state: WatchState, status: WatchStatus, telling: Telling, now_s: float) -> list[str]:
    """Tell who is to know; what could not be told is returned, and tried at the next look."""
    failures = []
    for name, channel in telling.channels.items():
        told = state.told.get(name, ToldState())
        missed = _missed(told, state, status)
        due = [] if missed is None else [missed]
        if status.alarm and state.ended is not None and told.ended != state.ended.since:
            told = ToldState()  # what was told is over, and this is another alarm
        kind = status.kind or ""
        if due or should_tell(told, status.alarm, kind, now_s, telling.quiet_hours):
            due.append(status)
        for message in due:
            if failed := tell(message, channel):
                failures += failed
                break
            told = replace(told, alarm=message.alarm, at_s=now_s, kind=message.kind or "")
        else:
            told = replace(told, ended=told.ended if state.ended is None else state.ended.since)
        state.told[name] = told
    if not failures:
        state.ended = None
    return failures


def _name(model: str | os.PathLike[str]) -> str:
    if is_registered_name(model):
        return parse_registered_name(model).name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(run_path(model)).name) or "model"


def _opened(model: str | os.PathLike[str]) -> tuple[WatchedModel, Bundle, RunDirectory]:
    """What is watched, its verified bundle, and the run or what the registry keeps of it."""
    if is_registered_name(model):
        registry = Registry()
        try:
            version = registry.version(os.fspath(model))
        finally:
            registry.close()
        number: int | None = version.version
        name, path = version.name, version.path
    else:
        name, number, path = _name(model), None, Path(run_path(model))
    bundle = load_bundle(path)
    run = RunDirectory(path)
    if path == bundle.path and path.name == run.bundle.name:
        run = RunDirectory(path.parent)  # a bundle that lies in its run
    return WatchedModel(name, number, bundle.sha256, os.fspath(model)), bundle, run


def _reference(
    bundle: Bundle, run: RunDirectory, log: WatchedLog, folder: Path, progress: Progress
) -> WatchReference:
    """The one kept here or in the bundle, that of validation, or the first images of the log."""
    found = read_reference(folder, bundle.sha256)
    if found is not None:
        return found
    found = reference_in_bundle(bundle) or reference_of_validation(bundle, run, progress)
    if found is None:
        found = _first_images(bundle, log)
    found.write(folder)
    return read_reference(folder, bundle.sha256) or found  # rounded, as all later looks see it


def _first_images(bundle: Bundle, log: WatchedLog) -> WatchReference:
    start_s = log.beginning_s()
    first = replace(log, size=WindowSize(images=FIRST_IMAGES))
    window = None if start_s is None else next(first.windows(start_s), None)
    if window is None or len(set(window.images.groups_N.tolist())) < MIN_IMAGES:
        raise DatasetError(
            f"there is nothing to compare with yet: {bundle.name} has fewer than {MIN_IMAGES} "
            "validation images (or only its bundle was named, and it keeps none), and it has not "
            f"answered {FIRST_IMAGES:,} images in the log, of which the first would be taken. Wait "
            "for more, or train it with a larger validation part."
        )
    return reference_of_first_images(window.images, bundle.sha256)


def _state(taker: WindowTaker, options: WatchOptions, folder: Path) -> WatchState:
    """Where watching goes on; another bundle begins anew, with an alarm that is not all clear."""
    before = read_state(folder)
    if before is not None and before.digest == taker.bundle.sha256:
        before.monitors.hold(taker.limits.watched())  # which may be other ones than last time
        return before
    left = None if before is None or before.alarm is None else replace(before.alarm, spans=[])
    state = taker.new_state(left)
    state.next_s = options.since_s if before is None else before.next_s
    if before is not None:
        state.told = before.told
    return state


def _service(folder: Path, newest: LogWindow | None) -> Mapping[str, Any]:
    """Of the newest window, which may be that of the last look."""
    if newest is not None:
        return service_facts(newest.rows, newest.last_s - newest.first_s)
    return read_watch(folder).service if (folder / WATCH_JSON).is_file() else {}


def _status(
    watched: WatchedModel,
    log: Path,
    state: WatchState,
    bundle: Bundle,
    accuracy: Mapping[str, Any],
    service: Mapping[str, Any],
) -> WatchStatus:
    alarm = state.alarm
    return WatchStatus(
        model=watched,
        log=str(log),
        written_at=iso_time(time.time()),
        alarm=alarm is not None,
        kind=None if alarm is None else alarm.kind,
        alarm_since=None if alarm is None else alarm.since,
        change_since=None if alarm is None else alarm.change_since,
        chance=CHANCE,
        monitors=tuple(_monitor_records(state.monitors, bundle.classes)),
        windows=tuple(state.records[-MAX_RECORDS:]),
        accuracy=accuracy,
        changes={} if alarm is None else alarm.changes,
        service=service,
    )


def _monitor_records(monitors: Monitors, classes: Sequence[str]) -> Iterator[MonitorRecord]:
    """The monitors, the most evidence first, with the names of the classes."""
    for monitor in monitors.ranked:
        name = monitor.watched.name
        if name.startswith("class "):
            name = f"class {classes[int(name.removeprefix('class '))]}"
        yield MonitorRecord(
            name, monitor.watched.about, monitor.evidence,
            e_value=min(exp(min(monitor.capital.log_value, 700.0)), 1e300),
            needed=exp(monitor.watched.needed),
        )  # fmt: skip
