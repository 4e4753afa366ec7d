"""What the API answers, for its OpenAPI description; see docs/predict.schema.json for files."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

PROBABILITIES = {"crack": 0.91, "dark": 0.06, "fine": 0.03}
REQUEST_ID = "5d41402abc4b2a76b9719d911017c592"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class Explanation(BaseModel):
    """The evidence for the class over the image."""

    label: Annotated[str, Field(alias="class", examples=["crack"])]
    probability: float
    method: Annotated[str, Field(examples=["class activation map"])]
    png: Annotated[str, Field(description="The image with its heatmap: PNG in base64.")]


class ImagePrediction(BaseModel):
    """The answer for one image."""

    image: Annotated[int, Field(ge=0, description="Its place in the request, from 0.")]
    label: Annotated[str, Field(alias="class", examples=["crack"])]
    probability: Annotated[float, Field(ge=0, le=1, examples=[0.91])]
    probabilities: Annotated[
        dict[str, float],
        Field(description="Calibrated, the highest first.", examples=[PROBABILITIES]),
    ]
    unknown: Annotated[
        bool | None,
        Field(description="Of no known class; null where the classifier does not say."),
    ]
    set: Annotated[
        list[str] | None,
        Field(description="The prediction set; null without `coverage`.", examples=[["crack"]]),
    ]
    warnings: list[str]
    explanation: Explanation | None = None


class RefusedImage(BaseModel):
    """An image that could not be used; the others of the request are answered."""

    image: Annotated[int, Field(ge=0)]
    problem: Annotated[str, Field(examples=["truncated_image"])]
    detail: str


class Timing(BaseModel):
    """Milliseconds; of several images the longest."""

    queue_ms: float
    run_ms: float
    total_ms: float


class Answered(BaseModel):
    """Who answered."""

    request_id: Annotated[str, Field(examples=[REQUEST_ID])]
    model: Annotated[str, Field(examples=["cells"])]
    version: Annotated[str, Field(examples=["3"])]
    digest: Annotated[str, Field(description="SHA-256 of the bundle.", examples=[DIGEST])]


class PredictAnswer(Answered):
    """The classes of the images of a request."""

    predictions: list[ImagePrediction]
    refused: list[RefusedImage]
    notes: list[str]
    timing: Timing


class EmbedAnswer(Answered):
    """The embeddings of the images of a request, in their order."""

    embeddings: list[list[float]]
    timing: Timing


class Neighbour(BaseModel):
    """One training image."""

    file: Annotated[str, Field(examples=["crack/017.png"])]
    label: Annotated[str, Field(alias="class", examples=["crack"])]
    cosine: Annotated[float, Field(ge=-1, le=1, examples=[0.83])]


class NeighboursAnswer(Answered):
    """The training images most like an image."""

    neighbours: list[Neighbour]
    timing: Timing


class ModelSummary(BaseModel):
    """A model in service."""

    model: Annotated[str, Field(examples=["cells"])]
    version: Annotated[str, Field(examples=["3"])]
    digest: Annotated[str, Field(examples=[DIGEST])]
    architecture: Annotated[str, Field(examples=["efficientnet_lite0"])]
    classes: Annotated[list[str], Field(examples=[list(PROBABILITIES)])]


class ModelList(BaseModel):
    """The models in service."""

    models: list[ModelSummary]


class ModelDetails(ModelSummary):
    """A model in service, and what it can do."""

    says_unknown: bool
    prediction_sets: bool
    neighbours: bool
    heatmap: Annotated[str, Field(examples=["class activation map"])]
    embedding_size: int
    image_ms: Annotated[float, Field(description="What one image takes on one core.")]
    metrics: Annotated[dict[str, Any], Field(description="Of its report; empty without a run.")]
    card: Annotated[str, Field(description="Its model card, Markdown; empty without a run.")]


class Feedback(BaseModel):
    """The true class of an image that was answered."""

    model_config = ConfigDict(extra="forbid")

    request_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$", examples=[REQUEST_ID])]
    image: Annotated[int, Field(ge=0, le=10_000, description="Its place in the request.")] = 0
    label: Annotated[str, Field(min_length=1, max_length=1000, examples=["crack"])]


class FeedbackAnswer(BaseModel):
    """The feedback is kept."""

    request_id: Annotated[str, Field(examples=[REQUEST_ID])]
    image: Annotated[int, Field(ge=0)]
    kept: bool
    known: Annotated[
        bool | None,
        Field(description="A class of the model; null where that is no longer served."),
    ]
    similar_class: Annotated[
        str | None,
        Field(description="The class that a label was perhaps meant for.", examples=["crack"]),
    ]


class VersionIdentity(BaseModel):
    """A version, and the digest of its bundle."""

    version: Annotated[str, Field(examples=["3"])]
    digest: Annotated[str, Field(examples=[DIGEST])]


class RefusedVersion(BaseModel):
    """A version that should have been taken into service, and was not."""

    slot: Annotated[str, Field(examples=["champion"])]
    version: Annotated[str, Field(examples=["4"])]
    reason: str
    time_s: Annotated[float, Field(description="Seconds since 1970.")]


class TrafficStatus(BaseModel):
    """What answers, and how it compares; docs/serving.md explains the parts."""

    model: Annotated[str, Field(examples=["cells"])]
    champion: VersionIdentity
    exchanges: Annotated[int, Field(description="How often another champion was taken.")]
    refused: list[RefusedVersion]
    experiment: Annotated[
        dict[str, Any] | None,
        Field(description="Arms, agreement, sample ratio, sequential test and rollout."),
    ]
    log: Annotated[dict[str, Any] | None, Field(description="Rows written and dropped.")]


class Health(BaseModel):
    """Whether the server can answer."""

    status: Annotated[str, Field(examples=["ok"])]


class ProblemBody(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: Annotated[str, Field(examples=["truncated_image"])]
    title: Annotated[str, Field(examples=["The image is cut off or damaged"])]
    status: Annotated[int, Field(examples=[422])]
    detail: Annotated[str, Field(examples=["Send the whole file again."])]
    request_id: Annotated[str, Field(examples=[REQUEST_ID])]
