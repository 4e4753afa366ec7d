"""Transforms that candidates are looked up through: crops, regions, mirrored and turned images.

Shape suffixes: N images, R rows and K columns of pixels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.thresholds import DEFAULT

REGIONS = DEFAULT.transforms.regions
WHOLE, INNER, UPPER, LOWER = range(len(REGIONS))


@dataclass(frozen=True)
class CopyTransform:
    """A crop of an image, or the whole of it mirrored and turned.

    Attributes:
        top, bottom, left, right: the crop, as fractions of height and width.
        quarter_turns: counter-clockwise, applied after mirroring.
        mirrored: left and right exchanged.
        region: index in `REGIONS` of the region of the other image that it is compared with.
    """

    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0
    quarter_turns: int = 0
    mirrored: bool = False
    region: int = WHOLE

    @property
    def is_upright(self) -> bool:
        return not (self.quarter_turns or self.mirrored)

    def orient(self, images_NRK: NDArray[Any]) -> NDArray[Any]:
        """Mirror and turn images; any axes may stand before rows and columns."""
        if self.mirrored:
            images_NRK = images_NRK[..., ::-1]
        return np.rot90(images_NRK, self.quarter_turns, axes=(-2, -1))

    def window(self) -> tuple[float, float, float, float]:
        """Where the whole of the other image lies in this one: start and extent, down and across.

        Fractions of this image's height and width.
        """
        top, bottom, left, right = REGIONS[self.region]
        height = (self.bottom - self.top) / (bottom - top)
        width = (self.right - self.left) / (right - left)
        return self.top - top * height, height, self.left - left * width, width


def _all_transforms() -> tuple[CopyTransform, ...]:
    """The identity first, then the other seven orientations, crops, frames and halves."""
    transforms = [
        CopyTransform(quarter_turns=quarter_turns, mirrored=mirrored)
        for mirrored in (False, True)
        for quarter_turns in range(4)
    ]
    cut = DEFAULT.transforms.centred_crop
    transforms.append(CopyTransform(cut, 1 - cut, cut, 1 - cut))
    for cut, places in DEFAULT.transforms.crops:
        for down in places:
            for across in places:
                top, left = down * cut, across * cut
                transforms.append(CopyTransform(top, top + 1 - cut, left, left + 1 - cut))
    # A frame over the image leaves the same inner region, one around it leaves a larger one.
    transforms += [
        CopyTransform(cut, 1 - cut, cut, 1 - cut, region=INNER)
        for cut in DEFAULT.transforms.frame_cuts
    ]
    transforms += [CopyTransform(*REGIONS[region], region=region) for region in (UPPER, LOWER)]
    return tuple(transforms)


TRANSFORMS = _all_transforms()
