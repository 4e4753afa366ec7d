"""The one visible training loop.

The network above a cut learns on activations below it. All that changes from epoch to epoch is in
one value, `LoopState`; all that is random comes from (seed, stage, epoch, step), so a training
that goes on from a state ends with the same bits as one that was never interrupted.
"""

import copy
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, cast

from holotype.architectures.torch_classifier import AUXILIARY_LOSS_WEIGHT, Classifier, last_linear
from holotype.errors import Terminated, TrainingDiverged
from holotype.progress import ProgressCallback
from holotype.training.config.stage_config import GradientStage
from holotype.training.data.loader import (
    LabelledBatch,
    LabelledViews,
    num_batches,
    training_batches,
    validation_batches,
)
from holotype.training.data.mixup import batch_mixing
from holotype.training.features.device import memory_mb, utilisation
from holotype.training.finetuning.accelerator import (
    load_scaler_state,
    make_accelerator,
    scaler_state,
)
from holotype.training.finetuning.early_stopping import (
    is_better,
    monitored_value,
    patience_exhausted,
)
from holotype.training.finetuning.optimisers import make_optimiser
from holotype.training.finetuning.schedules import Schedule
from holotype.training.finetuning.trainable_layers import LayerSelection
from holotype.training.finetuning.trainable_part import TrainablePart
from holotype.training.finetuning.training_state import EpochMetrics, LoopState, StageResult
from holotype.training.interruption import StopSignal

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn
    from torch.optim import Optimizer


OnEpoch = Callable[[EpochMetrics], None]
OnCheckpoint = Callable[[LoopState], None]


def train_loop(
    classifier: "Classifier",
    selection: LayerSelection,
    stage: GradientStage,
    train: LabelledViews,
    validation: LabelledViews | None,
    *,
    seed: int,
    number: int = 0,
    head_is_trained: bool = True,
    device: str = "cpu",
    save_memory: bool = False,
    on_epoch: OnEpoch = lambda epoch: None,
    on_step: ProgressCallback = lambda done, total: None,
    on_checkpoint: OnCheckpoint = lambda state: None,
    resume: LoopState | None = None,
    stop_signal: StopSignal | None = None,
) -> StageResult:
    """Train what is chosen; the classifier ends with the weights of its best epoch.

    The best epoch is the one with the lowest validation loss (or the highest accuracy, if the
    stage says so), epoch 0 included: a network that fine-tuning made worse ends as it began. One
    that begins untrained does not: what it began with is no candidate. Without validation
    images the last epoch ships.

    Args:
        selection: what trains, and the cut that `train` and `validation` were computed at.
        number: of the stage in its recipe.
        head_is_trained: whether anything has taught the head before; else its numbers are random.
        save_memory: compute activations twice instead of holding them.
        on_checkpoint: is handed the state after every epoch, epoch 0 too, and when `stop_signal`
            wants one.
        resume: the state to go on from.
        stop_signal: says after every step whether a state is due, and whether to stop.

    Raises:
        TrainingDiverged: a loss that is not a finite number.
        Terminated: the process was told to stop; the state was handed out before.
    """
    run = _set_up(classifier, selection, stage, len(train.targets_N), device, save_memory, resume)
    mixing = batch_mixing(stage.mixup, stage.cutmix, run.num_classes)
    stop_signal = stop_signal or StopSignal()
    try:
        state = resume
        if state is None:
            initial = _validate(run, validation, 0, math.nan)
            on_epoch(initial)
            state = _state_after_epoch(run, initial, None, validated=validation is not None)
            on_checkpoint(state)
        for epoch in range(state.epoch + 1, stage.epochs + 1):
            if patience_exhausted(state, stage):
                break
            batches = training_batches(
                train, views=stage.views, batch_size=stage.batch_size, seed=seed, epoch=epoch,
                mixing=mixing, balanced=stage.sampling == "balanced",
                skip_batches=state.step * run.batches_per_step,
            )  # fmt: skip
            _seed_torch(seed, number, epoch, state.rng_state)
            run.prepared.train()
            total = state.loss_sum
            with closing(cast("Generator[LabelledBatch]", batches)), stop_signal.deferred():
                for step, micro_batches in enumerate(
                    _micro_batches(run, batches), start=state.step
                ):
                    at = (epoch - 1) * run.steps_per_epoch + step
                    total += _optimiser_step(run, micro_batches, at, epoch)
                    on_step(at + 1, stage.epochs * run.steps_per_epoch)
                    if stop_signal.checkpoint_is_due() or stop_signal.stop_requested:
                        on_checkpoint(_state_mid_epoch(run, state, step + 1, total))
                    if stop_signal.stop_requested:
                        raise _terminated(stage, epoch, step + 1, run.steps_per_epoch)
            now = _validate(run, validation, epoch, total / run.steps_per_epoch)
            run.schedule.after_epoch(now.val_loss)
            on_epoch(now)
            can_be_best = validation is not None and (head_is_trained or epoch > 1)
            state = _state_after_epoch(run, now, state, validated=can_be_best)
            on_checkpoint(state)
        run.module.load_trainable_state(state.best_trainable_state)
    finally:
        run.module.release()
    return StageResult(stage.name, state.best_metrics.epoch, state.rows)


