"""The training loop of a gradient stage.

The network above a cut trains on the activations at that cut. All that changes from epoch to epoch
is in one value, `LoopState`; all that is random comes from (seed, stage, epoch, step), so a
training that resumes from a state ends with the same bits as one that was never interrupted.
"""

import copy
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from holotype.architectures.torch_classifier import (
    AUXILIARY_LOSS_WEIGHT,
    TorchClassifier,
    last_linear,
)
from holotype.errors import Terminated, TrainingDiverged
from holotype.progress import ProgressCallback
from holotype.training.config.stage_config import GradientStage
from holotype.training.data.loader import (
    BatchOptions,
    LabelledBatch,
    num_batches,
    training_batches,
    validation_batches,
)
from holotype.training.data.mixup import batch_mixing
from holotype.training.epoch_metrics import EpochMetrics
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
from holotype.training.finetuning.layer_selection import LayerSelection
from holotype.training.finetuning.optimisers import make_optimiser
from holotype.training.finetuning.partly_frozen_classifier import TrainablePart
from holotype.training.finetuning.schedules import Schedule
from holotype.training.finetuning.training_state import (
    LoopState,
    StageData,
    StageResult,
    StageStart,
)
from holotype.training.interruption import StopSignal
from holotype.training.training_resources import Runtime


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


def train_loop(
    classifier: TorchClassifier,
    selection: LayerSelection,
    stage: GradientStage,
    data: StageData,
    start: StageStart,
    runtime: Runtime,
    callbacks: Callbacks = Callbacks(),
) -> StageResult:
    """Train the selected layers; the classifier ends with the weights of its best epoch.

    The best epoch is the one with the lowest validation loss, or the highest accuracy where the
    stage says so. Epoch 0, the network before the first step, is a candidate unless its head has
    random weights. Without validation images the last epoch is the best.

    Args:
        selection: what trains, and the cut at which `data` was computed.

    Raises:
        TrainingDiverged: a loss that is not a finite number.
        Terminated: the process was told to stop; `on_checkpoint` was called with the state before.
    """
    run = _set_up(classifier, selection, stage, data, start, runtime, callbacks)
    try:
        state = start.resume or _initial_state(run)
        while state.epoch < stage.epochs and not patience_exhausted(state, stage):
            state = _train_epoch(run, state)
        run.module.load_trainable_state(state.best_trainable_state)
    finally:
        run.module.release()
    return StageResult(stage.name, state.best_metrics.epoch, state.rows)


