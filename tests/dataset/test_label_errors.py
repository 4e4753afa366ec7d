"""Wrong labels: cleanlab is the oracle, and labels that were made wrong on purpose."""

import numpy as np
import pytest
from cleanlab.count import num_label_issues
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from holotype.dataset.auditing.label_errors import (
    SuspectedLabelError,
    beats_class_prior,
    find_label_errors,
    noise_rate,
    noise_rate_bounds,
)

Floats = NDArray[np.float64]
CLASSES = tuple("0123456789")


def _corrupted(share: float, seed: int) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """(out-of-fold probabilities, given labels, which are wrong) of scikit-learn's digits."""
    rng = np.random.default_rng(seed)
    images, targets = load_digits(return_X_y=True)
    given = targets.copy()
    rows = rng.choice(len(targets), round(share * len(targets)), replace=False)
    given[rows] = (targets[rows] + rng.integers(1, 10, len(rows))) % 10
    model = LogisticRegression(C=0.01, max_iter=200, tol=1e-3)
    probabilities = cross_val_predict(model, images / 4, given, cv=5, method="predict_proba")
    return probabilities, given, given != targets


@pytest.fixture(scope="module")
def corrupted() -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    return _corrupted(0.02, seed=0)


def _issues(probabilities: Floats, given: NDArray[np.int64]) -> list[SuspectedLabelError]:
    paths = [f"{n:04d}.png" for n in range(len(given))]
    weights = np.ones(len(given))
    return find_label_errors(probabilities, given, paths=paths, classes=CLASSES, weights_N=weights)


def test_the_issues_are_cleanlabs_and_most_of_them_are_wrong(
    corrupted: tuple[Floats, NDArray[np.int64], NDArray[np.bool_]],
) -> None:
    probabilities, given, wrong = corrupted
    issues = _issues(probabilities, given)
    expected = find_label_issues(
        given, probabilities, filter_by="low_self_confidence",
        return_indices_ranked_by="self_confidence", n_jobs=1,
    )  # fmt: skip
    assert [int(issue.path[:4]) for issue in issues] == list(expected)
    hits = sum(wrong[int(issue.path[:4])] for issue in issues)
    assert hits / len(issues) > 0.6
    assert hits / wrong.sum() > 0.7


def test_an_issue_says_what_was_given_and_what_is_suggested(
    corrupted: tuple[Floats, NDArray[np.int64], NDArray[np.bool_]],
) -> None:
    probabilities, given, _ = corrupted
    truth = load_digits(return_X_y=True)[1]
    issues = _issues(probabilities, given)
    first = issues[0]
    row = int(first.path[:4])
    assert (first.given, first.suggested) == (str(given[row]), str(truth[row]))
    assert f"{first.given!r}" in first.evidence
    assert f"{first.suggested!r}" in first.evidence
    assert all(issue.given != issue.suggested for issue in issues)


def test_equal_weights_count_as_cleanlab_counts(
    corrupted: tuple[Floats, NDArray[np.int64], NDArray[np.bool_]],
) -> None:
    probabilities, given, _ = corrupted
    few, many = noise_rate_bounds(probabilities, given, np.full(len(given), 0.7))
    count = len(given)
    off = num_label_issues(given, probabilities, estimation_method="off_diagonal")
    calibrated = num_label_issues(given, probabilities, estimation_method="off_diagonal_calibrated")
    assert few * count == pytest.approx(off)
    assert many * count == pytest.approx(calibrated, abs=5)  # cleanlab rounds every cell


def test_a_weight_counts_as_so_many_images(
    corrupted: tuple[Floats, NDArray[np.int64], NDArray[np.bool_]],
) -> None:
    probabilities, given, _ = corrupted
    times = np.random.default_rng(5).integers(0, 3, len(given))
    weighted = noise_rate_bounds(probabilities, given, times.astype(np.float64))
    rows = np.repeat(np.arange(len(given)), times)
    repeated = noise_rate_bounds(probabilities[rows], given[rows], np.ones(len(rows)))
    assert weighted == pytest.approx(repeated)


