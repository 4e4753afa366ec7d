"""Recipe + index -> classifier; only calls named steps.

Shape suffixes: N pictures, C classes, D embedding.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.graphs import open_session
from holotype.bundle.manifest import Cam, Manifest, Weights
from holotype.dataset.index import Index, Part
from holotype.models.catalog import architecture
from holotype.narration import Narrator
from holotype.training.features import keep_features
from holotype.training.head import LinearHead, fit_linear_head
from holotype.training.loader import Labelled, LiveViews
from holotype.training.loop import Epoch
from holotype.training.recipe import GradientStage, LinearStage, Recipe
from holotype.training.start import EMBEDDING, FEATURE_MAP, Start

if TYPE_CHECKING:
    from holotype.models.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Trained:
    """A classifier as it can be written, and how it came about.

    Attributes:
        backbone, head: ONNX graphs.
        manifest: everything but the decision and the hashes of files.
        history: one row per epoch of every stage that has epochs.
        notes: what the report should say about the training.
    """

    backbone: bytes
    head: bytes
    manifest: Manifest
    history: list[Epoch] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Graphs:
    backbone: bytes
    head: bytes


def train(
    recipe: Recipe, index: Index, *, name: str, checkpoints: Path, device: str, narrator: Narrator
) -> Trained:
    """Run the stages of a recipe on the training part; validation chooses, test is not touched.

    Args:
        index: split, with every broken picture taken out.
        name: what the classifier is called; the same in every run that should give the same bytes.
        checkpoints: the directory for what each stage leaves.
        device: `cpu`, `cuda` or `mps`.
    """
    start = Start(recipe, index, narrator)
    history: list[Epoch] = []
    notes: list[str] = []
    linear: LinearHead | None = None
    graphs: _Graphs | None = None
    for stage in recipe.stages:
        if isinstance(stage, LinearStage):
            linear = _train_head(stage, start, device, narrator)
            graphs = _Graphs(start.graph(EMBEDDING), _linear_graph(linear))
            notes.append(f"linear head: C = {linear.strength:g} by cross-validation")
        else:
            classifier = _classifier(start, linear)
            best = _train_top(stage, start, classifier, checkpoints, device, narrator, history)
            notes.append(_which_ships(stage, best))
            if best > 0 or graphs is None:
                graphs = _export(classifier, start, narrator)
    assert graphs is not None
    return Trained(graphs.backbone, graphs.head, _manifest(start, graphs, name), history, notes)


def _labels(start: Start, part: Part) -> tuple[Index, NDArray[np.int64], NDArray[np.float32]]:
    """A part of the index, its class numbers, and what each picture weighs in the loss."""
    index = start.index.part(part)
    number = {label: n for n, label in enumerate(index.classes)}
    targets_N = np.array([number[label] for label in index.table["label"]], np.int64)
    weights_N = np.array(index.table["weight"], np.float64)
    if start.recipe.class_weights == "balanced" and part == "train":
        of_class_C = np.bincount(targets_N, weights_N, minlength=len(number))
        present = np.count_nonzero(of_class_C)
        weights_N = weights_N * weights_N.sum() / (present * of_class_C[targets_N])
    return index, targets_N, weights_N.astype(np.float32)


def _train_head(stage: LinearStage, start: Start, device: str, narrator: Narrator) -> LinearHead:
    index, targets_N, weights_N = _labels(start, "train")
    with narrator.progress("embedding training pictures") as progress:
        kept = keep_features(
            start.frozen_part(EMBEDDING, device), start.recipe.preprocessing, index,
            on_progress=progress,
        )  # fmt: skip
    narrator.say(f"fitting a linear head on {len(index):,} embeddings")
    return fit_linear_head(
        kept.first_view(), targets_N, weights_N.astype(np.float64), index.table["group"].tolist(),
        num_classes=len(index.classes), strengths=stage.strengths, folds=stage.folds,
        seed=start.recipe.seed,
    )  # fmt: skip


def _linear_graph(head: LinearHead) -> bytes:
    from holotype.models.export import export_linear_head

    return export_linear_head(head.weight_CD, head.bias_C)


def _classifier(start: Start, linear: LinearHead | None) -> "Classifier":
    """The network in torch; its head is the linear solution where there is one."""
    import torch

    from holotype.models.classifier import Classifier

    (size,) = _output_size(start.graph(EMBEDDING), EMBEDDING)
    torch.manual_seed(start.recipe.seed)
    classifier = Classifier(start.backbone, size, len(start.index.classes))
    if linear is not None:
        with torch.no_grad():
            classifier.head.weight.copy_(torch.from_numpy(linear.weight_CD))
            classifier.head.bias.copy_(torch.from_numpy(linear.bias_C))
    return classifier


def _train_top(
    stage: GradientStage,
    start: Start,
    classifier: "Classifier",
    checkpoints: Path,
    device: str,
    narrator: Narrator,
    history: list[Epoch],
) -> int:
    from holotype.training.checkpoint import write_checkpoint
    from holotype.training.groups import cut_below
    from holotype.training.loop import train_top

    cut = cut_below(classifier.backbone, stage.trainable)
    names = classifier.backbone.group_names[cut:]
    narrator.say(f"training {', '.join(names)} and the head; the rest is frozen")
    train = _views(stage, start, cut, "train", device, narrator)
    validation = _views(stage, start, cut, "val", device, narrator)
    if validation is None:
        narrator.say("no validation pictures: the last epoch ships, unchecked")

    def on_epoch(epoch: Epoch) -> None:
        history.append(epoch)
        narrator.say(
            f"{stage.name} epoch {epoch.epoch}/{stage.epochs}: training loss "
            f"{epoch.train_loss:.4f}, validation loss {epoch.val_loss:.4f}, "
            f"validation accuracy {epoch.val_accuracy:.4f}"
        )

    assert train is not None
    with narrator.progress(f"training {stage.name}") as progress:
        best = train_top(
            classifier, cut, stage, train, validation, seed=start.recipe.seed, device=device,
            on_epoch=on_epoch, on_step=progress,
        )  # fmt: skip
    write_checkpoint(classifier, checkpoints, stage.name)
    return best


def _views(
    stage: GradientStage, start: Start, cut: int, part: Part, device: str, narrator: Narrator
) -> Labelled | None:
    """Training pictures under all their views, others as they are; kept below the cut."""
    from holotype.models.export import cut_output

    index, targets_N, weights_N = _labels(start, part)
    if len(index) == 0:
        return None
    recipe, views = start.recipe, stage.views if part == "train" else 1
    if cut == 0:
        live = LiveViews(index, recipe.preprocessing, stage.augmentation, recipe.seed)
        return Labelled(live, targets_N, weights_N)
    with narrator.progress(f"{part} pictures through the frozen part") as progress:
        kept = keep_features(
            start.frozen_part(cut_output(cut), device), recipe.preprocessing, index,
            views=views, augmentation=stage.augmentation, seed=recipe.seed, on_progress=progress,
        )  # fmt: skip
    return Labelled(kept, targets_N, weights_N)


def _which_ships(stage: GradientStage, best: int) -> str:
    if best == 0:
        return (
            f"{stage.name}: no epoch had a lower validation loss than what it started from, "
            "which ships"
        )
    return f"{stage.name}: epoch {best} of {stage.epochs} had the lowest validation loss and ships"


def _export(classifier: "Classifier", start: Start, narrator: Narrator) -> _Graphs:
    from holotype.models.export import export_linear_head
    from holotype.training.start import PARITY_IMAGES, export_graphs, some_images

    narrator.say("exporting the trained network to ONNX")
    images = some_images(start.index, start.recipe, PARITY_IMAGES)
    backbone = export_graphs(classifier.eval().backbone, start.recipe, images, cuts=False)
    weight, bias = classifier.head.weight.detach(), classifier.head.bias.detach()
    return _Graphs(backbone[EMBEDDING], export_linear_head(weight.numpy(), bias.numpy()))


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
    cam: Cam = row.cam if cells and feature_map[0] == size else "none"
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
    from importlib.metadata import version

    names = ("holotype", "onnx", "onnxruntime", "numpy", "pillow", "scikit-learn", "torch", "timm")
    return {name: version(name) for name in names}
