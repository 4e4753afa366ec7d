"""Scores agree with scikit-learn and torchmetrics, weighted and not, with ties and without."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as tm
from sklearn import metrics as sk

from holotype.errors import DatasetError
from holotype.evaluation import metrics
from holotype.evaluation.roc_curves import roc_curve
from holotype.predictions import Predictions
from tests.evaluation.made import called, made

CASES = [
    pytest.param(made(400, C, seed=C, weighted=weighted, rounded=rounded), id=f"{C}-{weighted}")
    for C, rounded in ((2, True), (3, False), (12, True))
    for weighted in (False, True)
]


@pytest.mark.parametrize("predictions", CASES)
def test_counts_agree_with_scikit_learn(predictions: Predictions) -> None:
    targets, predicted = predictions.targets_N, predictions.predicted_N
    weights = {"sample_weight": predictions.weights_N}
    found = metrics.confusion_counts(predictions)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(targets, predicted, **weights)
    assert found.precision_C == pytest.approx(precision)
    assert found.recall_C == pytest.approx(recall)
    assert found.f1_C == pytest.approx(f1)
    for average, names in {
        "macro": ("macro_precision", "balanced_accuracy", "macro_f1"),
        "weighted": ("weighted_precision", "accuracy", "weighted_f1"),
    }.items():
        expected = sk.precision_recall_fscore_support(
            targets, predicted, average=average, **weights
        )
        assert [float(getattr(found, name)) for name in names] == pytest.approx(expected[:3])
    assert metrics.confusion_counts(predictions).accuracy == pytest.approx(
        sk.accuracy_score(targets, predicted, **weights)
    )
    assert found.balanced_accuracy == pytest.approx(
        sk.balanced_accuracy_score(targets, predicted, **weights)
    )


@pytest.mark.parametrize("predictions", CASES)
def test_the_confusion_matrix_agrees_with_scikit_learn(predictions: Predictions) -> None:
    expected = sk.confusion_matrix(
        predictions.targets_N, predictions.predicted_N, sample_weight=predictions.weights_N
    )
    assert metrics.confusion_matrix(predictions) == pytest.approx(expected)


@pytest.mark.parametrize("predictions", CASES)
def test_rankings_agree_with_scikit_learn(predictions: Predictions) -> None:
    C, weights_N = len(predictions.classes), predictions.weights_N
    scores_NC, truth_NC = predictions.probabilities_NC, np.eye(C)[predictions.targets_N]
    areas = [
        sk.roc_auc_score(truth_NC[:, c], scores_NC[:, c], sample_weight=weights_N) for c in range(C)
    ]
    averages = [
        sk.average_precision_score(truth_NC[:, c], scores_NC[:, c], sample_weight=weights_N)
        for c in range(C)
    ]
    roc_auc_C, average_precision_C = metrics.one_versus_rest_scores(predictions)
    assert roc_auc_C == pytest.approx(areas)
    assert average_precision_C == pytest.approx(averages)
    assert metrics.macro(roc_auc_C) == pytest.approx(np.mean(areas))
    expected = sk.roc_auc_score(
        truth_NC.ravel(), scores_NC.ravel(), sample_weight=np.repeat(weights_N, C)
    )
    assert metrics.micro_roc_auc(predictions) == pytest.approx(expected)


def test_a_curve_needs_positives_and_negatives_of_weight() -> None:
    """By hand: of four images the two best are one of each, so the curve goes up, then right."""
    scores_N, positive_N = np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False])
    curve = roc_curve(scores_N, positive_N, np.array([1.0, 1.0, 3.0, 1.0]))
    assert curve is not None
    assert curve.false_positive_rate_K.tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve.true_positive_rate_K.tolist() == [0, 0.25, 0.25, 1, 1]
    assert roc_curve(scores_N, positive_N, np.array([0.0, 1.0, 0.0, 1.0])) is None
    assert roc_curve(scores_N, positive_N, positive_N * 1.0) is None


@pytest.mark.parametrize("predictions", CASES)
def test_losses_agree_with_scikit_learn(predictions: Predictions) -> None:
    C, weights = len(predictions.classes), {"sample_weight": predictions.weights_N}
    targets, probabilities = predictions.targets_N, predictions.probabilities_NC
    assert metrics.log_loss(predictions) == pytest.approx(
        sk.log_loss(targets, probabilities, labels=range(C), **weights)
    )
    expected = sk.brier_score_loss(
        targets, probabilities, labels=range(C), scale_by_half=False, **weights
    )
    assert metrics.brier_score(predictions) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_top_k_accuracy_agrees_with_scikit_learn(k: int, weighted: bool) -> None:
    predictions = made(300, 8, weighted=weighted, signal=1.0)
    in_top_N = metrics.in_top_k_N(predictions, k)
    assert np.average(in_top_N, weights=predictions.weights_N) == pytest.approx(
        sk.top_k_accuracy_score(
            predictions.targets_N,
            predictions.probabilities_NC,
            k=k,
            sample_weight=predictions.weights_N,
            labels=range(8),
        )
    )


def test_the_first_of_equal_probabilities_goes_first() -> None:
    predictions = replace(made(3, 3), probabilities_NC=np.full((3, 3), 1 / 3))
    predictions = replace(predictions, targets_N=np.array([0, 1, 2]))
    assert [metrics.in_top_k_N(predictions, k).sum() for k in (1, 2, 3)] == [1, 2, 3]
    assert (predictions.predicted_N == 0).all()


@pytest.mark.parametrize("num_classes", [3, 12])
def test_scores_agree_with_torchmetrics(num_classes: int) -> None:
    predictions, C = made(500, num_classes, seed=7), num_classes
    scores = torch.from_numpy(predictions.probabilities_NC)
    targets = torch.from_numpy(predictions.targets_N)
    found = metrics.confusion_counts(predictions)
    roc_auc_C, average_precision_C = metrics.one_versus_rest_scores(predictions)
    pairs = [
        (found.accuracy, tm.multiclass_accuracy(scores, targets, C, average="micro")),
        (found.balanced_accuracy, tm.multiclass_recall(scores, targets, C, average="macro")),
        (found.macro_precision, tm.multiclass_precision(scores, targets, C, average="macro")),
        (found.macro_f1, tm.multiclass_f1_score(scores, targets, C, average="macro")),
        (found.weighted_f1, tm.multiclass_f1_score(scores, targets, C, average="weighted")),
        (
            metrics.macro(roc_auc_C),
            tm.multiclass_auroc(scores, targets, C, average="macro"),
        ),
        (
            metrics.macro(average_precision_C),
            tm.multiclass_average_precision(scores, targets, C, average="macro"),
        ),
    ]
    for ours, theirs in pairs:
        assert float(ours) == pytest.approx(float(theirs), abs=1e-6)
    assert metrics.confusion_matrix(predictions) == pytest.approx(
        tm.multiclass_confusion_matrix(scores, targets, C).numpy()
    )


def test_whole_weights_count_images_as_often_for_torchmetrics() -> None:
    """torchmetrics knows no weights, but a weight of 3 is the image three times."""
    times_N = np.random.default_rng(0).integers(0, 4, 400)
    once = made(400, 4, seed=3, signal=1.0)
    weighted = replace(once, weights_N=times_N.astype(np.float64))
    repeated = once.select(np.repeat(np.arange(400), times_N))
    scores = torch.from_numpy(repeated.probabilities_NC)
    targets = torch.from_numpy(repeated.targets_N)
    assert float(metrics.confusion_counts(weighted).macro_f1) == pytest.approx(
        float(tm.multiclass_f1_score(scores, targets, 4, average="macro")), abs=1e-6
    )
    assert float(metrics.macro(metrics.one_versus_rest_scores(weighted)[0])) == pytest.approx(
        float(tm.multiclass_auroc(scores, targets, 4, average="macro")), abs=1e-6
    )


def test_many_sets_of_weights_at_once_give_the_scores_of_each() -> None:
    predictions = made(120, 4, signal=1.0, rounded=True)
    weights_NR = np.random.default_rng(1).integers(0, 3, (120, 5)).astype(np.float64)
    weights_NR[:, 4] = predictions.targets_N == 2  # a resample that lacks most classes
    for score in (
        lambda p, w: metrics.confusion_counts(p, w).balanced_accuracy,
        lambda p, w: metrics.confusion_counts(p, w).macro_f1,
        metrics.micro_roc_auc,
        lambda p, w: np.stack(metrics.one_versus_rest_scores(p, w)),
        metrics.brier_score,
        metrics.log_loss,
    ):
        together = score(predictions, weights_NR)
        for r in range(5):
            alone = score(predictions, weights_NR[:, r])
            assert together[..., r] == pytest.approx(alone, nan_ok=True)


def test_a_class_without_images_has_no_recall_and_leaves_the_averages() -> None:
    predictions = called([0, 0, 1, 1], [0, 1, 1, 2], num_classes=3)
    found = metrics.confusion_counts(predictions)
    assert np.isnan(found.recall_C[2])
    assert np.isnan(found.f1_C[2])
    assert np.isnan(metrics.one_versus_rest_scores(predictions)[0][2])
    assert found.precision_C[2] == 0  # it was called once, wrongly
    assert found.balanced_accuracy == pytest.approx((1 / 2 + 1 / 2) / 2)
    present = sk.f1_score([0, 0, 1, 1], [0, 1, 1, 2], labels=[0, 1], average="macro")
    assert found.macro_f1 == pytest.approx(present)


def test_a_class_that_is_never_called_has_no_precision_and_counts_as_zero() -> None:
    found = metrics.confusion_counts(called([0, 0, 1, 1], [0, 0, 0, 0], num_classes=2))
    assert np.isnan(found.precision_C[1])
    assert found.f1_C[1] == 0
    expected = sk.precision_score([0, 0, 1, 1], [0, 0, 0, 0], average="macro", zero_division=0)
    assert found.macro_precision == pytest.approx(expected)


def test_images_without_a_label_are_refused() -> None:
    predictions = replace(made(4, 2), targets_N=np.array([0, 1, -1, 0]))
    with pytest.raises(DatasetError, match="no label"):
        metrics.confusion_counts(predictions)