def test_images_of_weight_0_have_no_say(
    corrupted: tuple[Floats, NDArray[np.int64], NDArray[np.bool_]],
) -> None:
    probabilities, given, wrong = corrupted
    cleaned = noise_rate(probabilities, given, (~wrong).astype(np.float64), [""] * len(given))
    everything = noise_rate(probabilities, given, np.ones(len(given)), [""] * len(given))
    assert cleaned is not None
    assert everything is not None
    assert cleaned.num_images == (~wrong).sum()
    assert cleaned.high < everything.high
    assert cleaned.value < everything.value


def test_whole_units_are_drawn_so_that_fewer_units_mean_a_wider_interval(
    corrupted: tuple[Floats, NDArray[np.int64], NDArray[np.bool_]],
) -> None:
    probabilities, given, wrong = corrupted
    ones = np.ones(len(given))
    alone = noise_rate(probabilities, given, ones, [""] * len(given))
    order = np.argsort(~wrong, kind="stable")  # units that are all wrong or all right
    units = np.empty(len(given), dtype="U9")
    units[order] = [f"unit {n // 18}" for n in range(len(given))]
    grouped = noise_rate(probabilities, given, ones, list(units))
    assert alone is not None
    assert grouped is not None
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_labels_that_nothing_explains_are_not_accused() -> None:
    rng = np.random.default_rng(0)
    given = rng.integers(0, 3, 200)
    guesses = rng.dirichlet(np.ones(3), 200)
    assert not beats_class_prior(guesses, given, np.ones(200))
    knows = 0.9 * np.eye(3)[given] + 0.1 / 3
    assert beats_class_prior(knows, given, np.ones(200))
    rare = np.zeros(200, np.int64)
    rare[:10] = 1
    always_the_common_one = np.tile([0.95, 0.05], (200, 1))
    assert not beats_class_prior(always_the_common_one, rare, np.ones(200))


def test_a_class_that_no_image_carries_is_no_obstacle() -> None:
    given = np.array([0, 2] * 20)
    probabilities = np.full((40, 3), 0.05)
    probabilities[np.arange(40), given] = 0.9
    probabilities[3] = (0.9, 0.05, 0.05)
    issues = _issues(probabilities, given)
    assert [(issue.path, issue.given, issue.suggested) for issue in issues] == [
        ("0003.png", "2", "0")
    ]
    rate = noise_rate(probabilities, given, np.ones(40), [""] * 40)
    assert rate is not None
    assert 0 <= rate.low <= rate.value <= rate.high < 0.15


@pytest.mark.parametrize(
    ("count", "units", "held"), [(17, 17, 0.195), (400, 400, 0.0092), (400, 4, 0.602)]
)
def test_where_no_wrong_label_is_seen_there_may_be_some_all_the_same(
    count: int, units: int, held: float
) -> None:
    """The upper ends are the exact two-sided 95 % limits for 0 of so many, as tables print them."""
    given = np.arange(count) % 2
    knows = 0.98 * np.eye(2)[given] + 0.01
    names = [f"unit {n * units // count}" for n in range(count)]
    rate = noise_rate(knows, given, np.full(count, 0.5), names)
    assert rate is not None
    assert rate.value == rate.low == 0
    assert rate.high == pytest.approx(held, abs=0.0005)


def test_one_class_has_no_noise_rate() -> None:
    assert noise_rate(np.ones((5, 1)), np.zeros(5, np.int64), np.ones(5), [""] * 5) is None
    assert _issues(np.empty((0, 10)), np.empty(0, np.int64)) == []


@pytest.mark.slow
def test_the_interval_holds_the_share_of_labels_that_were_made_wrong() -> None:
    """Digits, 2 to 10 % wrong: of 95 % intervals at least nine in ten must hold the truth.

    The interval is wide by design (two counts that err to either side), so that none is expected
    to miss; the bound leaves room for the luck of 30 draws.
    """
    held = []
    for seed in range(10):
        for share in (0.02, 0.05, 0.1):
            probabilities, given, wrong = _corrupted(share, seed)
            rate = noise_rate(probabilities, given, np.ones(len(given)), [""] * len(given))
            assert rate is not None
            held.append(rate.low <= wrong.mean() <= rate.high)
    assert np.mean(held) >= 0.9
