"""Versions, routes and answers: what the API and the traffic tell each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.manifest import Manifest, read_manifest
from holotype.errors import HolotypeError
from holotype.serving.engine.worker_process import OpenedBundle

Arm = Literal["champion", "challenger"]


class NoSuchRequest(HolotypeError):
    """Feedback for a request that was never answered here, or is no longer kept."""


class NoSuchImage(HolotypeError):
    """Feedback for an image that a known request does not have, or that was refused.

    Attributes:
        answered: the places of the images of the request that were answered, from 0.
    """

    def __init__(self, message: str, answered: Sequence[int]) -> None:
        self.answered = tuple(answered)
        super().__init__(message)


class NoFeedback(HolotypeError):
    """This server keeps no feedback."""


@dataclass(frozen=True)
class KnownLabel:
    """What the model that answered knows of a label.

    Attributes:
        known: whether it is one of its classes; None where the model is no longer served.
        similar_class: one of its classes whose name differs by its form only; None without one.
    """

    known: bool | None = None
    similar_class: str | None = None


@dataclass(frozen=True, eq=False)
class ModelVersion:
    """A verified classifier that is open in the workers.

    Attributes:
        model: what requests call it, in the path.
        version: of the registry; the first twelve digits of the digest elsewhere.
        digest: of the bundle.
        path: the directory of the bundle.
        manifest: what the bundle says about itself.
        image_ms: how long one image takes.
        metrics: of its report on the test split; empty where only the bundle is at hand.
        card: its model card, Markdown; empty where there is none.
    """

    model: str
    version: str
    digest: str
    path: Path
    manifest: Manifest
    image_ms: float = 0.0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.classes


@dataclass(frozen=True, eq=False)
class Route:
    """Who answers a request.

    Attributes:
        version: the version that answers.
        arm: which arm of an experiment it is.
        shadow: a version that predicts too, and whose answer nobody waits for.
        share: of the requests that the challenger answers in a split, in [0, 1].
        experiment: which comparison of two versions this is part of; empty for none.
    """

    version: ModelVersion
    arm: Arm = "champion"
    shadow: ModelVersion | None = None
    share: float = 0.0
    experiment: str = ""


@dataclass(frozen=True, eq=False)
class AnsweredImage:
    """One image that was answered, for the request log.

    Attributes:
        request_id: of the request; one request may hold several images.
        image: its place in the request, from 0.
        key: what the route was chosen by.
        client: the name of the API key; empty where none was needed.
        route: who answered.
        answered_by: the version of this answer: that of the route, or its shadow.
        time: when it arrived, in seconds since 1970.
        outcome: `answered`, or the problem of the image such as `truncated_image`.
        predicted: the class number; None where it was not answered.
        unknown: whether it is of no known class; None where the classifier does not say.
        probabilities_C: float64.
        embedding_D: float32.
        set: class numbers of the prediction set; None where none was asked for.
        image_facts: as `dataset.image_facts.ImageFacts`, where the traffic asks for them.
        queue_ms, decode_ms, run_ms: waiting; decoding; decoding and inference.
        total_ms: until the answer was there.
        content: the bytes of the upload.
    """

    request_id: str
    image: int
    key: str
    client: str
    route: Route
    answered_by: ModelVersion
    time: float
    outcome: str
    predicted: int | None = None
    unknown: bool | None = None
    probabilities_C: NDArray[np.float64] | None = None
    embedding_D: NDArray[np.float32] | None = None
    set: tuple[int, ...] | None = None
    image_facts: Mapping[str, Any] | None = None
    queue_ms: float = 0.0
    decode_ms: float = 0.0
    run_ms: float = 0.0
    total_ms: float = 0.0
    content: bytes = field(default=b"", repr=False)


def model_version(model: str, opened: OpenedBundle, version: str = "") -> ModelVersion:
    """What is served of a bundle that the workers have opened."""
    manifest = read_manifest(opened.manifest, str(opened.path))
    digest = opened.digest
    return ModelVersion(
        model, version or digest[:12], digest, opened.path, manifest, opened.image_ms
    )
