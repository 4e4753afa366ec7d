"""Agreement of reviewers against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from holotype.dashboard_pages.data.agreement import cohens_kappa, reviewer_agreement
from holotype.dataset.auditing.issue_reviews import Decision, Review, ReviewedIssue
from holotype.evaluation.intervals import wilson


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 3, 40)
    second = np.where(rng.random(40) < 0.6, first, rng.integers(0, 3, 40))
    expected = cohen_kappa_score(first, second)
    assert cohens_kappa(first.tolist(), second.tolist()) == pytest.approx(expected)


def test_where_all_say_the_same_kappa_is_undefined() -> None:
    assert cohens_kappa(["accept"] * 3, ["accept"] * 3) is None


def issue(path: str, **decisions: Decision) -> ReviewedIssue:
    reviews = tuple(Review(name, word, "", "") for name, word in decisions.items())
    return ReviewedIssue(path, "label_error", "", "", reviews=reviews)


def test_agreement_counts_only_images_with_two_answers() -> None:
    found = reviewer_agreement(
        [
            issue("1", Anna="accept", Ben="accept"),
            issue("2", Anna="accept", Ben="dismiss"),
            issue("3", Anna="dismiss", Ben="dismiss"),
            issue("4", Anna="dismiss"),
            issue("5"),
        ]
    )
    assert found.counts == {"Anna": 4, "Ben": 3}
    assert found.num_shared == 3
    assert found.agreed.value == pytest.approx(2 / 3)
    assert (found.agreed.low, found.agreed.high) == wilson(2 / 3, 3)
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.num_images) == ("Anna", "Ben", 3)
    assert pair.kappa == pytest.approx(0.4)  # observed 2/3, by chance 2/3·1/3 + 1/3·2/3


def test_without_shared_images_nothing_is_claimed() -> None:
    found = reviewer_agreement([issue("1", Anna="accept"), issue("2", Ben="accept")])
    assert (found.num_shared, found.agreed.value, found.pairs) == (0, None, ())
