"""MixUp and CutMix of the images of a batch and of their labels.

All that is random comes from (seed, epoch, step), so no state is kept between two steps.

Shape suffixes: B images of a batch, C classes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from holotype.training.config.augmentation_config import MixRecipe

if TYPE_CHECKING:
    from torch import Tensor

_STREAM = 77  # a stream of random numbers apart from that of the order


@dataclass(frozen=True)
class BatchMixing:
    """The mixing of a stage; at least one of the two.

    Attributes:
        mixup: of whole images (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization").
        cutmix: of rectangles (Yun et al. 2019, "CutMix").
        num_classes: of the soft targets.
    """

    mixup: MixRecipe | None
    cutmix: MixRecipe | None
    num_classes: int

    def describe(self, cut: int) -> str:
        """Such as ``manifold MixUp (alpha 0.2) on 50 % of the batches`` (Verma et al. 2019)."""
        name = "MixUp" if cut == 0 else "manifold MixUp"
        return " and ".join(
            f"{kind} (alpha {one.alpha:g}) on {100 * one.probability:g} % of the batches"
            for kind, one in ((name, self.mixup), ("CutMix", self.cutmix))
            if one is not None
        )


@dataclass(frozen=True, eq=False)
class SampledMix:
    """How one batch is mixed.

    Attributes:
        partners_B: int64, a permutation of the batch: the image that each is mixed with.
        share: of the image itself in its label; its partner has the rest.
        box: (left, top, right, bottom) of what CutMix pastes from the partner; None for MixUp.
    """

    partners_B: NDArray[np.int64]
    share: float
    box: tuple[int, int, int, int] | None = None


def batch_mixing(
    mixup: MixRecipe | None, cutmix: MixRecipe | None, num_classes: int
) -> BatchMixing | None:
    """None where neither is wanted."""
    return None if mixup is None and cutmix is None else BatchMixing(mixup, cutmix, num_classes)


def sample_mix(
    mixing: BatchMixing, *, seed: int, epoch: int, step: int, shape: tuple[int, ...]
) -> SampledMix | None:
    """The mix of a batch of shape (B, channels, height, width) or (B, D); None for none.

    One uniform number decides between CutMix, MixUp and neither.
    """
    rng = np.random.default_rng([seed, epoch, step, _STREAM])
    chance = rng.random()
    partners_B = rng.permutation(shape[0])
    cutmix_probability = mixing.cutmix.probability if mixing.cutmix else 0.0
    if mixing.cutmix and chance < cutmix_probability:
        share = float(rng.beta(mixing.cutmix.alpha, mixing.cutmix.alpha))
        return make_cutmix(partners_B, share, (float(rng.random()), float(rng.random())), shape)
    if mixing.mixup and chance < cutmix_probability + mixing.mixup.probability:
        return SampledMix(partners_B, float(rng.beta(mixing.mixup.alpha, mixing.mixup.alpha)))
    return None


def make_cutmix(
    partners_B: NDArray[np.int64],
    share: float,
    centre: tuple[float, float],
    shape: tuple[int, ...],
) -> SampledMix:
    """A rectangle of 1 - `share` of the area around a centre, as fractions (x, y) of the size.

    It is clipped to the image, and the share becomes that of the remaining pixels (Yun et al.).
    """
    height, width = shape[-2:]
    half = 0.5 * (1 - share) ** 0.5
    left, right = _to_pixel(centre[0] - half, width), _to_pixel(centre[0] + half, width)
    top, bottom = _to_pixel(centre[1] - half, height), _to_pixel(centre[1] + half, height)
    pasted = (right - left) * (bottom - top) / (width * height)
    return SampledMix(partners_B, 1 - pasted, (left, top, right, bottom))


def mix_inputs(inputs: "Tensor", mix: SampledMix, partners: "Tensor | None" = None) -> "Tensor":
    """The mixed batch, float32, of the same shape.

    Args:
        partners: of each image, where `inputs` are a share of the batch.
    """
    import torch

    inputs = inputs.float()
    others = inputs[torch.from_numpy(mix.partners_B)] if partners is None else partners.float()
    if mix.box is None:
        return mix.share * inputs + (1 - mix.share) * others
    left, top, right, bottom = mix.box
    mixed = inputs.clone()
    mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return mixed


def mix_targets(
    targets_B: NDArray[np.int64], weights_B: NDArray[np.float32], mix: SampledMix, num_classes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Soft targets (B, C) and the weights (B,) of the mixed images.

    Each label has its share times the weight of its image, so the weighted loss is the sum over
    both labels, and the sum of the weights of a batch does not change.
    """
    own_B = mix.share * weights_B
    other_B = (1 - mix.share) * weights_B[mix.partners_B]
    mixed_B = (own_B + other_B).astype(np.float32)
    soft_BC = np.zeros((len(targets_B), num_classes), np.float32)
    rows = np.arange(len(targets_B))
    soft_BC[rows, targets_B] += own_B
    soft_BC[rows, targets_B[mix.partners_B]] += other_B
    weightless = mixed_B == 0
    soft_BC[weightless, targets_B[weightless]] = 1
    soft_BC /= np.where(weightless, np.float32(1), mixed_B)[:, None]
    return soft_BC, mixed_B


def _to_pixel(place: float, size: int) -> int:
    return int(min(max(place, 0.0), 1.0) * size)
