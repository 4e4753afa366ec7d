"""Gradient stages: one network in torch, trained further from stage to stage."""

import copy
from dataclasses import dataclass, replace

import torch
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm

from holotype.architectures.dense_head_onnx import append_projection
from holotype.architectures.onnx_export import cut_output_name, export_head
from holotype.architectures.pretrained_weights import HEAD, read_stage_checkpoint, strip_prefix
from holotype.architectures.torch_classifier import (
    EmbeddingHead,
    TorchClassifier,
    layers_with_weights,
)
from holotype.dataset.index import Index, Part
from holotype.errors import OutOfMemory, TrainingDiverged
from holotype.progress import Progress, ProgressCallback
from holotype.training.config.augmentation_config import Augmentation
from holotype.training.config.stage_config import GradientStage
from holotype.training.data.identity_validation import validate_by_identity
from holotype.training.data.loader import (
    AugmentedImages,
    LabelledViews,
    ViewSource,
    decoding_processes,
    image_files,
)
from holotype.training.data.mixup import batch_mixing
from holotype.training.epoch_metrics import EpochMetrics, describe_epoch
from holotype.training.features.disk_budget import DiskBudget
from holotype.training.features.frozen_features import (
    FeatureExtractor,
    ViewPlan,
    cached_or_live_features,
)
from holotype.training.features.initial_backbone import (
    EMBEDDING,
    PARITY_IMAGES,
    PretrainedBackbone,
    export_graphs,
    feature_extractor_of,
    sample_inputs,
    targets_and_weights,
)
from holotype.training.finetuning.accelerator import is_out_of_memory
from holotype.training.finetuning.checkpoint import (
    checkpoint_classes,
    read_stage_result,
    read_state,
    resume_state_file,
    write_stage_result,
    write_state,
)
from holotype.training.finetuning.distillation import teacher_probabilities
from holotype.training.finetuning.follow_stages import StageTask
from holotype.training.finetuning.gradient_step import Callbacks
from holotype.training.finetuning.layer_selection import LayerSelection, select_for_stage
from holotype.training.finetuning.optimisers import parameter_groups
from holotype.training.finetuning.training_loop import train_loop
from holotype.training.finetuning.training_state import (
    LoopState,
    StageData,
    StageResult,
    StageStart,
)
from holotype.training.heads.head_weights import set_class_directions, take_over
from holotype.training.heads.logistic_regression import LinearHead
from holotype.training.heads.whitening import EmbeddingProjection
from holotype.training.process_group import send, working_together
from holotype.training.training_resources import Runtime

MAX_BATCH_HALVINGS = 3  # before OutOfMemory


