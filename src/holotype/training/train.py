"""Recipe + index -> classifier; only calls named steps.

Shape suffixes: N pictures, C classes, D embedding.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.graphs import open_session
from holotype.bundle.manifest import Cam, Manifest, Weights
from holotype.dataset.index import Index
from holotype.models.catalog import architecture
from holotype.training.descent import Descent, Means, labels
from holotype.training.emphasis import emphasis
from holotype.training.features import keep_features
from holotype.training.head import LinearHead, fit_linear_head
from holotype.training.judgement import is_better
from holotype.training.recipe import Recipe
from holotype.training.stages import ForestStage, GradientStage, LinearStage, Stage, SvmStage
from holotype.training.start import EMBEDDING, FEATURE_MAP, Start
from holotype.training.state import Ended, Epoch

if TYPE_CHECKING:
    from holotype.training.classical import ClassicalHead


@dataclass(frozen=True, eq=False)
class Trained:
    """A classifier as it can be written, and how it came about.

    Attributes:
        backbone, head: ONNX graphs.
        manifest: everything but the decision and the hashes of files.
        history: one row per epoch of every stage that has epochs.
        notes: what the report should say about the training.
        emphasis_C: how much more a picture of each class counted than it would by itself, where
            the stage that ships was told so.
    """

    backbone: bytes
    head: bytes
    manifest: Manifest
    history: list[Epoch] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    emphasis_C: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class _Graphs:
    """What ships so far, and the stage that taught it; None where none did."""

    backbone: bytes
    head: bytes
    stage: Stage | None


OnStage = Callable[[str, Trained], None]


def train(
    recipe: Recipe,
    index: Index,
    *,
    name: str,
    means: Means,
    on_stage: OnStage = lambda name, trained: None,
) -> Trained:
    """Run the stages of a recipe on the training part; validation chooses, test is not touched.

    Args:
        index: split, with every broken picture taken out.
        name: what the classifier is called; the same in every run that should give the same bytes.
        means: what it runs on.
        on_stage: is handed the best of every stage, with the history of that stage alone.

    Returns:
        The best of the last stage, with the history of all.
    """
    start = Start(recipe, index, means.narrator)
    history: list[Epoch] = []
    notes: list[str] = []
    linear: LinearHead | None = None
    descent: Descent | None = None
    graphs: _Graphs | None = None
    for number, stage in enumerate(recipe.stages):
        rows: list[Epoch] = []
        if isinstance(stage, LinearStage):
            linear = _fit_linear(stage, start, means)
            graphs = _Graphs(start.graph(EMBEDDING), _linear_graph(linear), stage)
            notes.append(f"linear head: C = {linear.strength:g} by cross-validation")
        elif isinstance(stage, GradientStage):
            descent = descent or Descent.begin(start, means, linear)
            ended = descent.train(number, stage)
            rows = ended.rows
            notes.append(_which_ships(stage, ended))
            if ended.best > 0 or graphs is None:
                taught = stage if ended.best > 0 else None
                graphs = _Graphs(descent.backbone_graph(), descent.head_graph(), taught)
        else:
            fitted = _fit_classical(stage, start, means)
            graphs = _Graphs(start.graph(EMBEDDING), fitted.graph, stage)
            notes.append(fitted.note)
        history += rows
        on_stage(stage.name, _trained(start, graphs, name, rows, notes[-1:]))
    assert graphs is not None
    return _trained(start, graphs, name, history, notes)


def _trained(
    start: Start, graphs: _Graphs, name: str, history: list[Epoch], notes: list[str]
) -> Trained:
    return Trained(
        graphs.backbone, graphs.head, _manifest(start, graphs, name), history, notes,
        None if graphs.stage is None else emphasis(start.recipe, graphs.stage, start.index),
    )  # fmt: skip


def _fit_linear(stage: LinearStage, start: Start, means: Means) -> LinearHead:
    index, features_ND, targets_N, weights_N = _embeddings(start, means)
    means.narrator.say(f"fitting a linear head on {len(index):,} embeddings")
    return fit_linear_head(
        features_ND, targets_N, weights_N, index.table["group"].tolist(),
        num_classes=len(index.classes), strengths=stage.strengths,
        folds=stage.folds or 2, seed=start.recipe.seed,
    )  # fmt: skip


def _fit_classical(stage: SvmStage | ForestStage, start: Start, means: Means) -> "ClassicalHead":
    from holotype.training.classical import fit_forest, fit_svm

    index, features_ND, targets_N, weights_N = _embeddings(start, means)
    means.narrator.say(f"fitting {stage.method} on {len(index):,} embeddings")
    fit: Callable[..., ClassicalHead] = fit_svm if isinstance(stage, SvmStage) else fit_forest
    return fit(
        features_ND, targets_N, weights_N, index.table["group"].tolist(),
        num_classes=len(index.classes), seed=start.recipe.seed,
        **stage.model_dump(exclude={"name", "method"}),
    )  # fmt: skip


def _embeddings(
    start: Start, means: Means
) -> tuple[Index, NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    """The training pictures, their embeddings, class numbers and weights in the loss."""
    index, targets_N, weights_N = labels(start, "train")
    with means.narrator.progress("embedding training pictures") as progress:
        kept = keep_features(
            start.frozen_part(EMBEDDING, means.device), start.recipe.preprocessing, index,
            on_progress=progress,
        )  # fmt: skip
    return index, kept.first_view(), targets_N, weights_N.astype(np.float64)


def _linear_graph(head: LinearHead) -> bytes:
    from holotype.models.export import export_linear_head

    return export_linear_head(head.weight_CD, head.bias_C)


def _which_ships(stage: GradientStage, ended: Ended) -> str:
    """Which epoch ships and why; where an untrained network was as good, that is said too."""
    best, begun = ended.rows[ended.best], ended.rows[0]
    kept = "lowest validation loss"
    if stage.keep_best_by == "val_accuracy":
        kept = "highest validation accuracy"
    if best.epoch == 0:
        return f"{stage.name}: what it started from had the {kept} of all epochs and ships"
    said = f"{stage.name}: epoch {best.epoch} of {stage.epochs} had the {kept} and ships"
    if math.isnan(begun.val_loss) or is_better(best, begun, stage):
        return said
    return (
        f"{said}, though validation was no worse before training: it has learnt nothing that "
        "carries over. Try another learning rate, more epochs or pretrained weights"
    )


def _output_size(graph: bytes, output: str) -> tuple[int, ...]:
    """The shape of a graph's output without the batch; empty where it has no such output."""
    shapes = {one.name: one.shape for one in open_session(graph).get_outputs()}
    return tuple(int(size) for size in shapes.get(output, [0])[1:])


