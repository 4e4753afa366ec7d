"""The one visible training loop.

The network above a cut learns on activations below it. Batch norm keeps the statistics that it was
trained with, and dropout inside the backbone is off: what is frozen below was computed that way.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from holotype.errors import TrainingDiverged
from holotype.training.groups import parameter_groups, warmup_then_cosine
from holotype.training.loader import (
    Batch,
    Labelled,
    number_of_batches,
    training_batches,
    validation_batches,
)
from holotype.training.recipe import GradientStage

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

    from holotype.models.classifier import Classifier


@dataclass(frozen=True)
class Epoch:
    """One row of `history.csv`; epoch 0 is the network before the first step.

    Attributes:
        train_loss: mean over the epoch, label smoothing and all; nan for epoch 0.
        val_loss: log loss on validation, without label smoothing.
        val_accuracy: weighted as the pictures are.
        learning_rate: of the topmost group in the last step.
    """

    stage: str
    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: float


OnEpoch = Callable[[Epoch], None]
OnStep = Callable[[int, int], None]  # steps done, of how many


def train_top(
    classifier: "Classifier",
    cut: int,
    stage: GradientStage,
    train: Labelled,
    validation: Labelled | None,
    *,
    seed: int,
    device: str,
    on_epoch: OnEpoch,
    on_step: OnStep,
) -> int:
    """Train everything above a cut; the classifier ends with the weights of its best epoch.

    The best epoch is the one with the lowest validation loss, epoch 0 included: a network that
    fine-tuning made worse ends as it began. Without validation pictures the last epoch ships.

    Returns:
        The number of the best epoch.

    Raises:
        TrainingDiverged: a loss that is not a finite number.
    """
    import torch
    from accelerate import Accelerator

    torch.manual_seed(seed)
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
    _freeze_below(classifier, cut)
    top = classifier.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(parameter_groups(classifier, cut, stage))
    steps_per_epoch = number_of_batches(len(train.targets_N), stage.batch_size)
    steps = stage.epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, partial(warmup_then_cosine, steps=steps, warmup=stage.warmup)
    )
    top, optimiser = accelerator.prepare(top, optimiser)

    best = _look_at(accelerator, top, cut, stage, validation, 0, math.nan, 0.0)
    best_state = _copy_of_state(accelerator, top)
    lowest = math.inf  # of the trained epochs: the first of them are often worse than epoch 0
    last_gain = 0
    on_epoch(best)
    for epoch in range(1, stage.epochs + 1):
        total = 0.0
        for number, batch in enumerate(_share(accelerator, train, stage, seed, epoch)):
            loss = _loss(accelerator, top, cut, batch, stage.label_smoothing)
            _require_finite(loss, stage, epoch)
            accelerator.backward(loss)
            optimiser.step()
            optimiser.zero_grad()
            rate = float(schedule.get_last_lr()[-1])
            schedule.step()
            total += float(loss.detach())
            on_step((epoch - 1) * steps_per_epoch + number + 1, steps)
        now = _look_at(
            accelerator, top, cut, stage, validation, epoch, total / steps_per_epoch, rate
        )
        on_epoch(now)
        if validation is None or now.val_loss < best.val_loss:
            best, best_state = now, _copy_of_state(accelerator, top)
        if validation is None or now.val_loss < lowest:
            lowest, last_gain = now.val_loss, epoch
        elif epoch - last_gain >= stage.patience:
            break
    trained = accelerator.unwrap_model(top)
    trained.load_state_dict(best_state)
    trained.to("cpu")
    return best.epoch


def _freeze_below(classifier: "Classifier", cut: int) -> None:
    classifier.eval()
    classifier.requires_grad_(True)
    for name in classifier.backbone.group_names[:cut]:
        classifier.backbone.groups[name].requires_grad_(False)


def _share(
    accelerator: "Accelerator", train: Labelled, stage: GradientStage, seed: int, epoch: int
) -> Iterator[Batch]:
    """The batches of this process: every process takes as many, or the others would wait."""
    batches = training_batches(
        train, views=stage.views, batch_size=stage.batch_size, seed=seed, epoch=epoch
    )
    count = number_of_batches(len(train.targets_N), stage.batch_size)
    even = count - count % accelerator.num_processes
    return islice(batches, accelerator.process_index, even, accelerator.num_processes)


def _loss(
    accelerator: "Accelerator", top: "nn.Module", cut: int, batch: Batch, smoothing: float
) -> "Tensor":
    """Weighted mean cross-entropy (label smoothing: Szegedy et al. 2016)."""
    import torch

    inputs, targets, weights = _on_device(accelerator, batch)
    each = torch.nn.functional.cross_entropy(
        top(inputs, cut), targets, label_smoothing=smoothing, reduction="none"
    )
    return (each * weights).sum() / weights.sum()


def _on_device(accelerator: "Accelerator", batch: Batch) -> "tuple[Tensor, Tensor, Tensor]":
    import torch

    device = accelerator.device
    inputs = batch.inputs.to(device).float()
    if inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return inputs, batch.targets.to(device), batch.weights.to(device)


def _require_finite(loss: "Tensor", stage: GradientStage, epoch: int) -> None:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingDiverged(
            f"stage {stage.name!r}, epoch {epoch}: the loss is {value}. The learning rate "
            f"{stage.learning_rate:g} is likely too high: try `--learning-rate "
            f"{stage.learning_rate / 10:g}`."
        )


def _look_at(
    accelerator: "Accelerator",
    top: "nn.Module",
    cut: int,
    stage: GradientStage,
    validation: Labelled | None,
    epoch: int,
    train_loss: float,
    rate: float,
) -> Epoch:
    """Log loss and accuracy on validation, both weighted."""
    if validation is None:
        return Epoch(stage.name, epoch, train_loss, math.nan, math.nan, rate)
    import torch

    loss = right = weight = 0.0
    with torch.no_grad():
        for batch in validation_batches(validation, stage.batch_size):
            inputs, targets, weights = _on_device(accelerator, batch)
            logits = top(inputs, cut)
            each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
            loss += float((each * weights).sum())
            right += float(((logits.argmax(dim=1) == targets) * weights).sum())
            weight += float(weights.sum())
    return Epoch(stage.name, epoch, train_loss, loss / weight, right / weight, rate)


def _copy_of_state(accelerator: "Accelerator", top: "nn.Module") -> dict[str, Any]:
    state = accelerator.unwrap_model(top).state_dict()
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
