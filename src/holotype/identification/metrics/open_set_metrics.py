"""Open-set metrics: known individuals named, unknown ones called new.

Shape suffixes: Q queries, T thresholds, R resamples.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from holotype.errors import UsageError
from holotype.evaluation.intervals import Estimate, SamplingUnits, proportion, undefined
from holotype.evaluation.roc_curves import Ranking
from holotype.identification.metrics.identity_intervals import interval_by_identity

FALSE_ALARM_RATES = (0.01, 0.05, 0.1)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OpenSetAccuracy:
    """Balanced accuracies of known and of unknown individuals.

    Attributes:
        known: BAKS, the mean over known individuals of the share of their images that were named
            right; an image called new is wrong.
        unknown: BAUS, the mean over unknown individuals of the share called new.
    """

    known: Estimate
    unknown: Estimate


def open_set_accuracy(
    predicted: Sequence[str | None], identities: Sequence[str], known: Collection[str]
) -> OpenSetAccuracy:
    """BAKS and BAUS, with intervals by identity.

    Args:
        predicted: of each query the individual, or None for "new individual".
        identities: the truth.
        known: individuals that the gallery holds.

    Raises:
        UsageError: not as many predictions as identities.

    Source:
        Adam et al. 2024, "WildlifeReID-10k"; the score of AnimalCLEF 2025.

    Example:
        >>> truth = ["ada", "ada", "bo", "new one"]
        >>> found = open_set_accuracy(["ada", None, "bo", None], truth, {"ada", "bo"})
        >>> found.known.value, found.unknown.value
        (0.75, 1.0)
    """
    _require_equal_lengths(len(predicted), len(identities))
    known = frozenset(known)
    is_known_Q = np.array([name in known for name in identities], bool)
    right_Q = np.array(
        [
            given == name if name in known else given is None
            for given, name in zip(predicted, identities, strict=True)
        ],
        bool,
    )
    of_known = _balanced(right_Q, is_known_Q, identities, "no query of a known individual")
    of_unknown = _balanced(right_Q, ~is_known_Q, identities, "no query of an unknown individual")
    return OpenSetAccuracy(of_known, of_unknown)


def _balanced(
    right_Q: NDArray[np.bool_], counted_Q: NDArray[np.bool_], identities: Sequence[str], reason: str
) -> Estimate:
    """The mean over individuals of their share of successes."""
    if not counted_Q.any():
        return undefined(reason)
    units = SamplingUnits.of_groups(identities)
    images_of_unit = np.bincount(units.unit_N)
    return proportion(right_Q, counted_Q / images_of_unit[units.unit_N], units)


@dataclass(frozen=True, eq=False)
class OpenSetRoc:
    """The open-set ROC curve, one point per distinct score, the highest threshold first.

    Attributes:
        thresholds_T: a query whose best score is below is called new.
        false_alarm_rate_T: of unknown individuals' queries, the share not called new.
        identification_rate_T: of known individuals' queries, the share named right at rank 1 and
            not called new (DIR).
        area_known_unknown: the area under the ROC of known against unknown by the best score,
            whoever was named (AUROC); 0.5 is chance.
        identification_rate_at: the identification rate at a false alarm rate of at most this.
    """

    thresholds_T: Floats
    false_alarm_rate_T: Floats
    identification_rate_T: Floats
    area_known_unknown: Estimate
    identification_rate_at: dict[float, Estimate]


def open_set_roc(
    best_score_Q: Floats,
    named_right_Q: NDArray[np.bool_],
    known_Q: NDArray[np.bool_],
    identities: Sequence[str],
    *,
    false_alarm_rates: Sequence[float] = FALSE_ALARM_RATES,
) -> OpenSetRoc:
    """Identification rate against false alarm rate over all thresholds, intervals by identity.

    Args:
        best_score_Q: the score of the best candidate of each query; larger is more alike.
        named_right_Q: whether that candidate is the individual.
        known_Q: whether the gallery holds the individual.
        identities: Q names, the sampling units.
        false_alarm_rates: at which the identification rate is given, in [0, 1).

    Raises:
        UsageError: the lengths differ, or there are no known or no unknown queries.

    Source:
        Phillips, Grother and Micheals 2011, "Evaluation Methods in Face Recognition", section 3
        (detection and identification rate at a false alarm rate).

    Example:
        >>> import numpy as np
        >>> known_Q = np.array([True, True, False, False])
        >>> score_Q = np.array([0.9, 0.6, 0.7, 0.2])
        >>> roc = open_set_roc(score_Q, known_Q, known_Q, ["ada", "bo", "x", "y"])
        >>> roc.area_known_unknown.value, roc.identification_rate_at[0.05].value
        (0.75, 0.5)
    """
    for values in (named_right_Q, known_Q, identities):
        _require_equal_lengths(len(best_score_Q), len(values))
    if known_Q.all() or not known_Q.any():
        raise UsageError(
            f"{int(known_Q.sum())} queries of known and {int((~known_Q).sum())} of unknown "
            "individuals; an open-set curve needs both."
        )
    best_score_Q = np.asarray(best_score_Q, np.float64)
    units = SamplingUnits.of_groups(identities)
    ranking = Ranking.of(best_score_Q, known_Q, np.arange(len(known_Q)), len(known_Q))
    thresholds_T = np.unique(best_score_Q)[::-1]
    accepted_TQ = best_score_Q >= thresholds_T[:, None]
    return OpenSetRoc(
        thresholds_T=thresholds_T,
        false_alarm_rate_T=accepted_TQ[:, ~known_Q].mean(axis=1),
        identification_rate_T=(accepted_TQ & named_right_Q)[:, known_Q].mean(axis=1),
        area_known_unknown=interval_by_identity(
            lambda weights_QR: ranking.with_weights(weights_QR).roc_auc, units
        ),
        identification_rate_at={
            rate: interval_by_identity(
                partial(
                    _identification_rate,
                    score_Q=best_score_Q,
                    named_right_Q=named_right_Q & known_Q,
                    known_Q=known_Q,
                    rate=rate,
                ),
                units,
            )
            for rate in false_alarm_rates
        },
    )


def _identification_rate(
    weights_QR: Floats,
    *,
    score_Q: Floats,
    named_right_Q: NDArray[np.bool_],
    known_Q: NDArray[np.bool_],
    rate: float,
) -> Floats:
    """The identification rate at the lowest threshold whose false alarm rate is at most `rate`."""
    order = np.argsort(-score_Q, kind="stable")
    last_of_tie = np.flatnonzero(np.diff(score_Q[order], append=np.nan))
    sums = []
    for counted_Q in (~known_Q, named_right_Q):
        summed_QR = np.cumsum(weights_QR[order] * counted_Q[order, None], axis=0)[last_of_tie]
        sums.append(np.concatenate([np.zeros((1, weights_QR.shape[1])), summed_QR]))
    alarms_TR, named_TR = sums
    num_known_R, num_unknown_R = known_Q @ weights_QR, ~known_Q @ weights_QR
    allowed_R = (alarms_TR <= rate * num_unknown_R + 1e-9).sum(axis=0) - 1
    with np.errstate(invalid="ignore"):  # a resample without a known or an unknown one
        found_R = named_TR[allowed_R, np.arange(weights_QR.shape[1])] / num_known_R
    return np.where(num_unknown_R > 0, found_R, np.nan)


def _require_equal_lengths(given: int, expected: int) -> None:
    if given != expected:
        raise UsageError(f"{given} values beside {expected}; expected one of each per query.")
