"""`Example`: an image that a report shows, with its heatmap.

Shape suffixes: H height, W width, C colour channels (red, green, blue).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Example:
    """One image of a report.

    Attributes:
        id: its relative path.
        image_HWC: uint8, upright.
        overlay_HWC: uint8, the image with its heatmap, of the same shape; None without one.
        true_class: None where it is not known.
        predicted_class: the most probable class.
        confidence: its probability, in [0, 1].
        kind: whether the prediction is correct.
    """

    id: str
    image_HWC: NDArray[np.uint8]
    overlay_HWC: NDArray[np.uint8] | None
    true_class: str | None
    predicted_class: str
    confidence: float
    kind: Literal["mistake", "correct"]
