"""Stages of gradient descent: one network in torch, taken further from stage to stage."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.index import Index, Part
from holotype.errors import InvalidRecipe, OutOfMemory, TrainingDiverged
from holotype.narration import Narrator
from holotype.training.augmentation import Augmentation
from holotype.training.disk import DiskBudget
from holotype.training.emphasis import inverse_frequency
from holotype.training.features import FrozenPart, features_for
from holotype.training.groups import Chosen, what_trains
from holotype.training.head import LinearHead
from holotype.training.loader import Labelled, LiveViews
from holotype.training.loop import OnStep, train_top
from holotype.training.mixing import check_mixing, mixing_of
from holotype.training.stages import GradientStage
from holotype.training.start import EMBEDDING, PARITY_IMAGES, Start, some_images
from holotype.training.state import Ended, Epoch, LoopState
from holotype.training.watch import Watch

if TYPE_CHECKING:
    from holotype.models.classifier import Classifier

HALVINGS = 3  # of the batch, before memory is given up on


@dataclass(frozen=True)
class Means:
    """What a training runs on; nothing of it changes what comes out.

    Attributes:
        device: `cpu`, `cuda` or `mps`.
        checkpoints: the directory for what each stage leaves, and goes on from.
        save_memory: activations are computed twice instead of held.
        budget: disk for kept activations; the usual one unless said otherwise.
        watch: when a state is written within an epoch, and whether to stop.
    """

    device: str
    checkpoints: Path
    narrator: Narrator
    save_memory: bool = False
    budget: DiskBudget | None = None
    watch: Watch = field(default_factory=Watch)


@dataclass(eq=False)
class Descent:
    """A classifier in torch, and how far down it was trained.

    Attributes:
        classifier: with the best weights of the stages so far.
        has_learnt: whether the head was ever taught; else its numbers are random.
        lowest: the lowest cut above which something trained; None before the first such stage.
    """

    start: Start
    means: Means
    classifier: "Classifier"
    has_learnt: bool
    lowest: int | None = field(default=None)

    @classmethod
    def begin(cls, start: Start, means: Means, linear: LinearHead | None) -> "Descent":
        """The network as it starts; its head is the linear solution where there is one.

        Else it is the head that another run left with the weights, if that knew the same classes.
        """
        import torch

        from holotype.models.classifier import Classifier, last_linear

        recipe = start.recipe
        backbone = copy.deepcopy(start.backbone)  # the start stays what its graphs say
        torch.manual_seed(recipe.seed)
        classifier = Classifier(
            backbone, start.embedding_size, len(start.index.classes), recipe.head_spec
        )
        if linear is not None:
            layer = last_linear(classifier.head)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(linear.weight_CD))
                layer.bias.copy_(torch.from_numpy(linear.bias_C))
        has_learnt = linear is not None or _take_head_that_was_left(classifier, start)
        return cls(start, means, classifier.eval(), has_learnt)

    def train(self, number: int, stage: GradientStage) -> Ended:
        """Run a stage, or take what it left when it ended before; the classifier is its best.

        Args:
            number: of the stage in the recipe.

        Raises:
            InvalidRecipe: the stage asks for something that this network does not have.
            TrainingDiverged, OutOfMemory: with advice.
        """
        from holotype.training.checkpoint import read_ended, write_ended

        chosen = what_trains(self.classifier.backbone, stage.trainable)
        ended = read_ended(self.means.checkpoints, stage.name)
        if ended is not None:
            how, weights = ended
            self.classifier.load_state_dict(weights)
            self.means.narrator.say(f"{stage.name}: ended before, epoch {how.best} ships")
        else:
            how = self._train(number, stage, chosen)
            write_ended(
                how, self.classifier.state_dict(), self.means.checkpoints,
                classes=self.start.index.classes,
            )  # fmt: skip
        self.has_learnt = True
        if chosen.cut is not None and how.best > 0:
            self.lowest = chosen.cut if self.lowest is None else min(self.lowest, chosen.cut)
        return how

    def _train(self, number: int, stage: GradientStage, chosen: Chosen) -> Ended:
        narrator, classes = self.means.narrator, len(self.start.index.classes)
        mixing = mixing_of(stage.mixup, stage.cutmix, classes)
        check_mixing(mixing, 1 if chosen.cut is None else chosen.cut)
        for line in _what_to_say(stage, chosen, self.classifier):
            narrator.say(line)
        if mixing is not None:
            narrator.say(f"{stage.name}: {mixing.said(1 if chosen.cut is None else chosen.cut)}")
        train = self._views(stage, chosen.cut, "train")
        validation = self._views(stage, chosen.cut, "val")
        assert train is not None
        _check_validation(stage, validation)
        if validation is None:
            narrator.say("no validation pictures: the last epoch ships, unchecked")
        with narrator.progress(f"training {stage.name}") as progress:
            return _while_it_fits(
                self.classifier, chosen, stage, train, validation,
                seed=self.start.recipe.seed, number=number,
                begins_trained=self.has_learnt, means=self.means, on_step=progress,
            )  # fmt: skip

    def _views(self, stage: GradientStage, cut: int | None, part: Part) -> Labelled | None:
        """Training pictures under all their views, others as they are; kept below the cut."""
        index, targets_N, weights_N = labels(self.start, part)
        if len(index) == 0:
            return None
        recipe, views = self.start.recipe, stage.views if part == "train" else 1
        if cut == 0:
            augmentation = stage.augmentation or Augmentation()
            live = LiveViews(index, recipe.preprocessing, augmentation, recipe.seed)
            return Labelled(live, targets_N, weights_N)
        frozen = self._frozen_part(cut)
        with self.means.narrator.progress(f"{part} pictures through the frozen part") as progress:
            features, line = features_for(
                frozen, recipe.preprocessing, index, views=views, seed=recipe.seed,
                augmentation=stage.augmentation, budget=self.means.budget, on_progress=progress,
            )  # fmt: skip
        if line:
            self.means.narrator.say(line)
        return Labelled(features, targets_N, weights_N)

    def few_kept(
        self,
        cut: int | None,
        few: Index,
        targets_N: NDArray[np.int64],
        weights_N: NDArray[np.float32],
    ) -> Labelled:
        """Some pictures as they are below the cut, in memory."""
        features, _ = features_for(
            self._frozen_part(cut), self.start.recipe.preprocessing, few, budget=DiskBudget(0)
        )
        return Labelled(features, targets_N, weights_N)

    def _frozen_part(self, cut: int | None) -> FrozenPart:
        """What lies below the cut: as it was in the beginning, unless a stage trained it."""
        from holotype.models.export import cut_output
        from holotype.training.start import frozen_part_of

        start, device = self.start, self.means.device
        output = EMBEDDING if cut is None else cut_output(cut)
        if self.lowest is None or (cut is not None and cut <= self.lowest):
            return start.frozen_part(output, device)
        return frozen_part_of(self.classifier.backbone, start.recipe, start.index, output, device)

    def backbone_graph(self) -> bytes:
        """The backbone as it is now; exported only where a stage moved it."""
        from holotype.training.start import export_graphs

        if self.lowest is None:
            return self.start.graph(EMBEDDING)
        self.means.narrator.say("exporting the trained network to ONNX")
        images = some_images(self.start.index, self.start.recipe, PARITY_IMAGES)
        backbone = self.classifier.eval().backbone
        return export_graphs(backbone, self.start.recipe, images, cuts=False)[EMBEDDING]

    def head_graph(self) -> bytes:
        from holotype.models.export import export_head

        return export_head(self.classifier.eval().head)


def labels(start: Start, part: Part) -> tuple[Index, NDArray[np.int64], NDArray[np.float32]]:
    """A part of the index, its class numbers, and what each picture weighs in the loss."""
    index = start.index.part(part)
    number = {label: n for n, label in enumerate(index.classes)}
    targets_N = np.array([number[label] for label in index.table["label"]], np.int64)
    weights_N = np.array(index.table["weight"], np.float64)
    if start.recipe.class_weights == "balanced" and part == "train":
        weights_N = weights_N * inverse_frequency(targets_N, weights_N, len(number))[targets_N]
    return index, targets_N, weights_N.astype(np.float32)


def _take_head_that_was_left(classifier: "Classifier", start: Start) -> bool:
    """Whether there was one that fits."""
    from holotype.models.weights import HEAD, below, left_by_stage
    from holotype.training.checkpoint import classes_of

    left, file = left_by_stage(start.weights), start.weights.file
    if left is None or file is None or classes_of(file) != start.index.classes:
        return False
    head = below(left, HEAD)
    own = classifier.head.state_dict()
    if {n: t.shape for n, t in head.items()} != {n: t.shape for n, t in own.items()}:
        return False
    classifier.head.load_state_dict(head)
    return True


def _what_to_say(stage: GradientStage, chosen: Chosen, classifier: "Classifier") -> list[str]:
    """What trains, and settings that cannot have an effect with so few epochs or such layers."""
    from holotype.models.classifier import layers_of
    from holotype.training.top import Top

    top = Top(classifier, chosen, moving_norms=stage.batch_norm == "train")
    size = sum(p.numel() for p in top.parameters_that_train)
    total = len(layers_of(classifier.backbone))
    where = "" if chosen.cut is None else f" and the head ({len(chosen.layers)} of {total} layers)"
    lines = [f"{stage.name}: training {chosen.said}{where}, {size:,} parameters"]
    if stage.batch_norm == "train" and not top.has_moving_norms:
        lines.append(f"{stage.name}: batch_norm: train has no effect: no batch norm is trained")
    # The first trained epoch always counts as a gain.
    if stage.patience is not None and stage.patience + 1 >= stage.epochs:
        lines.append(
            f"{stage.name}: patience {stage.patience} cannot fire within {stage.epochs} epochs"
        )
    if stage.plateau_patience is not None and stage.plateau_patience + 2 >= stage.epochs:
        lines.append(
            f"{stage.name}: plateau_patience {stage.plateau_patience} cannot fire within "
            f"{stage.epochs} epochs"
        )
    return lines


def _check_validation(stage: GradientStage, validation: Labelled | None) -> None:
    if stage.schedule == "plateau" and validation is None:
        raise InvalidRecipe(
            f"stage {stage.name!r}: the plateau schedule watches the validation loss, and "
            "validation has no pictures; take cosine, or change --ratios."
        )


def _while_it_fits(
    classifier: "Classifier",
    chosen: Chosen,
    stage: GradientStage,
    train: Labelled,
    validation: Labelled | None,
    *,
    seed: int,
    number: int,
    begins_trained: bool,
    means: Means,
    on_step: OnStep,
) -> Ended:
    """Train; where memory does not suffice, with batches of half the size, twice as many a step."""
    from holotype.training.accelerated import is_out_of_memory
    from holotype.training.checkpoint import read_state, state_file, write_state

    state = read_state(means.checkpoints, stage.name)

    def remember(now: LoopState) -> None:
        nonlocal state
        state = now
        write_state(now, means.checkpoints, stage.name)

    def tell(epoch: Epoch) -> None:
        means.narrator.say(
            f"{stage.name} epoch {epoch.epoch}/{stage.epochs}: training loss "
            f"{epoch.train_loss:.4f}, validation loss {epoch.val_loss:.4f}, "
            f"validation accuracy {epoch.val_accuracy:.4f}"
        )

    for halvings in range(HALVINGS + 1):
        try:
            return train_top(
                classifier, chosen, stage, train, validation, seed=seed, number=number,
                begins_trained=begins_trained, device=means.device, save_memory=means.save_memory,
                on_epoch=tell, on_step=on_step, on_state=remember, resume=state,
                watch=means.watch,
            )  # fmt: skip
        except TrainingDiverged as error:
            if state is None or state.epoch == 0:
                raise
            file = state_file(means.checkpoints, stage.name)
            raise TrainingDiverged(
                f"{error} The last good weights, of epoch {state.epoch}, are in {str(file)!r}."
            ) from None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if halvings == HALVINGS or stage.batch_size < 4:
                raise OutOfMemory(_advice(stage, means)) from None
        stage = stage.model_copy(
            update={"batch_size": stage.batch_size // 2, "accumulation": stage.accumulation * 2}
        )
        means.narrator.say(
            f"{stage.name}: out of memory; going on with batches of {stage.batch_size}, "
            f"{stage.accumulation} of them for each step"
        )
    raise AssertionError("the last attempt returns or raises")


def _advice(stage: GradientStage, means: Means) -> str:
    saving = "" if means.save_memory else ", or --save-memory"
    return (
        f"stage {stage.name!r}: out of memory on {means.device!r} with batches of "
        f"{stage.batch_size}. Try a smaller --image-size, fewer groups in `trainable`{saving}."
    )
