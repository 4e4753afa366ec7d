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

from holotype.errors import Terminated, TrainingDiverged
from holotype.training.groups import Chosen
from holotype.training.judgement import has_waited, is_better, what_stops
from holotype.training.loader import (
    Batch,
    Labelled,
    number_of_batches,
    training_batches,
    validation_batches,
)
from holotype.training.mixing import mixing_of
from holotype.training.schedules import Schedule
from holotype.training.stages import GradientStage
from holotype.training.state import Ended, Epoch, LoopState
from holotype.training.watch import Watch

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from holotype.models.classifier import Classifier
    from holotype.training.top import Top


OnEpoch = Callable[[Epoch], None]
OnStep = Callable[[int, int], None]  # steps done, of how many
OnState = Callable[[LoopState], None]


def train_top(
    classifier: "Classifier",
    chosen: Chosen,
    stage: GradientStage,
    train: Labelled,
    validation: Labelled | None,
    *,
    seed: int,
    number: int = 0,
    begins_trained: bool = True,
    device: str = "cpu",
    save_memory: bool = False,
    on_epoch: OnEpoch = lambda epoch: None,
    on_step: OnStep = lambda done, total: None,
    on_state: OnState = lambda state: None,
    resume: LoopState | None = None,
    watch: Watch | None = None,
) -> Ended:
    """Train what is chosen; the classifier ends with the weights of its best epoch.

    The best epoch is the one with the lowest validation loss (or the highest accuracy, if the
    stage says so), epoch 0 included: a network that fine-tuning made worse ends as it began. One
    that begins untrained does not: what it began with is no candidate. Without validation
    pictures the last epoch ships.

    Args:
        chosen: what trains, and the cut that `train` and `validation` were computed at.
        number: of the stage in its recipe.
        begins_trained: whether anything has taught the head before; else its numbers are random.
        save_memory: compute activations twice instead of holding them.
        on_state: is handed the state after every epoch, epoch 0 too, and when `watch` wants one.
        resume: the state to go on from.
        watch: says after every step whether a state is due, and whether to stop.

    Raises:
        TrainingDiverged: a loss that is not a finite number.
        Terminated: the process was told to stop; the state was handed out before.
    """
    run = _set_up(classifier, chosen, stage, len(train.targets_N), device, save_memory, resume)
    mixing = mixing_of(stage.mixup, stage.cutmix, run.num_classes)
    watch = watch or Watch()
    try:
        state = resume
        if state is None:
            begun = _look_at(run, validation, 0, math.nan)
            on_epoch(begun)
            state = _state_after(run, begun, None, validated=validation is not None)
            on_state(state)
        for epoch in range(state.epoch + 1, stage.epochs + 1):
            if has_waited(state, stage):
                break
            batches = training_batches(
                train, views=stage.views, batch_size=stage.batch_size, seed=seed, epoch=epoch,
                mixing=mixing, balanced=stage.sampling == "balanced",
                skip=state.step * run.batches_per_step,
            )  # fmt: skip
            _seed_torch(seed, number, epoch, state.random)
            run.top.train()
            total = state.total
            with closing(cast("Generator[Batch]", batches)), watch.patience():
                for step, share in enumerate(_shares(run, batches), start=state.step):
                    at = (epoch - 1) * run.steps_per_epoch + step
                    total += _step(run, share, at, epoch)
                    on_step(at + 1, stage.epochs * run.steps_per_epoch)
                    if watch.state_is_due() or watch.told_to_stop:
                        on_state(_state_within(run, state, step + 1, total))
                    if watch.told_to_stop:
                        raise _told_to_stop(stage, epoch, step + 1, run.steps_per_epoch)
            now = _look_at(run, validation, epoch, total / run.steps_per_epoch)
            run.schedule.after_epoch(now.val_loss)
            on_epoch(now)
            is_judged = validation is not None and (begins_trained or epoch > 1)
            state = _state_after(run, now, state, validated=is_judged)
            on_state(state)
        run.own.take(state.best_top)
    finally:
        run.own.leave()
    return Ended(stage.name, state.best.epoch, state.rows)


