"""Program 11: two classifiers in two threads give what each gives alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

import holotype
from tests.api.programs import SAME


@pytest.fixture
def paths(shapes: Path) -> list[Path]:
    return sorted(shapes.rglob("*.png"))[::4]


def test_two_classifiers_in_two_threads_answer_as_each_does_alone(
    classifier: holotype.Classifier, sure: holotype.Classifier, paths: list[Path]
) -> None:
    alone = [one.predict(paths) for one in (classifier, sure)]
    start = Barrier(2)

    def answer(one: holotype.Classifier) -> list[holotype.Predictions]:
        start.wait(timeout=60)
        return [one.predict(paths) for _ in range(5)]

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(answer, (classifier, sure)))
    for expected, rounds in zip(alone, together, strict=True):
        for found in rounds:
            np.testing.assert_allclose(
                found.probabilities, expected.probabilities, atol=SAME, rtol=0
            )
            assert list(found.labels) == list(expected.labels)
    assert all(np.array_equal(found.unknown, alone[1].unknown) for found in together[1])


def test_one_classifier_serves_many_threads(
    classifier: holotype.Classifier, paths: list[Path]
) -> None:
    expected = classifier.predict_proba(paths)
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda path: classifier.predict_proba([path])[0], paths))
    np.testing.assert_allclose(np.stack(rows), expected, atol=SAME, rtol=0)


def test_threads_that_load_at_once_load_the_same(run: holotype.Run, paths: list[Path]) -> None:
    expected = holotype.load(run.path).predict_proba(paths)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: holotype.load(run.path).predict_proba(paths), range(4)))
    for answer in answers:
        np.testing.assert_allclose(answer, expected, atol=SAME, rtol=0)


def test_a_bad_image_in_one_thread_is_no_matter_of_the_other(
    classifier: holotype.Classifier, paths: list[Path]
) -> None:
    expected = classifier.predict_proba(paths)

    def ask(turn: int) -> int:
        images = [b"no image", paths[0]] if turn % 2 else paths
        found = classifier.predict(images)
        if turn % 2 == 0:
            np.testing.assert_allclose(found.probabilities, expected, atol=SAME, rtol=0)
        return len(found.refused)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(8))) == [0, 1] * 4
