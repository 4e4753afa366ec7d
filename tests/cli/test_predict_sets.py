"""`holotype predict` with prediction sets, and with images of no known class."""

import json
from pathlib import Path

import numpy as np
import pytest

from holotype.bundle.building.ensemble_bundle import write_members
from holotype.bundle.bundle import load_bundle
from holotype.bundle.conformal_scores import ConformalScores
from holotype.bundle.inference import ood_scores
from holotype.bundle.manifest import CalibrationSet, Decision, OODDetector
from holotype.cli.app import run
from holotype.errors import BundleError
from tests.bundle.tiny import CLASSES, embedded, write_images, write_tiny
from tests.cli.test_predict import SCHEMA, answer_of, assert_fits


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images and one that is cut in half."""
    directory = tmp_path_factory.mktemp("images")
    paths = write_images(directory, 10)
    paths[4].write_bytes(paths[4].read_bytes()[: paths[4].stat().st_size // 2])
    return directory


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with 40 images held back, 3 of one class, and a threshold that half fall below."""
    directory = tmp_path_factory.mktemp("sealed") / "bundle"
    rng = np.random.default_rng(0)
    targets_N = np.array([0] * 20 + [1] * 17 + [2] * 3)
    conformal_scores = ConformalScores(rng.random(40), rng.random(40), targets_N)
    calibration_set = CalibrationSet("cal", "1" * 64, num_images=40, penalty=0.01, k_reg=2)
    images = write_images(tmp_path_factory.mktemp("seen"), 10)
    plain = write_tiny(tmp_path_factory.mktemp("plain") / "bundle")
    negative_energy_N = ood_scores(plain, embedded(plain, images), "energy", 5)
    unknown = OODDetector(
        "energy", float(np.median(negative_energy_N)), 0.5, num_images=10, neighbours=5
    )
    decision = Decision(1.3, "0" * 64, 9, unknown=unknown, calibration_set=calibration_set)
    write_tiny(directory).with_decision(decision, conformal_scores)
    return directory


@pytest.mark.parametrize("method", ["lac", "raps"])
@pytest.mark.parametrize("words", [[], ["--per-class"]])
def test_a_set_holds_every_class_within_the_limit_and_is_never_empty(
    sealed: Path, images: Path, method: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["predict", str(sealed), str(images), "--coverage", "0.8", "--sets", method, "--json"]
    answer = answer_of([*asked, *words], capsys, code=1)
    assert_fits(answer, SCHEMA)
    assert answer["sets"] == {
        "coverage": 0.8, "method": method, "per_class": bool(words), "calibration_images": 40,
    }  # fmt: skip
    conformal_scores = load_bundle(sealed).conformal_scores
    assert conformal_scores is not None
    scores_N = conformal_scores.lac_N if method == "lac" else conformal_scores.raps_N
    for row in answer["predictions"]:
        likeliest = sorted(row["probabilities"].items(), key=lambda pair: -pair[1])
        above = 0.0
        expected = {row["class"]}
        for rank, (name, probability) in enumerate(likeliest, 1):
            score = 1 - probability if method == "lac" else above + 0.01 * max(0, rank - 2)
            above += probability
            of_class = conformal_scores.targets_N == CLASSES.index(name)
            counted_N = np.sort(scores_N[of_class] if words else scores_N)
            place = int(np.ceil(0.8 * (len(counted_N) + 1)))
            if place > len(counted_N) or score <= counted_N[place - 1]:
                expected.add(name)
        assert set(row["set"]) == expected
        assert row["set"] == [name for name in CLASSES if name in expected]
        if words:  # three images promise nothing of the last class
            assert CLASSES[2] in row["set"]


def test_images_below_the_threshold_are_unknown_and_keep_their_class(
    sealed: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = answer_of(["predict", str(sealed), str(images), "--json"], capsys, code=1)
    said = [row["unknown"] for row in answer["predictions"]]
    assert set(said) == {True, False}
    assert all(row["class"] in CLASSES for row in answer["predictions"])
    assert run(["predict", str(sealed), str(images)]) == 1
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "class", "probability", "known"]
    assert [row.split()[-1] == "unknown" for row in rows] == said


def test_members_that_know_the_unknown_do_not_make_the_whole_know_it(
    sealed: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_members(tmp_path / "whole", [load_bundle(sealed)] * 2, name="two")
    whole.with_decision(Decision(1.0, "0" * 64, 9))
    words = ["predict", str(tmp_path / "whole"), str(images)]
    assert run([*words, "--json"]) == 1
    captured = capsys.readouterr()
    assert {row["unknown"] for row in json.loads(captured.out)["predictions"]} == {None}
    assert "members have a threshold, but the ensemble has none" in captured.err
    assert run([*words, "--coverage", "0.9"]) == 1
    assert "no images were held back" in capsys.readouterr().err
    unknown = load_bundle(sealed).manifest.decision
    assert unknown is not None
    with pytest.raises(BundleError, match="unknown cannot be sealed over members"):
        write_members(tmp_path / "other", [load_bundle(sealed)], name="one").with_decision(
            Decision(1.0, "0" * 64, 9, unknown=unknown.unknown)
        )
