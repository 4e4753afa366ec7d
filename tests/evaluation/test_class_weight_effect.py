"""Weighting taken out of answers: what stands beside a report where rare classes counted more."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, precision_score, recall_score

from holotype.evaluation.build_report import build_report
from holotype.evaluation.class_weight_effect import undo_class_weighting
from holotype.pipeline.training_run.class_weight_report import _differences, measure_class_weighting
from holotype.predictions import Predictions
from holotype.reporting.report_page import ReportContext
from holotype.reporting.write_report import write_report
from tests.evaluation.made import made
from tests.reporting.test_write_report import NASTY, Page

SHARES_C = np.array([0.9, 0.1])  # of two classes that overlap
WEIGHTS_C = 0.5 / SHARES_C


def world(
    num_images: int, seed: int = 0, **changes: object
) -> tuple[Predictions, NDArray[np.float64]]:
    """Answers of Bayes' rule with both classes taken as equally frequent; and the true ones."""
    rng = np.random.default_rng(seed)
    targets_N = rng.choice(2, num_images, p=SHARES_C)
    place_N = rng.normal(targets_N * 1.5)
    density_NC = np.stack([norm.pdf(place_N, 0), norm.pdf(place_N, 1.5)], axis=1)
    true_NC = density_NC * SHARES_C
    balanced_NC = density_NC / density_NC.sum(axis=1, keepdims=True)
    answers = replace(
        made(num_images, 2),
        sha256=tuple(f"{n:064d}" for n in range(num_images)),
        targets_N=targets_N,
        probabilities_NC=balanced_NC,
        logits_NC=np.log(balanced_NC).astype(np.float32),
        **changes,
    )
    return answers, true_NC / true_NC.sum(axis=1, keepdims=True)


def test_without_the_weighting_the_answers_are_those_of_bayes_rule() -> None:
    answers, true_NC = world(500)
    without = undo_class_weighting(answers, WEIGHTS_C)
    assert without.probabilities_NC == pytest.approx(true_NC, abs=1e-12)
    assert np.exp(without.logits_NC) == pytest.approx(true_NC, abs=1e-6)
    assert without.targets_N is answers.targets_N


def test_each_image_can_have_weights_of_its_own() -> None:
    answers, true_NC = world(40)
    weights_NC = np.where(np.arange(40)[:, None] < 20, WEIGHTS_C, 1.0)
    without = undo_class_weighting(answers, weights_NC).probabilities_NC
    assert without[:20] == pytest.approx(true_NC[:20])
    assert without[20:] == pytest.approx(answers.probabilities_NC[20:])


def test_a_probability_of_nothing_stays_nothing() -> None:
    answers = replace(made(3, 2), probabilities_NC=np.array([[1.0, 0.0]] * 3))
    without = undo_class_weighting(answers, WEIGHTS_C)
    assert without.probabilities_NC.tolist() == [[1.0, 0.0]] * 3
    assert np.isfinite(without.logits_NC).all()


def test_the_effect_is_told_class_by_class_as_scikit_learn_would() -> None:
    answers, true_NC = world(2000)
    effect = measure_class_weighting(build_report(answers), answers, WEIGHTS_C)
    assert effect is not None
    called_N, without_N = answers.predicted_N, true_NC.argmax(axis=1)
    assert effect.num_changed == (called_N != without_N).sum() > 100
    for report, predicted_N in (
        (effect.with_weighting, called_N),
        (effect.without_weighting, without_N),
    ):
        recalls = recall_score(answers.targets_N, predicted_N, average=None)
        precisions = precision_score(answers.targets_N, predicted_N, average=None)
        assert [s.recall.value for s in report.per_class] == pytest.approx(recalls.tolist())
        assert [s.precision.value for s in report.per_class] == pytest.approx(precisions.tolist())
    gain = [
        score(answers.targets_N, called_N) - score(answers.targets_N, without_N)
        for score in (lambda t, p: (t == p).mean(), balanced_accuracy_score)
    ]
    found = [effect.differences["accuracy"], effect.differences["balanced_accuracy"]]
    assert [one.value for one in found] == pytest.approx(gain)
    # Weighting buys balanced accuracy with accuracy, and in such a world both for certain.
    accuracy, balanced = found
    assert accuracy.high is not None
    assert balanced.low is not None
    assert accuracy.high < 0 < balanced.low
    assert measure_class_weighting(build_report(answers), answers, None) is None


def test_the_interval_of_the_difference_is_that_of_many_such_sets() -> None:
    """Of 60 sets, the 95 % intervals hold the mean difference of 40,000 images in 52 or more."""
    answers, _ = world(40_000, seed=99)
    without = undo_class_weighting(answers, WEIGHTS_C)
    truth = balanced_accuracy_score(answers.targets_N, answers.predicted_N)
    truth -= balanced_accuracy_score(answers.targets_N, without.predicted_N)
    held = 0
    for seed in range(60):
        answers, _ = world(300, seed)
        found = _differences(answers, undo_class_weighting(answers, WEIGHTS_C), "test")
        low, high = found["balanced_accuracy"].low, found["balanced_accuracy"].high
        assert low is not None
        assert high is not None
        held += low <= truth <= high
    assert held >= 52  # fewer has a chance of 0.3 % where each holds it with 95 %


def test_weights_of_one_change_nothing() -> None:
    answers, _ = world(300)
    effect = measure_class_weighting(build_report(answers), answers, np.ones(2))
    assert effect is not None
    assert effect.num_changed == 0
    assert {one.value for one in effect.differences.values()} == {0.0}


def test_the_page_and_the_numbers_tell_it(tmp_path: Path) -> None:
    num_classes = 3
    answers = replace(
        made(400, num_classes, signal=1.0),
        sha256=tuple(f"{n:064d}" for n in range(400)),
        classes=(NASTY, *(f"class {c}" for c in range(1, num_classes))),
    )
    report, weights_C = build_report(answers), np.geomspace(0.2, 5, num_classes)
    effect = measure_class_weighting(report, answers, weights_C)
    assert effect is not None
    for class_weighting in (effect, None):
        write_report(
            report, tmp_path, predictions=answers,
            context=ReportContext(title="cells", class_weighting=class_weighting),
        )  # fmt: skip
        text = re.sub(r"\s+", " ", Page(tmp_path / "index.html").text)
        metrics = json.loads((tmp_path / "metrics.json").read_text())
        assert ("not another training" in text) == (class_weighting is not None)
        if class_weighting is None:
            assert "class_weighting" not in metrics
            continue
        told = metrics["class_weighting"]
        weights = [told["per_class"][name]["weight"] for name in answers.classes]
        assert weights == weights_C.tolist()
        assert told["per_class"][NASTY]["recall_without"]["value"] == pytest.approx(
            effect.without_weighting.per_class[0].recall.value
        )
        assert f"changes the predicted class of {effect.num_changed} images" in text
        difference = told["accuracy_difference"]["value"]
        assert f"{difference:+.3f}".replace("-", "−") in text
        part = text.split("Effect of class weighting")[1].split("Confusions")[0]
        for scores, weight in zip(effect.without_weighting.per_class, weights_C, strict=True):
            assert f"{weight:.2f}" in part
            assert f"{scores.recall.value:.3f}" in part