def _manifest(start: Start, graphs: _Graphs, name: str) -> Manifest:
    row = architecture(start.recipe.model)
    (size,) = _output_size(graphs.backbone, EMBEDDING)
    feature_map = _output_size(graphs.backbone, FEATURE_MAP)
    cells = (feature_map[1], feature_map[2]) if len(feature_map) == 3 else None
    # A head can be run on a cell only where a cell is as long as an embedding.
    linear = isinstance(start.recipe.stages[0], LinearStage | GradientStage) and (
        not start.recipe.head_spec.hidden
    )
    cam: Cam = row.cam if cells and linear and feature_map[0] == size else "none"
    weights = None
    if start.weights.kind != "none":
        weights = Weights(start.weights.kind, start.weights.licence, start.weights_sha256)
    return Manifest(
        name=name,
        model=row.name,
        classes=start.index.classes,
        preprocessing=start.recipe.preprocessing,
        embedding_size=size,
        feature_map_size=cells,
        cam=cam,
        weights=weights,
        versions=made_by(),
    )


def made_by() -> dict[str, str]:
    """The versions of what makes a bundle, without importing any of it."""
    from importlib.metadata import PackageNotFoundError, version

    names = (
        "holotype", "onnx", "onnxruntime", "numpy", "pillow", "scikit-learn", "skl2onnx", "torch",
        "torchvision", "timm",
    )  # fmt: skip
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
