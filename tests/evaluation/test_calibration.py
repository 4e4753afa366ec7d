"""Calibration error and temperature, against torchmetrics and against known truths."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as tm
from scipy.optimize import brentq
from scipy.special import softmax as scipy_softmax
from scipy.stats import norm

from holotype.evaluation.build_report import build_report
from holotype.evaluation.calibration import (
    NUM_BINS,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
)
from holotype.evaluation.metrics import log_loss
from holotype.predictions import Predictions, softmax
from tests.evaluation.made import called, made


def calibrated(num_images: int, seed: int, *, sharpened: float = 1.0) -> Predictions:
    """Targets drawn from the probabilities themselves; then logits times `sharpened`."""
    rng = np.random.default_rng(seed)
    predictions = made(num_images, 3, seed=seed)
    cumulative_NC = predictions.probabilities_NC.cumsum(axis=1)
    targets_N = (rng.random((num_images, 1)) > cumulative_NC).sum(axis=1).clip(0, 2)
    logits_NC = predictions.logits_NC * np.float32(sharpened)
    return replace(
        predictions,
        targets_N=targets_N,
        logits_NC=logits_NC,
        probabilities_NC=softmax(logits_NC),
    )


@pytest.mark.parametrize("num_classes", [2, 6])
def test_calibration_error_agrees_with_torchmetrics(num_classes: int) -> None:
    times_N = np.random.default_rng(0).integers(0, 4, 500)
    once = made(500, num_classes, seed=5, signal=1.0)
    weighted = replace(once, weights_N=times_N.astype(np.float64))
    for ours, predictions in (
        (once, once),
        (weighted, once.select(np.repeat(np.arange(500), times_N))),
    ):
        theirs = tm.multiclass_calibration_error(
            torch.from_numpy(predictions.probabilities_NC),
            torch.from_numpy(predictions.targets_N),
            num_classes,
            n_bins=NUM_BINS,
            norm="l1",
        )
        error = float(expected_calibration_error(ours))
        assert error == pytest.approx(float(theirs), abs=1e-6)


def test_reliability_bins_hold_every_image_and_add_up_to_the_error() -> None:
    predictions = made(400, 4, weighted=True)
    bins = reliability_bins(predictions)
    filled = bins.count_B > 0
    assert bins.count_B.sum() == (predictions.weights_N > 0).sum()
    assert bins.share_B.sum() == pytest.approx(1)
    assert (bins.confidence_B[filled] > bins.edges_B1[:-1][filled]).all()
    assert (bins.confidence_B[filled] <= bins.edges_B1[1:][filled]).all()
    accuracy_B = np.array([float(one) for one in bins.accuracies])
    gaps = np.abs(bins.confidence_B - accuracy_B)[filled] * bins.share_B[filled]
    assert gaps.sum() == pytest.approx(float(expected_calibration_error(predictions)))


@pytest.mark.parametrize("sharpened", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_sharpened_the_logits(sharpened: float) -> None:
    predictions = calibrated(20_000, seed=1, sharpened=sharpened)
    assert fit_temperature(predictions) == pytest.approx(sharpened, rel=0.05)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_temperature_is_where_the_slope_of_the_loss_is_zero(weighted: bool) -> None:
    predictions = made(300, 4, signal=1.0, weighted=weighted)

    def slope(inverse: float) -> float:
        """d loss / d(1/T): mean of the expected logit less that of the true class."""
        logits = predictions.logits_NC.astype(np.float64)
        expected = (scipy_softmax(logits * inverse, axis=1) * logits).sum(axis=1)
        true = np.take_along_axis(logits, predictions.targets_N[:, None], axis=1)[:, 0]
        return float(predictions.weights_N @ (expected - true))

    expected = 1 / brentq(slope, 0.05, 20)
    assert fit_temperature(predictions) == pytest.approx(expected, rel=1e-4)
    cooled = replace(predictions, probabilities_NC=softmax(predictions.logits_NC, expected))
    assert log_loss(cooled) <= log_loss(predictions)


def test_the_temperature_stays_one_where_nothing_can_be_fitted() -> None:
    assert fit_temperature(made(9, 3)) == 1.0
    assert fit_temperature(called([1] * 50, [1] * 25 + [0] * 25, 2)) == 1.0
    assert fit_temperature(replace(made(50, 3), targets_N=np.full(50, -1))) == 1.0
    assert fit_temperature(replace(made(50, 3), weights_N=np.zeros(50))) == 1.0


def test_a_part_without_mistakes_does_not_make_the_classifier_surer() -> None:
    right = made(100, 3, signal=30.0)
    assert fit_temperature(right) == pytest.approx(1.0)


def test_the_temperature_of_a_classifier_that_is_always_wrong_is_bounded() -> None:
    predictions = called([0, 1] * 50, [1, 0] * 50, 2)
    assert fit_temperature(predictions) == pytest.approx(20.0)


def test_unlabelled_images_do_not_move_the_temperature() -> None:
    predictions = made(200, 3, signal=1.0)
    targets_N = predictions.targets_N.copy()
    targets_N[100:] = -1
    half = predictions.select(np.arange(100))
    assert fit_temperature(replace(predictions, targets_N=targets_N)) == fit_temperature(half)


def test_the_interval_of_the_error_of_a_calibrated_classifier_reaches_to_zero() -> None:
    """Its true error is 0, though on 200 images 0.05 is usual; a bootstrap never holds it."""
    estimates = [
        build_report(calibrated(200, seed))["expected_calibration_error"] for seed in range(40)
    ]
    assert sum(estimate.low == 0 for estimate in estimates) >= 34  # of 40, 38 expected
    assert min(estimate.value or 0 for estimate in estimates) > 0.01


def test_the_interval_of_the_error_of_an_overconfident_classifier_excludes_zero() -> None:
    estimate = build_report(calibrated(500, 0, sharpened=4.0))["expected_calibration_error"]
    assert estimate.low is not None
    assert estimate.low > 0.02


def test_a_calibrated_classifier_of_groups_is_not_called_miscalibrated() -> None:
    """Images of a group are right and wrong together, each with the chance that is stated."""
    rng, reached = np.random.default_rng(0), 0
    groups = [f"g{n // 30}" for n in range(600)]
    for seed in range(40):
        predictions = made(600, 2, seed=seed, signal=2.0)
        confidence_N = predictions.probabilities_NC.max(axis=1)
        latent_N = 0.3**0.5 * np.repeat(rng.normal(size=20), 30) + 0.7**0.5 * rng.normal(size=600)
        wrong_N = norm.cdf(latent_N) > confidence_N
        targets_N = np.where(wrong_N, 1 - predictions.predicted_N, predictions.predicted_N)
        of_groups = replace(predictions, targets_N=targets_N, groups=tuple(groups))
        reached += build_report(of_groups)["expected_calibration_error"].low == 0
    assert reached >= 36  # of 40, 38 expected


def test_the_accuracy_of_a_bin_has_the_interval_of_its_groups() -> None:
    one_group = replace(made(100, 2), groups=("a",) * 100)
    filled = [one for one in reliability_bins(one_group).accuracies if one.value is not None]
    assert filled
    assert all((one.low, one.high) == (0.0, 1.0) for one in filled)
