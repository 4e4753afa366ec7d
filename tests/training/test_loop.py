"""The training loop on a tiny network."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from holotype.errors import InvalidRecipe, TrainingDiverged
from holotype.models.classifier import Backbone, Classifier
from holotype.training.groups import cut_below, parameter_groups, warmup_then_cosine
from holotype.training.loader import Labelled, training_batches, validation_batches
from holotype.training.loop import Epoch, train_top
from holotype.training.recipe import Augmentation, GradientStage


class _Arrays:
    """Views of pictures that are in memory: (N, V, …)."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, pictures: list[int], views: list[int]) -> NDArray[np.float32]:
        return self.values[pictures, views]


def _stage(**changes: object) -> GradientStage:
    fields: dict[str, object] = {
        "method": "gradient_descent", "trainable": 2, "views": 2, "epochs": 4, "batch_size": 16,
        "learning_rate": 1e-2, "head_learning_rate": 1e-2, "layer_decay": 0.5,
        "weight_decay": 0.01, "warmup": 0.1, "label_smoothing": 0.0, "patience": 3,
        "augmentation": Augmentation(),
    }  # fmt: skip
    return GradientStage.model_validate(fields | changes)


def _classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    groups: dict[str, nn.Module] = {
        "low": nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        "middle": nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        "high": nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
    }
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(Backbone(groups, pool), 16, 3)


def _data(count: int, seed: int) -> Labelled:
    """Eight channels of noise; the class is the channel that is brighter."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(3, size=count)
    values = rng.normal(size=(count, 2, 8, 6, 6)).astype(np.float32)
    values[np.arange(count), :, targets] += 1.0
    return Labelled(_Arrays(values), targets, np.ones(count, np.float32))


def _train(
    classifier: Classifier, stage: GradientStage, *, on_epoch: Callable[[Epoch], None] | None = None
) -> tuple[int, list[Epoch]]:
    history: list[Epoch] = []
    best = train_top(
        classifier, 1, stage, _data(96, 1), _data(48, 2), seed=0, device="cpu",
        on_epoch=on_epoch or history.append, on_step=lambda done, total: None,
    )  # fmt: skip
    return best, history


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_what_lies_above_the_cut_learns_and_nothing_else_moves() -> None:
    classifier = _classifier()
    before = _state(classifier)
    best, history = _train(classifier, _stage())
    after = _state(classifier)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert best > 0
    assert history[best].val_loss < history[0].val_loss
    assert history[best].val_accuracy > 0.7
    assert all(
        name.startswith(("backbone.groups.middle", "backbone.groups.high", "head"))
        for name in moved
    )
    assert not any("running" in name or "num_batches" in name for name in moved)
    assert {"head.weight", "backbone.groups.middle.0.weight"} <= moved


def test_a_network_that_training_made_worse_ends_as_it_began() -> None:
    classifier = _classifier()
    _train(classifier, _stage(epochs=8))
    before = _state(classifier)
    best, history = _train(classifier, _stage(learning_rate=3.0, head_learning_rate=3.0, epochs=3))
    assert best == 0
    assert all(row.val_loss > history[0].val_loss for row in history[1:])
    assert all(torch.equal(tensor, before[name]) for name, tensor in _state(classifier).items())


def test_the_weights_that_ship_are_those_of_the_best_epoch() -> None:
    classifier = _classifier()
    states: list[dict[str, torch.Tensor]] = []
    rows: list[Epoch] = []

    def on_epoch(row: Epoch) -> None:
        rows.append(row)
        states.append(_state(classifier))

    best, _ = _train(classifier, _stage(epochs=6), on_epoch=on_epoch)
    assert best == min(range(len(rows)), key=lambda n: rows[n].val_loss)
    for name, tensor in _state(classifier).items():
        assert torch.equal(tensor, states[best][name])


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = _classifier(), _classifier()
    _train(first, _stage())
    _train(second, _stage())
    for name, tensor in _state(first).items():
        assert torch.equal(tensor, _state(second)[name])


def test_it_stops_when_validation_no_longer_gains() -> None:
    _, history = _train(
        _classifier(), _stage(epochs=40, patience=2, learning_rate=0.05, head_learning_rate=0.05)
    )
    losses = [row.val_loss for row in history[1:]]
    assert len(losses) < 40
    assert min(losses[-2:]) >= min(losses[:-2])


def test_a_loss_that_is_not_finite_is_refused_with_advice() -> None:
    data = _data(32, 1)
    data.views.values[5] = np.nan  # type: ignore[attr-defined]
    with pytest.raises(TrainingDiverged, match="learning-rate"):
        train_top(
            _classifier(), 1, _stage(), data, None, seed=0, device="cpu",
            on_epoch=lambda row: None, on_step=lambda done, total: None,
        )  # fmt: skip


def test_without_validation_the_last_epoch_ships() -> None:
    best = train_top(
        _classifier(), 1, _stage(epochs=2), _data(32, 1), None, seed=0, device="cpu",
        on_epoch=lambda row: None, on_step=lambda done, total: None,
    )  # fmt: skip
    assert best == 2


def test_a_batch_holds_every_picture_once_and_views_take_turns() -> None:
    count, views = 37, 3
    values = np.stack(
        [np.stack([np.full((1,), 10 * n + v) for v in range(views)]) for n in range(count)]
    ).astype(np.float32)
    data = Labelled(_Arrays(values), np.zeros(count, np.int64), np.ones(count, np.float32))
    seen: dict[int, set[int]] = {n: set() for n in range(count)}
    orders = []
    for epoch in range(views):
        batches = training_batches(data, views=views, batch_size=8, seed=5, epoch=epoch)
        drawn = torch.cat([batch.inputs.flatten() for batch in batches]).int().tolist()
        assert sorted(n // 10 for n in drawn) == list(range(count))
        orders.append([n // 10 for n in drawn])
        for number in drawn:
            seen[number // 10].add(number % 10)
    assert all(len(numbers) == views for numbers in seen.values())
    assert orders[0] != orders[1]
    firsts = torch.cat([batch.inputs.flatten() for batch in validation_batches(data, 8)])
    assert firsts.int().tolist() == [10 * n for n in range(count)]


def test_rates_fall_with_depth_and_norms_do_not_decay() -> None:
    classifier = _classifier()
    groups = parameter_groups(classifier, 1, _stage(learning_rate=0.1, head_learning_rate=1.0))
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    high, middle = classifier.backbone.groups["high"], classifier.backbone.groups["middle"]
    assert rate[id(classifier.head.weight)] == 1.0
    assert rate[id(high[0].weight)] == pytest.approx(0.1)  # type: ignore[index]
    assert rate[id(middle[0].weight)] == pytest.approx(0.05)  # type: ignore[index]
    assert decay[id(high[0].weight)] == 0.01  # type: ignore[index]
    assert decay[id(high[1].weight)] == decay[id(high[0].bias)] == 0.0  # type: ignore[index]
    low = {id(p) for p in classifier.backbone.groups["low"].parameters()}
    assert not low & set(rate)


def test_the_rate_rises_from_above_zero_and_falls_as_a_cosine() -> None:
    factors = [warmup_then_cosine(step, steps=100, warmup=0.1) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert 0 < factors[99] < 0.001
    assert all(factors[n] > factors[n + 1] for n in range(10, 99))


def test_more_groups_than_the_network_has_are_refused_with_their_names() -> None:
    backbone = _classifier().backbone
    assert cut_below(backbone, 2) == 1
    with pytest.raises(InvalidRecipe, match="low, middle, high"):
        cut_below(backbone, 4)
