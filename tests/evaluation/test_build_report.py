"""A report says what predictions hold, whatever odd predictions they are."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from holotype.errors import DatasetError
from holotype.evaluation.build_report import build_report
from holotype.evaluation.intervals import wilson
from holotype.evaluation.metrics import confusion_counts, macro, one_versus_rest_scores
from holotype.evaluation.report_data import SCORES, Report
from holotype.predictions import Predictions
from tests.evaluation.made import called, made

FRACTIONS = [name for name in SCORES if name not in ("log_loss", "brier_score")]


def assert_sound(report: Report) -> None:
    """What holds for every report: values inside positive intervals, and JSON that is valid."""
    per_class = [
        getattr(scores, name)
        for scores in report.per_class
        for name in ("precision", "recall", "f1", "roc_auc", "average_precision")
    ]
    for estimate in [*(report[name] for name in report), *per_class]:
        if estimate.value is None:
            assert estimate.low is None
            assert estimate.high is None
            assert "undefined" in estimate.method
        else:
            assert estimate.low <= estimate.value <= estimate.high
            assert estimate.high - estimate.low > 1e-9
            assert estimate.low >= 0
    for name in FRACTIONS:
        high = report[name].high if name in report.metrics else None
        assert high is None or high <= 1
    stored = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert Report.from_json(stored).to_json() == stored


@pytest.mark.parametrize(
    "predictions",
    [
        pytest.param(made(60, 2), id="two classes"),
        pytest.param(made(60, 2, weighted=True), id="weights"),
        pytest.param(made(60, 4, groups=[str(n % 6) for n in range(60)]), id="few groups"),
        pytest.param(made(90, 3, groups=[str(n % 45) for n in range(90)]), id="many groups"),
        pytest.param(made(40, 3, groups=["turtle"] * 40), id="one group"),
        pytest.param(made(40, 3, groups=["a", ""] * 20, weighted=True), id="some in groups"),
        pytest.param(made(40, 40, groups=[str(n % 4) for n in range(40)]), id="rare in groups"),
        pytest.param(called([0, 0, 1, 1], [0, 0, 0, 0], 2), id="a class never called"),
        pytest.param(called([0, 0, 1, 1], [0, 1, 1, 2], 3), id="a class without images"),
        pytest.param(called([1] * 10, [1] * 9 + [0], 2), id="one class only"),
        pytest.param(called([0, 1] * 20, [0, 1] * 20, 2), id="all right"),
        pytest.param(called([0, 1] * 20, [1, 0] * 20, 2), id="all wrong"),
        pytest.param(called([1], [1], 2), id="one image, right"),
        pytest.param(called([1], [0], 2), id="one image, wrong"),
        pytest.param(made(2, 5), id="fewer images than classes"),
    ],
)
def test_odd_predictions_give_sound_reports(predictions: Predictions) -> None:
    assert_sound(build_report(predictions))


def test_a_report_holds_the_scores_of_the_metrics() -> None:
    predictions = made(300, 6, weighted=True, signal=1.0)
    report, found = build_report(predictions), confusion_counts(predictions)
    assert report["accuracy"].value == pytest.approx(float(found.accuracy))
    assert report["macro_f1"].value == pytest.approx(float(found.macro_f1))
    roc_auc_C, _ = one_versus_rest_scores(predictions)
    assert report["macro_roc_auc"].value == pytest.approx(float(macro(roc_auc_C)))
    assert [scores.f1.value for scores in report.per_class] == pytest.approx(found.f1_C.tolist())
    assert list(report) == list(SCORES)


def test_unweighted_accuracies_and_recalls_have_wilsons_interval() -> None:
    predictions = made(300, 3, signal=1.0)
    report = build_report(predictions)
    value = report["accuracy"].value
    assert value is not None
    assert (report["accuracy"].low, report["accuracy"].high) == pytest.approx(wilson(value, 300))
    first = report.per_class[0]
    assert first.recall.value is not None
    expected = wilson(first.recall.value, first.support)
    assert (first.recall.low, first.recall.high) == pytest.approx(expected)


def test_weights_move_every_score_and_the_plain_accuracy_stands_beside() -> None:
    predictions = made(200, 3, weighted=True, signal=1.0)
    plain = build_report(replace(predictions, weights_N=np.ones(200)))
    weighted = build_report(predictions)
    assert weighted.weighted
    assert not plain.weighted
    assert str(weighted["accuracy_unweighted"]) == str(plain["accuracy"])
    assert "accuracy_unweighted" not in plain.metrics
    for name in plain:
        assert weighted[name].value != plain[name].value


def test_images_of_weight_zero_count_for_nothing() -> None:
    predictions = made(200, 3, weighted=True)
    without = predictions.select(predictions.weights_N > 0)
    report, expected = build_report(predictions), build_report(without)
    assert report.num_zero_weight == (predictions.weights_N == 0).sum() > 0
    assert report.num_images == len(without)
    assert str(report["macro_f1"]) == str(expected["macro_f1"])
    assert (report.confusion_CC == expected.confusion_CC).all()


def test_the_scale_of_equal_weights_does_not_matter() -> None:
    predictions = made(100, 3)
    halved = replace(predictions, weights_N=np.full(100, 0.5))
    for name in (report := build_report(halved)):
        assert str(report[name]) == str(build_report(predictions)[name])


def test_unlabelled_images_are_counted_and_left_out() -> None:
    predictions = made(100, 3)
    targets_N = predictions.targets_N.copy()
    targets_N[60:] = -1
    report = build_report(replace(predictions, targets_N=targets_N))
    assert (report.num_images, report.num_unlabelled) == (60, 40)
    expected = build_report(predictions.select(np.arange(60)))
    assert str(report["accuracy"]) == str(expected["accuracy"])


@pytest.mark.parametrize(
    "predictions",
    [
        made(20, 2).select(np.arange(0)),
        replace(made(20, 2), targets_N=np.full(20, -1)),
        replace(made(20, 2), weights_N=np.zeros(20)),
    ],
)
def test_nothing_to_evaluate_is_an_error_that_says_so(predictions: Predictions) -> None:
    with pytest.raises(DatasetError, match="nothing to evaluate"):
        build_report(predictions)


def test_the_same_seed_gives_the_same_report_and_another_a_similar_one() -> None:
    predictions = made(150, 3, signal=1.0)
    assert build_report(predictions).to_json() == build_report(predictions).to_json()
    other = build_report(predictions, seed=1)["macro_f1"]
    assert other.low == pytest.approx(build_report(predictions)["macro_f1"].low, abs=0.01)
    assert other.low != build_report(predictions)["macro_f1"].low


def test_the_order_of_images_does_not_move_values() -> None:
    predictions = made(150, 3, weighted=True, groups=[str(n % 8) for n in range(150)])
    shuffled = predictions.select(np.random.default_rng(0).permutation(150))
    report, other = build_report(predictions), build_report(shuffled)
    for name in report:
        assert other[name].value == pytest.approx(report[name].value)
    assert other["accuracy"].low == pytest.approx(report["accuracy"].low)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "macro_roc_auc", "log_loss"])
def test_copies_of_images_do_not_make_any_score_surer(name: str) -> None:
    """Every image twenty times, as one group: the width stays that of the originals."""
    once = made(100, 3, signal=1.5)
    copies = once.select(np.repeat(np.arange(100), 20))
    grouped = replace(copies, groups=tuple(str(n // 20) for n in range(2000)))

    def width(predictions: Predictions) -> float:
        estimate = build_report(predictions)[name]
        return estimate.high - estimate.low

    assert width(grouped) == pytest.approx(width(once), rel=0.15)
    assert width(copies) < 0.4 * width(once)


def test_scores_of_one_sample_agree_on_how_sure_they_are_with_few_groups() -> None:
    """Balanced classes: accuracy and balanced accuracy are the same number, nearly."""
    report = build_report(made(900, 3, groups=[str(n % 9) for n in range(900)]))
    accuracy, balanced = report["accuracy"], report["balanced_accuracy"]
    assert balanced.low == pytest.approx(accuracy.low, abs=0.01)
    assert balanced.high == pytest.approx(accuracy.high, abs=0.01)


def test_a_score_that_rests_on_one_group_has_no_interval_to_speak_of() -> None:
    """All images of the first class come from one group; without it the class is gone."""
    predictions = made(60, 2, signal=1.0)
    groups = tuple(
        "lonely" if target == 0 else str(n % 5) for n, target in enumerate(predictions.targets_N)
    )
    recall = build_report(replace(predictions, groups=groups)).per_class[0].recall
    assert (recall.low, recall.high) == (0, 1)


@pytest.mark.parametrize(
    ("predictions", "said"),
    [
        (made(50, 2), "No groups were given"),
        (made(50, 2, groups=["a"] * 50), "come from one group"),
        (made(50, 2, groups=[str(n % 7) for n in range(50)]), "only 7 groups"),
        (called([0, 0, 1, 1], [0, 1, 1, 2], 3), "1 class has no image here (class 2)"),
        (called([0, 0, 1, 1], [0, 0, 0, 0], 2), "never predicted (class 1)"),
        (called([0, 1], [0, 1], 2), "2 classes have fewer than 10 images"),
    ],
)
def test_a_report_says_what_weakens_it(predictions: Predictions, said: str) -> None:
    assert any(said in caveat for caveat in build_report(predictions).caveats)


def test_forty_groups_need_no_warning() -> None:
    assert build_report(made(200, 2, groups=[str(n % 40) for n in range(200)])).caveats == ()


def test_json_has_the_promised_shape() -> None:
    report = build_report(called([0, 0, 1, 1], [0, 1, 1, 1], 3)).to_json()
    assert report["accuracy"].keys() >= {"value", "low", "high"}
    assert report["accuracy"]["value"] == 0.75
    assert report["classes"] == ["class 0", "class 1", "class 2"]
    assert report["num_images"] == 4
    assert report["num_groups"] is None
    assert report["confusion_matrix"] == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert report["confusion_matrix_normalised"][2] == [None, None, None]
    assert report["per_class"]["class 1"]["support"] == 2
    assert report["per_class"]["class 1"]["precision"]["value"] == pytest.approx(2 / 3)
    assert report["per_class"]["class 2"]["recall"]["value"] is None


def test_2600_images_of_12_classes_take_under_three_seconds() -> None:
    predictions = made(2600, 12)
    started = time.process_time()
    build_report(predictions)
    assert time.process_time() - started < 3


def test_a_thousand_classes_end_sensibly() -> None:
    predictions = made(500, 1000, signal=4.0)
    started = time.process_time()
    report = build_report(predictions)
    assert time.process_time() - started < 20
    assert_sound(report)
    assert report["top_5_accuracy"].value > report["accuracy"].value


def test_a_metric_that_does_not_exist_is_answered_with_those_that_do() -> None:
    report = build_report(called([0, 0, 1, 1], [0, 1, 1, 1], 3))
    assert str(report.metrics["accuracy"]) == repr(report.metrics["accuracy"])
    assert float(report.metrics["accuracy"]) == report.metrics["accuracy"].value
    with pytest.raises(KeyError, match="did you mean 'accuracy'"):
        report.metrics["acuracy"]


def test_a_report_shows_its_classes() -> None:
    report = build_report(called([0, 0, 1, 1], [0, 1, 1, 1], 3))
    frame = report.to_frame()
    assert frame["class"].tolist() == list(report.classes)
    assert frame["support"].tolist() == [scores.support for scores in report.per_class]
    assert report.confusion_matrix.to_numpy().tolist() == report.confusion_CC.tolist()
    assert str(report.metrics["accuracy"]) in repr(report)
    assert "<table>" in report._repr_html_()
    assert "<table>" in report.metrics._repr_html_()
