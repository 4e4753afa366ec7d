"""Recipe + index -> classifier; only calls named steps.

Shape suffixes: N images, C classes, D embedding.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np

from holotype.architectures.catalog import architecture
from holotype.architectures.dense_head_onnx import (
    append_projection,
    export_cosine_head,
    export_dense_head,
)
from holotype.bundle.manifest import CamSupport, Manifest, PretrainedWeights
from holotype.bundle.onnx_runtime import open_session
from holotype.dataset.index import Index, Part
from holotype.dataset.splitting.assignment import atomic_group_names
from holotype.progress import pluralize
from holotype.training.config.recipe import Recipe
from holotype.training.config.stage_config import (
    ForestStage,
    GradientStage,
    LinearStage,
    Stage,
    SvmStage,
    WhiteningStage,
)
from holotype.training.data.class_weights import class_weighting
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.features.frozen_features import SINGLE_VIEW, ViewPlan, cache_features
from holotype.training.features.initial_backbone import (
    EMBEDDING,
    FEATURE_MAP,
    PretrainedBackbone,
    targets_and_weights,
)
from holotype.training.finetuning.early_stopping import is_better
from holotype.training.finetuning.training_state import StageResult
from holotype.training.heads.logistic_regression import LinearHead, fit_linear_head
from holotype.training.heads.svm_forest import ClassicalHead, fit_classical_head
from holotype.training.heads.training_data import TrainingData
from holotype.training.heads.whitening import EmbeddingProjection, fit_whitening
from holotype.training.symmetry import (
    SymmetryMeasurement,
    is_to_be_measured,
    measure_symmetry,
    with_symmetry,
)
from holotype.training.training_resources import Runtime

if TYPE_CHECKING:
    from holotype.training.finetuning.finetune import FineTuner


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A classifier as it can be written, and how it came about.

    Attributes:
        backbone, head: ONNX graphs.
        manifest: everything but the decision and the hashes of files.
        recipe: with the symmetries that were measured.
        history: one row per epoch of every stage that has epochs.
        notes: what the report should say about the training.
        symmetry: what was measured of the symmetries; None where the recipe says them.
        best_epochs: of each gradient stage, by its name.
    """

    backbone: bytes
    head: bytes
    manifest: Manifest
    recipe: Recipe
    history: list[EpochMetrics] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    symmetry: SymmetryMeasurement | None = None
    best_epochs: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _ShippedGraphs:
    """What ships so far, and the stage that taught it; None where none did."""

    backbone: bytes
    head: bytes
    stage: Stage | None


OnStage = Callable[[str, TrainedModel], None]


