"""Sets of classes that hold the true one as often as promised.

A set is made by a limit on a score of how badly a class fits; the limit is a quantile of the scores
of the true classes of pictures that were used for nothing else. If those and the new pictures are
drawn alike, the true class is in the set with probability `coverage` or more, whatever the
classifier (Vovk et al. 2005; Lei et al. 2018).

- `lac`: one minus the probability of the class; the smallest sets on average (Sadinle, Lei &
  Wasserman 2019, "Least Ambiguous Set-Valued Classifiers"). The default for that, and because it
  means the same for two classes as for a thousand.
- `raps`: the probability of all likelier classes together, with a penalty for long sets, so that
  hard pictures get larger sets than easy ones (Angelopoulos et al. 2021, "Uncertainty Sets for
  Image Classifiers using Conformal Prediction", eq. 4 with u = 0: nothing is drawn at random). The
  likeliest class scores 0, so no set is empty.

The promise is for pictures drawn as those that were held back, on average over such draws. It is
not for another camera, and where pictures have groups, it is for pictures of groups as they mixed.

Shape suffixes: N pictures, C classes.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.calibrated import Calibrated
from holotype.bundle.manifest import HeldBack, HeldBackSource
from holotype.errors import DatasetError
from holotype.evaluation.intervals import Estimate, Units, proportion
from holotype.predictions import Predictions

Floats = NDArray[np.float64]
Method = Literal["lac", "raps"]

DEFAULT_METHOD: Method = "lac"
PENALTY = 0.01  # of RAPS, for each class beyond the free ones
FREE_CLASSES = 2  # of RAPS: sets up to this size cost nothing
REPORTED = (0.9, 0.95)  # the coverages that a report shows


@dataclass(frozen=True, eq=False)
class Conformal:
    """Limits that were calibrated for one coverage.

    Attributes:
        method: `lac` or `raps`.
        coverage: the share of pictures whose set is promised to hold the true class.
        limit_C: the largest score that is let into a set, for every class; the same for all where
            the promise is for pictures as a whole, one for each where it is for every class.
            Infinite where too few pictures were held back to promise this much.
        num_calibrated: how many pictures it rests on.
        by_class: whether the promise is for the pictures of every class.
        penalty, free_classes: of RAPS.
    """

    method: Method
    coverage: float
    limit_C: Floats
    num_calibrated: int
    by_class: bool = False
    penalty: float = PENALTY
    free_classes: int = FREE_CLASSES

    def sets_NC(self, probabilities_NC: Floats, *, never_empty: bool = True) -> NDArray[np.bool_]:
        """Which classes are in each picture's set.

        Args:
            never_empty: put the likeliest class into every set, which can only exceed the promise:
                `lac` leaves sets empty where a classifier is right more often than promised.
        """
        scores_NC = _scores(probabilities_NC, self.method, self.penalty, self.free_classes)
        included_NC = scores_NC <= self.limit_C
        if never_empty:
            included_NC[np.arange(len(included_NC)), probabilities_NC.argmax(axis=1)] = True
        return np.asarray(included_NC, np.bool_)

    @property
    def says_nothing_C(self) -> NDArray[np.bool_]:
        """The classes that are in every set, since too few pictures were held back."""
        return np.isinf(self.limit_C)


def hold_back(
    predictions: Predictions, source: HeldBackSource
) -> tuple[HeldBack, Calibrated] | None:
    """What is sealed into a bundle, so that sets can be asked for at any coverage.

    Args:
        predictions: with the sealed temperature and views, of pictures that neither trained, chose
            nor calibrated anything; those of weight 0 were left out by a person, and are here too.
            Other weights are not heard: the promise is for pictures as they come.

    Returns:
        None where no picture remains.
    """
    counted = predictions.select((predictions.targets_N >= 0) & (predictions.weights_N > 0))
    if not len(counted):
        return None
    digest = counted.digest()
    said = HeldBack(source, digest, len(counted), penalty=PENALTY, free_classes=FREE_CLASSES)
    return said, _true_scores(counted)


def limits(
    calibrated: Calibrated,
    coverage: float,
    *,
    num_classes: int,
    method: Method = DEFAULT_METHOD,
    by_class: bool = False,
    held_back: HeldBack | None = None,
) -> Conformal:
    """The limits for one coverage.

    Args:
        coverage: between 0 and 1, such as 0.95.
        by_class: promise the coverage for the pictures of every class, not only for all together
            (Sadinle et al. 2019, section 3); a class with too few pictures is in every set.
        held_back: says with which penalty the scores of RAPS were made, if with another.

    Raises:
        DatasetError: a coverage outside 0 … 1.
    """
    if not 0 < coverage < 1:
        raise DatasetError(f"coverage {coverage} makes no sense; expected a share such as 0.95.")
    scores_N = calibrated.lac_N if method == "lac" else calibrated.raps_N
    if by_class:
        of_class = [scores_N[calibrated.targets_N == c] for c in range(num_classes)]
        limit_C = np.array([conformal_quantile(each_N, coverage) for each_N in of_class])
    else:
        limit_C = np.full(num_classes, conformal_quantile(scores_N, coverage))
    penalty = held_back.penalty if held_back else PENALTY
    free_classes = held_back.free_classes if held_back else FREE_CLASSES
    return Conformal(method, coverage, limit_C, len(calibrated), by_class, penalty, free_classes)


def calibrate(
    predictions: Predictions,
    coverage: float,
    *,
    method: Method = DEFAULT_METHOD,
    by_class: bool = False,
) -> Conformal:
    """Limits straight from predictions; see `hold_back` and `limits`.

    Raises:
        DatasetError: a coverage outside 0 … 1, or no labelled picture.
    """
    labelled = predictions.labelled()
    if not len(labelled):
        raise DatasetError("no labelled picture to calibrate on; give pictures with their classes.")
    return limits(
        _true_scores(labelled),
        coverage,
        num_classes=len(labelled.classes),
        method=method,
        by_class=by_class,
    )


@dataclass(frozen=True)
class SetScores:
    """What sets of one promised coverage are worth on pictures with labels.

    Attributes:
        promised: the coverage that was asked for.
        covered: the share of sets that hold the true class, with its interval.
        mean_size: classes in a set.
        single: the share of sets with one class only.
        says_nothing: whether too few pictures were held back, so that every set holds all classes.
        num_calibrated, source: what the sets rest on.
    """

    promised: float
    covered: Estimate
    mean_size: float
    single: float
    says_nothing: bool
    num_calibrated: int
    source: HeldBackSource


def judge_sets(
    calibrated: Calibrated, held_back: HeldBack, predictions: Predictions
) -> list[SetScores]:
    """Sets of the default method at 90 % and 95 % on pictures that calibrated nothing.

    Pictures that a person left out do not count; others count once each, whatever they weigh.
    """
    counted = predictions.select((predictions.targets_N >= 0) & (predictions.weights_N > 0))
    N = len(counted)
    judged = []
    for coverage in REPORTED if N else ():
        conformal = limits(
            calibrated, coverage, num_classes=len(counted.classes), held_back=held_back
        )
        included_NC = conformal.sets_NC(counted.probabilities_NC)
        size_N = included_NC.sum(axis=1)
        covered_N = included_NC[np.arange(N), counted.targets_N]
        judged.append(
            SetScores(
                promised=coverage,
                covered=proportion(covered_N, np.ones(N), Units.of(counted)),
                mean_size=float(size_N.mean()),
                single=float((size_N == 1).mean()),
                says_nothing=bool(conformal.says_nothing_C.all()),
                num_calibrated=len(calibrated),
                source=held_back.source,
            )
        )
    return judged


def conformal_quantile(scores_N: Floats, coverage: float) -> float:
    """The ceil((n + 1) · coverage)-th smallest score; infinite where n is too small to promise."""
    # The product is rounded first: 0.9 · 110 is 99.00000000000001 in floating point.
    rank = math.ceil(round((len(scores_N) + 1) * coverage, 9))
    if rank > len(scores_N):
        return math.inf
    return float(np.sort(scores_N)[rank - 1])


def fewest_pictures(coverage: float) -> int:
    """How many pictures must be held back before sets of this coverage can leave anything out."""
    return math.ceil(round(coverage / (1 - coverage), 9))


def _true_scores(predictions: Predictions) -> Calibrated:
    rows, targets_N = np.arange(len(predictions)), predictions.targets_N
    of_true = [
        _scores(predictions.probabilities_NC, method, PENALTY, FREE_CLASSES)[rows, targets_N]
        for method in ("lac", "raps")
    ]
    return Calibrated(of_true[0], of_true[1], targets_N)


def _scores(probabilities_NC: Floats, method: str, penalty: float, free_classes: int) -> Floats:
    if method == "lac":
        return np.asarray(1.0 - probabilities_NC, np.float64)
    return _raps_scores(probabilities_NC, penalty, free_classes)


def _raps_scores(probabilities_NC: Floats, penalty: float, free_classes: int) -> Floats:
    """The probability of all likelier classes, and a penalty for the rank."""
    order_NC = np.argsort(-probabilities_NC, axis=1, kind="stable")
    sorted_NC = np.take_along_axis(probabilities_NC, order_NC, axis=1)
    # Rounded, so that what is 1 for two pictures is no 0.9999999999999999 for one of them.
    likelier_NC = np.round(np.cumsum(sorted_NC, axis=1) - sorted_NC, 12)
    rank_C = np.arange(1, probabilities_NC.shape[1] + 1)
    penalised_NC = likelier_NC + penalty * np.maximum(0, rank_C - free_classes)
    scores_NC = np.empty_like(penalised_NC)
    np.put_along_axis(scores_NC, order_NC, penalised_NC, axis=1)
    return np.asarray(scores_NC, np.float64)
