"""Conformal prediction sets: sets of classes that contain the true one with a given probability.

A class is in the set if its nonconformity score is at most a threshold: a quantile of the scores of
the true classes of a calibration set, which was used for nothing else. If its images and new ones
are exchangeable, the true class is in the set with probability `coverage` or more, whatever the
classifier (Vovk et al. 2005; Lei et al. 2018).

- `lac`, the default: one minus the probability of the class; the smallest sets on average (Sadinle,
  Lei & Wasserman 2019, "Least Ambiguous Set-Valued Classifiers").
- `raps`: the probability of all more probable classes, with a penalty for large sets, so that hard
  images get larger sets than easy ones (Angelopoulos et al. 2021, "Uncertainty Sets for Image
  Classifiers using Conformal Prediction", eq. 4 with u = 0, without randomisation). The most
  probable class scores 0, so no set is empty.

Coverage holds on average over calibration sets, for images of the same distribution; where images
have groups, for images of the same mixture of groups.

Shape suffixes: N images, C classes.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.conformal_scores import ConformalScores
from holotype.bundle.manifest import CalibrationSet, CalibrationSource
from holotype.evaluation.intervals import Estimate, SamplingUnits, proportion
from holotype.predictions import Predictions

Floats = NDArray[np.float64]
Method = Literal["lac", "raps"]

DEFAULT_METHOD: Method = "lac"
RAPS_PENALTY = 0.01  # for each class beyond K_REG
K_REG = 2  # sets up to this size have no penalty
REPORTED_COVERAGES = (0.9, 0.95)


@dataclass(frozen=True, eq=False)
class ConformalPredictor:
    """Thresholds that were calibrated for one coverage.

    Attributes:
        method: `lac` or `raps`.
        coverage: the target share of sets that contain the true class, in (0, 1).
        threshold_C: the largest score of a class in a set; equal for all classes unless
            `class_conditional`. Infinite where the calibration set is too small for the coverage.
        calibration_size: the number of images of the calibration set.
        class_conditional: whether the coverage is for the images of every class.
        penalty, k_reg: of RAPS.
    """

    method: Method
    coverage: float
    threshold_C: Floats
    calibration_size: int
    class_conditional: bool
    penalty: float
    k_reg: int

    def prediction_sets_NC(
        self, probabilities_NC: Floats, *, never_empty: bool = True
    ) -> NDArray[np.bool_]:
        """Which classes are in each image's set.

        Args:
            probabilities_NC: rows sum to 1.
            never_empty: put the most probable class into every set, which can only raise the
                coverage; `lac` leaves sets empty where the accuracy is above the coverage.
        """
        scores_NC = _scores(probabilities_NC, self.method, self.penalty, self.k_reg)
        included_NC = scores_NC <= self.threshold_C
        if never_empty:
            included_NC[np.arange(len(included_NC)), probabilities_NC.argmax(axis=1)] = True
        return np.asarray(included_NC, np.bool_)

    @property
    def always_included_C(self) -> NDArray[np.bool_]:
        """The classes that are in every set, since the calibration set is too small."""
        return np.isinf(self.threshold_C)


def conformal_calibration(
    predictions: Predictions, source: CalibrationSource
) -> tuple[CalibrationSet, ConformalScores] | None:
    """The scores of a calibration set, from which sets of any coverage can be made.

    Args:
        predictions: with the sealed temperature and views, of images that neither trained nor chose
            anything. Images of weight 0 are left out; the others count once each.

    Returns:
        None where no image remains.
    """
    counted = predictions.scorable()
    if not len(counted):
        return None
    digest = counted.digest()
    made_of = CalibrationSet(source, digest, len(counted), penalty=RAPS_PENALTY, k_reg=K_REG)
    return made_of, _true_scores(counted)


def conformal_predictor(
    conformal_scores: ConformalScores,
    coverage: float,
    *,
    num_classes: int,
    calibration_set: CalibrationSet,
    method: Method = DEFAULT_METHOD,
    class_conditional: bool = False,
) -> ConformalPredictor:
    """The thresholds for one coverage.

    Args:
        coverage: in (0, 1), such as 0.95.
        calibration_set: of the scores; gives the penalty and k_reg of RAPS.
        class_conditional: cover the images of every class, not only all together (Sadinle et al.
            2019, section 3); a class with too few images is in every set.
    """
    scores_N = conformal_scores.lac_N if method == "lac" else conformal_scores.raps_N
    if class_conditional:
        of_class = [scores_N[conformal_scores.targets_N == c] for c in range(num_classes)]
        threshold_C = np.array([conformal_quantile(each_N, coverage) for each_N in of_class])
    else:
        threshold_C = np.full(num_classes, conformal_quantile(scores_N, coverage))
    return ConformalPredictor(
        method, coverage, threshold_C, len(conformal_scores), class_conditional,
        calibration_set.penalty, calibration_set.k_reg,
    )  # fmt: skip


@dataclass(frozen=True)
class PredictionSetScores:
    """Coverage and size of prediction sets on labelled images.

    Attributes:
        target_coverage: the coverage that was asked for.
        empirical_coverage: the share of sets that contain the true class, with its interval.
        mean_set_size: mean number of classes in a set.
        singleton_rate: the share of sets with one class.
        is_trivial: whether every set contains all classes, for want of calibration images.
        calibration_size, source: of the calibration set.
    """

    target_coverage: float
    empirical_coverage: Estimate
    mean_set_size: float
    singleton_rate: float
    is_trivial: bool
    calibration_size: int
    source: CalibrationSource


def evaluate_prediction_sets(
    conformal_scores: ConformalScores, calibration_set: CalibrationSet, predictions: Predictions
) -> list[PredictionSetScores]:
    """Score sets of the default method at 90 % and 95 % on images outside the calibration set.

    Images of weight 0 are left out; the others count once each.
    """
    counted = predictions.scorable()
    N = len(counted)
    scores = []
    for coverage in REPORTED_COVERAGES if N else ():
        conformal = conformal_predictor(
            conformal_scores,
            coverage,
            num_classes=len(counted.classes),
            calibration_set=calibration_set,
        )
        included_NC = conformal.prediction_sets_NC(counted.probabilities_NC)
        size_N = included_NC.sum(axis=1)
        covered_N = included_NC[np.arange(N), counted.targets_N]
        scores.append(
            PredictionSetScores(
                target_coverage=coverage,
                empirical_coverage=proportion(covered_N, np.ones(N), SamplingUnits.of(counted)),
                mean_set_size=float(size_N.mean()),
                singleton_rate=float((size_N == 1).mean()),
                is_trivial=bool(conformal.always_included_C.all()),
                calibration_size=len(conformal_scores),
                source=calibration_set.source,
            )
        )
    return scores


def conformal_quantile(scores_N: Floats, coverage: float) -> float:
    """The ceil((n + 1) · coverage)-th smallest score; infinite where n is too small for it."""
    # Rounded, since 0.9 · 110 is 99.00000000000001 in floating point.
    rank = math.ceil(round((len(scores_N) + 1) * coverage, 9))
    if rank > len(scores_N):
        return math.inf
    return float(np.sort(scores_N)[rank - 1])


def min_calibration_images(coverage: float) -> int:
    """The smallest calibration set with which sets of this coverage can leave a class out."""
    return math.ceil(round(coverage / (1 - coverage), 9))


def _true_scores(predictions: Predictions) -> ConformalScores:
    rows, targets_N = np.arange(len(predictions)), predictions.targets_N
    of_true = [
        _scores(predictions.probabilities_NC, method, RAPS_PENALTY, K_REG)[rows, targets_N]
        for method in ("lac", "raps")
    ]
    return ConformalScores(of_true[0], of_true[1], targets_N)


def _scores(probabilities_NC: Floats, method: str, penalty: float, k_reg: int) -> Floats:
    if method == "lac":
        return np.asarray(1.0 - probabilities_NC, np.float64)
    return _raps_scores(probabilities_NC, penalty, k_reg)


def _raps_scores(probabilities_NC: Floats, penalty: float, k_reg: int) -> Floats:
    """The probability of all more probable classes, plus a penalty for the rank."""
    order_NC = np.argsort(-probabilities_NC, axis=1, kind="stable")
    sorted_NC = np.take_along_axis(probabilities_NC, order_NC, axis=1)
    # Rounded, so that sums that should be equal are.
    likelier_NC = np.round(np.cumsum(sorted_NC, axis=1) - sorted_NC, 12)
    rank_C = np.arange(1, probabilities_NC.shape[1] + 1)
    penalised_NC = likelier_NC + penalty * np.maximum(0, rank_C - k_reg)
    scores_NC = np.empty_like(penalised_NC)
    np.put_along_axis(scores_NC, order_NC, penalised_NC, axis=1)
    return np.asarray(scores_NC, np.float64)
