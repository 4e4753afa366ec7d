"""Which score tells unknown images, and a threshold that turns away no more than promised."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, norm
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from holotype.bundle.ood_scores import knn_similarity_N, negative_energy_N
from holotype.bundle.references import make_references
from holotype.evaluation.intervals import SamplingUnits
from holotype.evaluation.ood_selection import (
    auroc,
    blocks_of,
    choose_ood_score,
    fit_ood_threshold,
    independent_images,
    min_images_for_threshold,
)


@pytest.mark.parametrize("false_rejection_rate", [0.05, 0.1])
@pytest.mark.parametrize("images", [60, 300])
def test_the_promised_rate_holds_as_often_as_said(false_rejection_rate: float, images: int) -> None:
    """Scores are uniform, so the share of known images below a threshold is the threshold."""
    rng = np.random.default_rng(0)
    draws = 2000
    thresholds = [fit_ood_threshold(rng.random(images), false_rejection_rate) for _ in range(draws)]
    broken = sum(t is not None and t > false_rejection_rate for t in thresholds)
    assert broken <= binom.ppf(0.999, draws, 0.05)  # with a confidence of 95 %
    if images == 300:  # and it is not simply never turning anything away
        assert np.mean([t for t in thresholds if t is not None]) > 0.4 * false_rejection_rate


def test_the_promise_holds_where_images_of_a_group_are_alike() -> None:
    """Normal scores with a correlation of 0.3 within 40 groups of 10."""
    rng, draws, rate = np.random.default_rng(4), 300, 0.05
    units = SamplingUnits.of_groups([str(row // 10) for row in range(400)])
    broken, broken_by_images, shares = 0, 0, []
    for _ in range(draws):
        scores = 0.3**0.5 * rng.normal(size=40)[units.unit_N] + 0.7**0.5 * rng.normal(size=400)
        threshold, by_images = (
            fit_ood_threshold(scores, rate, units),
            fit_ood_threshold(scores, rate),
        )
        assert threshold is not None
        assert by_images is not None
        shares.append(norm.cdf(threshold))
        broken += norm.cdf(threshold) > rate
        broken_by_images += norm.cdf(by_images) > rate
    allowed = binom.ppf(0.999, draws, 0.05)
    assert broken <= allowed < broken_by_images
    assert np.mean(shares) > 0.4 * rate  # and it is not simply never turning anything away


def test_few_groups_promise_nothing_however_many_images_they_have() -> None:
    scores = np.random.default_rng(5).random(800)
    few = SamplingUnits.of_groups([str(row // 100) for row in range(800)])
    assert independent_images(few, []) < min_images_for_threshold(0.05) < len(scores)
    assert fit_ood_threshold(scores, 0.05, few) is None
    assert independent_images(SamplingUnits.of_groups(["one"] * 800), []) == 0
    assert fit_ood_threshold(scores, 0.05, SamplingUnits.of_groups(["one"] * 800)) is None
    assert independent_images(SamplingUnits.images(800), []) == 800


@pytest.mark.parametrize("false_rejection_rate", [0.01, 0.05, 0.2])
def test_too_few_images_promise_nothing(false_rejection_rate: float) -> None:
    fewest = math.ceil(min_images_for_threshold(false_rejection_rate))
    scores = np.random.default_rng(1).random(fewest)
    assert fit_ood_threshold(scores[:-1], false_rejection_rate) is None
    assert fit_ood_threshold(scores, false_rejection_rate) == scores.min()
    assert (1 - false_rejection_rate) ** fewest <= 0.05 < (1 - false_rejection_rate) ** (fewest - 1)


def test_ties_never_turn_away_more() -> None:
    scores = np.repeat([1.0, 2.0, 3.0], 100)
    threshold = fit_ood_threshold(scores, 0.4)
    assert threshold == 2.0  # below 2 lies a third; below 3 would lie two thirds
    assert (scores < threshold).mean() <= 0.4


def test_the_area_under_the_curve_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    known, unknown = rng.integers(3, 9, 50).astype(float), rng.integers(0, 7, 30).astype(float)
    expected = roc_auc_score([1] * 50 + [0] * 30, np.concatenate([known, unknown]))
    assert auroc(known, unknown) == pytest.approx(expected)


def test_knn_similarity_is_the_cosine_to_the_fifth_nearest() -> None:
    rng = np.random.default_rng(3)
    training_ND = rng.normal(size=(600, 16)).astype(np.float32)
    queries_ND = rng.normal(size=(300, 16)).astype(np.float32) * 7
    model = NearestNeighbors(n_neighbors=5, metric="cosine").fit(training_ND)
    expected_N = 1 - model.kneighbors(queries_ND)[0][:, 4]
    references = make_references(training_ND, np.zeros(600, np.int64), ["x"] * 600)
    np.testing.assert_allclose(knn_similarity_N(references, queries_ND), expected_N, atol=1e-3)
    few = make_references(training_ND[:3], np.zeros(3, np.int64), ["x"] * 3)
    expected_N = (training_ND[:3] @ queries_ND.T / np.linalg.norm(training_ND[:3], axis=1)[:, None]
                  / np.linalg.norm(queries_ND, axis=1)).min(axis=0)  # fmt: skip
    np.testing.assert_allclose(knn_similarity_N(few, queries_ND), expected_N, atol=1e-3)


def test_energy_is_the_log_of_the_summed_exponentials_whatever_their_size() -> None:
    from scipy.special import logsumexp

    logits_NC = np.array([[1, 2, 3], [1000, 1000, 0], [-900, -901, -950]], np.float32)
    np.testing.assert_allclose(
        negative_energy_N(logits_NC), logsumexp(logits_NC, axis=1), rtol=1e-6
    )


Parts = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]


def clusters(rng: np.random.Generator, classes: int, spread: float = 0.3) -> Parts:
    """Training and validation embeddings around one direction for each class."""
    centres_CD = np.eye(classes, 16) * 4
    parts: list[NDArray[np.float32 | np.int64]] = []
    for images in (200, 80):
        targets_N = np.arange(images) % classes
        noise_ND = rng.normal(size=(images, 16)) * spread
        parts += [(centres_CD[targets_N] + noise_ND).astype(np.float32), targets_N]
    return parts[0], parts[1], parts[2], parts[3]  # type: ignore[return-value]


def test_the_better_score_is_taken_and_both_are_named() -> None:
    """Directions of their own tell at once that no training image lies near."""
    parts = clusters(np.random.default_rng(4), 5)
    choice = choose_ood_score(*parts, num_classes=5, energies_V=np.arange(80.0), seed=0)
    assert choice.num_held_out == 5
    assert choice.auroc["neighbours"] > 0.99
    assert choice.score == "neighbours"
    for score in ("energy of the logits", "nearest training images"):
        assert score in choice.note()


def test_energy_is_taken_where_it_is_clearly_better() -> None:
    """Noise in many directions drowns every cosine; the logits look at those that matter."""
    rng = np.random.default_rng(9)
    parts: list[NDArray[np.float32 | np.int64]] = []
    for images in (400, 200):
        targets_N = np.arange(images) % 4
        telling_ND = np.eye(4)[targets_N] * 4 + rng.normal(size=(images, 4)) * 0.3
        noise_ND = rng.normal(size=(images, 30)) * 4
        parts += [np.hstack([telling_ND, noise_ND]).astype(np.float32), targets_N]
    choice = choose_ood_score(
        parts[0], parts[1], parts[2], parts[3],
        num_classes=4, energies_V=np.arange(200.0), seed=0,
    )  # fmt: skip
    assert choice.auroc["energy"] > choice.auroc["neighbours"] + 0.05
    assert choice.score == "energy"


def test_scores_that_tell_nothing_are_said_to() -> None:
    parts = clusters(np.random.default_rng(5), 3, spread=50.0)
    choice = choose_ood_score(*parts, num_classes=3, energies_V=np.arange(80.0), seed=0)
    assert max(choice.auroc.values()) < 0.65
    assert "little better than chance" in choice.note()


def test_where_the_energy_is_constant_the_neighbours_are_used() -> None:
    parts = clusters(np.random.default_rng(6), 3)
    flat = choose_ood_score(*parts, num_classes=3, energies_V=np.zeros(80), seed=0)
    assert (flat.score, flat.auroc) == ("neighbours", {})
    assert "logarithms of probabilities" in flat.note()
    two = clusters(np.random.default_rng(7), 2)
    few = choose_ood_score(*two, num_classes=2, energies_V=np.arange(80.0), seed=0)
    assert few.score == "neighbours"
    assert "with two classes" in few.note()


def test_many_classes_are_left_out_in_ten_blocks() -> None:
    blocks = blocks_of(37, np.random.default_rng(0))
    assert len(blocks) == 10
    assert sorted(np.concatenate(blocks)) == list(range(37))
    assert [list(block) for block in blocks_of(3, np.random.default_rng(0))] == [[0], [1], [2]]


def test_a_class_that_validation_lacks_is_passed_over() -> None:
    training_ND, targets_N, validation_ND, validation_N = clusters(np.random.default_rng(8), 4)
    seen = validation_N != 2
    choice = choose_ood_score(
        training_ND, targets_N, validation_ND[seen], validation_N[seen],
        num_classes=4, energies_V=np.arange(float(seen.sum())), seed=0,
    )  # fmt: skip
    assert choice.num_held_out == 3
