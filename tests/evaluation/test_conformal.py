"""Sets of classes that hold the true one as often as promised."""

from dataclasses import replace

import numpy as np
import pytest

from holotype.bundle.conformal_scores import ConformalScores, read_conformal_scores
from holotype.bundle.manifest import CalibrationSet
from holotype.evaluation.conformal import (
    ConformalPredictor,
    conformal_calibration,
    conformal_predictor,
    conformal_quantile,
    evaluate_prediction_sets,
    min_calibration_images,
)
from holotype.predictions import Predictions
from tests.evaluation.calibrated import calibrate


def _predictions(rng: np.random.Generator, images: int, classes: int = 4) -> Predictions:
    """An overconfident classifier: its probabilities are wrong, the promise must hold anyway."""
    logits_NC = rng.normal(size=(images, classes)) * 2
    truth_NC = np.exp(logits_NC / 3)
    truth_NC /= truth_NC.sum(axis=1, keepdims=True)
    targets_N = (truth_NC.cumsum(axis=1) > rng.random((images, 1))).argmax(axis=1)
    odds_NC = np.exp(logits_NC)
    return Predictions(
        classes=tuple("abcdefgh"[:classes]),
        ids=tuple(str(n) for n in range(images)),
        sha256=("0" * 64,) * images,
        targets_N=targets_N.astype(np.int64),
        weights_N=np.ones(images),
        groups=("",) * images,
        folds_N=np.full(images, -1),
        logits_NC=logits_NC.astype(np.float32),
        probabilities_NC=odds_NC / odds_NC.sum(axis=1, keepdims=True),
    )


@pytest.mark.parametrize("method", ["lac", "raps"])
@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_the_promise_holds_over_many_draws(method: str, coverage: float) -> None:
    rng = np.random.default_rng(0)
    hits, draws, images = [], 400, 60
    for _ in range(draws):
        fitted = calibrate(_predictions(rng, images), coverage, method=method)
        new = _predictions(rng, 100)
        included_NC = fitted.prediction_sets_NC(new.probabilities_NC)
        hits.append(included_NC[np.arange(100), new.targets_N].mean())
    error = np.std(hits) / np.sqrt(draws)
    assert np.mean(hits) >= coverage - 3 * error
    if method == "lac":
        assert np.mean(hits) <= coverage + 1 / (images + 1) + 3 * error


def test_by_class_the_promise_holds_for_every_class() -> None:
    rng = np.random.default_rng(1)
    hits_of: dict[int, list[float]] = {c: [] for c in range(4)}
    for _ in range(300):
        fitted = calibrate(_predictions(rng, 120), 0.9, class_conditional=True)
        new = _predictions(rng, 200)
        hit_N = fitted.prediction_sets_NC(new.probabilities_NC)[np.arange(200), new.targets_N]
        for c in range(4):
            hits_of[c].append(float(hit_N[new.targets_N == c].mean()))
    for hits in hits_of.values():
        assert np.mean(hits) >= 0.9 - 3 * np.std(hits) / np.sqrt(len(hits))


def test_the_quantile_is_the_one_of_the_theorem() -> None:
    scores_N = np.arange(1, 11) / 10
    assert conformal_quantile(scores_N, 0.5) == 0.6  # the 6th of 10: ceil(11 × 0.5)
    assert conformal_quantile(scores_N, 0.9) == 1.0
    assert conformal_quantile(scores_N, 0.95) == np.inf  # ten images cannot promise that


def test_too_few_images_give_sets_of_everything_and_no_set_is_empty() -> None:
    rng = np.random.default_rng(2)
    few = calibrate(_predictions(rng, 5), 0.95)
    assert few.prediction_sets_NC(_predictions(rng, 20).probabilities_NC).all()
    sure = calibrate(_predictions(rng, 200), 0.2)
    assert sure.prediction_sets_NC(_predictions(rng, 200).probabilities_NC).any(axis=1).all()


def test_a_classifier_that_is_right_more_often_than_promised_leaves_sets_of_one() -> None:
    rng = np.random.default_rng(4)
    drawn = _predictions(rng, 300)
    sure_NC = np.full((300, 4), 0.01)
    sure_NC[np.arange(300), drawn.targets_N] = 0.97 - 0.0001 * np.arange(300)
    sure_NC /= sure_NC.sum(axis=1, keepdims=True)
    conformal = calibrate(replace(drawn, probabilities_NC=sure_NC), 0.8)
    assert (conformal.prediction_sets_NC(sure_NC).sum(axis=1) == 1).all()
    bare_NC = conformal.prediction_sets_NC(sure_NC, never_empty=False)
    assert bare_NC.any(axis=1).mean() == pytest.approx(0.8, abs=0.01)


def test_what_is_sealed_gives_the_limits_of_any_coverage() -> None:
    drawn = _predictions(np.random.default_rng(5), 200)
    found = conformal_calibration(drawn, "cal")
    assert found is not None
    calibration_set, conformal_scores = found
    assert calibration_set.predictions_sha256 == drawn.digest()
    read = read_conformal_scores(conformal_scores.to_bytes(), 4)
    for coverage in (0.6, 0.9, 0.99):
        for method in ("lac", "raps"):
            for class_conditional in (False, True):
                again = conformal_predictor(
                    read,
                    coverage,
                    num_classes=4,
                    method=method,
                    class_conditional=class_conditional,
                    calibration_set=calibration_set,
                )
                direct = calibrate(
                    drawn, coverage, method=method, class_conditional=class_conditional
                )
                np.testing.assert_array_equal(again.threshold_C, direct.threshold_C)


def test_images_that_a_person_left_out_promise_nothing() -> None:
    drawn = _predictions(np.random.default_rng(6), 50)
    weights_N = np.where(np.arange(50) < 20, 0.0, 1 / 3)
    found = conformal_calibration(replace(drawn, weights_N=weights_N), "cal")
    assert found is not None
    assert found[0].num_images == len(found[1]) == 30
    assert conformal_calibration(replace(drawn, weights_N=np.zeros(50)), "cal") is None


@pytest.mark.parametrize(("coverage", "fewest"), [(0.9, 9), (0.95, 19), (0.99, 99)])
def test_the_fewest_images_are_just_enough(coverage: float, fewest: int) -> None:
    assert min_calibration_images(coverage) == fewest
    assert conformal_quantile(np.zeros(fewest - 1), coverage) == np.inf
    assert conformal_quantile(np.zeros(fewest), coverage) == 0


def test_sets_are_judged_on_images_that_calibrated_nothing() -> None:
    rng = np.random.default_rng(7)
    found = conformal_calibration(_predictions(rng, 500), "cal")
    assert found is not None
    new = _predictions(rng, 400)
    for scores, coverage in zip(
        evaluate_prediction_sets(found[1], found[0], new), (0.9, 0.95), strict=True
    ):
        included_NC = calibrate_from(found, coverage).prediction_sets_NC(new.probabilities_NC)
        hit_N = included_NC[np.arange(400), new.targets_N]
        assert scores.target_coverage == coverage
        assert scores.empirical_coverage.value == pytest.approx(hit_N.mean())
        assert scores.empirical_coverage.low is not None
        assert scores.empirical_coverage.low < hit_N.mean()
        assert scores.mean_set_size == pytest.approx(included_NC.sum() / 400)
    assert evaluate_prediction_sets(found[1], found[0], new.select(np.zeros(400, bool))) == []


def calibrate_from(
    found: tuple[CalibrationSet, ConformalScores], coverage: float
) -> ConformalPredictor:
    return conformal_predictor(found[1], coverage, num_classes=4, calibration_set=found[0])
