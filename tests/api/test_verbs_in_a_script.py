"""Program 1: every verb, called from a script. Paths go in, values come out, files stay behind.

The oracle is the command of the same name, and what lies on disk.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import holotype
from tests.api.programs import QUICK, SAME, probabilities_of, stored_metrics
from tests.conftest import Cli


@pytest.fixture
def flawed(shapes: Path, tmp_path: Path) -> Path:
    """Thirty images; one of them twice, one under two labels, and one that is no image."""
    folder = tmp_path / "flawed"
    for label in ("disc", "square", "triangle"):
        (folder / label).mkdir(parents=True)
        for path in sorted((shapes / label).iterdir())[:10]:
            shutil.copy(path, folder / label)
    shutil.copy(folder / "disc" / "0000.png", folder / "disc" / "again.png")
    shutil.copy(folder / "disc" / "0005.png", folder / "square" / "misfiled.png")
    (folder / "disc" / "torn.png").write_text("no image at all")
    return folder


def test_fetch_writes_what_the_command_writes_and_says_where(tmp_path: Path, cli: Cli) -> None:
    fetched = holotype.fetch("synthetic", output=tmp_path / "a", classes=2, images=10, seed=3)
    code, _, _ = cli(
        "fetch", "synthetic", "--output", tmp_path / "b", "--classes", 2, "--images", 10,
        "--seed", 3,
    )  # fmt: skip
    assert code == 0
    assert Path(os.fspath(fetched)) == tmp_path / "a"
    ours = {path.relative_to(tmp_path / "a"): path for path in (tmp_path / "a").rglob("*.png")}
    theirs = {path.relative_to(tmp_path / "b"): path for path in (tmp_path / "b").rglob("*.png")}
    assert len([name for name in ours if name.parts[0] != ".masks"]) == 10
    assert ours.keys() == theirs.keys()
    assert all(ours[name].read_bytes() == theirs[name].read_bytes() for name in ours)


def test_what_fetch_returns_is_a_place_that_audit_takes(tmp_path: Path) -> None:
    fetched = holotype.fetch("synthetic", output=tmp_path / "few", classes=2, images=10)
    assert holotype.audit(fetched, quick=True).images == 10


def test_audit_finds_what_the_command_finds(flawed: Path, cli: Cli) -> None:
    audit = holotype.audit(flawed, quick=True)
    _, out, _ = cli("audit", flawed, "--quick", "--json")
    expected = json.loads(out)
    assert audit.images == expected["num_images"] == 33
    assert audit.usable == expected["num_usable"] == 32
    assert dict(audit.classes) == expected["classes"]
    problems = {(issue.path, problem) for issue in audit.issues for problem in issue.problems}
    assert ("disc/torn.png", "not_an_image") in problems
    assert ("square/misfiled.png", "label_conflict") in problems
    assert "exact_duplicate" in {problem for path, problem in problems if path.startswith("disc/")}


def test_an_audit_without_issues_is_empty(shapes: Path) -> None:
    audit = holotype.audit(shapes, quick=True)
    assert len(audit.issues) == 0
    assert len(audit.to_frame()) == 0


def test_an_audit_of_several_folders_is_of_all_of_them(shapes: Path, many_shapes: Path) -> None:
    assert holotype.audit([shapes, many_shapes], quick=True).images == 540


def test_an_audit_is_written_when_asked(flawed: Path, tmp_path: Path, cli: Cli) -> None:
    holotype.audit(flawed, quick=True).write(tmp_path / "ours")
    holotype.audit(flawed, quick=True, output=tmp_path / "at-once")
    cli("audit", flawed, "--quick", "--output", tmp_path / "theirs")
    names = {path.name for path in (tmp_path / "theirs").iterdir()}
    assert {"index.html", "audit.json", "issues.csv"} <= names
    for folder in (tmp_path / "ours", tmp_path / "at-once"):
        assert {path.name for path in folder.iterdir()} == names
        for name in ("audit.json", "issues.csv"):
            assert (folder / name).read_text() == (tmp_path / "theirs" / name).read_text()


def test_split_writes_folders_and_counts_them(shapes: Path, tmp_path: Path, cli: Cli) -> None:
    split = holotype.split(shapes, output=tmp_path / "parts", ratios=(0.5, 0.25, 0.25), seed=7)
    _, out, _ = cli(
        "split", shapes, "--output", tmp_path / "others", "--ratios", 0.5, 0.25, 0.25,
        "--seed", 7, "--json",
    )  # fmt: skip
    assert split.path == tmp_path / "parts"
    assert split.counts == json.loads(out)["counts"]
    for part, classes in split.counts.items():
        for label, number in classes.items():
            assert len(list((split.path / part / label).iterdir())) == number
    table = pd.read_csv(tmp_path / "parts" / "table.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(split.to_frame(), table, check_dtype=False)


def test_train_leaves_the_very_bundle_that_the_command_leaves(
    shapes: Path, run: holotype.Run, tmp_path: Path, cli: Cli
) -> None:
    code, out, _ = cli(
        "train", shapes, "--model", "hog", "--recipe", "linear",
        "--set", "stages.0.Cs=[1.0]", "--set", "stages.0.folds=null",
        "--output", tmp_path / "hog", "--json",
    )  # fmt: skip
    assert code == 0
    theirs = tmp_path / "hog" / "bundle"
    assert {path.name for path in (run.path / "bundle").iterdir()} == {
        path.name for path in theirs.iterdir()
    }
    for path in theirs.iterdir():
        assert (run.path / "bundle" / path.name).read_bytes() == path.read_bytes()
    assert json.loads(out)["metrics"]["accuracy"]["value"] == run.metrics["accuracy"].value


def test_train_names_the_run_after_the_data(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = holotype.train(str(shapes), model="hog", recipe="linear", overrides=QUICK)
    assert first.path.resolve() == tmp_path / "runs" / "shapes-1"
    assert holotype.load("runs/shapes-1").classes == first.classifier.classes


def test_evaluate_reports_what_the_command_reports(
    run: holotype.Run, many_shapes: Path, tmp_path: Path, cli: Cli
) -> None:
    report = holotype.evaluate(run.path, many_shapes, output=tmp_path / "ours")
    _, out, _ = cli("evaluate", run.path, many_shapes, "--output", tmp_path / "theirs", "--json")
    expected = json.loads(out)
    for name in ("accuracy", "macro_f1", "log_loss", "macro_roc_auc"):
        assert report.metrics[name].value == pytest.approx(expected[name]["value"], abs=1e-12)
        assert report.metrics[name].low == pytest.approx(expected[name]["low"], abs=1e-12)
        assert report.metrics[name].high == pytest.approx(expected[name]["high"], abs=1e-12)
    assert stored_metrics(tmp_path / "ours") == stored_metrics(tmp_path / "theirs")
    assert (tmp_path / "ours" / "predictions.parquet").is_file()
    assert report.path == tmp_path / "ours" / "report" / "index.html"


def test_evaluate_without_an_output_writes_nothing(
    run: holotype.Run, many_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = holotype.evaluate(run.path, many_shapes)
    frame = report.predictions.to_frame()
    assert len(frame) == 420
    assert report.metrics["accuracy"].value == pytest.approx(
        float(np.mean(frame["class"] == frame["target"]))
    )
    assert list(tmp_path.iterdir()) == []


def test_predict_answers_what_the_command_answers(
    run: holotype.Run, shapes: Path, cli: Cli
) -> None:
    found = holotype.predict(run.path, shapes / "disc")
    _, out, _ = cli("predict", run.path, shapes / "disc", "--json")
    expected = json.loads(out)
    assert [one.file for one in found] == [one["file"] for one in expected["predictions"]]
    assert list(found.labels) == [one["class"] for one in expected["predictions"]]
    np.testing.assert_allclose(found.probabilities, probabilities_of(expected), atol=SAME, rtol=0)


def test_predict_writes_the_same_answers_to_a_file(
    run: holotype.Run, shapes: Path, tmp_path: Path, cli: Cli
) -> None:
    for ending in ("csv", "json"):
        holotype.predict(run.path, shapes / "disc", output=tmp_path / f"ours.{ending}")
        cli("predict", run.path, shapes / "disc", "--output", tmp_path / f"theirs.{ending}")
    assert (tmp_path / "ours.csv").read_text() == (tmp_path / "theirs.csv").read_text()
    ours = json.loads((tmp_path / "ours.json").read_text())
    assert ours == json.loads((tmp_path / "theirs.json").read_text())


def test_predict_takes_several_images_and_folders(run: holotype.Run, shapes: Path) -> None:
    image = shapes / "square" / "0000.png"
    found = holotype.predict(run.path, [image, shapes / "disc", str(image)])
    assert len(found) == 42
    assert found[0].probabilities == found[-1].probabilities


def test_explain_draws_the_sheet_that_the_command_draws(
    sure_run: holotype.Run, many_shapes: Path, tmp_path: Path, cli: Cli
) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    for name in ("0001.png", "0002.png"):
        shutil.copy(many_shapes / "disc" / name, folder)
    explanations = holotype.explain(sure_run.path, folder, output=tmp_path / "ours", similar=2)
    cli("explain", sure_run.path, folder, "--output", tmp_path / "theirs", "--similar", 2)
    written = pd.read_csv(tmp_path / "theirs" / "explanations.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "ours" / "explanations.csv"), written)
    assert len(explanations) == 2
    assert list(explanations.to_frame()["class"]) == list(written["class"])
    assert list(explanations.to_frame()["similar"]) == list(written["similar"])
    for name in written["sheet"]:
        ours, theirs = (Image.open(tmp_path / who / name) for who in ("ours", "theirs"))
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_a_classifier_explains_one_image_as_an_overlay(
    classifier: holotype.Classifier, shapes: Path
) -> None:
    path = shapes / "disc" / "0000.png"
    explanation = classifier.explain(path)
    answer = classifier.predict(path)[0]
    assert explanation.label == answer.label
    assert explanation.probability == pytest.approx(answer.probability, abs=SAME)
    assert isinstance(explanation.overlay, Image.Image)
    with Image.open(path) as image:
        assert explanation.overlay.size == image.size
    assert explanation.heatmap.ndim == 2
    assert np.isfinite(explanation.heatmap).all()


def test_a_classifier_explains_the_class_that_is_named(
    classifier: holotype.Classifier, shapes: Path
) -> None:
    path = shapes / "disc" / "0000.png"
    explanation = classifier.explain(path, class_name="triangle")
    assert explanation.label == "triangle"
    assert explanation.probability == pytest.approx(
        classifier.predict(path)[0].probabilities["triangle"], abs=SAME
    )
    with pytest.raises(holotype.HolotypeError, match="hexagon"):
        classifier.explain(path, class_name="hexagon")


def test_compare_decides_what_the_command_decides(
    run: holotype.Run, other_run: holotype.Run, tmp_path: Path, cli: Cli
) -> None:
    comparison = holotype.compare([run.path, other_run.path], speed_images=0)
    _, out, _ = cli(
        "compare", run.path, other_run.path, "--output", tmp_path / "theirs",
        "--speed-images", 0, "--json",
    )  # fmt: skip
    board = json.loads(out)["parts"]["test"]["leaderboard"]
    frame = comparison.to_frame().query("part == 'test'")
    assert list(frame["run"]) == [row["run"] for row in board]
    assert list(frame["accuracy"]) == [row["accuracy"]["value"] for row in board]
    ranks = list(zip(frame["rank_best"], frame["rank_worst"], strict=True))
    assert ranks == [tuple(row["rank"]) for row in board]


def test_ensemble_makes_the_bundle_that_the_command_makes(
    run: holotype.Run, other_run: holotype.Run, both: holotype.Run, tmp_path: Path, cli: Cli
) -> None:
    code, _, _ = cli(
        "ensemble", run.path, other_run.path, "--method", "average", "--output",
        tmp_path / "both", "--json",
    )  # fmt: skip
    assert code == 0
    assert holotype.load(tmp_path / "both").digest == both.classifier.digest


def test_augment_draws_the_sheet_that_the_command_draws(
    shapes: Path, tmp_path: Path, cli: Cli
) -> None:
    sheet = holotype.augment(shapes, output=tmp_path / "ours.png", images=2, image_size=32)
    cli("augment", shapes, "--output", tmp_path / "theirs.png", "--images", 2, "--image-size", 32)
    theirs = np.asarray(Image.open(tmp_path / "theirs.png"))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "ours.png")), theirs)
    assert sheet.path == tmp_path / "ours.png"
    np.testing.assert_array_equal(np.asarray(sheet.image), theirs)


def test_slice_cuts_volumes_and_remembers_their_specimens(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for label in ("bone", "nan"):
        (tmp_path / "volumes" / label).mkdir(parents=True)
        volume = generator.integers(0, 255, (6, 20, 24), dtype=np.uint8)
        np.save(tmp_path / "volumes" / label / "first.npy", volume)
    slices = holotype.slice(tmp_path / "volumes", output=tmp_path / "slices", every=2)
    assert slices.path == tmp_path / "slices"
    frame = slices.to_frame()
    table = pd.read_csv(tmp_path / "slices" / "table.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(frame, table)
    assert len(frame) == len(list((tmp_path / "slices").rglob("*.png"))) == 6
    assert set(frame["group"]) == {"bone/first", "nan/first"}
    image = Image.open(tmp_path / "slices" / frame["path"][0])
    volume = np.load(tmp_path / "volumes" / "bone" / "first.npy")
    np.testing.assert_array_equal(np.asarray(image.convert("L")), volume[0])


def test_models_are_those_that_the_command_lists(cli: Cli) -> None:
    models = holotype.models()
    _, out, _ = cli("models", "--json")
    expected = json.loads(out)["models"]
    frame = models.to_frame()
    assert list(frame["name"]) == [one["name"] for one in expected]
    assert list(frame["weights_available"]) == [one["weights_available"] for one in expected]
    assert len(models) == len(expected)


def test_one_model_is_described_by_its_name(cli: Cli) -> None:
    model = holotype.models("efficientnet_lite0")
    _, out, _ = cli("models", "--json")
    expected = json.loads(out)["models"][0]
    assert model.name == expected["name"] == "efficientnet_lite0"
    assert model.embedding_size == expected["embedding_size"]
    assert model.image_size == expected["image_size"]


def test_the_doctor_says_what_the_command_says(cli: Cli) -> None:
    diagnosis = holotype.doctor()
    code, out, _ = cli("doctor", "--json")
    expected = json.loads(out)
    assert diagnosis.ok is expected["ok"] is (code == 0)
    frame = diagnosis.to_frame()
    assert list(frame["name"]) == [check["name"] for check in expected["checks"]]
    assert list(frame["status"]) == [check["status"] for check in expected["checks"]]


def test_a_function_leaves_standard_output_to_its_caller(
    run: holotype.Run, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    holotype.audit(shapes, quick=True)
    holotype.train(shapes, model="hog", recipe="linear", overrides=QUICK, output=tmp_path / "r")
    holotype.predict(run.path, shapes / "disc")
    holotype.evaluate(run.path, shapes)
    holotype.split(shapes, output=tmp_path / "parts")
    assert capsys.readouterr().out == ""
