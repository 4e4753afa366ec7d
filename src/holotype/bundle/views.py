"""Test-time augmentation: fixed views of a model input whose probabilities are averaged.

A set of views is a property of a classifier, sealed with its temperature, and no option of
`predict`: averaging changes what the temperature means. Nothing in the views is random. Mirror
images and quarter turns of the model input are exact; only a magnified centre is interpolated, from
the pixels of that input.

Probabilities are averaged, not logits: a view of low confidence then counts little, while the
largest logits would dominate a mean of logits. The logarithm of the mean takes the place of the
logits, so that one temperature corrects the confidence of the mean; the members of an ensemble are
combined in the same way.

Shape suffixes: C the three channels, H height, W width, S either of them.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from holotype.cache import hash_strings

ViewSet = Literal["one", "mirror", "flips", "dihedral", "scales"]


@dataclass(frozen=True)
class FixedView:
    """Mirrored or not, rotated to the left by quarter turns, with the centre magnified.

    Attributes:
        magnified: by how much, at least 1; what no longer fits is cut off on all sides alike.
    """

    mirrored: bool = False
    quarter_turns: int = 0
    magnified: float = 1.0

    def apply(self, input_CHW: NDArray[np.float32]) -> NDArray[np.float32]:
        """The model input seen so; quarter turns of what is not square change its shape."""
        if self.mirrored:
            input_CHW = input_CHW[:, :, ::-1]
        if self.magnified != 1:
            input_CHW = _magnified(input_CHW, self.magnified)
        return np.ascontiguousarray(np.rot90(input_CHW, self.quarter_turns, axes=(1, 2)))

    def key(self, sha256: str) -> str:
        """The cache key of this view of an image; of the plain view the hash of the file."""
        return sha256 if self == PLAIN else hash_strings(sha256, repr(self))


def _magnified(input_CHW: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """The centre, larger by a factor of at least 1, interpolated bilinearly; of the same shape.

    Pixel i of S shows the place c + (i - c) / factor with c = (S - 1) / 2, which never lies outside
    of the centres of the outermost pixels; columns first, then rows.
    """
    left_W, right_W, share_W = magnified_places(input_CHW.shape[2], factor)
    wide_CHW = input_CHW[:, :, left_W] * (1 - share_W) + input_CHW[:, :, right_W] * share_W
    above_H, below_H, share_H = magnified_places(input_CHW.shape[1], factor)
    share_H1 = share_H[:, None]
    seen_CHW = wide_CHW[:, above_H] * (1 - share_H1) + wide_CHW[:, below_H] * share_H1
    return np.asarray(seen_CHW, np.float32)


def magnified_places(
    size: int, factor: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Between which two pixels each pixel (S) of a magnified row lies, and how near the second."""
    centre = (size - 1) / 2
    place_S = centre + (np.arange(size) - centre) / factor
    first_S = np.floor(place_S).astype(np.int64)
    second_S = np.minimum(first_S + 1, size - 1)
    return first_S, second_S, (place_S - first_S).astype(np.float32)


PLAIN = FixedView()

# The image itself comes first in every set. Scales are within what training zooms by default, and
# a little beyond.
VIEWS: dict[ViewSet, tuple[FixedView, ...]] = {
    "one": (PLAIN,),
    "mirror": (PLAIN, FixedView(mirrored=True)),
    "flips": (  # left and right, top and bottom, both
        PLAIN,
        FixedView(mirrored=True),
        FixedView(mirrored=True, quarter_turns=2),
        FixedView(quarter_turns=2),
    ),
    "dihedral": tuple(
        FixedView(mirrored, turns) for turns in range(4) for mirrored in (False, True)
    ),
    "scales": (PLAIN, FixedView(magnified=1.1), FixedView(magnified=1.2)),
}
