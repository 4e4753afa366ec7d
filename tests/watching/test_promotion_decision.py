"""The decision rule on arrays of predictions: what may be promoted, and what never is."""

import json

import numpy as np
import pytest

from holotype.watching.retraining.promotion_decision import (
    NOTHING,
    PairedAccuracy,
    PromotionDecision,
    decide,
    paired_accuracy,
)

SIMULATIONS = 200


def simulate(
    champion: float,
    candidate: float,
    *,
    images: int,
    group_size: int = 1,
    seed: int,
) -> PairedAccuracy:
    """Two classifiers of these accuracies that are wrong on mostly the same images.

    Args:
        group_size: images of one group are right or wrong together.
    """
    rng = np.random.default_rng(seed)
    units = images // group_size
    difficulty_N = np.repeat(rng.uniform(size=units), group_size)
    own_N = np.repeat(rng.uniform(size=units), group_size)
    champion_N = difficulty_N < champion
    # Half of the candidate's errors are the champion's too.
    shared_N = np.repeat(rng.uniform(size=units) < 0.5, group_size)
    candidate_N = np.where(shared_N, difficulty_N, own_N) < candidate
    groups = [f"g{n // group_size}" if group_size > 1 else "" for n in range(images)]
    return paired_accuracy(champion_N, candidate_N, np.ones(images), groups)


def promotions(
    *, old: tuple[float, float], fresh: tuple[float, float], group_size: int = 1, fresh_images: int
) -> int:
    """Of `SIMULATIONS`, how many candidates may be promoted."""
    count = 0
    for n in range(SIMULATIONS):
        decision = decide(
            simulate(*old, images=600, group_size=group_size, seed=2 * n),
            simulate(*fresh, images=fresh_images, group_size=group_size, seed=2 * n + 1),
        )
        count += decision.judgement == "promote"
    return count


def test_a_candidate_surely_worse_on_fresh_labels_is_never_promoted() -> None:
    assert promotions(old=(0.9, 0.9), fresh=(0.8, 0.65), fresh_images=100) == 0


def test_a_candidate_surely_worse_on_the_old_test_is_never_promoted() -> None:
    assert promotions(old=(0.9, 0.8), fresh=(0.6, 0.9), fresh_images=100) == 0


@pytest.mark.parametrize("group_size", [1, 5])
@pytest.mark.parametrize("fresh_images", [15, 100])
def test_an_equal_candidate_is_promoted_in_at_most_a_twentieth(
    fresh_images: int, group_size: int
) -> None:
    found = promotions(
        old=(0.9, 0.92), fresh=(0.8, 0.8), fresh_images=fresh_images, group_size=group_size
    )
    assert found <= 0.05 * SIMULATIONS


def test_a_much_better_candidate_is_promoted_mostly() -> None:
    assert promotions(old=(0.9, 0.93), fresh=(0.5, 0.9), fresh_images=60) > 0.6 * SIMULATIONS


@pytest.mark.slow
@pytest.mark.parametrize(("fresh_images", "share"), [(100, 0.35), (200, 0.55)])
def test_a_gain_of_5_points_is_shown_as_often_as_the_guide_says(
    fresh_images: int, share: float
) -> None:
    found = promotions(old=(0.9, 0.93), fresh=(0.85, 0.9), fresh_images=fresh_images)
    assert found == pytest.approx(share * SIMULATIONS, abs=0.05 * SIMULATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("worse", [0.02, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("group_size", [1, 4])
@pytest.mark.parametrize("fresh_images", [20, 60, 200, 1000])
def test_no_worse_candidate_is_promoted(fresh_images: int, group_size: int, worse: float) -> None:
    """200 simulations for each size of the sample; by chance at most a few where it hardly is."""
    found = promotions(
        old=(0.9, 0.93), fresh=(0.85, 0.85 - worse), fresh_images=fresh_images,
        group_size=group_size,
    )  # fmt: skip
    assert found <= (0 if worse >= 0.1 else 0.02 * SIMULATIONS)


def test_without_fresh_labels_nothing_is_promoted() -> None:
    old = simulate(0.8, 0.99, images=600, seed=0)
    decision = decide(old, NOTHING)
    assert decision.judgement == "keep"
    assert "no fresh labels" in decision.reasons[0]
    assert PromotionDecision.from_json(json.loads(json.dumps(decision.to_json()))).old == old


def test_a_small_old_test_cannot_show_that_it_is_no_worse() -> None:
    right = np.ones(40, np.bool_)
    old = paired_accuracy(right, right, np.ones(40), [""] * 40)
    fresh = simulate(0.3, 0.95, images=100, seed=0)
    assert decide(old, fresh, margin=0.02).judgement == "keep"
    assert decide(old, fresh, margin=0.05).judgement == "promote"


def test_groups_are_one_observation_each() -> None:
    """Thirty images of one specimen are no proof."""
    wrong, right = np.zeros(30, np.bool_), np.ones(30, np.bool_)
    assert paired_accuracy(wrong, right, np.ones(30), [""] * 30).is_better
    assert not paired_accuracy(wrong, right, np.ones(30), ["one"] * 30).is_better


def test_images_of_weight_nothing_do_not_count() -> None:
    weights = np.array([1.0] * 20 + [0.0] * 20)
    champion = np.array([True] * 20 + [False] * 20)
    found = paired_accuracy(champion, np.ones(40, np.bool_), weights, [""] * 40)
    assert (found.num_images, found.difference) == (20, 0.0)
