"""What is left of a winner's score, and of its lead, after correcting for the choice.

The best of many scores on one set of images is too good: some of it is luck with these images. The
choice is therefore repeated on resampled images, and what it chooses is judged on the images that
the resample left out, where it had no luck.

Source:
    Tsamardinos, Greasidou and Borboudakis 2018, "Bootstrapping the out-of-sample predictions for
    efficient and accurate cross-validation" (BBC-CV); here on the predictions for validation.

Not covered: what the epochs of a trial, its test-time views and its temperature owe to validation,
and that later trials were asked for in the light of earlier ones.

Shape suffixes: N images, M trials, R resamples, G units (groups, or images without one).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.intervals import SamplingUnits
from holotype.predictions import Predictions

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Corrected:
    """A value, and its interval of 95 %.

    Attributes:
        value: the mean over resamples.
        low, high: percentiles 2.5 and 97.5 of the resamples.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class CorrectedWinner:
    """The winner of a choice, corrected.

    Attributes:
        accuracy: of what the choice chooses, on images that it was not made on.
        lead: the same minus the accuracy of the default recipe on those images; None where the
            default recipe is not among the trials.
        num_trials: among which was chosen.
    """

    accuracy: Corrected
    lead: Corrected | None
    num_trials: int


def correct_winner(
    trials: Sequence[Predictions], default: int | None, seed: int = 0
) -> CorrectedWinner | None:
    """Correct the accuracy of the best of several trials on the same validation images.

    Of equal accuracies that of the earlier trial is chosen: a rank over all images would know of
    those that are left out.

    Args:
        trials: the predictions of each for the same labelled images in the same order; those with
            a weight of 0 count for nothing.
        default: the position of the default recipe among them.
        seed: of the resamples.

    Returns:
        None where fewer than two images, or groups, count.
    """
    first = trials[0]
    units = SamplingUnits.of(first)
    correct_NM = np.stack([one.predicted_N == one.targets_N for one in trials], axis=1)
    weighted_NM = correct_NM * first.weights_N[:, None]
    # Sums over the images of a unit, since a unit is drawn or left out as a whole.
    hits_GM = _per_unit(weighted_NM, units)
    weight_G = _per_unit(first.weights_N[:, None], units)[:, 0]
    if np.count_nonzero(weight_G) < 2:
        return None
    chosen_R, out_hits_RM, out_weight_R = _resample(hits_GM, weight_G, seed)
    rows = np.arange(len(chosen_R))
    accuracy_R = out_hits_RM[rows, chosen_R] / out_weight_R
    lead = None
    if default is not None:
        default_R = out_hits_RM[:, default] / out_weight_R
        lead = _summary(accuracy_R - default_R)
    return CorrectedWinner(_summary(accuracy_R), lead, len(trials))


def _per_unit(values_NM: NDArray[np.float64], units: SamplingUnits) -> NDArray[np.float64]:
    summed_GM = np.zeros((units.count, values_NM.shape[1]))
    np.add.at(summed_GM, units.unit_N, values_NM)
    return summed_GM


def _resample(
    hits_GM: NDArray[np.float64], weight_G: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """What each resample chooses, and the hits and the weight of what it leaves out.

    Resamples that leave nothing out, or draw nothing of weight, are drawn again.
    """
    rng = np.random.default_rng(seed)
    G = len(weight_G)
    chosen: list[int] = []
    hits, weights = [], []
    while len(chosen) < RESAMPLES:
        count_G = np.bincount(rng.integers(0, G, G), minlength=G)
        out_G = count_G == 0
        if not weight_G[out_G].sum() or not weight_G[~out_G].sum():
            continue
        # Rounded, so that equal accuracies are equal: the first of them is chosen.
        chosen.append(int(np.argmax(np.round(count_G @ hits_GM, 9))))
        hits.append(hits_GM[out_G].sum(axis=0))
        weights.append(weight_G[out_G].sum())
    return np.array(chosen), np.stack(hits), np.array(weights)


def _summary(value_R: NDArray[np.float64]) -> Corrected:
    low, high = np.quantile(value_R, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Corrected(float(value_R.mean()), float(low), float(high))
