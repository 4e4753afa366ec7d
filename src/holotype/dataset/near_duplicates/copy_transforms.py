"""How a copy may differ from its original: regions, mirror images, quarter turns and crops.

Shape suffixes: N images, R rows and K columns of pixels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Regions of the fixed image that transforms are compared with: top, bottom, left, right.
REGIONS: tuple[tuple[float, float, float, float], ...] = (
    (0, 1, 0, 1),
    (0.1, 0.9, 0.1, 0.9),
    (0, 0.45, 0, 1),
    (0.55, 1, 0, 1),
)
WHOLE, INNER, UPPER, LOWER = range(len(REGIONS))
# Pixels; within a frame less would be left than is evidence, and a text would not be small.
MIN_SIDES = (0, 28, 48, 48)


@dataclass(frozen=True)
class CopyTransform:
    """How an image may have been changed: a region of it, or the whole mirrored and turned.

    Attributes:
        top, bottom, left, right: the region, as fractions of height and width.
        quarter_turns: quarter turns against the clock, after mirroring.
        mirrored: left and right exchanged.
        region: which of `REGIONS` of the other image looks like it.
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
        """Images mirrored and turned; any axes may stand before rows and columns."""
        if self.mirrored:
            images_NRK = images_NRK[..., ::-1]
        return np.rot90(images_NRK, self.quarter_turns, axes=(-2, -1))

    def window(self) -> tuple[float, float, float, float]:
        """Where the whole of the other image lies in this one: start and extent, twice."""
        top, bottom, left, right = REGIONS[self.region]
        height = (self.bottom - self.top) / (bottom - top)
        width = (self.right - self.left) / (right - left)
        return self.top - top * height, height, self.left - left * width, width


def _all_transforms() -> tuple[CopyTransform, ...]:
    """The whole image first, then its other orientations, then crops at several places."""
    transforms = [
        CopyTransform(quarter_turns=quarter_turns, mirrored=flip)
        for flip in (False, True)
        for quarter_turns in range(4)
    ]
    transforms.append(CopyTransform(0.0125, 0.9875, 0.0125, 0.9875))
    for cut, places in ((0.025, (0, 1)), (0.05, (0, 0.5, 1)), (0.1, (0, 0.5, 1))):
        for down in places:
            for across in places:
                top, left = down * cut, across * cut
                transforms.append(CopyTransform(top, top + 1 - cut, left, left + 1 - cut))
    # Within a frame over an image lies the same region of it, within one around it a larger one.
    transforms += [
        CopyTransform(cut, 1 - cut, cut, 1 - cut, region=INNER) for cut in (0.1, 0.08, 0.06)
    ]
    transforms += [CopyTransform(*REGIONS[region], region=region) for region in (UPPER, LOWER)]
    return tuple(transforms)


TRANSFORMS = _all_transforms()
