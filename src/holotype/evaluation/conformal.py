"""Sets of classes that hold the true one as often as promised.

A set is made by a limit on a score of how badly a class fits; the limit is a quantile of the scores
of the true classes of pictures that were used for nothing else. If those and the new pictures are
drawn alike, the true class is in the set with probability `coverage` or more, whatever the
classifier (Vovk et al. 2005; Lei et al. 2018).

- `lac`: one minus the probability of the class; the smallest sets on average (Sadinle, Lei &
  Wasserman 2019, "Least Ambiguous Set-Valued Classifiers").
- `raps`: the probability of all classes at least as likely, with a penalty for long sets, so that
  hard pictures get larger sets than easy ones (Angelopoulos et al. 2021, "Uncertainty Sets for
  Image Classifiers using Conformal Prediction"); deterministic, so a little above its promise.

Shape suffixes: N pictures, C classes.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from holotype.errors import DatasetError
from holotype.predictions import Predictions

Floats = NDArray[np.float64]
Method = Literal["lac", "raps"]

PENALTY = 0.01  # of RAPS, for each class beyond the free ones
FREE_CLASSES = 2  # of RAPS: sets up to this size cost nothing


@dataclass(frozen=True, eq=False)
class Conformal:
    """Limits that were calibrated for one coverage.

    Attributes:
        method: `lac` or `raps`.
        coverage: the share of pictures whose set is promised to hold the true class.
        limit_C: the largest score that is let into a set, for every class; the same for all where
            the promise is for pictures as a whole, one for each where it is for every class.
        num_calibrated: how many pictures it rests on.
        fitted_on: the digest of their predictions.
    """

    method: Method
    coverage: float
    limit_C: Floats
    num_calibrated: int
    fitted_on: str

    def sets_NC(self, probabilities_NC: Floats) -> NDArray[np.bool_]:
        """Which classes are in each picture's set; the likeliest one always is."""
        included_NC = _scores(probabilities_NC, self.method) <= self.limit_C
        included_NC[np.arange(len(included_NC)), probabilities_NC.argmax(axis=1)] = True
        return included_NC


def calibrate(
    predictions: Predictions,
    coverage: float,
    *,
    method: Method = "lac",
    by_class: bool = False,
) -> Conformal:
    """Limits from pictures that neither trained, chose nor calibrated anything.

    Args:
        predictions: of those pictures. Weights are not heard: the promise is for pictures as they
            come.
        coverage: between 0 and 1, such as 0.95.
        by_class: promise the coverage for the pictures of every class, not only for all together
            (Sadinle et al. 2019, §3); a class with too few pictures is in every set.

    Raises:
        DatasetError: a coverage outside 0 … 1, or no labelled picture.
    """
    if not 0 < coverage < 1:
        raise DatasetError(f"coverage {coverage} makes no sense; expected a share such as 0.95.")
    labelled = predictions.labelled()
    if not len(labelled):
        raise DatasetError("no labelled picture to calibrate on; give pictures with their classes.")
    scores_NC = _scores(labelled.probabilities_NC, method)
    true_N = scores_NC[np.arange(len(labelled)), labelled.targets_N]
    C = len(labelled.classes)
    if by_class:
        limits = [conformal_quantile(true_N[labelled.targets_N == c], coverage) for c in range(C)]
    else:
        limits = [conformal_quantile(true_N, coverage)] * C
    return Conformal(method, coverage, np.array(limits), len(labelled), labelled.digest())


def conformal_quantile(scores_N: Floats, coverage: float) -> float:
    """The ceil((n + 1) · coverage)-th smallest score; infinite where n is too small to promise."""
    # The product is rounded first: 0.9 · 110 is 99.00000000000001 in floating point.
    rank = math.ceil(round((len(scores_N) + 1) * coverage, 9))
    if rank > len(scores_N):
        return math.inf
    return float(np.sort(scores_N)[rank - 1])


def _scores(probabilities_NC: Floats, method: Method) -> Floats:
    if method == "lac":
        return np.asarray(1.0 - probabilities_NC, np.float64)
    return _raps_scores(probabilities_NC)


def _raps_scores(probabilities_NC: Floats) -> Floats:
    """Cumulated probability down to each class, and a penalty for its rank (eq. 4, without u)."""
    order_NC = np.argsort(-probabilities_NC, axis=1, kind="stable")
    cumulated_NC = np.cumsum(np.take_along_axis(probabilities_NC, order_NC, axis=1), axis=1)
    rank_C = np.arange(1, probabilities_NC.shape[1] + 1)
    penalised_NC = cumulated_NC + PENALTY * np.maximum(0, rank_C - FREE_CLASSES)
    scores_NC = np.empty_like(penalised_NC)
    np.put_along_axis(scores_NC, order_NC, penalised_NC, axis=1)
    return np.asarray(scores_NC, np.float64)
