"""Does a heatmap mean anything? Three questions that an image of it cannot answer.

- Deletion and insertion: Petsiuk et al. 2018, "RISE: Randomized Input Sampling for Explanation of
  Black-box Models". Where the hottest places are taken out first, the probability of the class
  should fall soon; where they are put in first, it should rise soon. To be read beside the same
  curves of places in random order, since what is left in the middle is no image that the network
  was made for.
- The pointing game: Zhang et al. 2018, "Top-down Neural Attention by Excitation Backprop". Is the
  hottest place in the region where the object is known to be? To be read beside what the same
  places would hit in the other images (`pointing_game_chance`): maps of any network, trained or
  not, favour some places, such as the border or the middle.
- Randomisation: Adebayo et al. 2018, "Sanity Checks for Saliency Maps". The map of a network with
  weights drawn anew should be another one; a method whose map stays the same explains the image
  and not the network.

Shape suffixes: H height, W width, C three channels, S steps of a curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageFilter

from holotype.bundle.bundle import Bundle
from holotype.bundle.inference import image_probabilities
from holotype.explanation.available_methods import ExplainMethod, TorchModelLookup
from holotype.explanation.compute_heatmap import Heatmap, heatmap
from holotype.imaging.decode import Image

STEPS = 20
_BLUR = 0.08  # of the longer side: what is left is colour without shape


@dataclass(frozen=True, eq=False)
class DeletionInsertionCurves:
    """The probability of a class while places are taken out of an image, or put into it.

    Attributes:
        fractions_S: of the places that were changed, from 0 to 1.
        deletion_S: the hottest are first replaced by the image's mean colour.
        insertion_S: the hottest are first put into a blurred copy.
    """

    fractions_S: NDArray[np.float64]
    deletion_S: NDArray[np.float64]
    insertion_S: NDArray[np.float64]

    @property
    def deletion_auc(self) -> float:
        """The area under the curve, in [0, 1]: the smaller, the better the map."""
        return float(np.trapezoid(self.deletion_S, self.fractions_S))

    @property
    def insertion_auc(self) -> float:
        """The area under the curve, in [0, 1]: the larger, the better the map."""
        return float(np.trapezoid(self.insertion_S, self.fractions_S))


def deletion_insertion(
    bundle: Bundle, image: Image, found: Heatmap, *, steps: int = STEPS
) -> DeletionInsertionCurves:
    """Deletion and insertion in the order of a heatmap; equal places in the order of reading."""
    return deletion_insertion_in_order(
        bundle, image, found.resized_to(image.pixels.size), found.class_index, steps=steps
    )


def deletion_insertion_at_random(
    bundle: Bundle, image: Image, class_index: int, *, seed: int = 0, steps: int = STEPS
) -> DeletionInsertionCurves:
    """The same in an order drawn by lot, place by place: what a map must do better than.

    Places are patches of a sixteenth of the side, for single pixels drawn by lot destroy every
    shape at once.
    """
    random_hw = np.random.default_rng(seed).random((16, 16), np.float32)
    small = PillowImage.fromarray(random_hw)
    heat_HW = np.asarray(small.resize(image.pixels.size, PillowImage.Resampling.NEAREST))
    return deletion_insertion_in_order(bundle, image, heat_HW, class_index, steps=steps)


def deletion_insertion_in_order(
    bundle: Bundle,
    image: Image,
    heat_HW: NDArray[np.float32],
    class_index: int,
    *,
    steps: int = STEPS,
) -> DeletionInsertionCurves:
    """Deletion and insertion in the order of any map over the image, the greatest first.

    Args:
        heat_HW: of the size of the image.
        steps: how many times the image is changed and predicted.
    """
    pixels_HWC = np.asarray(image.pixels.convert("RGB"))
    if heat_HW.shape != pixels_HWC.shape[:2]:
        raise ValueError(f"a map of {heat_HW.shape} is no map of {pixels_HWC.shape[:2]} pixels")
    order = np.argsort(-heat_HW, axis=None, kind="stable")
    flat_mean_C = pixels_HWC.reshape(-1, 3).mean(axis=0)
    plain_HWC = np.broadcast_to(flat_mean_C.round().astype(np.uint8), pixels_HWC.shape)
    blur = ImageFilter.GaussianBlur(_BLUR * max(image.pixels.size))
    blurred_HWC = np.asarray(image.pixels.convert("RGB").filter(blur))
    fractions_S = np.linspace(0, 1, steps + 1)
    deletion: list[float] = []
    insertion: list[float] = []
    for share in fractions_S:
        changed_HW = np.zeros(heat_HW.size, bool)
        changed_HW[order[: round(share * len(order))]] = True
        changed_HW1 = changed_HW.reshape(heat_HW.shape)[:, :, None]
        for into, levels_HWC in (
            (deletion, np.where(changed_HW1, plain_HWC, pixels_HWC)),
            (insertion, np.where(changed_HW1, pixels_HWC, blurred_HWC)),
        ):
            changed_image = replace(image, pixels=PillowImage.fromarray(levels_HWC))
            into.append(float(image_probabilities(bundle, changed_image)[class_index]))
    return DeletionInsertionCurves(fractions_S, np.array(deletion), np.array(insertion))


def pointing_game_hit(heat_HW: NDArray[np.float32], region_HW: NDArray[np.bool_]) -> bool:
    """Whether the hottest place lies in the region; a cold map points nowhere."""
    if heat_HW.shape != region_HW.shape:
        raise ValueError(f"a map of {heat_HW.shape} does not fit a region of {region_HW.shape}")
    if not heat_HW.any():
        return False
    return bool(region_HW.flat[int(heat_HW.argmax())])


def pointing_game_chance(
    heats_HW: Sequence[NDArray[np.float32]], regions_HW: Sequence[NDArray[np.bool_]]
) -> float:
    """How often the hottest places lie in the regions of the *other* images, in [0, 1].

    What a network would get that puts its hottest places where it does, whatever is there.

    Args:
        heats_HW, regions_HW: of at least two images, all of one size.
    """
    if len(heats_HW) != len(regions_HW) or len(heats_HW) < 2:
        raise ValueError(f"{len(heats_HW)} maps and {len(regions_HW)} regions; expected 2 or more")
    hits = [
        pointing_game_hit(heat_HW, region_HW)
        for number, heat_HW in enumerate(heats_HW)
        for other, region_HW in enumerate(regions_HW)
        if other != number
    ]
    return float(np.mean(hits))


def dilated(region_HW: NDArray[np.bool_], tolerance: float) -> NDArray[np.bool_]:
    """A region and what is no further from it than a share of the longer side.

    The paper allows 15 pixels, which is 3 % of its images.
    """
    from scipy.ndimage import distance_transform_edt

    reach = tolerance * max(region_HW.shape)
    return np.asarray(distance_transform_edt(~region_HW) <= reach)


def weight_randomisation_test(
    bundle: Bundle,
    image: Image,
    explain_method: ExplainMethod,
    randomised: Sequence[TorchModelLookup],
    class_index: int | None = None,
) -> list[float]:
    """How alike the map of a network is to that of the same network with other weights.

    Args:
        bundle: a classifier without members.
        explain_method: how to look; with gradients, since the changed networks are in torch.
        randomised: each finds a network with other weights, see
            `randomised_layers`.

    Returns:
        The rank correlation of the cells of each with those of the unchanged one, in [-1, 1].
    """
    before = heatmap(bundle, image, class_index, explain_method=explain_method)
    explain_methods = [
        replace(explain_method, torch_model_of=torch_model_of) for torch_model_of in randomised
    ]
    after = [
        heatmap(bundle, image, before.class_index, explain_method=other)
        for other in explain_methods
    ]
    return [rank_correlation(before.values_hw, one.values_hw) for one in after]


def rank_correlation(first_hw: NDArray[np.float32], second_hw: NDArray[np.float32]) -> float:
    """Spearman's rank correlation of two maps; 0 where one of them is the same everywhere."""
    from scipy.stats import spearmanr

    if np.ptp(first_hw) == 0 or np.ptp(second_hw) == 0:
        return 0.0
    return float(spearmanr(first_hw, second_hw, axis=None).statistic)
