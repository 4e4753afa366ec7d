"""Where runs are sent: `mlflow`, `mlflow=URI` or `tensorboard`."""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from holotype.errors import MissingExtra, UsageError
from holotype.extras import install_command

MLFLOW_URI = "MLFLOW_TRACKING_URI"
EXPECTED = "expected mlflow, mlflow=URI such as mlflow=http://127.0.0.1:5000, or tensorboard"


@dataclass(frozen=True)
class TrackingTarget:
    """One tracker.

    Attributes:
        uri: of an MLflow server; "" of TensorBoard.
    """

    kind: Literal["mlflow", "tensorboard"]
    uri: str = ""

    def __str__(self) -> str:
        return f"{self.kind}={self.uri}" if self.uri else self.kind


def parse_targets(words: Sequence[str]) -> tuple[TrackingTarget, ...]:
    """The trackers that are named, each of which can be used as far as is known without asking it.

    Raises:
        UsageError: an unknown tracker, or MLflow without the URI of a server.
        MissingExtra: the extra `tracking` is not installed.
    """
    targets = tuple(dict.fromkeys(_parse(word) for word in words))
    for target in targets:
        if importlib.util.find_spec(target.kind) is None:
            raise MissingExtra(
                f"the tracker {target.kind} needs a package that is not installed: "
                f"{install_command('tracking')}"
            )
    return targets


def _parse(word: str) -> TrackingTarget:
    kind, _, uri = word.partition("=")
    if kind == "tensorboard" and not uri:
        return TrackingTarget("tensorboard")
    if kind != "mlflow":
        raise UsageError(f"{word!r} is no tracker; {EXPECTED}.")
    uri = uri or os.environ.get(MLFLOW_URI, "")
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"the tracker mlflow needs the address of a server, not {uri!r}: {EXPECTED}; or set "
            f"{MLFLOW_URI}."
        )
    if parts.username or parts.password:
        raise UsageError(
            "the address of an MLflow server must not hold a password, which would be written "
            "into the run; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        )
    return TrackingTarget("mlflow", uri.rstrip("/"))
