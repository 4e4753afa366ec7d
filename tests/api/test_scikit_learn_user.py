"""Program 9: scikit-learn's habits and its measures, on a classifier of Holotype."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score, top_k_accuracy_score

import holotype
from tests.api.programs import SAME, as_rgb, stored_metrics, stored_probabilities, test_files


def test_predict_proba_is_what_evaluation_stored(
    classifier: holotype.Classifier, run: holotype.Run, shapes: Path
) -> None:
    files, _ = test_files(run.path, shapes)
    probabilities = classifier.predict_proba(files)
    assert probabilities.dtype == np.float64
    assert probabilities.shape == (18, 3)
    np.testing.assert_allclose(
        probabilities, stored_probabilities(run.path, "test"), atol=SAME, rtol=0
    )


def test_scikit_learns_scores_are_the_reports(
    classifier: holotype.Classifier, run: holotype.Run, shapes: Path
) -> None:
    files, labels = test_files(run.path, shapes)
    probabilities = classifier.predict_proba(files)
    classes = list(classifier.classes)
    metrics = run.metrics
    auc = roc_auc_score(labels, probabilities, multi_class="ovr", labels=classes)
    assert metrics["macro_roc_auc"].value == pytest.approx(auc)
    loss = log_loss(labels, probabilities, labels=classes)
    assert metrics["log_loss"].value == pytest.approx(loss, abs=SAME)
    top_2 = top_k_accuracy_score(labels, probabilities, k=2, labels=classes)
    assert metrics["top_2_accuracy"].value == pytest.approx(top_2)
    accuracy = accuracy_score(labels, classifier.predict(files).labels)
    assert metrics["accuracy"].value == pytest.approx(accuracy)


def test_each_class_against_the_rest_is_a_column(
    classifier: holotype.Classifier, run: holotype.Run, shapes: Path
) -> None:
    files, labels = test_files(run.path, shapes)
    probabilities = classifier.predict_proba(files)
    stored = stored_metrics(run.path)["per_class"]
    assert isinstance(stored, dict)
    for column, name in enumerate(classifier.classes):
        auc = roc_auc_score([label == name for label in labels], probabilities[:, column])
        assert stored[name]["roc_auc"]["value"] == pytest.approx(auc)


def test_classes_are_names_in_the_order_of_the_columns(classifier: holotype.Classifier) -> None:
    assert classifier.classes == ("disc", "square", "triangle")
    assert all(type(name) is str for name in classifier.classes)


def test_labels_are_an_array_of_names(classifier: holotype.Classifier, shapes: Path) -> None:
    found = classifier.predict(shapes)
    assert isinstance(found.labels, np.ndarray)
    assert found.labels.shape == (120,)
    expected = np.array(classifier.classes)[found.probabilities.argmax(axis=1)]
    np.testing.assert_array_equal(found.labels, expected)
    assert 0 <= np.mean(found.labels == "disc") <= 1


def test_predict_and_predict_proba_agree(classifier: holotype.Classifier, shapes: Path) -> None:
    arrays = [as_rgb(path) for path in sorted((shapes / "square").iterdir())]
    np.testing.assert_array_equal(
        classifier.predict_proba(arrays), classifier.predict(arrays).probabilities
    )


def test_embeddings_feed_another_estimator(
    classifier: holotype.Classifier, run: holotype.Run, shapes: Path
) -> None:
    files, _ = test_files(run.path, shapes)
    embeddings = classifier.embed(files)
    assert embeddings.shape[0] == len(files)
    assert np.isfinite(embeddings).all()
    np.testing.assert_allclose(
        classifier.embed(files[::-1])[::-1], embeddings, atol=1e-5, rtol=1e-5
    )


def test_what_is_returned_is_the_callers_to_change(
    classifier: holotype.Classifier, shapes: Path
) -> None:
    first = classifier.predict_proba(shapes / "disc")
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(classifier.predict_proba(shapes / "disc"), kept)
