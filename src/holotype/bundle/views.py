"""Fixed ways to look at a picture again, for a classifier that averages over them.

A set of views is a property of a classifier, sealed with its temperature, and never a choice of
the one who predicts: averaging changes what the temperature means. The views are exact (mirror
images and quarter turns of the model's input, no pixel is interpolated) and there is nothing
random in them.

Probabilities are averaged, not logits: a view that the network cannot make sense of says little
and then counts little, while logits would let the loudest view decide. The logarithm of the mean
takes the place of the logits, so that one temperature mends what averaging does to confidence;
the same rule joins the members of a classifier.

Shape suffixes: C the three channels, H height, W width.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from holotype.kept import key_of

ViewSet = Literal["one", "mirror", "dihedral"]


@dataclass(frozen=True)
class FixedView:
    """The mirror image or not, then turned to the left by so many quarters."""

    mirrored: bool = False
    quarter_turns: int = 0

    def of(self, input_CHW: NDArray[np.float32]) -> NDArray[np.float32]:
        """The model input seen so; quarter turns of what is not square change its shape."""
        if self.mirrored:
            input_CHW = input_CHW[:, :, ::-1]
        return np.ascontiguousarray(np.rot90(input_CHW, self.quarter_turns, axes=(1, 2)))

    def key(self, sha256: str) -> str:
        """Under what this view of a picture is kept; the picture itself under its plain hash."""
        return sha256 if self == PLAIN else key_of(sha256, repr(self))


PLAIN = FixedView()

# The picture itself comes first in every set, and a larger set holds the smaller ones.
VIEWS: dict[ViewSet, tuple[FixedView, ...]] = {
    "one": (PLAIN,),
    "mirror": (PLAIN, FixedView(mirrored=True)),
    "dihedral": tuple(
        FixedView(mirrored, turns) for turns in range(4) for mirrored in (False, True)
    ),
}
