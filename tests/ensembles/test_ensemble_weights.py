"""What members of an ensemble are worth: by theory, by hand, and on images nobody fitted."""

import numpy as np
import pytest
from scipy.optimize import minimize

from holotype.ensembles.ensemble_weights import METHODS, choose_method, combine, fit_weights

Members = tuple[np.ndarray, np.ndarray]


def _members(
    rng: np.random.Generator, *, quality: list[float], images: int, classes: int = 3
) -> Members:
    """(M, N, C) probabilities of members that know the truth to some extent, and the truth."""
    targets_N = rng.integers(classes, size=images)
    logits_MNC = rng.normal(size=(len(quality), images, classes))
    for member, known in enumerate(quality):
        logits_MNC[member, np.arange(images), targets_N] += known
    odds = np.exp(logits_MNC)
    return odds / odds.sum(axis=2, keepdims=True), targets_N


def _loss(probabilities_NC: np.ndarray, targets_N: np.ndarray) -> float:
    return float(-np.log(probabilities_NC[np.arange(len(targets_N)), targets_N]).mean())


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_shares(method: str) -> None:
    probabilities_MNC, targets_N = _members(np.random.default_rng(0), quality=[1, 2, 0], images=90)
    weights_MC = fit_weights(method, probabilities_MNC, targets_N, np.ones(90))
    assert weights_MC.shape == (3, 3)
    assert weights_MC.min() >= 0
    assert weights_MC.sum(axis=0) == pytest.approx(np.ones(3))
    assert combine(probabilities_MNC, weights_MC).sum(axis=1) == pytest.approx(np.ones(90))


def test_the_weighted_mean_is_the_optimum_that_scipy_finds() -> None:
    rng = np.random.default_rng(1)
    probabilities_MNC, targets_N = _members(rng, quality=[1.0, 1.5, 0.2], images=300)
    weights_N = rng.uniform(0.2, 1, 300)
    true_MN = probabilities_MNC[:, np.arange(300), targets_N]

    def loss(free: np.ndarray) -> float:
        share = np.exp(free) / np.exp(free).sum()
        return float(-np.average(np.log(share @ true_MN), weights=weights_N))

    best = min((minimize(loss, rng.normal(size=3)) for _ in range(5)), key=lambda r: r.fun)
    mine = fit_weights("weighted", probabilities_MNC, targets_N, weights_N)[:, 0]
    assert -np.average(np.log(mine @ true_MN), weights=weights_N) <= best.fun + 1e-5


def test_greedy_selection_is_never_worse_than_its_best_member_where_it_was_fitted() -> None:
    for seed in range(10):
        probabilities_MNC, targets_N = _members(
            np.random.default_rng(seed), quality=[0.1, 2.0, 0.4, 0.0], images=60
        )
        weights_MC = fit_weights("greedy", probabilities_MNC, targets_N, np.ones(60))
        alone = min(_loss(member, targets_N) for member in probabilities_MNC)
        assert _loss(combine(probabilities_MNC, weights_MC), targets_N) <= alone + 1e-9


def test_adaptive_weights_give_a_class_to_the_member_that_knows_it() -> None:
    """Member 0 cannot tell class 2 from class 1, member 1 knows nothing of class 0."""
    rng = np.random.default_rng(2)
    targets_N = np.repeat([0, 1, 2], 200)
    good_NC = np.full((600, 3), 0.1) + 0.7 * np.eye(3)[targets_N]
    first_NC, second_NC = good_NC.copy(), good_NC.copy()
    first_NC[targets_N > 0, 1:] = 0.45
    second_NC[targets_N == 0] = rng.dirichlet(np.ones(3), 200)
    weights_MC = fit_weights("adaptive", np.stack([first_NC, second_NC]), targets_N, np.ones(600))
    assert weights_MC[0, 0] > 0.7
    assert weights_MC[1, 2] > 0.7


def test_classes_with_few_images_keep_nearly_equal_weights() -> None:
    probabilities_MNC, targets_N = _members(np.random.default_rng(3), quality=[3, 0], images=6)
    weights_MC = fit_weights("adaptive", probabilities_MNC, targets_N, np.ones(6))
    assert weights_MC == pytest.approx(np.full((2, 3), 0.5), abs=0.12)


def test_a_method_that_does_not_help_is_not_taken() -> None:
    """Members of one quality: the plain mean is right, and learned weights only fit noise."""
    taken = []
    for seed in range(20):
        probabilities_MNC, targets_N = _members(
            np.random.default_rng(seed), quality=[1, 1, 1], images=60
        )
        fold_N = np.arange(60) % 5
        taken.append(choose_method(probabilities_MNC, targets_N, np.ones(60), fold_N).method)
    assert taken.count("average") >= 17


def test_a_member_that_knows_nothing_is_left_behind() -> None:
    probabilities_MNC, targets_N = _members(
        np.random.default_rng(4), quality=[3.0, 0.0, 0.0], images=300
    )
    choice = choose_method(probabilities_MNC, targets_N, np.ones(300), np.arange(300) % 5)
    assert choice.method != "average"
    assert choice.weights_MC[0].min() > 0.6


def _accuracy(probabilities_NC: np.ndarray, targets_N: np.ndarray) -> float:
    return float((probabilities_NC.argmax(axis=1) == targets_N).mean())


@pytest.mark.parametrize(("spoilt", "least"), [(False, -0.005), (True, 0.01)])
def test_weights_by_class_cost_little_and_help_where_a_member_is_bad_at_some_classes(
    spoilt: bool, least: float
) -> None:
    """Two members of one quality; spoilt ones know nothing of two classes of four, each of others.

    benchmarks/adaptive_weights.py shows the same on images.
    """
    gains = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        probabilities_MNC, targets_N = _members(rng, quality=[2.5, 2.5], images=1240, classes=4)
        if spoilt:
            for member in (0, 1):
                unknown_N = targets_N % 2 == member
                count = int(unknown_N.sum())
                probabilities_MNC[member, unknown_N] = rng.dirichlet(np.ones(4), count)
        fitted, asked = probabilities_MNC[:, :240], probabilities_MNC[:, 240:]
        said = [
            combine(asked, fit_weights(method, fitted, targets_N[:240], np.ones(240)))
            for method in ("average", "adaptive")
        ]
        plain, adaptive = (_accuracy(each, targets_N[240:]) for each in said)
        gains.append(adaptive - plain)
    assert np.mean(gains) > least