def train(
    recipe: Recipe,
    index: Index,
    *,
    name: str,
    runtime: Runtime,
    on_stage: OnStage = lambda name, trained: None,
    last_epochs: Mapping[str, int] | None = None,
    copies: Sequence[frozenset[str]] = (),
) -> TrainedModel:
    """Run the stages of a recipe on the training part; validation chooses, test is not touched.

    Args:
        index: split, with every broken image taken out.
        name: what the classifier is called; the same in every run that should give the same bytes.
        runtime: what it runs on.
        on_stage: is handed the best of every stage, with the history of that stage alone.
        last_epochs: where each gradient stage ends, and what it trained then ships, since no image
            is left to choose by; 0: it is passed over. None: validation chooses.
        copies: sets of paths that show one image: no fold of cross-validation divides them.

    Returns:
        The best of the last stage, with the history of all.
    """
    symmetry: SymmetryMeasurement | None = None
    if is_to_be_measured(recipe):
        open_recipe = PretrainedBackbone(recipe, index, runtime.progress, copies)
        symmetry = measure_symmetry(open_recipe, runtime)
        recipe = with_symmetry(recipe, symmetry.best)
        runtime.progress.log(symmetry.note())
    pretrained = PretrainedBackbone(recipe, index, runtime.progress, copies)
    history: list[EpochMetrics] = []
    notes: list[str] = [] if symmetry is None else [symmetry.note()]
    fitted: LinearHead | EmbeddingProjection | None = None
    fine_tuner: FineTuner | None = None
    graphs: _ShippedGraphs | None = None
    best_epochs: dict[str, int] = {}
    for number, stage in enumerate(recipe.stages):
        rows: list[EpochMetrics] = []
        if isinstance(stage, LinearStage):
            fitted = linear = _fit_linear(stage, pretrained, runtime)
            head = export_dense_head([(linear.weight_CD, linear.bias_C)], [])
            graphs = _ShippedGraphs(pretrained.graph(EMBEDDING), head, stage)
            notes.append(f"linear head: C = {linear.best_C:g} by cross-validation")
        elif isinstance(stage, WhiteningStage):
            fitted = projection = _fit_whitening(stage, pretrained, runtime)
            graphs = _whitened_graphs(projection, pretrained, stage)
            notes.append(
                f"whitened embedding of {len(projection.bias_E)} dimensions: "
                f"{projection.variance:.1%} of the variance"
            )
        elif isinstance(stage, GradientStage):
            last_epoch = None if last_epochs is None else last_epochs[stage.name]
            if last_epoch == 0 and graphs is not None:
                continue
            fine_tuner = fine_tuner or _fine_tuner(pretrained, runtime, fitted)
            ended = fine_tuner.train(number, stage, last_epoch)
            rows, best_epochs[stage.name] = ended.rows, ended.best_epoch
            notes.append(_best_epoch_note(stage, ended))
            if ended.best_epoch > 0 or graphs is None:
                taught = stage if ended.best_epoch > 0 else None
                graphs = _ShippedGraphs(
                    fine_tuner.shipped_backbone_graph(), fine_tuner.head_graph(), taught
                )
        else:
            classical = _fit_classical(stage, pretrained, runtime)
            graphs = _ShippedGraphs(pretrained.graph(EMBEDDING), classical.graph, stage)
            notes.append(classical.note)
        history += rows
        on_stage(stage.name, _trained_model(pretrained, graphs, name, rows, notes[-1:]))
        runtime.stop_signal.raise_if_requested()
    assert graphs is not None
    trained = _trained_model(pretrained, graphs, name, history, notes)
    return replace(trained, symmetry=symmetry, best_epochs=best_epochs)


def _trained_model(
    pretrained: PretrainedBackbone,
    graphs: _ShippedGraphs,
    name: str,
    history: list[EpochMetrics],
    notes: list[str],
) -> TrainedModel:
    manifest = _manifest(pretrained, graphs, name)
    return TrainedModel(graphs.backbone, graphs.head, manifest, pretrained.recipe, history, notes)


def _fit_linear(stage: LinearStage, pretrained: PretrainedBackbone, runtime: Runtime) -> LinearHead:
    views = ViewPlan(stage.views, stage.augmentation, pretrained.recipe.seed)
    data = training_data(pretrained, runtime, views=views)
    with runtime.progress.busy(f"fitting a linear head on {pluralize(len(data), 'embedding')}"):
        return fit_linear_head(data, stage, pretrained.recipe.seed)


def _fit_whitening(
    stage: WhiteningStage, pretrained: PretrainedBackbone, runtime: Runtime
) -> EmbeddingProjection:
    dimensions = pretrained.recipe.head_spec.embedding
    assert dimensions is not None
    return fit_whitening(training_data(pretrained, runtime), dimensions, stage.shrinkage)


def _whitened_graphs(
    projection: EmbeddingProjection, pretrained: PretrainedBackbone, stage: Stage
) -> _ShippedGraphs:
    backbone = append_projection(
        pretrained.graph(EMBEDDING), projection.weight_ED, projection.bias_E
    )
    head = export_cosine_head(projection.directions_CE, pretrained.recipe.head_spec.scale)
    return _ShippedGraphs(backbone, head, stage)


def _fit_classical(
    stage: SvmStage | ForestStage, pretrained: PretrainedBackbone, runtime: Runtime
) -> ClassicalHead:
    data = training_data(pretrained, runtime)
    with runtime.progress.busy(f"fitting {stage.method} on {pluralize(len(data), 'embedding')}"):
        return fit_classical_head(data, stage, pretrained.recipe.seed)


