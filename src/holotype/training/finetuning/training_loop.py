"""The training loop of a gradient stage.

The network above a cut trains on the activations at that cut. All that changes from epoch to epoch
is in one value, `LoopState`; all that is random comes from (seed, stage, epoch, step), so a
training that resumes from a state ends with the same bits as one that was never interrupted.
"""

import copy
import math
from contextlib import closing
from dataclasses import replace

import torch

from holotype.architectures.torch_classifier import TorchClassifier, last_linear
from holotype.errors import InvalidRecipe, Terminated
from holotype.training.config.stage_config import GradientStage
from holotype.training.data.loader import num_batches
from holotype.training.epoch_metrics import EpochMetrics
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
from holotype.training.finetuning.gradient_step import (
    Callbacks,
    StageRun,
    StepSums,
    micro_batches,
    optimiser_step,
    seed_torch,
    validate,
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
    TrainingSums,
)
from holotype.training.training_resources import Runtime


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

    With several processes all of them call this with the same arguments; each has the same state
    after every step, and the callbacks of the first one write it.

    Raises:
        TrainingDiverged: a loss that is not a finite number.
        InvalidRecipe: more processes than a batch can be dealt out to.
        Terminated: the process was told to stop; `on_checkpoint` was called with the state before.
    """
    run = _set_up(classifier, selection, stage, data, start, runtime, callbacks)
    try:
        state = start.resume or _initial_state(run)
        last_epoch = stage.epochs if start.last_epoch is None else start.last_epoch
        while state.epoch < last_epoch and not patience_exhausted(state, stage):
            state = _train_epoch(run, state)
        run.module.load_trainable_state(state.best_trainable_state)
    finally:
        run.module.release()
    return StageResult(stage.name, state.best_metrics.epoch, state.rows)


def _set_up(
    classifier: TorchClassifier,
    selection: LayerSelection,
    stage: GradientStage,
    data: StageData,
    start: StageStart,
    runtime: Runtime,
    callbacks: Callbacks,
) -> StageRun:
    accelerator = make_accelerator(runtime.device, stage.precision)
    module = TrainablePart(
        classifier, selection,
        train_batch_norm=stage.batch_norm == "train", save_memory=runtime.save_memory,
        embeds=stage.learns_embedding, share=runtime.share,
    )  # fmt: skip
    module.zero_grad()  # an attempt that ran out of memory leaves the gradients of half a step
    module.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = make_optimiser(classifier, selection, stage)
    images = len(data.train.targets_N)
    _require_images_for_every_process(stage, images, runtime.share.size)
    batches = num_batches(images, stage.batch_size)
    schedule = Schedule(stage, -(-batches // stage.accumulation))
    if start.resume is not None:
        module.load_trainable_state(start.resume.trainable_state)
        optimiser.load_state_dict(copy.deepcopy(start.resume.optimiser))
        schedule.load_state_dict(start.resume.schedule)
        load_scaler_state(accelerator, start.resume.schedule)
    # Not as accelerate prepares it for several processes: see `gradient_step`.
    prepared = accelerator.prepare_model(module, evaluation_mode=True)
    optimiser = accelerator.prepare_optimizer(optimiser)
    return StageRun(
        stage, data, start, callbacks, runtime.stop_signal, accelerator, module, prepared,
        optimiser, schedule, last_linear(classifier.head).out_features,
        sum(p.numel() for p in module.trainable_parameters), runtime.share,
    )  # fmt: skip


def _require_images_for_every_process(stage: GradientStage, images: int, processes: int) -> None:
    """Batches have at least half their size, and each of them gives every process an image.

    Raises:
        InvalidRecipe: they cannot.
    """
    if processes > 1 and min(images, stage.batch_size // 2) < processes:
        raise InvalidRecipe(
            f"stage {stage.name!r}: batches of {stage.batch_size} of {images} images cannot be "
            f"dealt out to {processes} processes; take batches of at least {2 * processes}, or "
            "fewer processes."
        )


def _initial_state(run: StageRun) -> LoopState:
    """Epoch 0: the network before the first step."""
    metrics = validate(run, 0, TrainingSums())
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


def _end_epoch(run: StageRun, state: LoopState) -> None:
    """Write the state, then tell the metrics; both are safe before the process stops."""
    run.callbacks.on_checkpoint(state)
    run.callbacks.on_epoch(state.rows[-1])
    if run.share.size == 1:  # several stop after the same step
        run.stop_signal.raise_if_requested()


def _train_epoch(run: StageRun, before: LoopState) -> LoopState:
    """The state after one more epoch, or after the rest of one that was interrupted."""
    epoch, steps, stop_signal = before.epoch + 1, run.steps_per_epoch, run.stop_signal
    batches = run.batches(epoch, before.step * run.stage.accumulation)
    run.prepared.train()
    sums = StepSums(run, epoch, before.sums)
    stop_signal.restart_interval()
    with closing(batches):
        for step, group in enumerate(micro_batches(run, batches), start=before.step):
            at = (epoch - 1) * steps + step
            seed_torch(run, epoch, step)
            sums.add(optimiser_step(run, group, at))
            is_due = stop_signal.checkpoint_is_due()
            several = run.share.size > 1  # which stop after the same step
            stop = sums.stop_requested if several else stop_signal.stop_requested
            if is_due or stop:
                sums.read_all()
                run.callbacks.on_checkpoint(_state_within_epoch(run, before, step + 1, sums.sums))
            if stop:
                raise _terminated(run.stage, epoch, step + 1, steps)
            run.callbacks.on_step(at + 1, run.stage.epochs * steps)
    sums.read_all()
    metrics = validate(run, epoch, sums.sums)
    run.schedule.after_epoch(metrics.val_loss)
    state = _state_after_epoch(run, before, metrics)
    _end_epoch(run, state)
    return state


def _schedule_state(run: StageRun) -> dict[str, float | int]:
    return {**run.schedule.state_dict(), **scaler_state(run.accelerator)}


def _state_within_epoch(
    run: StageRun, before: LoopState, step: int, sums: TrainingSums
) -> LoopState:
    """What changed since the last epoch, after some steps of the next."""
    return replace(
        before,
        trainable_state=run.module.trainable_state(),
        optimiser=copy.deepcopy(run.optimiser.state_dict()),
        schedule=_schedule_state(run),
        step=step,
        sums=sums,
    )


def _state_after_epoch(run: StageRun, before: LoopState, metrics: EpochMetrics) -> LoopState:
    """What changed in an epoch, and whether it is the best so far."""
    state = replace(
        _state_within_epoch(run, before, 0, TrainingSums()),
        epoch=metrics.epoch,
        rows=[*before.rows, metrics],
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
