"""`holotype.track`: send a finished run to a tracker, once."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holotype.errors import RunError, TrackingFailed, UsageError
from holotype.files import read_json, write_json
from holotype.notebook import html_result
from holotype.progress import Progress
from holotype.run_directory import RunDirectory
from holotype.text_tables import printable, short_text
from holotype.tracking.mlflow_rest import send_to_mlflow
from holotype.tracking.tensorboard_events import write_tensorboard
from holotype.tracking.tracked_values import tracked_values
from holotype.tracking.tracking_target import TrackingTarget, parse_targets

RECORD = "tracking.json"  # in a run: for each tracker where the run is, or null: still to be sent


@dataclass(frozen=True, repr=False)
class Tracking:
    """Where a run is now.

    Attributes:
        sent: for each tracker the address or directory.
        failed: for each that could not be reached, why.
    """

    sent: dict[str, str]
    failed: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {"sent": self.sent, "failed": self.failed}

    def __str__(self) -> str:
        lines = [f"{target}  {place}" for target, place in self.sent.items()]
        lines += [f"{target}  not sent: {reason}" for target, reason in self.failed.items()]
        return printable("\n".join(lines))

    def __repr__(self) -> str:
        return short_text(str(self))

    def _repr_html_(self) -> str:
        return html_result("Tracking", notes=str(self).splitlines())


def track(run: str | os.PathLike[str], *, to: Sequence[str] | str = ()) -> Tracking:
    """Send a finished run: parameters, metrics by epoch, plots, the bundle, a registered version.

    A run is sent once: what a tracker has already is not sent again, and what was cut off goes on.

    Example:
        >>> holotype.track("runs/photos-1", to="mlflow=http://127.0.0.1:5000")  # doctest: +SKIP
        mlflow=http://127.0.0.1:5000  http://127.0.0.1:5000/#/experiments/1/runs/0a1b...

    Args:
        to: `mlflow=URI`, `mlflow` (the server that `MLFLOW_TRACKING_URI` names) or `tensorboard`;
            by default where the run could not be sent when it was trained with `--track`.

    Raises:
        UsageError: an unknown tracker, or none is known.
        NotARun: the run is not finished.
        MissingExtra: the extra `tracking` is not installed.
    """
    files = RunDirectory.open(os.fspath(run))
    words = [to] if isinstance(to, str) else list(to)
    known = _read(files)
    targets = parse_targets(words or list(known))
    if not targets:
        raise UsageError(
            f"{str(files.path)!r} was trained without --track; say where to send it: "
            "--to mlflow=URI or --to tensorboard."
        )
    sent: dict[str, str] = {}
    failed: dict[str, str] = {}
    for target in targets:
        place = known.get(str(target))
        if place is None:
            try:
                place = _send(files, target)
            except TrackingFailed as error:
                failed[str(target)] = str(error)
        if place is not None:
            sent[str(target)] = place
        known[str(target)] = place
        write_json(files.path / RECORD, known)
    return Tracking(sent, failed)


def track_trained(
    files: RunDirectory, targets: Sequence[TrackingTarget], progress: Progress
) -> None:
    """Send a run that has just been trained; a tracker that fails costs the run nothing."""
    for target in targets:
        progress.log(f"sending the run to {target}")
        try:
            found = track(files.path, to=str(target))
        except (RunError, OSError) as error:
            progress.log(f"not sent to {target}: {error}")
            continue
        for place in found.sent.values():
            progress.log(f"sent to {place}")
        for reason in found.failed.values():
            progress.log(f"not sent: {reason}. Later: holotype track {files.path}")


def _send(files: RunDirectory, target: TrackingTarget) -> str:
    values = tracked_values(files)
    if target.kind == "tensorboard":
        return write_tensorboard(values)
    return send_to_mlflow(values, target.uri)


def _read(files: RunDirectory) -> dict[str, str | None]:
    file = files.path / RECORD
    return read_json(file) if file.is_file() else {}