@dataclass(frozen=True, eq=False)
class _Running:
    """What a training holds: the module, the optimiser, the schedule.

    Attributes:
        own: the module itself.
        top: the same as accelerate hands it out, with its precision and processes.
        num_classes: logits of the head.
        trainable_parameters: how many numbers train.
    """

    stage: GradientStage
    accelerator: "Accelerator"
    own: "Top"
    top: "nn.Module"
    optimiser: "Optimizer"
    schedule: Schedule
    num_classes: int
    trainable_parameters: int

    @property
    def steps_per_epoch(self) -> int:
        return self.schedule.steps_per_epoch

    @property
    def batches_per_step(self) -> int:
        """Of all processes together."""
        return self.stage.accumulation * int(self.accelerator.num_processes)


def _set_up(
    classifier: "Classifier",
    chosen: Chosen,
    stage: GradientStage,
    pictures: int,
    device: str,
    save_memory: bool,
    resume: LoopState | None,
) -> _Running:
    import torch

    from holotype.models.classifier import last_linear
    from holotype.training.accelerated import accelerator_for, take_scale
    from holotype.training.optimisers import make_optimiser
    from holotype.training.top import Top

    accelerator = accelerator_for(device, stage.precision)
    moving_norms = stage.batch_norm == "train"
    own = Top(classifier, chosen, moving_norms=moving_norms, save_memory=save_memory)
    own.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = make_optimiser(classifier, chosen, stage)
    # Every process takes as many batches, or the others would wait for it.
    batches = max(1, number_of_batches(pictures, stage.batch_size) // accelerator.num_processes)
    schedule = Schedule(stage, -(-batches // stage.accumulation))
    if resume is not None:
        own.take(resume.top)
        optimiser.load_state_dict(copy.deepcopy(resume.optimiser))
        schedule.take(resume.schedule)
        take_scale(accelerator, resume.schedule)
    top, optimiser = accelerator.prepare(own, optimiser)
    size = sum(p.numel() for p in own.parameters_that_train)
    classes = last_linear(classifier.head).out_features
    return _Running(stage, accelerator, own, top, optimiser, schedule, classes, size)


def _seed_torch(seed: int, stage: int, epoch: int, random: "Tensor | None") -> None:
    """What dropout draws is decided by these numbers, or by a state within the epoch."""
    import numpy as np
    import torch

    sequence = np.random.SeedSequence((seed, stage, epoch))
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
    if random is not None:
        torch.set_rng_state(random)


def _shares(run: _Running, batches: Iterator[Batch]) -> Iterator[list[Batch]]:
    """The batches of this process, as many together as make one step."""
    accelerator = run.accelerator
    own = islice(batches, accelerator.process_index, None, accelerator.num_processes)
    for _ in range(run.steps_per_epoch):
        if share := list(islice(own, run.stage.accumulation)):
            yield share


def _step(run: _Running, share: list[Batch], at: int, epoch: int) -> float:
    """One step of the optimiser; the loss of several batches is that of one large one.

    Args:
        at: the number of the step in the whole stage.
    """
    factor = run.schedule.factor(at)
    for group in run.optimiser.param_groups:
        group["lr"] = group["peak"] * factor
    weight = sum(float(batch.weights.sum()) for batch in share)
    total = 0.0
    for number, batch in enumerate(share):
        loss = _loss(run, batch) / weight
        if number == 0 and run.stage.l2:
            loss = loss + run.stage.l2 * run.own.penalty()
        run.accelerator.backward(loss)
        total += float(loss.detach())
    _require_finite(total, run.stage, epoch)
    if run.stage.clip_norm is not None:
        run.accelerator.clip_grad_norm_(run.own.parameters_that_train, run.stage.clip_norm)
    run.optimiser.step()
    run.optimiser.zero_grad()
    return total


def _loss(run: _Running, batch: Batch) -> "Tensor":
    """The sum of weighted cross-entropies (label smoothing: Szegedy et al. 2016).

    Those of auxiliary classifiers are added at their weight (Szegedy et al. 2015).
    """
    import torch

    from holotype.models.classifier import AUXILIARY_WEIGHT

    inputs, targets, weights = _on_device(run.accelerator, batch)
    logits, others = run.top(inputs)
    smoothing = run.stage.label_smoothing

    def summed(logits: "Tensor") -> "Tensor":
        each = torch.nn.functional.cross_entropy(
            logits.float(), targets, label_smoothing=smoothing, reduction="none"
        )
        return (each * weights).sum()

    loss = summed(logits)
    for other in others:
        loss = loss + AUXILIARY_WEIGHT * summed(other)
    return loss


def _on_device(accelerator: "Accelerator", batch: Batch) -> "tuple[Tensor, Tensor, Tensor]":
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


def _look_at(run: _Running, validation: Labelled | None, epoch: int, train_loss: float) -> Epoch:
    """Log loss and accuracy on validation, both weighted."""
    import torch

    from holotype.training.device import memory_mb, utilisation

    stage = run.stage
    loss = right = weight = 0.0
    run.top.eval()
    with torch.no_grad():
        for batch in validation_batches(validation, stage.batch_size) if validation else ():
            inputs, targets, weights = _on_device(run.accelerator, batch)
            logits = run.top(inputs)[0].float()
            each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
            loss += float((each * weights).sum())
            right += float(((logits.argmax(dim=1) == targets) * weights).sum())
            weight += float(weights.sum())
    peak = stage.learning_rate or stage.head_learning_rate
    return Epoch(
        stage=stage.name,
        epoch=epoch,
        train_loss=train_loss,
        val_loss=loss / weight if validation else math.nan,
        val_accuracy=right / weight if validation else math.nan,
        learning_rate=peak * run.schedule.factor(epoch * run.steps_per_epoch - 1) if epoch else 0.0,
        trainable_parameters=run.trainable_parameters,
        device_memory_mb=memory_mb(run.accelerator.device.type),
        device_utilisation=utilisation(run.accelerator.device.type),
    )


def _state_after(
    run: _Running, now: Epoch, before: LoopState | None, *, validated: bool
) -> LoopState:
    """Everything that moved, and what is best so far."""
    from holotype.training.accelerated import scale_numbers

    moved = run.own.moving_state()
    is_best = before is None or not validated or is_better(now, before.best, run.stage)
    # Counted from the first trained epoch: those are often worse than epoch 0 for a while.
    reached = what_stops(now, run.stage) if now.epoch else math.inf
    gains = before is None or not validated or reached < before.lowest
    return LoopState(
        epoch=now.epoch,
        top=moved,
        optimiser=copy.deepcopy(run.optimiser.state_dict()),
        schedule={**run.schedule.numbers(), **scale_numbers(run.accelerator)},
        best=now if before is None or is_best else before.best,
        best_top=moved if before is None or is_best else before.best_top,
        lowest=reached if before is None or gains else before.lowest,
        last_gain=now.epoch if before is None or gains else before.last_gain,
        rows=[*(before.rows if before else []), now],
    )


def _state_within(run: _Running, before: LoopState, step: int, total: float) -> LoopState:
    """Everything that moved since the last epoch; what is best is judged after this one."""
    import torch

    from holotype.training.accelerated import scale_numbers

    return replace(
        before,
        top=run.own.moving_state(),
        optimiser=copy.deepcopy(run.optimiser.state_dict()),
        schedule={**run.schedule.numbers(), **scale_numbers(run.accelerator)},
        step=step,
        total=total,
        random=torch.get_rng_state(),
    )


def _told_to_stop(stage: GradientStage, epoch: int, step: int, steps: int) -> Terminated:
    return Terminated(
        f"told to stop (SIGTERM) after step {step} of {steps} of epoch {epoch} of stage "
        f"{stage.name!r}; the state is written. The same command with --output RUN --resume "
        "goes on."
    )
