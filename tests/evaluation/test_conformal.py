"""Sets of classes that hold the true one as often as promised."""

import numpy as np
import pytest

from holotype.errors import DatasetError
from holotype.evaluation.conformal import calibrate, conformal_quantile
from holotype.predictions import Predictions


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
        included_NC = fitted.sets_NC(new.probabilities_NC)
        hits.append(included_NC[np.arange(100), new.targets_N].mean())
    error = np.std(hits) / np.sqrt(draws)
    assert np.mean(hits) >= coverage - 3 * error
    if method == "lac":
        assert np.mean(hits) <= coverage + 1 / (images + 1) + 3 * error


def test_by_class_the_promise_holds_for_every_class() -> None:
    rng = np.random.default_rng(1)
    hits_of: dict[int, list[float]] = {c: [] for c in range(4)}
    for _ in range(300):
        fitted = calibrate(_predictions(rng, 120), 0.9, by_class=True)
        new = _predictions(rng, 200)
        hit_N = fitted.sets_NC(new.probabilities_NC)[np.arange(200), new.targets_N]
        for c in range(4):
            hits_of[c].append(float(hit_N[new.targets_N == c].mean()))
    for hits in hits_of.values():
        assert np.mean(hits) >= 0.9 - 3 * np.std(hits) / np.sqrt(len(hits))


def test_the_quantile_is_the_one_of_the_theorem() -> None:
    scores_N = np.arange(1, 11) / 10
    assert conformal_quantile(scores_N, 0.5) == 0.6  # the 6th of 10: ceil(11 × 0.5)
    assert conformal_quantile(scores_N, 0.9) == 1.0
    assert conformal_quantile(scores_N, 0.95) == np.inf  # ten pictures cannot promise that


def test_too_few_pictures_give_sets_of_everything_and_no_set_is_empty() -> None:
    rng = np.random.default_rng(2)
    few = calibrate(_predictions(rng, 5), 0.95)
    assert few.sets_NC(_predictions(rng, 20).probabilities_NC).all()
    sure = calibrate(_predictions(rng, 200), 0.2)
    assert sure.sets_NC(_predictions(rng, 200).probabilities_NC).any(axis=1).all()


@pytest.mark.parametrize("coverage", [0.0, 1.0, 95.0, -0.1])
def test_a_coverage_that_is_no_share_is_refused(coverage: float) -> None:
    with pytest.raises(DatasetError, match=r"0\.95"):
        calibrate(_predictions(np.random.default_rng(3), 10), coverage)