@dataclass(frozen=True, eq=False)
class _TrainingRun:
    """What a stage trains with.

    Attributes:
        module: the module itself.
        prepared: the same as accelerate returns it, with its precision and processes.
        num_classes: logits of the head.
        num_trainable_parameters: weights and biases that train.
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

    @property
    def steps_per_epoch(self) -> int:
        return self.schedule.steps_per_epoch

    @property
    def batches_per_step(self) -> int:
        """Of all processes together."""
        return self.stage.accumulation * int(self.accelerator.num_processes)

    def batches(self, epoch: int, skip_batches: int) -> Generator[LabelledBatch]:
        """The batches of all processes."""
        stage = self.stage
        options = BatchOptions(
            stage.views, stage.batch_size, self.start.seed, stage.sampling == "balanced",
            batch_mixing(stage.mixup, stage.cutmix, self.num_classes),
        )  # fmt: skip
        return training_batches(self.data.train, options, epoch, skip_batches)


def _set_up(
    classifier: TorchClassifier,
    selection: LayerSelection,
    stage: GradientStage,
    data: StageData,
    start: StageStart,
    runtime: Runtime,
    callbacks: Callbacks,
) -> _TrainingRun:
    accelerator = make_accelerator(runtime.device, stage.precision)
    module = TrainablePart(
        classifier, selection,
        train_batch_norm=stage.batch_norm == "train", save_memory=runtime.save_memory,
    )  # fmt: skip
    module.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = make_optimiser(classifier, selection, stage)
    # Every process takes the same number of batches, or the others would wait for it.
    images = len(data.train.targets_N)
    batches = max(1, num_batches(images, stage.batch_size) // accelerator.num_processes)
    schedule = Schedule(stage, -(-batches // stage.accumulation))
    if start.resume is not None:
        module.load_trainable_state(start.resume.trainable_state)
        optimiser.load_state_dict(copy.deepcopy(start.resume.optimiser))
        schedule.load_state_dict(start.resume.schedule)
        load_scaler_state(accelerator, start.resume.schedule)
    prepared, optimiser = accelerator.prepare(module, optimiser)
    return _TrainingRun(
        stage, data, start, callbacks, runtime.stop_signal, accelerator, module, prepared,
        optimiser, schedule, last_linear(classifier.head).out_features,
        sum(p.numel() for p in module.trainable_parameters),
    )  # fmt: skip


def _initial_state(run: _TrainingRun) -> LoopState:
    """Epoch 0: the network before the first step."""
    metrics = _validate(run, 0, math.nan)
    weights = run.module.trainable_state()
    state = LoopState(
        epoch=0,
        trainable_state=weights,
        optimiser=copy.deepcopy(run.optimiser.state_dict()),
        schedule=_schedule_state(run),
        best_metrics=metrics,
        best_trainable_state=weights,
        # Counted from the first trained epoch: those are often worse than epoch 0 for a while.
        lowest_monitored=math.inf,
        last_improved_epoch=0,
        rows=[metrics],
    )
    _end_epoch(run, state)
    return state


def _end_epoch(run: _TrainingRun, state: LoopState) -> None:
    """Write the state, then tell the metrics; both are safe before the process stops."""
    run.callbacks.on_checkpoint(state)
    run.callbacks.on_epoch(state.rows[-1])
    run.stop_signal.raise_if_requested()


def _train_epoch(run: _TrainingRun, before: LoopState) -> LoopState:
    """The state after one more epoch, or after the rest of one that was interrupted."""
    epoch, steps, stop_signal = before.epoch + 1, run.steps_per_epoch, run.stop_signal
    batches = run.batches(epoch, before.step * run.batches_per_step)
    _seed_torch(run.start, epoch, before.rng_state)
    run.prepared.train()
    total = before.loss_sum
    stop_signal.restart_interval()
    with closing(batches):
        for step, micro_batches in enumerate(_micro_batches(run, batches), start=before.step):
            at = (epoch - 1) * steps + step
            total += _optimiser_step(run, micro_batches, at, epoch)
            if stop_signal.checkpoint_is_due() or stop_signal.stop_requested:
                run.callbacks.on_checkpoint(_state_within_epoch(run, before, step + 1, total))
            if stop_signal.stop_requested:
                raise _terminated(run.stage, epoch, step + 1, steps)
            run.callbacks.on_step(at + 1, run.stage.epochs * steps)
    metrics = _validate(run, epoch, total / steps)
    run.schedule.after_epoch(metrics.val_loss)
    state = _state_after_epoch(run, before, metrics)
    _end_epoch(run, state)
    return state


def _seed_torch(start: StageStart, epoch: int, rng_state: Tensor | None) -> None:
    """Seed dropout by these numbers, or by the state within an epoch."""
    sequence = np.random.SeedSequence((start.seed, start.number, epoch))
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
    if rng_state is not None:
        torch.set_rng_state(rng_state)


def _micro_batches(
    run: _TrainingRun, batches: Iterator[LabelledBatch]
) -> Iterator[list[LabelledBatch]]:
    """The batches of this process, grouped by steps of the optimiser."""
    accelerator = run.accelerator
    own = islice(batches, accelerator.process_index, None, accelerator.num_processes)
    for _ in range(run.steps_per_epoch):
        if micro_batches := list(islice(own, run.stage.accumulation)):
            yield micro_batches


def _optimiser_step(
    run: _TrainingRun, micro_batches: list[LabelledBatch], at: int, epoch: int
) -> float:
    """One step of the optimiser; returns its loss, that of all its batches as one.

    Args:
        at: the step, counted from 0 over the whole stage.
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