@dataclass(frozen=True, eq=False)
class _TrainingRun:
    """What a training holds: the module, the optimiser, the schedule.

    Attributes:
        module: the module itself.
        prepared: the same as accelerate hands it out, with its precision and processes.
        num_classes: logits of the head.
        num_trainable_parameters: how many numbers train.
    """

    stage: GradientStage
    accelerator: "Accelerator"
    module: "TrainablePart"
    prepared: "nn.Module"
    optimiser: "Optimizer"
    schedule: Schedule
    num_classes: int
    num_trainable_parameters: int

    @property
    def steps_per_epoch(self) -> int:
        return self.schedule.steps_per_epoch

    @property
    def batches_per_step(self) -> int:
        """Of all processes together."""
        return self.stage.accumulation * int(self.accelerator.num_processes)


def _set_up(
    classifier: "Classifier",
    selection: LayerSelection,
    stage: GradientStage,
    images: int,
    device: str,
    save_memory: bool,
    resume: LoopState | None,
) -> _TrainingRun:
    import torch

    accelerator = make_accelerator(device, stage.precision)
    train_batch_norm = stage.batch_norm == "train"
    module = TrainablePart(
        classifier, selection, train_batch_norm=train_batch_norm, save_memory=save_memory
    )
    module.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = make_optimiser(classifier, selection, stage)
    # Every process takes as many batches, or the others would wait for it.
    batches = max(1, num_batches(images, stage.batch_size) // accelerator.num_processes)
    schedule = Schedule(stage, -(-batches // stage.accumulation))
    if resume is not None:
        module.load_trainable_state(resume.trainable_state)
        optimiser.load_state_dict(copy.deepcopy(resume.optimiser))
        schedule.load_state_dict(resume.schedule)
        load_scaler_state(accelerator, resume.schedule)
    prepared, optimiser = accelerator.prepare(module, optimiser)
    size = sum(p.numel() for p in module.trainable_parameters)
    classes = last_linear(classifier.head).out_features
    return _TrainingRun(stage, accelerator, module, prepared, optimiser, schedule, classes, size)


def _seed_torch(seed: int, stage: int, epoch: int, rng_state: "Tensor | None") -> None:
    """What dropout draws is decided by these numbers, or by a state within the epoch."""
    import numpy as np
    import torch

    sequence = np.random.SeedSequence((seed, stage, epoch))
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
    if rng_state is not None:
        torch.set_rng_state(rng_state)


def _micro_batches(
    run: _TrainingRun, batches: Iterator[LabelledBatch]
) -> Iterator[list[LabelledBatch]]:
    """The batches of this process, as many together as make one step."""
    accelerator = run.accelerator
    own = islice(batches, accelerator.process_index, None, accelerator.num_processes)
    for _ in range(run.steps_per_epoch):
        if micro_batches := list(islice(own, run.stage.accumulation)):
            yield micro_batches


def _optimiser_step(
    run: _TrainingRun, micro_batches: list[LabelledBatch], at: int, epoch: int
) -> float:
    """One step of the optimiser; the loss of several batches is that of one large one.

    Args:
        at: the number of the step in the whole stage.
    """
    factor = run.schedule.factor(at)
    for group in run.optimiser.param_groups:
        group["lr"] = group["peak_learning_rate"] * factor
    weight = sum(float(batch.weights.sum()) for batch in micro_batches)
    total = 0.0
    for number, batch in enumerate(micro_batches):
        loss = _loss(run, batch) / weight
        if number == 0 and run.stage.l2:
            loss = loss + run.stage.l2 * run.module.l2_penalty()
        run.accelerator.backward(loss)
        total += float(loss.detach())
    _require_finite(total, run.stage, epoch)
    if run.stage.clip_norm is not None:
        run.accelerator.clip_grad_norm_(run.module.trainable_parameters, run.stage.clip_norm)
    run.optimiser.step()
    run.optimiser.zero_grad()
    return total


def _loss(run: _TrainingRun, batch: LabelledBatch) -> "Tensor":
    """The sum of weighted cross-entropies (label smoothing: Szegedy et al. 2016).

    Those of auxiliary classifiers are added at their weight (Szegedy et al. 2015).
    """
    import torch

    inputs, targets, weights = _on_device(run.accelerator, batch)
    logits, others = run.prepared(inputs)
    smoothing = run.stage.label_smoothing

    def summed(logits: "Tensor") -> "Tensor":
        each = torch.nn.functional.cross_entropy(
            logits.float(), targets, label_smoothing=smoothing, reduction="none"
        )
        return (each * weights).sum()

    loss = summed(logits)
    for other in others:
        loss = loss + AUXILIARY_LOSS_WEIGHT * summed(other)
    return loss


def _on_device(accelerator: "Accelerator", batch: LabelledBatch) -> "tuple[Tensor, Tensor, Tensor]":
    import torch

    device = accelerator.device
    inputs = batch.inputs.to(device).float()
    if inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return inputs, batch.targets.to(device), batch.weights.to(device)


def _require_finite(loss: float, stage: GradientStage, epoch: int) -> None:
    if not math.isfinite(loss):
        rate = stage.learning_rate or stage.head_learning_rate
        raise TrainingDiverged(
            f"stage {stage.name!r}, epoch {epoch}: the loss is {loss}. The learning rate "
            f"{rate:g} is likely too high: try `--learning-rate {rate / 10:g}`."
        )


def _validate(
    run: _TrainingRun, validation: LabelledViews | None, epoch: int, train_loss: float
) -> EpochMetrics:
    """Log loss and accuracy on validation, both weighted."""
    import torch

    stage = run.stage
    loss = right = weight = 0.0
    run.prepared.eval()
    with torch.no_grad():
        for batch in validation_batches(validation, stage.batch_size) if validation else ():
            inputs, targets, weights = _on_device(run.accelerator, batch)
            logits = run.prepared(inputs)[0].float()
            each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
            loss += float((each * weights).sum())
            right += float(((logits.argmax(dim=1) == targets) * weights).sum())
            weight += float(weights.sum())
    peak = stage.learning_rate or stage.head_learning_rate
    return EpochMetrics(
        stage=stage.name,
        epoch=epoch,
        train_loss=train_loss,
        val_loss=loss / weight if validation else math.nan,
        val_accuracy=right / weight if validation else math.nan,
        learning_rate=peak * run.schedule.factor(epoch * run.steps_per_epoch - 1) if epoch else 0.0,
        num_trainable_parameters=run.num_trainable_parameters,
        device_memory_mb=memory_mb(run.accelerator.device.type),
        device_utilisation=utilisation(run.accelerator.device.type),
    )


def _state_after_epoch(
    run: _TrainingRun, now: EpochMetrics, before: LoopState | None, *, validated: bool
) -> LoopState:
    """Everything that moved, and what is best so far."""
    moved = run.module.trainable_state()
    is_best = before is None or not validated or is_better(now, before.best_metrics, run.stage)
    # Counted from the first trained epoch: those are often worse than epoch 0 for a while.
    reached = monitored_value(now, run.stage) if now.epoch else math.inf
    gains = before is None or not validated or reached < before.lowest_monitored
    return LoopState(
        epoch=now.epoch,
        trainable_state=moved,
        optimiser=copy.deepcopy(run.optimiser.state_dict()),
        schedule={**run.schedule.state_dict(), **scaler_state(run.accelerator)},
        best_metrics=now if before is None or is_best else before.best_metrics,
        best_trainable_state=moved if before is None or is_best else before.best_trainable_state,
        lowest_monitored=reached if before is None or gains else before.lowest_monitored,
        last_improved_epoch=now.epoch if before is None or gains else before.last_improved_epoch,
        rows=[*(before.rows if before else []), now],
    )


def _state_mid_epoch(run: _TrainingRun, before: LoopState, step: int, total: float) -> LoopState:
    """Everything that moved since the last epoch; what is best is judged after this one."""
    import torch

    return replace(
        before,
        trainable_state=run.module.trainable_state(),
        optimiser=copy.deepcopy(run.optimiser.state_dict()),
        schedule={**run.schedule.state_dict(), **scaler_state(run.accelerator)},
        step=step,
        loss_sum=total,
        rng_state=torch.get_rng_state(),
    )


def _terminated(stage: GradientStage, epoch: int, step: int, steps: int) -> Terminated:
    return Terminated(
        f"told to stop (SIGTERM) after step {step} of {steps} of epoch {epoch} of stage "
        f"{stage.name!r}; the state is written. The same command with --output RUN --resume "
        "goes on."
    )
