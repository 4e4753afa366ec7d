"""What a linear head says of images that it did not learn from."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from holotype.training.heads.cross_val_predict import (
    OutOfFoldPredictions,
    out_of_fold_predictions,
)
from holotype.training.heads.logistic_regression import stratified_folds
from tests.training.tiny import unweighted


def _clouds(
    classes: int, each: int, spread: float = 3.0, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(classes), each)
    features = (
        rng.normal(size=(classes, 12))[targets] * 2 + rng.normal(size=(len(targets), 12)) * spread
    )
    return features.astype(np.float32), targets


def _judge(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    Cs: tuple[float, ...] = (0.01, 0.1, 1.0),
    **changes: Any,
) -> OutOfFoldPredictions:
    data = replace(unweighted(features, targets), **changes)
    return out_of_fold_predictions(data, Cs=Cs, folds=5, seed=0)


@pytest.mark.parametrize("classes", [2, 4])
def test_each_fold_is_judged_as_scikit_learn_judges_it_from_the_others(classes: int) -> None:
    features, targets = _clouds(classes, 30)
    weights = np.random.default_rng(1).uniform(0.2, 2, len(targets))
    said = _judge(features, targets, weights_N=weights, Cs=(0.1,))
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    for fit, held in stratified_folds(targets, [""] * len(targets), 5, seed=0):
        model = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000)
        model.fit(standard[fit], targets[fit], sample_weight=weights[fit] / weights[fit].mean())
        expected = model.predict_proba(standard[held])
        assert np.abs(said.probabilities_NC[held] - expected).max() < 5e-3


def test_an_image_has_no_say_in_what_is_said_of_it() -> None:
    features, targets = _clouds(3, 30)
    other = targets.copy()
    row = 7
    other[row] = (other[row] + 1) % 3
    # One C and folds that do not look at labels' counts of this row alone: compare argmax.
    before = _judge(features, targets, Cs=(0.1,)).probabilities_NC[row]
    after = _judge(features, other, Cs=(0.1,)).probabilities_NC[row]
    assert before.argmax() == after.argmax()


def test_copies_in_one_unit_cannot_betray_each_other() -> None:
    rng = np.random.default_rng(3)
    features = np.repeat(rng.normal(size=(60, 40)), 2, axis=0).astype(np.float32)
    targets = np.repeat(rng.integers(0, 2, 60), 2)  # labels that nothing explains
    groups = [f"copies {n // 2}" for n in range(120)]
    Cs = (1.0,)
    apart = _judge(features, targets, Cs=Cs).probabilities_NC.argmax(axis=1)
    together = _judge(features, targets, Cs=Cs, groups=groups)
    assert (apart == targets).mean() > 0.8
    assert (together.probabilities_NC.argmax(axis=1) == targets).mean() < 0.65


def test_a_class_of_one_unit_is_not_judged() -> None:
    features, targets = _clouds(2, 20)
    targets = targets.copy()
    targets[:4] = 2
    groups = ["specimen"] * 4 + [""] * 36
    said = _judge(features, targets, groups=groups)
    assert not said.class_was_seen_N[:4].any()
    assert said.class_was_seen_N[4:].all()
    assert np.allclose(said.probabilities_NC.sum(axis=1), 1)


def test_where_no_fold_can_be_made_nothing_is_said() -> None:
    features, targets = _clouds(2, 1)
    said = _judge(features, targets)
    assert np.isnan(said.probabilities_NC).all()
    assert not said.class_was_seen_N.any()


def test_the_strength_of_a_fold_is_chosen_by_the_other_folds() -> None:
    features, targets = _clouds(3, 40, spread=6.0)
    said = _judge(features, targets, Cs=(1e-4, 1e-3, 1e-2, 1e-1, 1.0))
    splits = stratified_folds(targets, [""] * len(targets), 5, seed=0)
    assert len(said.best_Cs) == len(splits)
    alone = {c: _judge(features, targets, Cs=(c,)).probabilities_NC for c in (1e-3, 1e-2, 1e-1)}
    for number, chosen in enumerate(said.best_Cs):
        rows = np.concatenate([held for n, (_, held) in enumerate(splits) if n != number])
        losses = {c: -np.log(p[rows, targets[rows]]).sum() for c, p in alone.items()}
        assert losses[chosen] <= min(losses.values()) * 1.001  # warm starts end a little elsewhere


def test_images_of_weight_0_teach_nothing() -> None:
    """One group weighs nothing: no head is fitted on it alone, and its own are answered."""
    features, targets = _clouds(2, 20)
    weights = np.tile([1.0, 0.0], 20)
    groups = ["counted" if weight else "not" for weight in weights]
    data = replace(unweighted(features, targets), weights_N=weights, groups=groups)
    found = out_of_fold_predictions(data, Cs=(0.01, 0.1), folds=5, seed=0)
    assert np.isfinite(found.probabilities_NC[weights == 0]).all()
    assert np.isnan(found.probabilities_NC[weights > 0]).all()
