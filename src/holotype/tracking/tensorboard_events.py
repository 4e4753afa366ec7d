"""Write a run as an event file of TensorBoard, into `tensorboard/` of the run."""

from holotype.files import discard, temporary_directory
from holotype.tracking.tracked_values import TrackedValues

DIRECTORY = "tensorboard"


def write_tensorboard(values: TrackedValues) -> str:
    """Metrics by epoch, and the scores; the directory. One that is there is replaced.

    `tensorboard --logdir RUNS` shows the runs of a folder side by side.
    """
    from tensorboard.summary import Writer

    place = values.run.path / DIRECTORY
    began = values.run.metrics.stat().st_mtime  # when the run was finished
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
