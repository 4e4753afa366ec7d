"""What an ensemble gains over its best member: differences, how sure they are, and the word."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import log_loss

from holotype.ensembles.gain import BestMemberComparison, DifferenceInterval, Gain, gain_over
from holotype.predictions import Predictions
from tests.ensembles.test_fit_ensemble import said


def answers(images: int, groups: list[str] | None = None) -> tuple[Predictions, Predictions]:
    rng = np.random.default_rng(3)
    targets_N = rng.integers(3, size=images)
    return tuple(said(rng.normal(size=(images, 3)), targets_N, groups) for _ in range(2))  # type: ignore[return-value]


def losses_of(predictions: Predictions) -> np.ndarray:
    rows = np.arange(len(predictions))
    return -np.log(predictions.probabilities_NC[rows, predictions.targets_N])


def test_the_interval_of_the_log_loss_is_students() -> None:
    whole, alone = answers(200)
    found = gain_over(whole, alone, "test").log_loss
    expected = stats.ttest_rel(losses_of(whole), losses_of(alone)).confidence_interval()
    assert found.low == pytest.approx(expected.low, abs=0.01)
    assert found.high == pytest.approx(expected.high, abs=0.01)


def test_with_equal_groups_it_is_students_of_the_groups_means() -> None:
    whole, alone = answers(60, [f"g{n // 5}" for n in range(60)])
    found = gain_over(whole, alone, "test").log_loss
    means_G = (losses_of(whole) - losses_of(alone)).reshape(12, 5).mean(axis=1)
    expected = stats.ttest_1samp(means_G, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_of_one_group_nothing_is_said() -> None:
    gain = gain_over(*answers(9, ["only"] * 9), "test")
    assert gain.log_loss.low < -30 < 30 < gain.log_loss.high
    assert math.isfinite(gain.log_loss.low)
    assert not gain.beats


def test_differences_are_those_of_the_scores() -> None:
    rng = np.random.default_rng(2)
    targets_N = rng.integers(3, size=80)
    whole, alone = (said(rng.normal(size=(80, 3)), targets_N) for _ in range(2))
    weights_N = rng.uniform(0, 1, 80)
    whole, alone = (replace(each, weights_N=weights_N) for each in (whole, alone))
    gain = gain_over(whole, alone, "test")
    losses, shares = (
        [score(each) for each in (whole, alone)]
        for score in (
            lambda each: log_loss(
                targets_N, each.probabilities_NC, sample_weight=weights_N, labels=[0, 1, 2]
            ),
            lambda each: np.average(each.predicted_N == targets_N, weights=weights_N),
        )
    )  # fmt: skip
    assert gain.log_loss.value == pytest.approx(losses[0] - losses[1])
    assert gain.accuracy.value == pytest.approx(shares[0] - shares[1])
    back = gain_over(alone, whole, "test")
    assert (back.log_loss.low, back.log_loss.high) == pytest.approx(
        (-gain.log_loss.high, -gain.log_loss.low)
    )


SURE, UNSURE = DifferenceInterval(0.02, 0.01, 0.03), DifferenceInterval(0.02, -0.01, 0.05)


def negative(one: DifferenceInterval) -> DifferenceInterval:
    return DifferenceInterval(-one.value, -one.high, -one.low)


@pytest.mark.parametrize(
    ("log_loss", "accuracy", "beats"),
    [
        (negative(SURE), UNSURE, True),
        (negative(SURE), negative(UNSURE), True),
        (UNSURE, SURE, True),
        (negative(UNSURE), UNSURE, False),
        (SURE, SURE, False),  # more often right, and surely worse in what it says of itself
        (negative(SURE), negative(SURE), False),
        (SURE, negative(SURE), False),
    ],
)
def test_it_beats_its_best_member_where_it_is_surely_better_and_nowhere_surely_worse(
    log_loss: DifferenceInterval, accuracy: DifferenceInterval, beats: bool
) -> None:
    gain = Gain("test", 90, log_loss, accuracy)
    comparison = BestMemberComparison(
        "runs/a",
        reported=gain,
        held_out=gain,
        images_per_second=10.0,
        best_member_images_per_second=1325.0,
    )
    assert comparison.recommended is beats
    assert comparison.in_words().startswith("Recommended" if beats else "Not recommended")
    assert "10.0 images a second, runs/a alone 1,325." in comparison.in_words()
    alone = replace(comparison, only_member="runs/b")
    assert not alone.recommended
    assert "use runs/b itself" in alone.in_words()


def test_one_turtle_does_not_recommend_an_ensemble() -> None:
    targets_N = np.arange(200) % 3
    right = said(5 * np.eye(3)[targets_N], targets_N, ["one turtle"] * 200)
    often = said(
        5 * np.eye(3)[np.where(np.arange(200) < 35, 0, targets_N)], targets_N, ["one turtle"] * 200
    )
    gain = gain_over(right, often, "test")
    assert gain.accuracy.value > 0.1
    assert (gain.accuracy.low, gain.accuracy.high, gain.beats) == (-1, 1, False)


def test_what_is_nothing_has_no_sign_of_its_own() -> None:
    almost = DifferenceInterval(-1e-9, -1e-9, 1e-9)
    said = Gain("test", 9, almost, almost).in_words()
    assert said.startswith("log loss +0.0000 [+0.0000, +0.0000], accuracy +0.00 points [+0.00")