@dataclass(eq=False)
class FineTuner:
    """A classifier in torch, and the lowest layer that was trained.

    Attributes:
        classifier: with the best weights of the stages so far.
        head_is_trained: whether the head was trained; else it has random weights.
        lowest_trained_cut: the lowest cut above which layers were trained; None before the first
            stage that trains any.
    """

    pretrained: PretrainedBackbone
    runtime: Runtime
    classifier: TorchClassifier
    head_is_trained: bool
    lowest_trained_cut: int | None = None

    @classmethod
    def create(
        cls,
        pretrained: PretrainedBackbone,
        runtime: Runtime,
        fitted: LinearHead | EmbeddingProjection | None,
    ) -> "FineTuner":
        """The network before its first gradient stage.

        Its head is the fitted one where there is one; else that of the run whose checkpoint the
        weights are, if it has the same classes; else random.
        """
        recipe = pretrained.recipe
        backbone = copy.deepcopy(pretrained.backbone)  # training must not change the pretrained one
        torch.manual_seed(recipe.seed)
        classifier = TorchClassifier(
            backbone, pretrained.embedding_size, len(pretrained.index.classes), recipe.head_spec
        )
        take_over(classifier.head, fitted)
        # The format of the weights decides how the exporter writes some layers, and training leaves
        # this one: without it a resumed run, which only loads the weights, exports another graph.
        classifier.to(memory_format=torch.channels_last)
        head_is_trained = fitted is not None or _load_head_for_warm_start(classifier, pretrained)
        return cls(pretrained, runtime, classifier.eval(), head_is_trained)

    def train(
        self, number: int, stage: GradientStage, last_epoch: int | None = None
    ) -> StageResult:
        """Run a stage, or read the result of a finished one; the classifier takes its best weights.

        Args:
            number: of the stage in the recipe.
            last_epoch: where to end, whatever validation says; None: as the stage says.

        Raises:
            InvalidRecipe: the network lacks the groups or layers.
            TrainingDiverged, OutOfMemory: with advice.
        """
        selection = select_for_stage(self.classifier.backbone, stage)
        finished = read_stage_result(self.runtime.checkpoints, stage.name)
        if finished is not None:
            how, weights = finished
            # What a kill between the writing of the one and the removal of the other leaves.
            resume_state_file(self.runtime.checkpoints, stage.name).unlink(missing_ok=True)
            self.classifier.load_state_dict(weights)
            self.runtime.progress.log(
                f"{stage.name}: finished before, epoch {how.best_epoch} ships"
            )
        else:
            how = self._train(number, stage, selection, last_epoch)
            write_stage_result(
                how, self.classifier.state_dict(), self.runtime.checkpoints,
                classes=self.pretrained.index.classes,
            )  # fmt: skip
        self.head_is_trained = True
        if selection.lowest is not None and how.best_epoch > 0:
            self.lowest_trained_cut = (
                selection.lowest
                if self.lowest_trained_cut is None
                else min(self.lowest_trained_cut, selection.lowest)
            )
        return how

    def _train(
        self,
        number: int,
        stage: GradientStage,
        selection: LayerSelection,
        last_epoch: int | None,
    ) -> StageResult:
        progress, cut = self.runtime.progress, selection.cut
        mixing = batch_mixing(stage.mixup, stage.cutmix, len(self.pretrained.index.classes))
        for line in _stage_messages(stage, selection, self.classifier):
            progress.log(line)
        if mixing is not None:
            progress.log(f"{stage.name}: {mixing.describe(1 if cut is None else cut)}")
        train, validation = self._inputs(stage, cut, "train"), self._inputs(stage, cut, "val")
        assert train is not None
        everyone = train
        teacher = self.pretrained.recipe.teacher
        if teacher is not None:
            progress.log(f"{stage.name}: learning from {teacher.run} too")
            answers = teacher_probabilities(teacher, self.pretrained.index.part("train"), progress)
            train = replace(train, teacher_NC=answers)
        if stage.learns_embedding:
            share = 0.0 if last_epoch is not None else stage.validation_identities or 0.0
            index, seed = self.pretrained.index, self.pretrained.recipe.seed
            train, validation, who = validate_by_identity(index, everyone, validation, share, seed)
            progress.log(f"{stage.name}: {who}")
        if validation is None and last_epoch is None:
            progress.log("no validation images: the last epoch ships, unchecked")
        start = StageStart(
            self.pretrained.recipe.seed, number, self.head_is_trained,
            resume=read_state(self.runtime.checkpoints, stage.name),
            teacher=self.pretrained.recipe.teacher, last_epoch=last_epoch,
        )  # fmt: skip
        with self._progress_of_steps.bar(f"training {stage.name}") as update:
            ended = self._train_with_smaller_batches_on_oom(
                selection, stage, StageData(train, validation), start, update
            )
        if stage.learns_embedding:
            set_class_directions(self.classifier, everyone, cut)
        return ended

    def _train_with_smaller_batches_on_oom(
        self,
        selection: LayerSelection,
        stage: GradientStage,
        data: StageData,
        start: StageStart,
        on_step: ProgressCallback,
    ) -> StageResult:
        """Train; where memory runs out, go on with batches of half the size, twice as many a step.

        Raises:
            OutOfMemory: MAX_BATCH_HALVINGS did not suffice.
            TrainingDiverged: with the file of the last finite weights.
        """
        progress, checkpoints = self.runtime.progress, self.runtime.checkpoints

        def on_checkpoint(state: LoopState) -> None:
            nonlocal start
            start = replace(start, resume=state)
            write_state(state, checkpoints, stage.name)

        def on_epoch(epoch: EpochMetrics) -> None:
            if line := describe_epoch(epoch, stage.epochs):
                self._progress_of_steps.log(line)
            self.runtime.on_epoch(epoch)

        callbacks = Callbacks(on_epoch, on_step, on_checkpoint)
        if self.runtime.share.size > 1:
            progress.log(f"{stage.name}: {self.runtime.share.size} processes train together")
            self._send_to_other_processes(selection, stage, data, start)
        for halvings in range(MAX_BATCH_HALVINGS + 1):
            try:
                with working_together(self.runtime.share):
                    return train_loop(
                        self.classifier, selection, stage, data, start, self.runtime, callbacks
                    )
            except TrainingDiverged as error:
                if start.resume is None or start.resume.epoch == 0:
                    raise
                file = resume_state_file(checkpoints, stage.name)
                raise TrainingDiverged(
                    f"{error} The last good weights, of epoch {start.resume.epoch}, are in "
                    f"{str(file)!r}."
                ) from None
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                several = self.runtime.share.size > 1  # of which another one may have had room
                if halvings == MAX_BATCH_HALVINGS or stage.batch_size < 4 or several:
                    raise OutOfMemory(_out_of_memory_advice(stage, self.runtime)) from None
            stage = stage.model_copy(
                update={"batch_size": stage.batch_size // 2, "accumulation": stage.accumulation * 2}
            )
            progress.log(
                f"{stage.name}: out of memory; going on with batches of {stage.batch_size}, "
                f"{stage.accumulation} of them for each step"
            )
        raise AssertionError("the last attempt returns or raises")

    @property
    def _progress_of_steps(self) -> Progress:
        """Several processes stop after the same step, and none of them at a line of its own."""
        progress = self.runtime.progress
        return replace(progress, check=lambda: None) if self.runtime.share.size > 1 else progress

    def _send_to_other_processes(
        self, selection: LayerSelection, stage: GradientStage, data: StageData, start: StageStart
    ) -> None:
        recipe = self.pretrained.recipe
        send(
            StageTask(
                recipe, self.pretrained.embedding_size, len(self.pretrained.index.classes),
                self.classifier.state_dict(), selection, stage, data, start,
            )
        )  # fmt: skip

    def _inputs(self, stage: GradientStage, cut: int | None, part: Part) -> LabelledViews | None:
        """Training images in all views, validation images in one; features below the cut."""
        index, targets_N, weights_N = targets_and_weights(self.pretrained, part)
        if len(index) == 0:
            return None
        if cut == 0:
            return LabelledViews(self._augmented(index, stage), targets_N, weights_N)
        recipe, views = self.pretrained.recipe, stage.views if part == "train" else 1
        frozen = self._feature_extractor(cut)
        with self.runtime.progress.bar(f"{part} images through the frozen part") as update:
            features, line = cached_or_live_features(
                frozen, recipe.preprocessing, index,
                ViewPlan(views, stage.augmentation, recipe.seed),
                budget=self.runtime.budget, on_progress=update,
            )  # fmt: skip
        if line:
            self.runtime.progress.log(line)
        return LabelledViews(features, targets_N, weights_N)

    def few_inputs(self, stage: GradientStage, cut: int | None, most: int) -> LabelledViews:
        """The first training images, or their features below the cut, which are not cached."""
        index, targets_N, weights_N = targets_and_weights(self.pretrained, "train")
        few = replace(index, table=index.table.head(most).reset_index(drop=True))
        views: ViewSource
        if cut == 0:
            views = self._augmented(few, stage)
        else:
            views, _ = cached_or_live_features(
                self._feature_extractor(cut), self.pretrained.recipe.preprocessing, few,
                budget=DiskBudget(0),
            )  # fmt: skip
        return LabelledViews(views, targets_N[:most], weights_N[:most])

    def _augmented(self, index: Index, stage: GradientStage) -> AugmentedImages:
        recipe = self.pretrained.recipe
        return AugmentedImages(
            image_files(index), recipe.preprocessing, stage.augmentation or Augmentation(),
            recipe.seed, processes=decoding_processes(self.runtime.device, self.runtime.share),
        )  # fmt: skip

    def _feature_extractor(self, cut: int | None) -> FeatureExtractor:
        """The network below the cut: the pretrained one, unless a stage has trained it."""
        pretrained, device = self.pretrained, self.runtime.device
        output = EMBEDDING if cut is None else cut_output_name(cut)
        if self.lowest_trained_cut is None or (cut is not None and cut <= self.lowest_trained_cut):
            return pretrained.feature_extractor(output, device)
        with self.runtime.progress.busy("exporting the part that is frozen now to ONNX"):
            return feature_extractor_of(
                self.classifier.backbone, pretrained.recipe, pretrained.index, output, device
            )

    def backbone_graph(self) -> bytes:
        """The graph of the backbone; exported only where a stage trained it."""
        if self.lowest_trained_cut is None:
            return self.pretrained.graph(EMBEDDING)
        images = sample_inputs(self.pretrained.index, self.pretrained.recipe, PARITY_IMAGES)
        backbone = self.classifier.eval().backbone
        with self.runtime.progress.busy("exporting the trained network to ONNX"):
            return export_graphs(backbone, self.pretrained.recipe, images, cuts=False)[EMBEDDING]

    def shipped_backbone_graph(self) -> bytes:
        """The graph of the backbone with the embedding of the head, where that embeds."""
        graph, head = self.backbone_graph(), self.classifier.head
        if not isinstance(head, EmbeddingHead):
            return graph
        layer = head.projection
        return append_projection(graph, layer.weight.detach().numpy(), layer.bias.detach().numpy())

    def head_graph(self) -> bytes:
        return export_head(self.classifier.eval().head)


def _load_head_for_warm_start(classifier: TorchClassifier, pretrained: PretrainedBackbone) -> bool:
    """Load the head of the checkpoint that the weights come from; False where none fits."""
    checkpoint, file = read_stage_checkpoint(pretrained.weights), pretrained.weights.file
    if checkpoint is None or file is None or checkpoint_classes(file) != pretrained.index.classes:
        return False
    head = strip_prefix(checkpoint, f"{HEAD}.")
    own = classifier.head.state_dict()
    if {n: t.shape for n, t in head.items()} != {n: t.shape for n, t in own.items()}:
        return False
    classifier.head.load_state_dict(head)
    return True


def _stage_messages(
    stage: GradientStage, selection: LayerSelection, classifier: TorchClassifier
) -> list[str]:
    """What trains, and settings that cannot have an effect with so few epochs or such layers."""
    groups = parameter_groups(classifier, selection, stage)
    size = sum(parameter.numel() for group in groups for parameter in group["params"])
    layers = dict(layers_with_weights(classifier.backbone))
    where = ""
    if selection.lowest is not None:
        where = f" and the head ({len(selection.layers)} of {len(layers)} layers)"
    lines = [f"{stage.name}: training {selection.description}{where}, {size:,} parameters"]
    if stage.batch_norm == "train" and not any(
        isinstance(layers[name], AnyBatchNorm) for name in selection.layers
    ):
        lines.append(f"{stage.name}: batch_norm: train has no effect: no batch norm is trained")
    if stage.cutmix is not None and stage.trainable != "all":
        lines.append(
            f"{stage.name}: CutMix cuts images, so nothing is kept of the frozen part, which every "
            "epoch computes again"
        )
    # The first trained epoch always counts as an improvement.
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


def _out_of_memory_advice(stage: GradientStage, runtime: Runtime) -> str:
    saving = "" if runtime.save_memory else ", or --save-memory"
    return (
        f"stage {stage.name!r}: out of memory on {runtime.device!r} with batches of "
        f"{stage.batch_size}. Try a smaller --image-size, fewer groups in `trainable`{saving}."
    )
