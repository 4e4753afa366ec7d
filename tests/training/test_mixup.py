"""Images mixed in pairs, against torchvision and by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from holotype.training.config.augmentation_config import MixRecipe
from holotype.training.data.mixup import (
    BatchMixing,
    SampledMix,
    batch_mixing,
    make_cutmix,
    mix_inputs,
    mix_targets,
    sample_mix,
)

SHAPE = (6, 3, 20, 30)
ROLLED = np.roll(np.arange(6), 1)  # torchvision's partners
TARGETS = np.array([0, 1, 2, 0, 1, 1])
ALIKE = np.ones(6, np.float32)


def _inputs() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random(SHAPE, np.float32))


def _by_torchvision(name: str, monkeypatch: pytest.MonkeyPatch, share: float) -> tuple[Any, Any]:
    from torchvision.transforms import v2

    transform = getattr(v2, name)(num_classes=3)
    monkeypatch.setattr(transform._dist, "sample", lambda shape: torch.tensor([share]))
    places = iter([12, 7])  # x and y of the centre, as CutMix draws them
    monkeypatch.setattr(torch, "randint", lambda *a, **k: torch.tensor([next(places)]))
    return tuple(transform(_inputs(), torch.from_numpy(TARGETS)))


def test_mixup_agrees_with_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, labels = _by_torchvision("MixUp", monkeypatch, 0.3)
    mix = SampledMix(ROLLED, 0.3)
    assert torch.allclose(mix_inputs(_inputs(), mix), expected, atol=1e-6)
    soft, weights = mix_targets(TARGETS, ALIKE, mix, 3)
    assert np.allclose(soft, labels.numpy(), atol=1e-6)
    assert np.allclose(weights, 1)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.64, 0.999])
def test_cutmix_agrees_with_torchvision(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    expected, labels = _by_torchvision("CutMix", monkeypatch, share)
    height, width = SHAPE[-2:]
    # torchvision rounds half the side down and counts from a whole pixel; the middle of it here.
    half = int(0.5 * (1 - share) ** 0.5 * width), int(0.5 * (1 - share) ** 0.5 * height)
    box = (
        max(12 - half[0], 0), max(7 - half[1], 0), min(12 + half[0], width),
        min(7 + half[1], height),
    )  # fmt: skip
    pasted = (box[2] - box[0]) * (box[3] - box[1]) / (width * height)
    mix = SampledMix(ROLLED, 1 - pasted, box)
    assert torch.equal(mix_inputs(_inputs(), mix), expected)
    assert np.allclose(mix_targets(TARGETS, ALIKE, mix, 3)[0], labels.numpy(), atol=1e-6)
    ours = make_cutmix(ROLLED, share, (12 / width, 7 / height), SHAPE)
    assert ours.box is not None
    assert np.abs(np.subtract(ours.box, box)).max() <= 1


def test_a_rectangle_at_the_edge_is_cut_off_and_its_label_counts_what_is_left() -> None:
    mix = make_cutmix(np.array([1, 0]), 0.75, (0.0, 0.5), (2, 1, 8, 8))
    assert mix.box == (0, 2, 2, 6)
    assert mix.share == 1 - 8 / 64
    mixed = mix_inputs(torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)]), mix)
    assert mixed[0].mean() == 8 / 64
    assert mixed[1].mean() == 56 / 64


def test_the_loss_of_a_mix_is_that_of_both_labels_each_with_its_images_weight() -> None:
    rng = np.random.default_rng(1)
    weights = rng.random(6).astype(np.float32)
    logits = torch.from_numpy(rng.normal(size=(6, 3)).astype(np.float32))
    mix = SampledMix(rng.permutation(6), 0.7)
    soft, mixed = mix_targets(TARGETS, weights, mix, 3)
    loss = functional.cross_entropy(logits, torch.from_numpy(soft), reduction="none")
    found = float((loss * torch.from_numpy(mixed)).sum())
    each = [
        functional.cross_entropy(logits, torch.from_numpy(TARGETS[rows]), reduction="none").numpy()
        for rows in (np.arange(6), mix.partners_B)
    ]
    expected = (0.7 * weights * each[0] + 0.3 * weights[mix.partners_B] * each[1]).sum()
    assert found == pytest.approx(expected, rel=1e-5)
    assert mixed.sum() == pytest.approx(weights.sum(), rel=1e-6)
    assert np.allclose(soft.sum(axis=1), 1)


def test_images_without_weight_keep_a_label() -> None:
    soft, mixed = mix_targets(TARGETS, np.zeros(6, np.float32), SampledMix(ROLLED, 0.5), 3)
    assert np.array_equal(soft.argmax(axis=1), TARGETS)
    assert not mixed.any()


def test_how_a_batch_is_mixed_is_decided_by_seed_epoch_and_step_alone() -> None:
    mixing = BatchMixing(
        MixRecipe(probability=0.5, alpha=0.4), MixRecipe(probability=0.5, alpha=1.0), 3
    )

    def draw(seed: int, epoch: int, step: int) -> tuple[object, ...]:
        mix = sample_mix(mixing, seed=seed, epoch=epoch, step=step, shape=SHAPE)
        assert mix is not None
        return mix.share, mix.box, *mix.partners_B

    assert draw(1, 2, 3) == draw(1, 2, 3)
    assert len({draw(1, 2, 3), draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)}) == 4


def test_mixes_come_as_often_and_as_even_as_the_recipe_says() -> None:
    mixing = BatchMixing(
        MixRecipe(probability=0.2, alpha=0.4), MixRecipe(probability=0.5, alpha=1.0), 3
    )
    mixes = [sample_mix(mixing, seed=0, epoch=1, step=n, shape=SHAPE) for n in range(2000)]
    cut = [mix for mix in mixes if mix and mix.box]
    up = [mix.share for mix in mixes if mix and not mix.box]
    assert len(cut) / 2000 == pytest.approx(0.5, abs=0.04)
    assert len(up) / 2000 == pytest.approx(0.2, abs=0.03)
    # The variance of Beta(a, a) is 1 / (4 (2 a + 1)).
    assert np.mean(up) == pytest.approx(0.5, abs=0.06)
    assert np.var(up) == pytest.approx(1 / (4 * 1.8), abs=0.02)


def test_on_activations_mixup_is_manifold_mixup() -> None:
    mixup, cutmix = MixRecipe(probability=1, alpha=0.2), MixRecipe(probability=0.5, alpha=1)
    assert batch_mixing(None, None, 3) is None
    both, only = batch_mixing(mixup, None, 3), batch_mixing(None, cutmix, 3)
    assert both is not None
    assert only is not None
    assert both.describe(2) == "manifold MixUp (alpha 0.2) on 100 % of the batches"
    assert only.describe(0) == "CutMix (alpha 1) on 50 % of the batches"
    activations = torch.rand(6, 40)
    assert torch.allclose(
        mix_inputs(activations.half(), SampledMix(ROLLED, 0.25)),
        0.25 * activations + 0.75 * activations[torch.from_numpy(ROLLED)],
        atol=2e-3,
    )
