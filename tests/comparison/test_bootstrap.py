"""Paired differences of other scores, against scipy and scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, precision_score

from holotype.comparison.aligned_predictions import align_predictions
from holotype.comparison.bootstrap import paired_scores
from tests.comparison.made import answered, several


def test_scores_are_those_of_scikit_learn() -> None:
    answers = align_predictions(several(300, 4, weighted=True), "test")
    scores = paired_scores(answers)
    targets_N, weights_N = answers.first.targets_N, answers.weights_N
    for number, each in enumerate(answers.predictions):
        actual = {name: found.values[number] for name, found in scores.items()}
        assert actual == pytest.approx(
            {
                "balanced_accuracy": balanced_accuracy_score(
                    targets_N, each.predicted_N, sample_weight=weights_N
                ),
                "macro_precision": precision_score(
                    targets_N, each.predicted_N, sample_weight=weights_N, average="macro"
                ),
                "weighted_precision": precision_score(
                    targets_N, each.predicted_N, sample_weight=weights_N, average="weighted"
                ),
                "macro_f1": f1_score(
                    targets_N, each.predicted_N, sample_weight=weights_N, average="macro"
                ),
                "log_loss": log_loss(
                    targets_N, each.probabilities_NC, sample_weight=weights_N, labels=range(4)
                ),
            }
        )


def test_the_interval_of_a_difference_in_log_loss_is_that_of_a_paired_t_test() -> None:
    """A log loss is a mean over images, of which theory knows the interval."""
    answers = align_predictions(several(400), "test")
    scores = paired_scores(answers)["log_loss"]
    rows = np.arange(400)
    losses = [-np.log(p.probabilities_NC[rows, p.targets_N]) for p in answers.predictions]
    assert scores.best == 2
    for number in (0, 1):
        low, high = ttest_rel(losses[number], losses[2]).confidence_interval()
        found = scores.difference_to_best[number]
        assert found is not None
        assert found.value == pytest.approx(float(np.mean(losses[number] - losses[2])))
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_groups_widen_the_interval() -> None:
    """Every image forty times over, once as one group each: nothing is known better."""
    answers = align_predictions(several(12), "test")
    plain = paired_scores(answers)["log_loss"].difference_to_best[0]
    many = {
        name: replace(
            p.select(np.repeat(np.arange(12), 40)), groups=tuple(f"g{n // 40}" for n in range(480))
        )
        for name, p in zip(answers.names, answers.predictions, strict=True)
    }
    grouped = paired_scores(align_predictions(many, "test"))["log_loss"].difference_to_best[0]
    assert plain is not None
    assert grouped is not None
    assert grouped.value == pytest.approx(plain.value)
    assert grouped.high is not None and plain.high is not None  # noqa: PT018
    assert grouped.high - grouped.value == pytest.approx(plain.high - plain.value, rel=0.2)


def test_averages_over_classes_leave_an_absent_class_out() -> None:
    answers = answered([0, 0, 1, 1], [0, 0, 1, 0], [0, 2, 1, 1])
    scores = paired_scores(answers)["balanced_accuracy"]
    assert scores.values == pytest.approx((0.75, 0.75))


def test_one_group_leaves_the_interval_unknown() -> None:
    found = {name: replace(p, groups=("g",) * 20) for name, p in several(20).items()}
    difference_to_best = paired_scores(align_predictions(found, "test"))[
        "log_loss"
    ].difference_to_best[0]
    assert difference_to_best is not None
    assert difference_to_best.low is None
    assert str(difference_to_best).count("[") == 0


def test_classifiers_that_call_the_same_are_not_equal_for_certain() -> None:
    answers = answered([0, 1, 2] * 10, [0, 1, 1] * 10, [0, 1, 1] * 10)
    scores = paired_scores(answers)["macro_f1"]
    other = scores.difference_to_best[1]
    assert scores.best == 0
    assert other is not None
    assert other.low is not None and other.low < 0 < (other.high or 0)  # noqa: PT018
