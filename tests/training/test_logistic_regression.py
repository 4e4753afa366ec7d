"""The linear head on kept features."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from holotype.architectures.sklearn_onnx import ABSENT_CLASS_LOGIT
from holotype.training.config.stage_config import LinearStage
from holotype.training.heads.logistic_regression import (
    LinearHead,
    fit_linear_head,
    stratified_folds,
)
from tests.training.tiny import unweighted

C_VALUES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def _clouds(
    classes: int, each: int, size: int = 20, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, size))
    targets = np.repeat(np.arange(classes), each)
    features = centres[targets] + rng.normal(size=(len(targets), size)) * 4 + 7
    return features.astype(np.float32), targets


def _fit(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    Cs: tuple[float, ...] = C_VALUES,
    **changes: Any,
) -> LinearHead:
    stage = LinearStage(method="logistic_regression", Cs=Cs)
    return fit_linear_head(replace(unweighted(features, targets), **changes), stage, 0)


def _probabilities(head: LinearHead, features: NDArray[np.float32]) -> NDArray[np.float64]:
    logits = features @ head.weight_CD.T.astype(np.float64) + head.bias_C
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("classes", [2, 5])
def test_the_head_is_scikit_learns_pipeline_in_one_matrix(classes: int) -> None:
    features, targets = _clouds(classes, 40)
    weights = np.random.default_rng(1).uniform(0.2, 2, len(targets))
    head = _fit(features, targets, weights_N=weights, Cs=(0.05,))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, tol=1e-8, max_iter=5000))
    # The scaler is deliberately unweighted in both.
    pipeline.fit(features, targets, logisticregression__sample_weight=weights / weights.mean())
    assert np.abs(_probabilities(head, features) - pipeline.predict_proba(features)).max() < 5e-3


def test_the_chosen_strength_is_the_one_with_the_lowest_held_out_loss() -> None:
    features, targets = _clouds(3, 40)
    head = _fit(features, targets)
    assert head.best_C == min(head.losses, key=lambda c: head.losses[c])
    assert 1e-4 < head.best_C < 1.0


def test_images_of_one_group_never_stand_on_both_sides_of_a_fold() -> None:
    targets = np.arange(60) % 3
    groups = [f"specimen{n // 6}" for n in range(60)]
    for fit, held in stratified_folds(targets, groups, 5, seed=0):
        assert not {groups[i] for i in fit} & {groups[i] for i in held}


def test_folds_are_shuffled() -> None:
    targets = np.array([0, 1] * 50)
    first_fold = stratified_folds(targets, [""] * 100, 5, seed=0)[0][1]
    assert first_fold.max() > 60


def test_grouped_copies_make_a_smaller_strength_than_they_would_unnoticed() -> None:
    features, targets = _clouds(3, 12)
    copies, labels = np.repeat(features, 5, axis=0), np.repeat(targets, 5)
    groups = [str(n // 5) for n in range(len(labels))]
    assert _fit(copies, labels, groups=groups).best_C < _fit(copies, labels).best_C


def test_a_class_without_images_is_never_predicted() -> None:
    features, targets = _clouds(2, 30)
    head = _fit(features, targets, num_classes=3)
    assert head.bias_C[2] == ABSENT_CLASS_LOGIT
    assert _probabilities(head, features)[:, 2].max() < 1e-6


def test_a_class_of_one_image_is_no_obstacle() -> None:
    features, targets = _clouds(2, 30)
    head = _fit(features[:31], targets[:31], Cs=(1.0,))
    assert _probabilities(head, features[30:31]).argmax() == 1


def test_two_images_make_a_head() -> None:
    features, targets = _clouds(2, 1)
    head = _fit(features, targets)
    assert head.losses == {}
    assert list(_probabilities(head, features).argmax(axis=1)) == [0, 1]


def test_weight_counts_as_repetition_does() -> None:
    features, targets = _clouds(2, 20, size=3)
    weights = np.ones(40)
    weights[:10] = 3.0
    weighted = _fit(features, targets, weights_N=weights, Cs=(1.0,))
    repeated_rows = np.concatenate([np.arange(40), np.arange(10), np.arange(10)])
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    oracle = LogisticRegression(C=40 / 60, tol=1e-8, max_iter=5000)
    oracle.fit(standard[repeated_rows], targets[repeated_rows])
    expected = oracle.predict_proba(standard)
    assert np.abs(_probabilities(weighted, features) - expected).max() < 5e-3
