"""`holotype track`: send a finished run to MLflow or TensorBoard, once."""

from pathlib import Path
from typing import Annotated

from holotype.cli.options import AsJson, Several
from holotype.cli.output import print_found
from holotype.tracking.track import track as send


def track(
    run: Path,
    /,
    *,
    to: Annotated[tuple[str, ...], Several] = (),
    as_json: AsJson = False,
) -> int:
    """Parameters, metrics by epoch, plots, the bundle and a registered version are sent.

    What a tracker has already is not sent again; what was cut off goes on.

    Args:
        run: A finished run.
        to: mlflow=URI, mlflow (the server that MLFLOW_TRACKING_URI names) or tensorboard;
            or both. Without it, where the run could not be sent when it was trained.
    """
    found = send(run, to=to)
    print_found(found, as_json=as_json)
    return 1 if found.failed else 0
