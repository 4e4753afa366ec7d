"""What mirror images and turns change of the held-out log loss, with paired intervals.

Shape suffixes: N images, G units (images or groups).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.intervals import Estimate, SamplingUnits, t_quantile
from holotype.training.symmetry import Symmetry, SymmetryMeasurement


@dataclass(frozen=True)
class SymmetryEffect:
    """One set of mirror images and turns.

    Attributes:
        symmetry: the set.
        log_loss: held out, of a linear head on it.
        difference: to that without any, with its paired 95 % interval; below 0 it helps.
        chosen: whether training takes this set.
    """

    symmetry: Symmetry
    log_loss: float
    difference: Estimate
    chosen: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "symmetry": self.symmetry,
            "log_loss": self.log_loss,
            "difference": self.difference.to_json(),
            "chosen": self.chosen,
        }


def symmetry_effects(measured: SymmetryMeasurement) -> list[SymmetryEffect]:
    """The sets from the smallest to the largest; none where there was too little to measure."""
    if not measured.losses:
        return []
    units = SamplingUnits.of_groups(measured.groups)
    none_N = measured.losses["none"]
    return [
        SymmetryEffect(
            symmetry,
            measured.mean_loss(symmetry),
            _mean_difference(losses_N - none_N, measured.weights_N, units),
            symmetry == measured.best,
        )
        for symmetry, losses_N in measured.losses.items()
    ]


def _mean_difference(
    difference_N: NDArray[np.float64], weights_N: NDArray[np.float64], units: SamplingUnits
) -> Estimate:
    """The weighted mean with Student's t interval over independent units."""
    known_N = ~np.isnan(difference_N)
    share_N = np.where(known_N, weights_N, 0.0)
    share_N = share_N / share_N.sum()
    difference_N = np.where(known_N, difference_N, 0.0)
    mean = float(share_N @ difference_N)
    excess_G = np.bincount(units.unit_N, share_N * (difference_N - mean), minlength=units.count)
    error = float(np.sqrt(units.count / (units.count - 1) * (excess_G**2).sum()))
    reach = t_quantile(units.count - 1) * error
    return Estimate(mean, mean - reach, mean + reach, f"Student's t over paired {units.noun}")
