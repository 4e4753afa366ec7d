"""What is sealed is fitted on validation alone, and views are bought only where they bring more."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from holotype.bundle.views import ViewSet
from holotype.errors import DatasetError
from holotype.evaluation.fit_decision import choose_views, fit_decision, tta_effect
from holotype.predictions import Predictions, softmax
from tests.evaluation.made import made


def with_signal(one: Predictions, gain: float, rows: slice = slice(None)) -> Predictions:
    """The same images, some of them better told."""
    logits_NC = one.logits_NC.copy()
    numbers = np.arange(len(one))[rows]
    logits_NC[numbers, one.targets_N[numbers]] += gain
    return replace(one, logits_NC=logits_NC, probabilities_NC=softmax(logits_NC))


def test_views_that_bring_much_are_chosen_and_the_fewest_of_equals() -> None:
    one = made(200, signal=1.0)
    better = with_signal(one, 1.0)
    assert choose_views({"one": one, "mirror": better, "dihedral": better}) == "mirror"
    much_better = with_signal(one, 3.0)
    assert choose_views({"one": one, "mirror": better, "dihedral": much_better}) == "dihedral"
    assert choose_views({"dihedral": one, "one": one}) == "one"


def test_views_that_bring_no_more_than_luck_are_not_bought() -> None:
    """The gain lies in single images: within one standard error of nothing."""
    one = made(200, signal=1.0)
    lucky = with_signal(one, 0.5, slice(0, 1))
    assert choose_views({"one": one, "mirror": lucky}) == "one"


def test_where_images_have_groups_the_gain_of_one_group_is_luck() -> None:
    groups = [f"g{n // 50}" for n in range(200)]
    one = made(200, signal=1.0, groups=groups)
    in_one_group = with_signal(one, 3.0, slice(0, 50))
    alone = replace(one, groups=("",) * 200), replace(in_one_group, groups=("",) * 200)
    assert choose_views({"one": alone[0], "mirror": alone[1]}) == "mirror"
    assert choose_views({"one": one, "mirror": in_one_group}) == "one"


def test_the_scale_of_the_logits_does_not_choose() -> None:
    """Overconfidence is what the temperature mends, whatever the views."""
    one = made(200, signal=1.0)
    louder = replace(one, logits_NC=5 * one.logits_NC, probabilities_NC=softmax(5 * one.logits_NC))
    candidates: dict[ViewSet, Predictions] = {"one": louder, "mirror": one}
    assert choose_views(candidates) == "one"


def test_too_few_images_choose_nothing() -> None:
    one = made(9)
    assert choose_views({"one": one, "mirror": with_signal(one, 4.0)}) == "one"


def test_predictions_of_other_images_are_refused() -> None:
    with pytest.raises(DatasetError, match="not of the same images"):
        choose_views({"one": made(20), "mirror": made(30)})


def test_what_views_bring_is_measured_as_scikit_learn_does() -> None:
    one = made(300, signal=1.0, weighted=True)
    averaged = with_signal(one, 1.0)
    effect = tta_effect("dihedral", one, averaged)
    for number, predictions in enumerate((one, averaged)):
        counted = predictions.select(predictions.weights_N > 0)
        truth = counted.targets_N, counted.weights_N
        probabilities = softmax(counted.logits_NC, fit_decision(predictions).temperature)
        expected = log_loss(truth[0], probabilities, sample_weight=truth[1])
        assert effect.log_loss[number] == pytest.approx(expected, abs=1e-5)
        expected = accuracy_score(truth[0], counted.predicted_N, sample_weight=truth[1])
        assert effect.accuracy[number] == pytest.approx(expected)
    assert effect.num_passes == 8
    assert "up to 8 times as long" in effect.note()
    assert f"{effect.accuracy[1]:.1%} instead of {effect.accuracy[0]:.1%}" in effect.note()


def test_the_decision_names_its_views_and_what_it_was_fitted_on() -> None:
    predictions = made(50)
    decision = fit_decision(predictions, views="mirror")
    assert decision.views == "mirror"
    assert decision.predictions_sha256 == predictions.digest()
    assert decision.num_images == 50
    weights_N = np.where(np.arange(50) < 3, 0.0, predictions.weights_N)
    assert fit_decision(replace(predictions, weights_N=weights_N)).num_images == 47
    assert (
        fit_decision(with_signal(predictions, 0.1)).predictions_sha256
        != decision.predictions_sha256
    )
