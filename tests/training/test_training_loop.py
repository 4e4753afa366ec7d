"""The training loop on a tiny network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from torch import nn

from holotype.architectures.torch_classifier import AuxiliaryBranch, Backbone, TorchClassifier
from holotype.errors import TrainingDiverged
from holotype.progress import Progress
from holotype.training.data.loader import (
    BatchOptions,
    LabelledViews,
    training_batches,
    validation_batches,
)
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.finetuning.training_loop import train_loop
from holotype.training.finetuning.training_state import (
    LoopState,
    StageData,
    StageStart,
)
from holotype.training.training_resources import Runtime
from tests.training.tiny import Arrays, classifier, data, same, selection, stage, state, train


def test_what_lies_above_the_cut_learns_and_nothing_else_moves() -> None:
    network = classifier()
    before = state(network)
    ended = train(network, stage())
    after = state(network)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert ended.best_epoch > 0
    assert ended.rows[ended.best_epoch].val_loss < ended.rows[0].val_loss
    assert ended.rows[ended.best_epoch].val_accuracy > 0.7
    assert all(
        name.startswith(("backbone.groups.middle", "backbone.groups.high", "head"))
        for name in moved
    )
    assert not any("running" in name or "num_batches" in name for name in moved)
    assert {"head.weight", "backbone.groups.middle.0.weight"} <= moved


def test_batches_of_images_of_weight_0_alone_do_not_end_a_training() -> None:
    network, how = classifier(), stage(batch_size=4, epochs=1)
    images = data(96, 1)
    weights = np.where(np.arange(96) < 4, 1, 0).astype(np.float32)
    both = StageData(replace(images, weights_N=weights), data(48, 2))
    runtime = Runtime("cpu", Path(), Progress())
    ended = train_loop(network, selection(network, 2), how, both, StageStart(0), runtime)
    assert np.isfinite(ended.rows[1].train_loss)
    assert all(torch.isfinite(tensor).all() for tensor in state(network).values())


def test_the_head_alone_learns_on_embeddings() -> None:
    network = classifier()
    before = state(network)
    how = stage(trainable=0, learning_rate=None, head_learning_rate=0.03, epochs=10)
    ended = train(network, how)
    moved = {n for n, tensor in state(network).items() if not torch.equal(before[n], tensor)}
    assert ended.rows[ended.best_epoch].val_loss < 0.95 * ended.rows[0].val_loss
    assert moved == {"head.weight", "head.bias"}
    assert ended.rows[1].num_trainable_parameters == 16 * 3 + 3


@pytest.mark.parametrize("trainable", [0, 1])
def test_beside_cutmix_images_pass_the_frozen_part_and_it_stays_as_it_is(trainable: int) -> None:
    network = classifier()
    before, seen = state(network), []
    network.backbone.groups["low"].register_forward_hook(
        lambda module, inputs, output: seen.append((module.training, tuple(inputs[0].shape[1:])))
    )
    cutmix = {"probability": 0.5, "alpha": 1.0}
    rates = {"learning_rate": None if trainable == 0 else 1e-2, "head_learning_rate": 0.03}
    ended = train(network, stage(trainable=trainable, cutmix=cutmix, epochs=8, **rates))
    moved = {
        name for name, tensor in state(network).items() if not torch.equal(tensor, before[name])
    }
    assert ended.rows[ended.best_epoch].val_loss < ended.rows[0].val_loss
    assert "head.weight" in moved
    frozen = ("backbone.groups.low", "backbone.groups.middle", "backbone.groups.high")
    assert not any(name.startswith(frozen[: 3 - trainable]) for name in moved)
    assert any(name.startswith(frozen[-1]) for name in moved) == (trainable == 1)
    assert set(seen) == {(False, (3, 6, 6))}  # whole images, and statistics as they were


def test_statistics_of_batch_norm_move_only_where_it_trains_and_is_told_to() -> None:
    network = classifier()
    before = state(network)
    train(network, stage(trainable=1, batch_norm="train"))
    moved = {n for n, tensor in state(network).items() if not torch.equal(before[n], tensor)}
    statistics = {name for name in moved if "running" in name or "num_batches" in name}
    assert statistics == {
        f"backbone.groups.high.1.{name}"
        for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert not network.training


def test_a_network_that_training_made_worse_ends_as_it_began() -> None:
    network = classifier()
    train(network, stage(epochs=8))
    before = state(network)
    ended = train(network, stage(learning_rate=3.0, head_learning_rate=3.0, epochs=3))
    assert ended.best_epoch == 0
    assert all(row.val_loss > ended.rows[0].val_loss for row in ended.rows[1:])
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(network).items())


def test_an_untrained_network_does_not_ship_however_bad_the_training() -> None:
    network = classifier()
    how = stage(learning_rate=3.0, head_learning_rate=3.0, epochs=3)
    ended = train(network, how, head_is_trained=False)
    trained = [row.val_loss for row in ended.rows[1:]]
    assert ended.rows[0].val_loss < min(trained)
    assert ended.best_epoch == 1 + int(np.argmin(trained))


@pytest.mark.parametrize(("keep", "sign"), [("val_loss", 1), ("val_accuracy", -1)])
def test_the_weights_that_ship_are_those_of_the_best_epoch(keep: str, sign: int) -> None:
    network = classifier()
    states: list[LoopState] = []
    rate = 0.05
    how = stage(epochs=6, keep_best_by=keep, learning_rate=rate, head_learning_rate=rate)
    ended = train(network, how, states=states)
    values = [sign * getattr(row, keep) for row in ended.rows]
    assert values[ended.best_epoch] == min(values)
    shipped = state(network)
    assert all(
        torch.equal(t, shipped[name])
        for name, t in states[ended.best_epoch].trainable_state.items()
    )


def test_the_same_seed_gives_the_same_weights_and_another_gives_others() -> None:
    first, second, third = classifier(), classifier(), classifier()
    train(first, stage())
    train(second, stage())
    train(third, stage(), seed=1)
    assert same(first, second)
    assert not same(first, third)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_norm": "train"},
        {"schedule": "plateau", "plateau_patience": 0, "learning_rate": 0.2, "patience": None},
        {"optimiser": "sgd", "mixup": {"probability": 0.5, "alpha": 0.4}},
        {"precision": "bf16"},
    ],
)
def test_a_training_goes_on_from_any_state_with_the_same_bits(changes: dict[str, object]) -> None:
    def network() -> TorchClassifier:
        head = nn.Sequential(nn.Dropout(0.3), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
        return classifier(head=head)

    how = stage(epochs=5, **changes)
    whole, states = network(), list[LoopState]()
    ended = train(whole, how, states=states)
    assert [one.epoch for one in states] == list(range(len(ended.rows)))
    for resume in states:
        again = network()
        went_on = train(again, how, resume=resume)
        assert went_on.best_epoch == ended.best_epoch
        assert [row.val_loss for row in went_on.rows] == [row.val_loss for row in ended.rows]
        assert same(again, whole)


def test_it_stops_when_validation_no_longer_gains() -> None:
    rate = 0.05
    how = stage(epochs=40, patience=2, learning_rate=rate, head_learning_rate=rate)
    losses = [row.val_loss for row in train(classifier(), how).rows[1:]]
    assert len(losses) < 40
    assert min(losses[-2:]) >= min(losses[:-2])
    assert min(losses[-3:]) == min(losses)


def test_what_stops_it_and_what_is_kept_are_told_apart() -> None:
    rate = 0.05
    how = stage(
        epochs=40, patience=2, learning_rate=rate, head_learning_rate=rate, stop_on="val_accuracy"
    )
    ended = train(classifier(), how)
    trained = [row.val_accuracy for row in ended.rows[1:]]
    assert len(trained) - 1 - int(np.argmax(trained)) == 2
    losses = [row.val_loss for row in ended.rows]
    assert losses[ended.best_epoch] == min(losses)


def test_two_batches_that_make_one_step_are_one_large_batch() -> None:
    """Without batch norm that moves, the gradient of a sum is the sum of the gradients."""
    start, large, halves = classifier(), classifier(), classifier()
    train(large, stage(batch_size=32, epochs=2, optimiser="sgd"))
    train(halves, stage(batch_size=16, accumulation=2, epochs=2, optimiser="sgd"))
    for name, tensor in state(large).items():
        assert torch.allclose(tensor, halves.state_dict()[name], atol=1e-5)
    moved = (large.head.weight - start.head.weight).detach()
    assert float(moved.abs().max()) > 1e-3  # a hundred times what they may differ by


def test_memory_is_saved_without_changing_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, saved = classifier(), classifier()
    how = stage(batch_norm="train", trainable="all")
    checkpoint, calls = torch.utils.checkpoint.checkpoint, 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return checkpoint(*arguments, **options)

    monkeypatch.setattr(torch.utils.checkpoint, "checkpoint", counted)
    ended = train(plain, how)
    assert calls == 0
    train(saved, how, save_memory=True)
    steps = 6 * (len(ended.rows) - 1)  # 96 images in batches of 16
    assert calls == 3 * steps  # once a group
    assert same(plain, saved)
    assert not any("forward" in vars(group) for group in saved.backbone.groups.values())


def test_l2_is_the_sum_of_squares_of_kernels_in_the_loss() -> None:
    without, with_l2 = classifier(), classifier()
    groups = without.backbone.groups
    kernels = [next(groups[name].parameters()) for name in ("middle", "high")]
    kernels += [next(without.head.parameters())]
    penalty = sum(float(kernel.detach().square().sum()) for kernel in kernels)
    tiny = {"learning_rate": 1e-12, "head_learning_rate": 1e-12, "epochs": 1}
    plain = train(without, stage(**tiny)).rows[1].train_loss
    added = train(with_l2, stage(**tiny, l2=0.01)).rows[1].train_loss
    assert added - plain == pytest.approx(0.01 * penalty, rel=1e-4)


def test_a_longest_gradient_is_a_longest_step_of_plain_sgd() -> None:
    network = classifier()
    before = state(network)
    how = stage(
        optimiser="sgd", momentum=0.0, clip_norm=0.01, learning_rate=1.0, head_learning_rate=1.0,
        epochs=1, batch_size=96, warmup=0, schedule="constant",
    )  # fmt: skip
    states: list[LoopState] = []
    train(network, how, states=states)
    step = torch.cat(
        [(states[1].trainable_state[n] - before[n]).flatten() for n in states[1].trainable_state]
    )
    assert float(step.norm()) == pytest.approx(0.01, rel=1e-3)


def test_layers_that_are_named_train_and_those_between_them_do_not() -> None:
    network = classifier()
    before = state(network)
    ended = train(network, stage(trainable=["low", "high.1"], batch_norm="frozen"))
    moved = {n for n, tensor in state(network).items() if not torch.equal(before[n], tensor)}
    parts = {".".join(name.split(".")[2:-1]) for name in moved if name.startswith("backbone")}
    assert parts == {"low.0", "low.1", "high.1"}
    counted = sum(before[name].numel() for name in moved)
    assert ended.rows[1].num_trainable_parameters == counted


def test_auxiliary_classifiers_learn_and_are_no_part_of_what_is_looked_at() -> None:
    torch.manual_seed(0)
    plain = classifier()
    tap = AuxiliaryBranch(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), 8)
    backbone = Backbone(dict(plain.backbone.groups), plain.backbone.pool, None, {"middle": tap})
    tapped = TorchClassifier(backbone, 16, 3)
    tapped.head.load_state_dict(plain.head.state_dict())
    before = state(tapped)
    alone = train(classifier(), stage(epochs=1))
    ended = train(tapped, stage(epochs=1))
    assert ended.rows[0].val_loss == alone.rows[0].val_loss
    assert ended.rows[1].train_loss > alone.rows[1].train_loss * 1.2
    assert not torch.equal(
        before["auxiliary_heads.middle.weight"], tapped.auxiliary_heads["middle"].weight
    )


def test_a_loss_that_is_not_finite_is_refused_with_advice() -> None:
    broken = data(32, 1)
    broken.views.values[5] = np.nan  # type: ignore[attr-defined]
    network = classifier()
    with pytest.raises(TrainingDiverged, match="learning-rate"):
        train_loop(
            network, selection(network, 2), stage(), StageData(broken, None), StageStart(seed=0),
            Runtime("cpu", Path(), Progress()),
        )  # fmt: skip


def test_without_validation_the_last_epoch_ships() -> None:
    assert train(classifier(), stage(epochs=2), validated=False).best_epoch == 2


def test_a_batch_holds_every_image_once_and_views_take_turns() -> None:
    count, views = 37, 3
    values = np.stack(
        [np.stack([np.full((1,), 10 * n + v) for v in range(views)]) for n in range(count)]
    ).astype(np.float32)
    made = LabelledViews(Arrays(values), np.zeros(count, np.int64), np.ones(count, np.float32))
    seen: dict[int, set[int]] = {n: set() for n in range(count)}
    orders = []
    for epoch in range(views):
        batches = training_batches(made, BatchOptions(views, 8, seed=5), epoch)
        drawn = torch.cat([batch.inputs.flatten() for batch in batches]).int().tolist()
        assert sorted(n // 10 for n in drawn) == list(range(count))
        orders.append([n // 10 for n in drawn])
        for number in drawn:
            seen[number // 10].add(number % 10)
    assert all(len(numbers) == views for numbers in seen.values())
    assert orders[0] != orders[1]
    firsts = torch.cat([batch.inputs.flatten() for batch in validation_batches(made, 8)])
    assert firsts.int().tolist() == [10 * n for n in range(count)]


def test_balanced_sampling_shows_every_class_as_often() -> None:
    targets = np.repeat([0, 1, 2], [900, 90, 10])
    values = np.arange(1000, dtype=np.float32).reshape(-1, 1, 1)
    made = LabelledViews(Arrays(values), targets, np.ones(1000, np.float32))
    drawn = [
        batch.targets
        for epoch in range(3)
        for batch in training_batches(made, BatchOptions(1, 64, seed=0, balanced=True), epoch)
    ]
    assert len(torch.cat(drawn)) == 3000
    # 1,000 ± 4 standard deviations of a binomial of 3,000 thirds.
    assert all(abs(int(n) - 1000) < 104 for n in torch.bincount(torch.cat(drawn)))


def test_training_accuracy_is_that_of_the_images_as_they_are_trained_on() -> None:
    """With a rate that moves nothing it is the accuracy of the network on views of an epoch."""
    network = classifier()
    how = stage(learning_rate=1e-12, head_learning_rate=1e-12, epochs=1, accumulation=2)
    before = state(network)
    weights_N = np.random.default_rng(0).uniform(0.1, 2.0, 96).astype(np.float32)
    made = replace(data(96, 1), weights_N=weights_N)
    ended = train_loop(
        network, selection(network, how.trainable), how, StageData(made, data(48, 2)),
        StageStart(0), Runtime("cpu", Path(), Progress()),
    )  # fmt: skip
    network.load_state_dict(before)
    network.eval()
    correct = weight = 0.0
    for batch in training_batches(made, BatchOptions(2, 16, seed=0), epoch=1):
        with torch.no_grad():
            predicted = network(batch.inputs, 1).argmax(dim=1)
        correct += float(((predicted == batch.targets) * batch.weights).sum())
        weight += float(batch.weights.sum())
    assert np.isnan(ended.rows[0].train_accuracy)
    assert ended.rows[1].train_accuracy == pytest.approx(correct / weight)
    assert weight == pytest.approx(float(weights_N.sum()))


def test_a_mixed_image_counts_as_the_class_with_the_larger_share() -> None:
    """On images that tell their class at once, mixed or not, all are soon right."""
    ended = train(
        classifier(),
        stage(mixup={"probability": 1.0, "alpha": 0.2}, epochs=12, patience=None, views=1),
    )
    assert ended.rows[-1].train_accuracy > 0.6


def test_history_has_one_row_for_every_epoch_with_what_trains() -> None:
    rows: list[EpochMetrics] = []
    ended = train(classifier(), stage(epochs=3), rows=rows)
    assert rows == ended.rows
    assert {row.num_trainable_parameters for row in rows} == {
        8 * 8 * 9 + 8 + 16 * 8 * 9 + 16 + 32 + 16 * 3 + 3
    }


def test_gradients_that_an_attempt_without_memory_left_behind_are_not_taken() -> None:
    clean, left_over = classifier(), classifier()
    for parameter in left_over.parameters():
        parameter.grad = torch.ones_like(parameter)
    for network in (clean, left_over):
        train(network, stage(epochs=1))
    assert same(clean, left_over)
