"""`docs/models.md`: the catalogue as what passed, written by the test that saw it pass."""

from dataclasses import dataclass
from pathlib import Path

from holotype.architectures.architecture import Architecture
from holotype.architectures.catalog_rows import ARCHITECTURES
from holotype.files import atomic_write

PAGE = Path(__file__).parents[2] / "docs" / "models.md"

TOP = """\
# Models

Written by `tests/architectures/test_every_model.py`, which builds every name of the catalogue;
repeat it with `pytest -m "" tests/architectures/test_every_model.py`. Do not edit it by hand.

Each network stands here because, at the smallest image size that it takes, with random weights
and batch-norm statistics estimated on two batches, it

- did one training step: every weight got a finite gradient, and the loss was finite;
- was exported as the two graphs of a bundle, `backbone.onnx` and `head.onnx`;
- gave the same logits through the graphs as through torch: the largest difference is at most 1e-4
  of the range over which images drive the logits, and that range is more than 0.1.

Descriptors have no weights: their head, a support vector machine, was fitted instead, and its graph
agrees with scikit-learn.

**embedding** is its length at the smallest size; of descriptors and of a flattened map it depends
on the size. In **head**, dropout stands before every layer. **groups** is the number of groups of
layers, and so of cuts at which activations can be kept (`holotype models NAME --groups` prints
them). **cam** says how a heatmap is made without a gradient, with the head that the network has by
default, and what was proved about it:

- `exact`: the heatmap equals Grad-CAM as captum computes it with gradients (the positive part of
  both, scaled to a largest value of 1, differs by at most 1e-4), at the first image size whose
  map has several cells; at the smallest size the map of the graph equals that of torch;
- `cells`: the head is run on every cell, which approximates Grad-CAM but is not it: the two
  correlate, and differ by more than 1e-4;
- `none`: the graph has no map whose cells the head could be run on; heatmaps come from occlusion.

`holotype models` shows parameters, multiply-adds, memory, licences, and where the weights would
come from.

| model | family | kind | pixels | smallest | embedding | groups | head | cam |
|---|---|---|---:|---:|---:|---:|---|---|
"""


@dataclass(frozen=True)
class Passed:
    """What the test saw of one network, at its smallest size."""

    embedding_size: int
    groups: int


def write_page(passed: dict[str, Passed]) -> None:
    """The page, if every name of the catalogue has passed; else the old one stays."""
    if set(passed) >= {row.name for row in ARCHITECTURES}:
        lines = [_line(row, passed[row.name]) for row in ARCHITECTURES]
        with atomic_write(PAGE) as temporary:
            temporary.write_text(TOP + "\n".join(lines) + "\n", encoding="utf-8")


def names_on_page() -> list[str]:
    """The models that the page lists, in its order."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [line.split("`")[1] for line in lines if line.startswith("| `")]


def _line(row: Architecture, passed: Passed) -> str:
    cells = (
        f"`{row.name}`", row.family, row.kind, row.inputs.image_size, row.inputs.minimum_size,
        passed.embedding_size, passed.groups or "none", _head(row), row.cam_support(row.head),
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def _head(row: Architecture) -> str:
    if row.kind == "classical":
        return "support vector machine"
    layers = [f"{width} {row.head.activation}" for width in row.head.hidden]
    dropout = [f"dropout {row.head.dropout:g}"] if row.head.dropout else []
    return ", ".join([*dropout, *layers, "linear"])
