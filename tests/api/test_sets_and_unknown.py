"""Program 4: prediction sets and "unknown" in Python are those of the command."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import holotype
from tests.api.programs import QUICK, SAME, noise, probabilities_of, test_files
from tests.conftest import Cli


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory, many_shapes: Path) -> Path:
    """Twelve images of the classes, and four that show nothing."""
    folder = tmp_path_factory.mktemp("strange")
    for number in range(4):
        for label in ("disc", "square", "triangle"):
            image = Image.open(many_shapes / label / f"{number:04}.png")
            image.save(folder / f"{label}-{number}.png")
    for number in range(3):
        Image.fromarray(noise(number)).save(folder / f"noise-{number}.png")
    Image.fromarray(np.zeros((48, 48, 3), dtype=np.uint8)).save(folder / "black.png")
    return folder


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_sets_are_those_of_the_command(
    coverage: float, sure: holotype.Classifier, sure_run: holotype.Run, strange: Path, cli: Cli
) -> None:
    _, out, _ = cli("predict", sure_run.path, strange, "--json", "--coverage", coverage)
    expected = [set(one["set"]) for one in json.loads(out)["predictions"]]
    sets = sure.predict_set(strange, coverage=coverage)
    assert len(sets) == 16
    assert all(isinstance(one, set | frozenset) for one in sets)
    assert [set(one) for one in sets] == expected
    found = sure.predict(strange, coverage=coverage)
    assert [set(one) for one in found.sets] == expected
    assert [set(one.set) for one in found] == expected


@pytest.mark.parametrize("options", [{"sets": "raps"}, {"per_class": True}])
def test_the_kinds_of_sets_are_those_of_the_command(
    options: dict[str, object],
    sure: holotype.Classifier,
    sure_run: holotype.Run,
    strange: Path,
    cli: Cli,
) -> None:
    words = ["--sets", "raps"] if "sets" in options else ["--per-class"]
    _, out, _ = cli("predict", sure_run.path, strange, "--json", "--coverage", 0.8, *words)
    expected = [set(one["set"]) for one in json.loads(out)["predictions"]]
    assert [set(one) for one in sure.predict_set(strange, coverage=0.8, **options)] == expected
    found = holotype.predict(sure_run.path, strange, coverage=0.8, **options)
    assert [set(one) for one in found.sets] == expected


def test_unknown_is_what_the_command_calls_unknown(
    sure: holotype.Classifier, sure_run: holotype.Run, strange: Path, cli: Cli
) -> None:
    _, out, _ = cli("predict", sure_run.path, strange, "--json")
    expected = json.loads(out)
    flags = [one["unknown"] for one in expected["predictions"]]
    assert True in flags
    assert False in flags
    found = sure.predict(strange)
    assert found.unknown.dtype == bool
    assert found.unknown.tolist() == flags
    assert [one.unknown for one in found] == flags
    assert found.sets is None
    np.testing.assert_allclose(found.probabilities, probabilities_of(expected), atol=SAME, rtol=0)


def test_a_lone_array_is_unknown_where_its_file_is(
    sure: holotype.Classifier, strange: Path
) -> None:
    found = sure.predict(strange)
    paths = sorted(strange.iterdir())
    alone = [bool(sure.predict(np.asarray(Image.open(path))).unknown[0]) for path in paths]
    assert alone == found.unknown.tolist()


def test_a_wider_coverage_never_loses_a_class(sure: holotype.Classifier, strange: Path) -> None:
    narrow, wide = (sure.predict_set(strange, coverage=share) for share in (0.7, 0.95))
    assert all(small <= large for small, large in zip(narrow, wide, strict=True))
    assert any(small < large for small, large in zip(narrow, wide, strict=True))


def test_sets_hold_the_true_class_about_as_often_as_promised(
    sure: holotype.Classifier, sure_run: holotype.Run, many_shapes: Path
) -> None:
    files, labels = test_files(sure_run.path, many_shapes)
    sets = sure.predict_set(files, coverage=0.9)
    held = sum(label in one for label, one in zip(labels, sets, strict=True))
    assert len(files) == 63
    assert held >= 45  # 0.9 of 63, less three standard errors of 42 held back and 63 judged


def test_a_classifier_that_held_nothing_back_makes_no_sets(
    classifier: holotype.Classifier, shapes: Path
) -> None:
    for ask in (classifier.predict_set, classifier.predict):
        with pytest.raises(holotype.HolotypeError, match="held back"):
            ask(shapes / "disc", coverage=0.95)


@pytest.mark.parametrize("coverage", [0, 1, 1.5, -0.1, 95])
def test_a_coverage_that_is_no_share_is_refused(
    coverage: float, sure: holotype.Classifier, strange: Path
) -> None:
    with pytest.raises(holotype.HolotypeError, match="coverage"):
        sure.predict_set(strange, coverage=coverage)


def test_a_classifier_that_never_says_unknown_leaves_it_undecided(
    classifier: holotype.Classifier, shapes: Path
) -> None:
    found = classifier.predict(shapes / "disc")
    assert found.unknown is None
    assert found[0].unknown is None
    assert found[0].set is None
    assert found.to_frame()["unknown"].isna().all()


def test_a_promise_of_unknown_takes_enough_images(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(holotype.HolotypeError, match="59 independent validation images"):
        holotype.train(
            shapes,
            model="hog",
            recipe="linear",
            overrides={**QUICK, "unknown": 0.05, "references": True},
            ratios=(0.6, 0.15, 0.15, 0.1),
            output=tmp_path / "run",
        )
    assert not (tmp_path / "run" / "bundle").exists()


def test_predictions_are_a_sequence(sure: holotype.Classifier, strange: Path) -> None:
    found = sure.predict(strange, coverage=0.8)
    assert len(found) == len(list(found)) == 16
    assert found[-1].file == found[15].file
    assert [one.label for one in found] == list(found.labels)
    with pytest.raises(IndexError):
        found[16]
    part = found[4:7]
    assert isinstance(part, holotype.Predictions)
    assert list(part.labels) == list(found.labels[4:7])
    np.testing.assert_array_equal(part.probabilities, found.probabilities[4:7])
    np.testing.assert_array_equal(part.unknown, found.unknown[4:7])
    assert list(part.sets) == list(found.sets[4:7])


def test_a_prediction_names_its_probabilities(sure: holotype.Classifier, strange: Path) -> None:
    found = sure.predict(strange)
    assert found.classes == sure.classes == ("disc", "square", "triangle")
    for row, one in enumerate(found):
        assert list(one.probabilities) == list(found.classes)
        assert list(one.probabilities.values()) == found.probabilities[row].tolist()
        assert one.label == max(one.probabilities, key=lambda name: one.probabilities[name])
        assert one.probability == max(one.probabilities.values())
        assert found.labels[row] == one.label
    assert found.probabilities.dtype == np.float64
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-9)


def test_predictions_become_the_frame_that_the_command_writes(
    sure: holotype.Classifier, sure_run: holotype.Run, strange: Path, tmp_path: Path, cli: Cli
) -> None:
    cli("predict", sure_run.path, strange, "--coverage", 0.8, "--output", tmp_path / "a.csv")
    written = pd.read_csv(tmp_path / "a.csv")
    frame = sure.predict(strange, coverage=0.8).to_frame()
    assert list(frame.columns) == list(written.columns)
    assert [set(one) for one in frame["set"]] == [set(json.loads(one)) for one in written["set"]]
    assert frame["unknown"].tolist() == written["unknown"].tolist()
    rest = [name for name in frame.columns if name not in ("set", "unknown")]
    pd.testing.assert_frame_equal(frame[rest], written[rest], check_dtype=False, atol=SAME)
