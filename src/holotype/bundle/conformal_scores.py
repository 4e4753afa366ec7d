"""Conformal scores of the calibration set, from which prediction sets of any coverage are made.

See `evaluation.conformal` for the scores.

Shape suffixes: N images of the calibration set.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.array_files import arrays_from_bytes, arrays_to_bytes

CONFORMAL = "conformal.npz"

_ARRAYS = {"lac": ("float64", 1), "raps": ("float64", 1), "targets": ("int64", 1)}


@dataclass(frozen=True, eq=False)
class ConformalScores:
    """The scores of the true classes of the calibration images; written in sorted order.

    Attributes:
        lac_N: one minus the probability of the true class; float64 in [0, 1].
        raps_N: the probability of all likelier classes, with the penalty for its rank.
        targets_N: int64 class numbers.
    """

    lac_N: NDArray[np.float64]
    raps_N: NDArray[np.float64]
    targets_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets_N)

    def to_bytes(self) -> bytes:
        order = np.lexsort((self.raps_N, self.lac_N, self.targets_N))
        return arrays_to_bytes(
            {
                "lac": self.lac_N[order],
                "raps": self.raps_N[order],
                "targets": self.targets_N[order].astype(np.int64),
            }
        )


def read_conformal_scores(content: bytes, num_classes: int) -> ConformalScores:
    """Scores from untrusted bytes.

    Raises:
        ValueError: they are not what a bundle of so many classes may hold.
    """
    arrays = arrays_from_bytes(content, _ARRAYS)
    lac_N, raps_N, targets_N = arrays["lac"], arrays["raps"], arrays["targets"]
    if not len(lac_N) == len(raps_N) == len(targets_N) or not len(targets_N):
        raise ValueError(f"{len(lac_N)}, {len(raps_N)} scores and {len(targets_N)} targets")
    if not (np.isfinite(lac_N).all() and np.isfinite(raps_N).all()):
        raise ValueError("scores that are not finite")
    if targets_N.min() < 0 or targets_N.max() >= num_classes:
        raise ValueError(f"targets outside 0 … {num_classes - 1}")
    return ConformalScores(lac_N, raps_N, targets_N)
