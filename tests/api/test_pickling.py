"""Program 10: a classifier crosses into another process, and opens its graphs again there."""

import copy
import json
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import holotype
from tests.api.programs import SAME, as_rgb


@pytest.fixture
def paths(shapes: Path) -> list[Path]:
    return sorted(shapes.rglob("*.png"))[::10]


def test_a_pickled_classifier_answers_as_before(
    sure: holotype.Classifier, paths: list[Path]
) -> None:
    back = pickle.loads(pickle.dumps(sure))
    assert back.classes == sure.classes
    assert back.digest == sure.digest
    before, after = sure.predict(paths, coverage=0.9), back.predict(paths, coverage=0.9)
    np.testing.assert_array_equal(after.probabilities, before.probabilities)
    np.testing.assert_array_equal(after.unknown, before.unknown)
    assert list(after.sets) == list(before.sets)


def test_a_pickle_holds_no_graph(sure: holotype.Classifier, sure_run: holotype.Run) -> None:
    pickled = pickle.dumps(sure)
    graphs = sum(path.stat().st_size for path in (sure_run.path / "bundle").iterdir())
    assert graphs > 200_000
    assert len(pickled) < 20_000


def test_a_classifier_that_has_answered_pickles_too(
    classifier: holotype.Classifier, paths: list[Path]
) -> None:
    before = classifier.predict_proba(paths)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(classifier)).predict_proba(paths), before
    )


def test_a_copied_classifier_answers_as_before(
    classifier: holotype.Classifier, paths: list[Path]
) -> None:
    before = classifier.predict_proba(paths)
    np.testing.assert_array_equal(copy.deepcopy(classifier).predict_proba(paths), before)


def test_an_ensemble_pickles(both: holotype.Run, paths: list[Path]) -> None:
    ensemble = holotype.load(both.path)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(ensemble)).predict_proba(paths), ensemble.predict_proba(paths)
    )


def test_a_relative_path_holds_in_another_directory(
    run: holotype.Run, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.path.parent)
    classifier = holotype.load(run.path.name)
    before = classifier.predict_proba(paths)
    pickled = pickle.dumps(classifier)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(pickle.loads(pickled).predict_proba(paths), before)


def test_a_pickle_whose_bundle_is_gone_says_so(
    run: holotype.Run, shapes: Path, tmp_path: Path
) -> None:
    from_elsewhere = tmp_path / "bundle"
    from_elsewhere.mkdir()
    for path in (run.path / "bundle").iterdir():
        (from_elsewhere / path.name).write_bytes(path.read_bytes())
    pickled = pickle.dumps(holotype.load(from_elsewhere))
    from_elsewhere.rename(tmp_path / "moved")
    with pytest.raises(holotype.HolotypeError, match="bundle"):
        pickle.loads(pickled).predict(shapes / "disc" / "0000.png")


def test_predictions_and_runs_pickle(sure_run: holotype.Run, paths: list[Path]) -> None:
    found = sure_run.classifier.predict(paths, coverage=0.9)
    back = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(back.probabilities, found.probabilities)
    assert list(back.sets) == list(found.sets)
    again = pickle.loads(pickle.dumps(sure_run))
    assert again.path == sure_run.path
    assert str(again.metrics["accuracy"]) == str(sure_run.metrics["accuracy"])


def test_processes_that_are_spawned_share_the_work(
    classifier: holotype.Classifier, paths: list[Path]
) -> None:
    parts = [paths[:6], paths[6:]]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        answers = list(pool.map(classifier.predict_proba, parts, timeout=120))
    np.testing.assert_allclose(
        np.concatenate(answers), classifier.predict_proba(paths), atol=SAME, rtol=0
    )


POOL = """
import json
import multiprocessing
import sys

import holotype


def answer(task):
    classifier, path = task
    found = classifier.predict(path)
    return found.labels[0], found.probabilities[0].tolist(), "torch" in sys.modules


if __name__ == "__main__":
    classifier = holotype.load(sys.argv[1])
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(json.dumps(pool.map(answer, [(classifier, path) for path in sys.argv[2:]])))
"""


def test_a_script_with_a_pool_needs_no_torch_in_any_process(
    run: holotype.Run, classifier: holotype.Classifier, paths: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    words = [sys.executable, tmp_path / "pool.py", run.path, *paths]
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    expected = classifier.predict(paths)
    assert [label for label, _, _ in answers] == list(expected.labels)
    np.testing.assert_allclose(
        np.array([row for _, row, _ in answers]), expected.probabilities, atol=SAME, rtol=0
    )
    assert not any(torch for _, _, torch in answers)


def test_workers_may_decode_and_send_arrays(
    classifier: holotype.Classifier, paths: list[Path]
) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        future = pool.submit(classifier.predict, [as_rgb(path) for path in paths[:3]])
        found = future.result(timeout=120)
    assert isinstance(found, holotype.Predictions)
    np.testing.assert_allclose(
        found.probabilities, classifier.predict(paths[:3]).probabilities, atol=SAME, rtol=0
    )
