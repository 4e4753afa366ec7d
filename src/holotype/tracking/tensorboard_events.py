"""Write a run as an event file of TensorBoard, into `tensorboard/` of the run."""

from pathlib import Path

from holotype.files import discard, temporary_directory
from holotype.tracking.tracked_values import TrackedValues

DIRECTORY = "tensorboard"


def write_tensorboard(values: TrackedValues) -> str:
    """Metrics by epoch, and the scores; the directory. One that is there is replaced.

    `tensorboard --logdir RUNS` shows the runs of a folder side by side.
    """
    from tensorboard.summary import Writer

    place = values.run.path / DIRECTORY
    began = _time_of(values)
    with temporary_directory(values.run.path) as temporary:
        writer = Writer(str(temporary))
        for epoch in values.epochs:
            for name, value in epoch.metrics.items():
                writer.add_scalar(name, value, epoch.step, wall_time=began + epoch.step)
        for name, value in values.scores.items():
            writer.add_scalar(name, value, 0, wall_time=began)
        writer.close()
        discard(place)
        temporary.rename(place)
    return str(place)


def _time_of(values: TrackedValues) -> float:
    """When the run was finished."""
    return Path(values.run.report / "metrics.json").stat().st_mtime
