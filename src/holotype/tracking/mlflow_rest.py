"""Send a run to an MLflow server over REST: a run, its metrics and files, and a registered version.

Everything is sent so that it may be sent again: the run is found by a tag, metrics have the times
of the first try, files replace themselves, and a version is made where the run has none. So what
was cut off anywhere goes on, and nothing is there twice. MLflow's model loaders are never called.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from holotype.errors import TrackingFailed
from holotype.registry.registered_name import registered_word
from holotype.tracking.tracked_values import TrackedValues

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Item = TypeVar("Item")

IDENTITY = "holotype.bundle_sha256"  # tags
PLACE = "holotype.run"
COMPLETE = "holotype.complete"

_BATCH = 100  # the server takes 100 parameters and 1,000 metrics at once
_MAX_VALUE = 6000  # characters of a parameter
# A server that does not answer costs seconds rather than the minutes of MLflow's own patience.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # which is for results
}


def send_to_mlflow(values: TrackedValues, uri: str) -> str:
    """Send a run, or the rest of it; the address of its page.

    Raises:
        TrackingFailed: the server cannot be reached, or refuses something.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    with _patience():
        try:
            return _send(MlflowClient(uri, uri), values, uri)
        except (MlflowException, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise TrackingFailed(f"the MLflow server at {uri} failed: {reason}") from error


def _send(client: "MlflowClient", values: TrackedValues, uri: str) -> str:
    experiment = client.get_experiment_by_name(values.data)
    experiment_id = (
        client.create_experiment(values.data) if experiment is None else experiment.experiment_id
    )
    run = _find_or_create(client, experiment_id, values)
    run_id = run.info.run_id
    if COMPLETE not in run.data.tags:
        _log_values(client, run, values)
        for page in values.pages:
            client.log_artifact(run_id, str(page), _folder_of(page, values))
        for plot in values.plots:
            client.log_artifact(run_id, str(plot), "report")
        client.log_artifacts(run_id, str(values.bundle.path), "bundle")
        _register(client, run, registered_word(values.data))
        client.set_tag(run_id, COMPLETE, "true")
        client.set_terminated(run_id)
    return f"{uri}/#/experiments/{experiment_id}/runs/{run_id}"


def _find_or_create(client: "MlflowClient", experiment_id: str, values: TrackedValues) -> "Run":
    """The run of an earlier try, or a new one."""
    digest, place = values.bundle.sha256, str(values.run.path.absolute())
    known = client.search_runs(
        [experiment_id], f"tags.`{IDENTITY}` = '{digest}'", order_by=["attributes.start_time ASC"]
    )
    for run in known:
        if run.data.tags.get(PLACE) == place:
            return run
    tags = {IDENTITY: digest, PLACE: place}
    return client.create_run(experiment_id, run_name=values.run.path.name, tags=tags)


def _log_values(client: "MlflowClient", run: "Run", values: TrackedValues) -> None:
    from mlflow.entities import Metric, Param

    run_id, began = run.info.run_id, run.info.start_time
    parameters = [
        Param(key, value[:_MAX_VALUE]) for key, value in values.parameters.items() if value != ""
    ]
    for batch in _batches(parameters):
        client.log_batch(run_id, params=batch)
    # With the times of the first try, metrics that are sent again are those that are there.
    metrics = [
        Metric(key, value, began + 1000 * epoch.step, epoch.step)
        for epoch in values.epochs
        for key, value in epoch.metrics.items()
    ]
    metrics += [Metric(key, value, began, 0) for key, value in values.scores.items()]
    for metric_batch in _batches(metrics):
        client.log_batch(run_id, metrics=metric_batch)


def _register(client: "MlflowClient", run: "Run", name: str) -> None:
    """A version of the registered model, unless this run has one."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    run_id = run.info.run_id
    versions = client.search_model_versions(f"run_id = '{run_id}'")
    if not any(version.name == name for version in versions):
        client.create_model_version(
            name, f"{run.info.artifact_uri}/bundle", run_id, await_creation_for=0
        )


def _folder_of(page: Path, values: TrackedValues) -> str | None:
    return "report" if page.parent == values.run.report else None


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), _BATCH):
        yield list(items[start : start + _BATCH])


@contextmanager
def _patience() -> Iterator[None]:
    """What the environment does not say of MLflow's patience, for as long as the block runs."""
    added = {key: value for key, value in _PATIENCE.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)
