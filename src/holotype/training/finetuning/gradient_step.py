"""One step of the optimiser, and one pass over validation, by one process or several.

A batch is dealt out to the processes; each adds the gradients of its images, divided by the weight
of the whole batch. So the sum over the processes is the gradient of the batch, none of whose images
is doubled or left out, and the number of processes changes nothing but rounding.
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from holotype.architectures.torch_classifier import AUXILIARY_LOSS_WEIGHT
from holotype.errors import TrainingDiverged
from holotype.progress import ProgressCallback
from holotype.training.config.stage_config import GradientStage
from holotype.training.data.loader import (
    BatchOptions,
    LabelledBatch,
    LabelledViews,
    training_batches,
    validation_batches,
)
from holotype.training.data.mixup import batch_mixing
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.features.device import memory_mb, temperature, utilisation
from holotype.training.finetuning.distillation import distillation_loss
from holotype.training.finetuning.partly_frozen_classifier import TrainablePart
from holotype.training.finetuning.schedules import Schedule
from holotype.training.finetuning.training_state import (
    LoopState,
    StageData,
    StageStart,
    TrainingSums,
)
from holotype.training.interruption import StopSignal
from holotype.training.metric_learning.embedding_loss import embedding_loss
from holotype.training.metric_learning.retrieval_validation import (
    EmbeddedViews,
    retrieval_scores,
)
from holotype.training.process_group import Share, sum_gradients, sum_over_processes


@dataclass(frozen=True)
class Callbacks:
    """What is called while a stage trains.

    Attributes:
        on_epoch: with the metrics of every epoch, epoch 0 too.
        on_step: with the number of steps done, and of all.
        on_checkpoint: with the state after every epoch, epoch 0 too, and whenever the stop signal
            wants one.
    """

    on_epoch: Callable[[EpochMetrics], None] = lambda epoch: None
    on_step: ProgressCallback = lambda done, total: None
    on_checkpoint: Callable[[LoopState], None] = lambda state: None


@dataclass(frozen=True, eq=False)
class StageRun:
    """What a stage trains with.

    Attributes:
        module: the module itself.
        prepared: the same as accelerate returns it, with its precision.
        num_classes: logits of the head.
        num_trainable_parameters: weights and biases that train.
        share: the part of this process in every batch.
    """

    stage: GradientStage
    data: StageData
    start: StageStart
    callbacks: Callbacks
    stop_signal: StopSignal
    accelerator: Accelerator
    module: TrainablePart
    prepared: nn.Module
    optimiser: Optimizer
    schedule: Schedule
    num_classes: int
    num_trainable_parameters: int
    share: Share

    @cached_property
    def trained_classes(self) -> Tensor:
        """The numbers of the classes that have a training image, ascending."""
        classes = torch.from_numpy(np.unique(self.data.train.targets_N))
        return classes.to(self.accelerator.device)

    @property
    def steps_per_epoch(self) -> int:
        return self.schedule.steps_per_epoch

    def batches(self, epoch: int, skip_batches: int) -> Generator[LabelledBatch]:
        """The share of this process in every batch of an epoch."""
        stage = self.stage
        options = BatchOptions(
            stage.views, stage.batch_size, self.start.seed, stage.sampling == "balanced",
            stage.images_per_identity,
            batch_mixing(stage.mixup, stage.cutmix, self.num_classes), self.share,
        )  # fmt: skip
        return training_batches(self.data.train, options, epoch, skip_batches)


class StepSums:
    """What the steps of an epoch sum to, and whether any process was told to stop.

    On a GPU they are read one step late, so that it need not wait between two steps.

    Args:
        before: of the steps that were finished before.
    """

    def __init__(self, run: StageRun, epoch: int, before: TrainingSums) -> None:
        self._stage, self._epoch = run.stage, epoch
        self._lag = 0 if run.accelerator.device.type == "cpu" else 1
        self._unread: deque[Tensor] = deque()
        self.sums = before
        self.stop_requested = False

    def add(self, sums: Tensor) -> None:
        """Note what `optimiser_step` returned.

        Raises:
            TrainingDiverged: the loss of a step is not a finite number.
        """
        self._unread.append(sums)
        while len(self._unread) > self._lag:
            self._read()

    def read_all(self) -> None:
        """Read what is still to be read; see `add`."""
        while self._unread:
            self._read()

    def _read(self) -> None:
        loss, correct, weight, told_to_stop = self._unread.popleft().tolist()
        if not math.isfinite(loss):
            rate = self._stage.learning_rate or self._stage.head_learning_rate
            raise TrainingDiverged(
                f"stage {self._stage.name!r}, epoch {self._epoch}: the loss is {loss}. The "
                f"learning rate {rate:g} is likely too high: try `--learning-rate {rate / 10:g}`."
            )
        self.sums = self.sums.plus(loss, correct, weight)
        self.stop_requested = self.stop_requested or told_to_stop > 0


def micro_batches(run: StageRun, batches: Iterator[LabelledBatch]) -> Iterator[list[LabelledBatch]]:
    """The batches, grouped by steps of the optimiser."""
    for _ in range(run.steps_per_epoch):
        if group := list(islice(batches, run.stage.accumulation)):
            yield group


def seed_torch(run: StageRun, epoch: int, step: int) -> None:
    """Seed dropout by these numbers, so that no state of it need be kept."""
    sequence = np.random.SeedSequence(
        (run.start.seed, run.start.number, epoch, step, run.share.rank)
    )
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))


def optimiser_step(run: StageRun, group: list[LabelledBatch], at: int) -> Tensor:
    """One step of the optimiser; returns its loss, that of all its batches as one.

    Args:
        at: the step, counted from 0 over the whole stage.

    Returns:
        (4) the loss; the weight of the images that were classified correctly, and of all; the
        number of processes that were told to stop.
    """
    factor = run.schedule.factor(at)
    for parameters in run.optimiser.param_groups:
        parameters["lr"] = parameters["peak_learning_rate"] * factor
    weight = sum(batch.weight_of_all for batch in group) or 1.0  # all of weight 0: a loss of 0
    own = torch.zeros(4, device=run.accelerator.device)
    own[3] = float(run.stop_signal.stop_requested)
    for number, batch in enumerate(group):
        loss, correct_weight, own_weight = _loss(run, batch)
        loss = loss / weight
        if number == 0 and run.stage.l2 and run.share.rank == 0:
            loss = loss + run.stage.l2 * run.module.l2_penalty()
        run.accelerator.backward(loss)
        own[:3] += torch.stack([loss.detach(), correct_weight, own_weight])
    summed = sum_gradients(run.module.trainable_parameters, own, run.share)
    if run.stage.clip_norm is not None:
        run.accelerator.clip_grad_norm_(run.module.trainable_parameters, run.stage.clip_norm)
    run.optimiser.step()
    run.optimiser.zero_grad()
    return summed


def _loss(run: StageRun, batch: LabelledBatch) -> tuple[Tensor, Tensor, Tensor]:
    """The sum of weighted cross-entropies (label smoothing: Szegedy et al. 2016).

    Those of auxiliary classifiers are added with their weight (Szegedy et al. 2015).

    Returns:
        The loss, the weight of the images that are classified correctly, and of all.
    """
    inputs, targets, weights = _on_device(run.accelerator, batch)
    if run.stage.learns_embedding:
        embeddings = run.prepared(inputs)[0]
        head, classes = run.module.head, run.trained_classes
        return embedding_loss(head, run.stage, embeddings, (targets, weights), classes)
    logits, others = run.prepared(inputs)
    smoothing = run.stage.label_smoothing

    def summed(logits: Tensor) -> Tensor:
        each = torch.nn.functional.cross_entropy(
            logits.float(), targets, label_smoothing=smoothing, reduction="none"
        )
        return (each * weights).sum()

    loss = summed(logits)
    teacher = run.start.teacher
    if teacher is not None and batch.teacher is not None:
        expected = _copied(batch.teacher, run.accelerator.device)
        each = distillation_loss(logits.float(), expected, teacher.temperature)
        loss = (1 - teacher.weight) * loss + teacher.weight * (each * weights).sum()
    for other in others:
        loss = loss + AUXILIARY_LOSS_WEIGHT * summed(other)
    labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
    correct = logits.detach().argmax(dim=1) == labels
    return loss, (correct * weights).sum(), weights.sum()


def _on_device(accelerator: Accelerator, batch: LabelledBatch) -> tuple[Tensor, Tensor, Tensor]:
    device = accelerator.device
    inputs = _copied(batch.inputs, device).float()
    if inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return inputs, _copied(batch.targets, device), _copied(batch.weights, device)


def _copied(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; to a GPU from pinned memory, while it computes."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _classification_scores(run: StageRun, validation: LabelledViews) -> tuple[float, float]:
    """Log loss and accuracy, by all processes together."""
    loss = correct = weight = 0.0
    for batch in validation_batches(validation, run.stage.batch_size, run.share):
        inputs, targets, weights = _on_device(run.accelerator, batch)
        logits = run.prepared(inputs)[0].float()
        each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        loss += float((each * weights).sum())
        correct += float(((logits.argmax(dim=1) == targets) * weights).sum())
        weight += float(weights.sum())
    loss, correct, weight = sum_over_processes((loss, correct, weight), run.share)
    return loss / weight, correct / weight


def _embedded(run: StageRun, images: LabelledViews) -> EmbeddedViews:
    """The embeddings of images, each in its first view."""
    parts = []
    for batch in validation_batches(images, run.stage.batch_size):
        inputs, targets, weights = _on_device(run.accelerator, batch)
        parts.append((run.prepared(inputs)[0].float(), targets, weights))
    embeddings, targets, weights = (torch.cat(part) for part in zip(*parts, strict=True))
    assert images.encounters_N is not None
    encounters = torch.from_numpy(images.encounters_N).to(targets.device)
    return EmbeddedViews(embeddings, targets, encounters, weights)


def validate(run: StageRun, epoch: int, trained: TrainingSums) -> EpochMetrics:
    """Log loss and accuracy on validation, both weighted; nan without validation images.

    Where an embedding is learnt they are those of a search: see `retrieval_scores`.

    Args:
        trained: what the steps of the epoch sum to; nothing before the first.
    """
    stage, validation = run.stage, run.data.validation
    loss = accuracy = math.nan
    run.prepared.eval()
    with torch.no_grad():
        if validation and stage.learns_embedding:
            scores = retrieval_scores(
                _embedded(run, validation), _embedded(run, run.data.train),
                scale=run.module.head.scale,
            )  # fmt: skip
            if scores is not None:
                loss, accuracy = scores.log_loss, scores.rank_1
        elif validation:
            loss, accuracy = _classification_scores(run, validation)
    peak = stage.learning_rate or stage.head_learning_rate
    return EpochMetrics(
        stage=stage.name,
        epoch=epoch,
        train_loss=trained.loss / run.steps_per_epoch if epoch else math.nan,
        val_loss=loss,
        val_accuracy=accuracy,
        learning_rate=peak * run.schedule.factor(epoch * run.steps_per_epoch - 1) if epoch else 0.0,
        num_trainable_parameters=run.num_trainable_parameters,
        train_accuracy=trained.accuracy,
        device_memory_mb=memory_mb(run.accelerator.device.type),
        device_utilisation=utilisation(run.accelerator.device.type),
        device_temperature=temperature(run.accelerator.device.type),
    )
