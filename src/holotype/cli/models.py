"""`holotype models`: the catalogue as a table, or one network in detail."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlparse

from cyclopts import Parameter

from holotype.architectures.catalog import ARCHITECTURES, DEFAULT_MODEL, Architecture, architecture
from holotype.architectures.pretrained_weights import (
    NONE,
    availability,
    find_weights,
    server_is_reachable,
    server_of,
)
from holotype.cli.options import AsJson
from holotype.cli.output import (
    print_json,
    print_message,
    print_next_command,
    print_result,
)
from holotype.errors import UsageError
from holotype.terminal import text_table

if TYPE_CHECKING:
    from holotype.architectures.torch_classifier import Backbone

BATCH_SIZE = 32
HEADER = (
    "model", "family", "million parameters", "in all", "million multiply-adds", "pixels",
    "GB to train", "cam", "licence", "weights",
)  # fmt: skip
LEGEND = (
    "Of the backbone at its native size. In all: with its head for 1,000 classes. GB to train: a "
    f"rough need, all of it trained, {BATCH_SIZE} images a batch. (not now): the server does not "
    "answer, or the package is not installed. --json has the exact numbers."
)


def models(
    name: Annotated[
        str | None,
        Parameter(help="One of them in detail; also timm:NAME, or FILE.py:FUNCTION, which is run."),
    ] = None,
    /,
    *,
    groups: Annotated[
        bool, Parameter(help="The groups and layers of NAME: what `trainable` in a recipe counts.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Any other timm network is written timm:NAME."""
    if name is not None:
        return _one(name, groups=groups, as_json=as_json)
    if groups:
        raise UsageError("--groups shows one network: `holotype models NAME --groups`.")
    return _table(as_json=as_json)


def _table(*, as_json: bool) -> int:
    rows = [_facts(row) for row in ARCHITECTURES]
    reachable: dict[str, bool] = {}
    for row, facts in zip(ARCHITECTURES, rows, strict=True):
        facts["weights_available"] = _is_available(row, facts["weights"], reachable)
    if as_json:
        print_json({"default": DEFAULT_MODEL, "models": rows})
        return 0
    print_result(text_table(HEADER, [_cells(row) for row in rows]))
    print_message(LEGEND)
    print_message(f"{DEFAULT_MODEL} is the default; any other timm network is written timm:NAME.")
    print_next_command("holotype", "train", "DATA", "--model", "MODEL")
    return 0


def _one(name: str, *, groups: bool, as_json: bool) -> int:
    row = architecture(name)
    network = None
    if row.kind != "classical" and (groups or row.cost is None):
        network = _built(name)
        row = _measured(row, network)
    facts = _facts(row)
    facts["weights_available"] = _is_available(row, facts["weights"], {})
    if groups:
        facts["groups"] = list(_groups(network)) if network else []
    if as_json:
        print_json(facts)
        return 0
    width = max(map(len, facts))
    for key, value in facts.items():
        if key not in ("groups", "package"):
            print_result(f"{key.replace('_', ' '):{width}}  {_in_words(value)}")
    for group in facts.get("groups", ()):
        print_result(f"\n{group['name']}  ({group['parameters']:,} parameters)")
        for layer in group["layers"]:
            print_result(f"  {layer['name']}  {layer['kind']}  {layer['parameters']:,}")
    if groups and network is None:
        print_message(f"{row.name} is no network: it has neither groups nor layers.")
    return 0


def _built(name: str) -> "Backbone":
    from holotype.architectures.build_backbone import build_backbone

    return build_backbone(name, find_weights(name, NONE), architecture(name).image_size, seed=0)


def _measured(row: "Architecture", network: "Backbone") -> "Architecture":
    """The row with what it does not know of a network that is not in the catalogue."""
    from holotype.architectures.profiling import embedding_size, measure_cost

    if row.cost is not None:
        return row
    size = row.image_size
    return replace(
        row, cost=measure_cost(network, size), embedding_size=embedding_size(network, size)
    )


def _facts(row: "Architecture") -> dict[str, Any]:
    """What is known of a network, flat, for the table, the page of one, and `--json`."""
    facts = asdict(row)
    facts |= facts.pop("cost") or {}
    facts["cam"] = row.cam_support(row.head)
    facts["recipe"] = row.recipe
    facts["parameters_with_head"] = row.parameters_with_head()
    if row.cost is not None:
        facts["training_gigabytes"] = round(row.cost.training_gigabytes(BATCH_SIZE), 2)
    facts["weights"] = availability(row.name) if row.kind != "custom" else "not needed"
    return facts


def _is_available(row: "Architecture", weights: str, reachable: dict[str, bool]) -> bool:
    """Whether a run could start now; each server is asked once."""
    if weights not in ("hub", "download"):
        return not weights.startswith("pip install")
    server = urlparse(server_of(row)).netloc
    if server not in reachable:
        reachable[server] = server_is_reachable(row)
    return reachable[server]


def _cells(facts: dict[str, Any]) -> tuple[object, ...]:
    return (
        facts["name"], facts["family"],
        facts["parameters"] / 1e6, facts["parameters_with_head"] / 1e6,
        facts["multiply_adds_millions"], facts["image_size"], facts["training_gigabytes"],
        facts["cam"], facts["licence"],
        facts["weights"] if facts["weights_available"] else f"{facts['weights']} (not now)",
    )  # fmt: skip


def _groups(backbone: "Backbone") -> Iterator[dict[str, Any]]:
    """From the bottom to the top, as `trainable: N` counts them from the end."""
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
