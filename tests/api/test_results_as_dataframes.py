"""Program 8: results go on in pandas. The oracles are the tables on disk, and pandas' own sums."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

import holotype
from tests.api.programs import stored_metrics, stored_probabilities, test_files


def test_predictions_of_a_part_are_the_rows_of_its_file(run: holotype.Run) -> None:
    frame = run.predictions("test").to_frame()
    stored = pd.read_parquet(run.path / "predictions" / "test.parquet")
    assert list(frame["file"]) == list(stored["id"])
    classes = run.classifier.classes
    np.testing.assert_array_equal(
        frame[[f"p:{name}" for name in classes]].to_numpy(),
        stored_probabilities(run.path, "test"),
    )
    assert list(frame["target"]) == [classes[number] for number in stored["target"]]
    assert frame["class"].tolist() == [
        classes[number] for number in stored_probabilities(run.path, "test").argmax(axis=1)
    ]


def test_accuracy_is_a_mean_of_the_frame(run: holotype.Run) -> None:
    for part in ("val", "test"):
        frame = run.predictions(part).to_frame()
        assert len(frame) == 18
        if part == "test":
            mean = (frame["class"] == frame["target"]).mean()
            assert run.metrics["accuracy"].value == pytest.approx(mean)


def test_answers_about_new_images_have_no_target(
    classifier: holotype.Classifier, shapes: Path
) -> None:
    frame = classifier.predict(shapes / "disc").to_frame()
    assert "target" not in frame.columns
    assert list(frame.columns[:5]) == ["file", "class", "probability", "unknown", "set"]
    np.testing.assert_array_equal(frame["probability"], frame.filter(like="p:").max(axis="columns"))


def test_answers_about_arrays_have_rows_too(classifier: holotype.Classifier, shapes: Path) -> None:
    path = shapes / "disc" / "0000.png"
    frame = classifier.predict([np.zeros((48, 48, 3), dtype=np.uint8), path]).to_frame()
    assert len(frame) == 2
    assert Path(frame["file"][1]) == path
    assert list(frame.index) == [0, 1]


def test_an_audit_is_the_table_that_it_writes(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_text("no image")
    paths = [*sorted(shapes.glob("[!.]*/*.png")), tmp_path / "torn.png"]
    labels = [path.parent.name if path.parent != tmp_path else "disc" for path in paths]
    audit = holotype.audit(pd.DataFrame({"path": paths, "label": labels}), quick=True)
    audit.write(tmp_path / "audit")
    written = pd.read_csv(tmp_path / "audit" / "issues.csv")
    frame = audit.to_frame()
    assert list(frame.columns) == list(written.columns)
    assert frame["path"].tolist() == written["path"].tolist()
    assert frame["problem"].tolist() == written["problem"].tolist() == ["not_an_image"]
    assert frame["evidence"].tolist() == written["evidence"].tolist()


def test_a_comparison_is_a_frame_with_intervals(run: holotype.Run, other_run: holotype.Run) -> None:
    frame = holotype.compare([run, other_run], speed_images=0).to_frame()
    assert set(frame["part"]) == {"test", "val"}
    assert (frame["accuracy_low"] <= frame["accuracy"]).all()
    assert (frame["accuracy"] <= frame["accuracy_high"]).all()
    assert frame["images_per_second"].isna().all()
    assert set(frame["bundle_sha256"]) == {run.classifier.digest, other_run.classifier.digest}


def test_a_report_is_a_frame_of_classes(run: holotype.Run, shapes: Path) -> None:
    _, labels = test_files(run.path, shapes)
    classes = list(run.classifier.classes)
    answers = [classes[k] for k in stored_probabilities(run.path, "test").argmax(axis=1)]
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, answers, labels=classes, zero_division=np.nan
    )
    frame = run.report.to_frame()
    assert frame["class"].tolist() == classes
    np.testing.assert_allclose(frame["precision"], precision)
    np.testing.assert_allclose(frame["recall"], recall)
    np.testing.assert_allclose(frame["f1"].fillna(0), np.nan_to_num(f1))
    assert frame["support"].tolist() == support.tolist()
    assert frame["predicted"].tolist() == [answers.count(name) for name in classes]
    assert (frame["recall_low"] <= frame["recall"]).all()
    assert (frame["recall"] <= frame["recall_high"]).all()


def test_the_confusion_matrix_is_a_frame_named_by_classes(run: holotype.Run, shapes: Path) -> None:
    _, labels = test_files(run.path, shapes)
    classes = list(run.classifier.classes)
    answers = [classes[k] for k in stored_probabilities(run.path, "test").argmax(axis=1)]
    confusion = run.report.confusion_matrix
    assert list(confusion.index) == list(confusion.columns) == classes
    np.testing.assert_array_equal(
        confusion.to_numpy(), confusion_matrix(labels, answers, labels=classes)
    )


def test_metrics_are_a_frame_of_scores(run: holotype.Run) -> None:
    frame = run.metrics.to_frame()
    stored = stored_metrics(run.path)
    scores = {
        name: score
        for name, score in stored.items()
        if isinstance(score, dict) and set(score) == {"value", "low", "high", "method"}
    }
    assert frame["metric"].tolist() == list(scores)
    for column in ("value", "low", "high", "method"):
        assert frame[column].tolist() == [score[column] for score in scores.values()]


def test_the_index_of_a_run_is_a_frame(run: holotype.Run) -> None:
    pd.testing.assert_frame_equal(
        run.index.to_frame(), pd.read_parquet(run.path / "index.parquet"), check_dtype=False
    )
