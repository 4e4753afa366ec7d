"""Expected calibration error, reliability diagram and temperature scaling.

Shape suffixes: N images, C classes, B confidence bins, R sets of weights.
Not covered: per-class calibration, distribution shift.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holotype.evaluation.intervals import (
    CONFIDENCE_LEVEL,
    NUM_RESAMPLES,
    Estimate,
    SamplingUnits,
    proportion,
)
from holotype.evaluation.metrics import weights_of
from holotype.evaluation.roc_curves import ratio
from holotype.predictions import Predictions

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
MIN_IMAGES = 10
NUM_BINS = 15  # by convention


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """A reliability diagram: images in bins by their confidence.

    Attributes:
        edges_B1: the B + 1 ends of the bins; bin b holds confidences in (edge b, edge b + 1].
        confidence_B: mean confidence; NaN in an empty bin.
        accuracies: with their intervals; undefined in an empty bin.
        share_B: of the weight of all images; sums to 1.
        count_B: number of images.
    """

    edges_B1: NDArray[np.float64]
    confidence_B: NDArray[np.float64]
    accuracies: tuple[Estimate, ...]
    share_B: NDArray[np.float64]
    count_B: NDArray[np.int64]


def expected_calibration_error(
    predictions: Predictions, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Mean |confidence - accuracy| over equal-width bins, weighted by images.

    On few images even a perfectly calibrated classifier has a positive error, since the accuracies
    in the bins scatter.

    Args:
        predictions: labelled; confidence is the highest probability of an image.
        weights: (N,) or (N, R); the predictions' own unless given.

    Returns:
        A fraction in [0, 1], not a percentage; () or (R,).

    Source:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3.
    """
    from scipy.sparse import csr_array

    weights = weights_of(predictions, weights)
    confidence_N = predictions.probabilities_NC.max(axis=1)
    excess_N = confidence_N - (predictions.predicted_N == predictions.targets_N)
    N = len(predictions)
    excess_BN = csr_array((excess_N, (_bin_of(confidence_N), np.arange(N))), shape=(NUM_BINS, N))
    return ratio(np.abs(excess_BN @ weights).sum(axis=0), weights.sum(axis=0))


def calibration_estimate(
    predictions: Predictions,
    estimate: Estimate,
    resampled_R: NDArray[np.float64] | None,
    design_effect: float,
    seed: int,
) -> Estimate:
    """Correct the lower end of the interval of the calibration error.

    The error is biased upwards, and resampling adds the bias once more, so that an interval around
    the resamples of a calibrated classifier never contains 0. The lower end is therefore reflected:
    as far below the value as resamples reach above it. It is 0 where a perfectly calibrated
    classifier would exceed the value in one test set of twenty, which happens at larger values
    where images of one group are right and wrong together.

    Args:
        predictions: of which the error is.
        estimate: the error with the interval from its variance.
        resampled_R: the error of resamples; None where images have groups.
        design_effect: of the accuracy; 1 without groups.
        seed: of the simulated perfect calibration.

    Source:
        Davison and Hinkley 1997, section 5.2 (basic bootstrap); Bröcker and Smith 2007,
        "Increasing the Reliability of Reliability Diagrams" (consistency resampling).
    """
    value, low = estimate.value, estimate.low
    if value is None or low is None:
        return estimate
    if resampled_R is not None:
        low = min(low, 2 * value - float(np.quantile(resampled_R, (1 + CONFIDENCE_LEVEL) / 2)))
    if value <= error_if_calibrated(predictions, seed) * np.sqrt(design_effect):
        low = 0.0
    method = f"{estimate.method}, lower end corrected"
    return replace(estimate, low=max(0.0, low), method=method)


def error_if_calibrated(predictions: Predictions, seed: int) -> float:
    """The 95 % quantile of the calibration error of a perfectly calibrated classifier.

    By simulation: each image is correct with the probability of its confidence.
    """
    from scipy.sparse import csr_array

    rng = np.random.default_rng(seed)
    weights_N = weights_of(predictions, None)
    confidence_N = predictions.probabilities_NC.max(axis=1)
    N = len(predictions)
    bins_BN = csr_array((weights_N, (_bin_of(confidence_N), np.arange(N))))
    errors = []
    for _ in range(NUM_RESAMPLES):
        excess_N = confidence_N - (rng.random(N) < confidence_N)
        errors.append(np.abs(bins_BN @ excess_N).sum() / weights_N.sum())
    return float(np.quantile(errors, CONFIDENCE_LEVEL))


def reliability_bins(predictions: Predictions) -> ReliabilityBins:
    """Mean confidence and accuracy of labelled predictions in each bin."""
    weights_N = weights_of(predictions, None)
    confidence_N = predictions.probabilities_NC.max(axis=1)
    correct_N = predictions.predicted_N == predictions.targets_N
    bin_N = _bin_of(confidence_N)
    units = SamplingUnits.of(predictions)

    def total(values_N: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.bincount(bin_N, values_N * weights_N, minlength=NUM_BINS)
        return sums.astype(np.float64)

    weight_B = total(np.ones(len(predictions)))
    return ReliabilityBins(
        edges_B1=np.linspace(0, 1, NUM_BINS + 1),
        confidence_B=ratio(total(confidence_N), weight_B),
        accuracies=tuple(
            proportion(correct_N, weights_N * (bin_N == b), units) for b in range(NUM_BINS)
        ),
        share_B=weight_B / weight_B.sum(),
        count_B=np.bincount(bin_N[weights_N > 0], minlength=NUM_BINS).astype(np.int64),
    )


def fit_temperature(predictions: Predictions) -> float:
    """The temperature with the lowest log loss of labelled predictions.

    Logits are divided by it; above 1 it lowers confidence. It changes no predicted class.

    It is 1 for fewer than 10 scorable images, or images of one class only. Where every image is
    predicted correctly the loss has no minimum, and the temperature is at least 1.

    Returns:
        A number in [0.05, 20].

    Source:
        Guo et al. 2017, section 4.2. The loss is convex in 1/T, so it has one minimum in
        log T, and a bounded scalar search finds it.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    fitted = predictions.scorable()
    if len(fitted) < MIN_IMAGES or len(np.unique(fitted.targets_N)) < 2:
        return 1.0
    logits_NC = fitted.logits_NC.astype(np.float64)
    of_target_N = logits_NC[np.arange(len(fitted)), fitted.targets_N]
    weights_N = fitted.weights_N / fitted.weights_N.sum()

    def loss(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        losses_N = logsumexp(logits_NC / temperature, axis=1) - of_target_N / temperature
        return float(losses_N @ weights_N)

    all_correct = bool((logits_NC.max(axis=1) == of_target_N).all())
    ends = (0.0 if all_correct else np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-6})
    # The search does not evaluate the ends.
    best = min((*ends, float(found.x)), key=loss)
    return float(np.clip(np.exp(best), MIN_TEMPERATURE, MAX_TEMPERATURE))


def _bin_of(confidence_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each confidence; bins are open below and closed above."""
    edges = np.linspace(0, 1, NUM_BINS + 1)
    return np.clip(np.searchsorted(edges, confidence_N, "left") - 1, 0, NUM_BINS - 1)