def training_data(
    pretrained: PretrainedBackbone,
    runtime: Runtime,
    part: Part = "train",
    views: ViewPlan = SINGLE_VIEW,
) -> TrainingData:
    """The embeddings of the training images in all their views, or of another part.

    They are kept from an earlier training.
    """
    index, targets_N, weights_N = targets_and_weights(pretrained, part)
    what = "training" if part == "train" else "validation"
    with runtime.progress.bar(f"embedding {what} images") as update:
        kept = cache_features(
            pretrained.feature_extractor(EMBEDDING, runtime.device),
            pretrained.recipe.preprocessing,
            index,
            views,
            on_progress=update,
        )
    data = TrainingData(
        kept.first_view(), targets_N, weights_N.astype(np.float64),
        atomic_group_names(index.table, pretrained.copies), len(index.classes),
    )  # fmt: skip
    if views.count == 1:
        return data
    rows = range(len(data))
    return data.of_views(
        np.stack([kept.batch(rows, [view] * len(data)) for view in range(views.count)], axis=1)
    )


def _best_epoch_note(stage: GradientStage, ended: StageResult) -> str:
    """Which epoch ships and why; where an untrained network was as good, that is said too."""
    best, initial = ended.rows[ended.best_epoch], ended.rows[0]
    if math.isnan(best.val_loss):
        return f"{stage.name}: epoch {best.epoch} ships, the last one: no image validated it"
    kept = "lowest validation loss"
    if stage.keep_best_by == "val_accuracy":
        kept = "highest validation accuracy"
    if best.epoch == 0:
        return f"{stage.name}: what it started from had the {kept} of all epochs and ships"
    said = f"{stage.name}: epoch {best.epoch} of {stage.epochs} had the {kept} and ships"
    if math.isnan(initial.val_loss) or is_better(best, initial, stage):
        return said
    return (
        f"{said}, though validation was no worse before training: it has learnt nothing that "
        "carries over. Try another learning rate, more epochs or pretrained weights"
    )


def _output_size(graph: bytes, output: str) -> tuple[int, ...]:
    """The shape of a graph's output without the batch; empty where it has no such output."""
    shapes = {one.name: one.shape for one in open_session(graph).get_outputs()}
    return tuple(int(size) for size in shapes.get(output, [0])[1:])


def _manifest(pretrained: PretrainedBackbone, graphs: _ShippedGraphs, name: str) -> Manifest:
    row = architecture(pretrained.recipe.model)
    (size,) = _output_size(graphs.backbone, EMBEDDING)
    feature_map = _output_size(graphs.backbone, FEATURE_MAP)
    cells = (feature_map[1], feature_map[2]) if len(feature_map) == 3 else None
    # A head can be run on a cell only where a cell is as long as an embedding.
    linear = isinstance(pretrained.recipe.stages[0], LinearStage | GradientStage) and (
        not (pretrained.recipe.head_spec.hidden or pretrained.recipe.head_spec.embedding)
    )
    cam: CamSupport = row.cam if cells and linear and feature_map[0] == size else "none"
    weights = None
    if pretrained.weights.kind != "none":
        weights = PretrainedWeights(
            pretrained.weights.kind, pretrained.weights.licence, pretrained.weights_sha256
        )
    factor_C = None
    if graphs.stage is not None:
        factor_C = class_weighting(pretrained.recipe, graphs.stage, pretrained.index)
    return Manifest(
        name=name,
        model=row.name,
        classes=pretrained.index.classes,
        preprocessing=pretrained.recipe.preprocessing,
        embedding_size=size,
        feature_map_size=cells,
        cam=cam,
        weights=weights,
        class_weights=None if factor_C is None else tuple(factor_C.tolist()),
        versions=package_versions(),
    )


def package_versions() -> dict[str, str]:
    """The versions of what makes a bundle, without importing any of it."""
    names = (
        "holotype", "onnx", "onnxruntime", "numpy", "pillow", "scikit-learn", "skl2onnx", "torch",
        "torchvision", "timm",
    )  # fmt: skip
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _fine_tuner(
    pretrained: PretrainedBackbone,
    runtime: Runtime,
    fitted: LinearHead | EmbeddingProjection | None,
) -> "FineTuner":
    from holotype.training.finetuning.finetune import FineTuner

    return FineTuner.create(pretrained, runtime, fitted)
