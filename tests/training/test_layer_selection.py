"""What trains, and at which rate."""

import math

import pytest
import torch
from torch import nn

from holotype.errors import InvalidRecipe
from holotype.training.finetuning.layer_selection import select_for_stage, select_layers
from holotype.training.finetuning.optimisers import make_optimiser, parameter_groups
from holotype.training.finetuning.schedules import Schedule
from tests.training.tiny import classifier, selection, stage


@pytest.mark.parametrize(
    ("trainable", "cut", "layers"),
    [
        (0, None, ()),
        (1, 2, ("high.0", "high.1")),
        (2, 1, ("middle.0", "high.0", "high.1")),
        ("all", 0, ("low.0", "low.1", "middle.0", "high.0", "high.1")),
        ("1 layer", 2, ("high.1",)),
        ("3 layers", 1, ("middle.0", "high.0", "high.1")),
        ("4 layers", 0, ("low.1", "middle.0", "high.0", "high.1")),
        (("low",), 0, ("low.0", "low.1")),
        (("middle.0", "high"), 1, ("middle.0", "high.0", "high.1")),
    ],
)
def test_what_trains_is_said_by_groups_layers_or_names(
    trainable: object, cut: int | None, layers: tuple[str, ...]
) -> None:
    found = select_layers(classifier().backbone, trainable)
    assert (found.cut, found.layers) == (cut, layers)


@pytest.mark.parametrize(
    ("trainable", "words"),
    [
        (4, "4 groups asked for, the network has 3: low, middle, high"),
        ("6 layers", "6 layers asked for, the network has 5"),
        (("hihg",), "did you mean 'high'"),
        (("high.7",), "did you mean 'high."),
    ],
)
def test_more_than_there_is_or_a_name_that_matches_nothing_is_refused(
    trainable: object, words: str
) -> None:
    with pytest.raises(InvalidRecipe) as refusal:
        select_layers(classifier().backbone, trainable)
    assert words in str(refusal.value)


def test_a_norm_above_the_last_group_trains_with_it() -> None:
    network = classifier()
    network.backbone.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(16))
    for trainable in (1, ("high",), "3 layers"):
        assert select_layers(network.backbone, trainable).layers == ("high.0", "high.1", "pool.2")
    assert select_layers(network.backbone, ("middle",)).layers == ("middle.0",)


def test_rates_fall_with_depth_and_norms_do_not_decay() -> None:
    network = classifier()
    how = stage(learning_rate=0.1, head_learning_rate=1.0, layer_decay=0.5, weight_decay=0.01)
    groups = parameter_groups(network, selection(network, 2), how)
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    high, middle = network.backbone.groups["high"], network.backbone.groups["middle"]
    assert rate[id(network.head.weight)] == 1.0
    assert rate[id(high[0].weight)] == pytest.approx(0.1)
    assert rate[id(middle[0].weight)] == pytest.approx(0.05)
    assert decay[id(high[0].weight)] == 0.01
    assert decay[id(high[1].weight)] == decay[id(high[0].bias)] == 0.0
    low = {id(p) for p in network.backbone.groups["low"].parameters()}
    assert not low & set(rate)


def test_rates_that_decay_where_one_group_trains_are_refused() -> None:
    network = classifier()
    how = stage(trainable=["high"], layer_decay=0.5)
    with pytest.raises(InvalidRecipe, match="has no effect: only one group trains"):
        select_for_stage(network.backbone, how)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)],
)
def test_an_optimiser_has_the_name_that_it_is_given(name: str, kind: type) -> None:
    network = classifier()
    assert type(make_optimiser(network, selection(network, 2), stage(optimiser=name))) is kind


def test_the_rate_rises_from_above_zero_and_falls_as_a_cosine() -> None:
    schedule = Schedule(stage(epochs=10, warmup=0.1), steps_per_epoch=10)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert 0 < factors[99] < 0.001
    assert all(factors[n] > factors[n + 1] for n in range(10, 99))


@pytest.mark.parametrize("kind", ["constant", "step", "plateau"])
def test_every_schedule_warms_up(kind: str) -> None:
    schedule = Schedule(stage(epochs=10, schedule=kind, warmup=0.05), steps_per_epoch=10)
    assert [schedule.factor(step) for step in range(6)] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]


def test_steps_are_those_of_torch() -> None:
    schedule = Schedule(
        stage(epochs=9, schedule="step", step_epochs=2, step_factor=0.3, warmup=0), 5
    )
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    oracle = torch.optim.lr_scheduler.StepLR(optimiser, step_size=2, gamma=0.3)
    for epoch in range(9):
        assert schedule.factor(epoch * 5) == schedule.factor(epoch * 5 + 4)
        assert schedule.factor(epoch * 5) == pytest.approx(oracle.get_last_lr()[0])
        optimiser.step()
        oracle.step()


def test_plateaus_are_those_of_torch() -> None:
    losses = [1.0, 0.9, 0.95, 0.9, 0.92, 0.91, 0.8, 0.8, 0.81, 0.82, 0.83, 0.84, 0.5, 0.6]
    how = stage(
        epochs=14,
        schedule="plateau",
        plateau_factor=0.5,
        plateau_patience=2,
        warmup=0,
        patience=None,
    )
    schedule = Schedule(how, 3)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=0.5, patience=2, threshold=0.0
    )
    for epoch, loss in enumerate(losses):
        assert schedule.factor(3 * epoch) == optimiser.param_groups[0]["lr"]
        schedule.after_epoch(loss)
        oracle.step(loss)
    assert schedule.plateau_scale < 1