def _loss(run: _TrainingRun, batch: LabelledBatch) -> Tensor:
    """The sum of weighted cross-entropies (label smoothing: Szegedy et al. 2016).

    Those of auxiliary classifiers are added with their weight (Szegedy et al. 2015).
    """
    inputs, targets, weights = _on_device(run.accelerator, batch)
    logits, others = run.prepared(inputs)
    smoothing = run.stage.label_smoothing

    def summed(logits: Tensor) -> Tensor:
        each = torch.nn.functional.cross_entropy(
            logits.float(), targets, label_smoothing=smoothing, reduction="none"
        )
        return (each * weights).sum()

    loss = summed(logits)
    for other in others:
        loss = loss + AUXILIARY_LOSS_WEIGHT * summed(other)
    return loss


def _on_device(accelerator: Accelerator, batch: LabelledBatch) -> tuple[Tensor, Tensor, Tensor]:
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


def _validate(run: _TrainingRun, epoch: int, train_loss: float) -> EpochMetrics:
    """Log loss and accuracy on validation, both weighted; nan without validation images."""
    stage, validation = run.stage, run.data.validation
    loss = correct = weight = 0.0
    run.prepared.eval()
    with torch.no_grad():
        for batch in validation_batches(validation, stage.batch_size) if validation else ():
            inputs, targets, weights = _on_device(run.accelerator, batch)
            logits = run.prepared(inputs)[0].float()
            each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
            loss += float((each * weights).sum())
            correct += float(((logits.argmax(dim=1) == targets) * weights).sum())
            weight += float(weights.sum())
    peak = stage.learning_rate or stage.head_learning_rate
    return EpochMetrics(
        stage=stage.name,
        epoch=epoch,
        train_loss=train_loss,
        val_loss=loss / weight if validation else math.nan,
        val_accuracy=correct / weight if validation else math.nan,
        learning_rate=peak * run.schedule.factor(epoch * run.steps_per_epoch - 1) if epoch else 0.0,
        num_trainable_parameters=run.num_trainable_parameters,
        device_memory_mb=memory_mb(run.accelerator.device.type),
        device_utilisation=utilisation(run.accelerator.device.type),
    )


def _schedule_state(run: _TrainingRun) -> dict[str, float | int]:
    return {**run.schedule.state_dict(), **scaler_state(run.accelerator)}


def _state_within_epoch(run: _TrainingRun, before: LoopState, step: int, total: float) -> LoopState:
    """What changed since the last epoch, after some steps of the next."""
    return replace(
        before,
        trainable_state=run.module.trainable_state(),
        optimiser=copy.deepcopy(run.optimiser.state_dict()),
        schedule=_schedule_state(run),
        step=step,
        loss_sum=total,
        rng_state=torch.get_rng_state(),
    )


def _state_after_epoch(run: _TrainingRun, before: LoopState, metrics: EpochMetrics) -> LoopState:
    """What changed in an epoch, and whether it is the best so far."""
    state = replace(
        _state_within_epoch(run, before, 0, 0.0),
        epoch=metrics.epoch,
        rows=[*before.rows, metrics],
        rng_state=None,
    )
    # The first trained epoch is always better than a head of random weights.
    is_first = metrics.epoch == 1 and not run.start.head_is_trained
    unchecked = run.data.validation is None or is_first
    if unchecked or is_better(metrics, before.best_metrics, run.stage):
        state = replace(state, best_metrics=metrics, best_trainable_state=state.trainable_state)
    monitored = monitored_value(metrics, run.stage)
    if unchecked or monitored < before.lowest_monitored:
        state = replace(state, lowest_monitored=monitored, last_improved_epoch=metrics.epoch)
    return state


def _terminated(stage: GradientStage, epoch: int, step: int, steps: int) -> Terminated:
    return Terminated(
        f"told to stop (SIGTERM) after step {step} of {steps} of epoch {epoch} of stage "
        f"{stage.name!r}; the state is written. The same command with --output RUN --resume "
        "goes on."
    )
