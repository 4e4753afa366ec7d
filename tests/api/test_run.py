"""Program 12: a run and its classifier, without torch; and what is said when it goes wrong."""

import dataclasses
import hashlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import holotype
from holotype.errors import NotARun
from tests.api.programs import QUICK, SAME, stored_metrics, stored_probabilities
from tests.conftest import Cli

VERBS = (
    "audit", "train", "evaluate", "predict", "explain", "compare", "ensemble", "split", "augment",
    "slice", "fetch", "models", "doctor",
)  # fmt: skip

# What only the command has: it prints, or leaves with an exit code.
OF_THE_COMMAND = {"help", "json", "version", "print_recipe", "fail_on", "dry_run", "copy"}

# What has another name in Python.
RENAMED = {"set": "overrides", "class": "class_name", "checkpoint_every": "checkpoint_minutes"}

# Keys of the recipe, which Python takes in `overrides`.
KEYS_OF_THE_RECIPE = {
    "weights", "epochs", "batch_size", "learning_rate", "split_seed", "teacher", "image_size",
    "unseen",
}  # fmt: skip


def one_sentence(error: pytest.ExceptionInfo[BaseException]) -> str:
    """The message, after checking that it is a sentence: no lines, one full stop, at the end."""
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    assert not re.search(r"[.?!] [A-Z]", message)
    return message


# A run.


def test_a_run_knows_its_place(run: holotype.Run, runs: Path) -> None:
    assert isinstance(run.path, Path)
    assert run.path == runs / "hog"
    assert os.fspath(run) == str(run.path)


def test_its_history_is_one_row_for_each_epoch(run: holotype.Run, tmp_path: Path) -> None:
    assert len(run.history) == 0  # descriptors have no epochs
    assert {"stage", "epoch", "train_loss", "val_loss", "val_accuracy"} <= set(run.history)
    shutil.copytree(run.path, tmp_path / "tuned")
    tuned = holotype.Run(tmp_path / "tuned")
    tuned.files.history.write_text("stage,epoch,train_loss\nfull,0,nan\nfull,1,0.25\n")
    assert list(tuned.history["epoch"]) == [0, 1]
    assert tuned.history["train_loss"].iloc[1] == 0.25
    tuned.files.history.unlink()
    with pytest.raises(NotARun, match=r"has no history\.csv") as refusal:
        _ = tuned.history
    one_sentence(refusal)


def test_a_score_prints_with_its_interval(run: holotype.Run) -> None:
    score = run.metrics["accuracy"]
    stored = stored_metrics(run.path)["accuracy"]
    assert isinstance(stored, dict)
    expected = f"{stored['value']:.3f} [{stored['low']:.3f}, {stored['high']:.3f}]"
    assert str(score) == repr(score) == expected
    assert f"{score}" == expected
    assert (score.value, score.low, score.high) == (stored["value"], stored["low"], stored["high"])
    assert float(score) == stored["value"]
    assert score.method == stored["method"]


def test_metrics_are_a_mapping_of_the_scores_on_disk(run: holotype.Run) -> None:
    scores = {
        name: score["value"]
        for name, score in stored_metrics(run.path).items()
        if isinstance(score, dict) and set(score) == {"value", "low", "high", "method"}
    }
    assert {name: score.value for name, score in run.metrics.items()} == scores
    assert "accuracy" in run.metrics
    assert len(run.metrics) == len(scores)


def test_a_metric_that_does_not_exist_is_answered_with_those_that_do(run: holotype.Run) -> None:
    with pytest.raises(KeyError, match="accuracy"):
        run.metrics["acuracy"]


def test_a_run_has_its_report(run: holotype.Run) -> None:
    assert run.report.path == run.path / "report" / "index.html"
    assert run.report.path.is_file()
    assert str(run.report.metrics["accuracy"]) == str(run.metrics["accuracy"])


def test_a_run_has_its_predictions(run: holotype.Run) -> None:
    for part in ("val", "test"):
        found = run.predictions(part)
        assert isinstance(found, holotype.Predictions)
        np.testing.assert_array_equal(found.probabilities, stored_probabilities(run.path, part))
    with pytest.raises(holotype.HolotypeError, match="val"):
        run.predictions("trian")


def test_the_predictions_of_a_run_know_their_targets(run: holotype.Run) -> None:
    found = run.predictions("test")
    right = found.targets == found.probabilities.argmax(axis=1)
    assert float(np.mean(right)) == pytest.approx(run.metrics["accuracy"].value)
    assert run.classifier.predict([]).targets is None


def test_a_run_is_opened_again_from_its_path(run: holotype.Run) -> None:
    for name in (run.path, str(run.path), os.path.relpath(run.path)):
        again = holotype.Run(name)
        assert again.path.resolve() == run.path.resolve()
        assert dict(again.metrics.items()) == dict(run.metrics.items())
        assert again.classifier.digest == run.classifier.digest


def test_a_classifier_is_loaded_by_every_name_of_its_run(run: holotype.Run) -> None:
    digest = hashlib.sha256((run.path / "bundle" / "manifest.json").read_bytes()).hexdigest()
    for name in (run, run.path, str(run.path), run.path / "bundle"):
        assert holotype.load(name).digest == digest
    assert isinstance(run.classifier, holotype.Classifier)
    assert run.classifier.digest == digest


def test_a_stage_is_named_after_an_at_sign(run: holotype.Run) -> None:
    with pytest.raises(holotype.HolotypeError, match="finetune"):
        holotype.load(f"{run.path}@finetune")


def test_a_bundle_needs_neither_its_run_nor_its_images(
    run: holotype.Run, shapes: Path, tmp_path: Path
) -> None:
    shutil.copytree(run.path / "bundle", tmp_path / "shipped")
    image = shapes / "disc" / "0000.png"
    np.testing.assert_array_equal(
        holotype.load(tmp_path / "shipped").predict_proba(image),
        run.classifier.predict_proba(image),
    )


def test_a_bundle_that_was_tampered_with_is_refused(run: holotype.Run, tmp_path: Path) -> None:
    shutil.copytree(run.path / "bundle", tmp_path / "shipped")
    with (tmp_path / "shipped" / "head.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(holotype.HolotypeError, match=r"head\.onnx"):
        holotype.load(tmp_path / "shipped")


# What is imported.

FRUGAL = """
import json
import sys

import holotype

before = sorted(sys.modules)
classifier = holotype.load(sys.argv[1])
found = classifier.predict(sys.argv[2], coverage=0.9)
classifier.embed(sys.argv[2])
repr(found), found._repr_html_(), repr(classifier)
print(json.dumps({
    "before": before,
    "after": sorted(sys.modules),
    "probabilities": found.probabilities.tolist(),
    "metrics": str(holotype.Run(sys.argv[1]).metrics["accuracy"]),
}))
"""


def test_a_classifier_answers_without_what_only_training_needs(
    sure_run: holotype.Run, many_shapes: Path, sure: holotype.Classifier
) -> None:
    words = [sys.executable, "-c", FRUGAL, str(sure_run.path), str(many_shapes / "disc")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    heavy = {"torch", "torchvision", "timm", "sklearn", "pandas", "pyarrow", "scipy", "matplotlib"}
    assert heavy & set(told["after"]) == set()
    assert {"onnxruntime", *heavy} & set(told["before"]) == set()
    np.testing.assert_allclose(
        told["probabilities"], sure.predict_proba(many_shapes / "disc"), atol=SAME, rtol=0
    )
    assert told["metrics"] == str(sure_run.metrics["accuracy"])


def test_descriptors_train_without_torch(shapes: Path, tmp_path: Path) -> None:
    program = (
        "import sys, holotype\n"
        "from tests.plot_stand_ins import stand_ins\n"
        "with stand_ins():\n"
        f"    holotype.train({str(shapes)!r}, model='hog', recipe='linear', "
        f"overrides={QUICK!r}, output={str(tmp_path / 'run')!r})\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, timeout=300, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "bundle" / "manifest.json").is_file()


# What goes wrong.


def test_a_misspelt_option_is_a_type_error(run: holotype.Run, shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="modle"):
        holotype.train(shapes, modle="hog", output=tmp_path / "run")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="coverge"):
        holotype.predict(run.path, shapes, coverge=0.9)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="selct"):
        holotype.compare([run.path], selct="best")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="quik"):
        holotype.audit(shapes, quik=True)  # type: ignore[call-arg]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"model": "hogg"}, "hog"),
        ({"model": "hog", "ratios": (0.9, 0.9, 0.1)}, "sum"),
        ({"model": "hog", "folds": 1}, "fold"),
        ({"model": "hog", "image_size": 3}, "image_size"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_those_that_can(
    options: dict[str, object], advice: str, shapes: Path, tmp_path: Path
) -> None:
    with pytest.raises(holotype.HolotypeError, match=advice):
        holotype.train(shapes, output=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_value_of_an_option_that_cannot_be_is_refused_with_those_that_can() -> None:
    with pytest.raises(holotype.HolotypeError, match="cuda"):
        holotype.Resources(device="gpu")
    with pytest.raises(holotype.HolotypeError, match="repair"):
        holotype.ReadingOptions(on_leak="mend")
    with pytest.raises(holotype.HolotypeError, match="above 0"):
        holotype.Resuming(checkpoint_minutes=0)


def test_data_that_are_not_there_are_named_in_one_sentence(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for ask in (
        lambda: holotype.audit(nowhere),
        lambda: holotype.train(nowhere, model="hog", output=tmp_path / "run"),
        lambda: holotype.split(nowhere, output=tmp_path / "parts"),
        lambda: holotype.slice(nowhere, output=tmp_path / "slices"),
        lambda: holotype.load(nowhere),
        lambda: holotype.Run(nowhere),
        lambda: holotype.predict(nowhere, tmp_path),
        lambda: holotype.compare([nowhere, tmp_path / "nowhere-else"]),
    ):
        with pytest.raises(holotype.HolotypeError) as error:
            ask()
        assert "nowhere" in one_sentence(error)
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_is_not_there_is_named_in_one_sentence(
    classifier: holotype.Classifier, tmp_path: Path
) -> None:
    for ask in (classifier.predict, classifier.predict_proba, classifier.explain):
        with pytest.raises(holotype.HolotypeError) as error:
            ask(tmp_path / "new.jpg")
        assert "new.jpg" in one_sentence(error)


def test_an_error_of_the_command_is_the_error_of_the_function(tmp_path: Path, cli: Cli) -> None:
    with pytest.raises(holotype.HolotypeError) as error:
        holotype.load(tmp_path)
    code, _, err = cli("predict", tmp_path, tmp_path)
    assert code != 0
    assert str(error.value) in " ".join(err.split())


def test_a_run_that_is_there_is_not_overwritten(run: holotype.Run, shapes: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(holotype.HolotypeError, match="hog"):
        holotype.train(shapes, model="hog", output=run.path)
    after = {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.is_file()}
    assert after == before


# One name, one machine.


def options_of_function(verb: str) -> set[str]:
    """Names of parameters, and the fields of those that are option values."""
    names: set[str] = set()
    for name, parameter in inspect.signature(getattr(holotype, verb)).parameters.items():
        names.add(name)
        if dataclasses.is_dataclass(parameter.default):
            names |= {field.name for field in dataclasses.fields(parameter.default)}
    return names | (KEYS_OF_THE_RECIPE if "overrides" in names else set())


@pytest.mark.parametrize("verb", VERBS)
def test_no_function_has_more_than_twelve_parameters_and_all_are_typed(verb: str) -> None:
    parameters = inspect.signature(getattr(holotype, verb)).parameters.values()
    assert len(parameters) <= 12
    for parameter in parameters:
        assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        assert parameter.annotation is not parameter.empty


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_a_command_is_one_of_its_function(verb: str, cli: Cli) -> None:
    code, out, _ = cli(verb, "--help")
    assert code == 0
    words = set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]+)", out.split("Example:")[0]))
    options = {RENAMED.get(word, word) for word in (word.replace("-", "_") for word in words)}
    options = {word for word in options if not word.startswith("no_")} - OF_THE_COMMAND
    assert options <= options_of_function(verb)


@pytest.mark.parametrize("verb", VERBS)
def test_every_function_is_documented_and_found_by_completion(verb: str) -> None:
    assert verb in dir(holotype)
    assert callable(getattr(holotype, verb))
    assert inspect.getdoc(getattr(holotype, verb))


def test_the_package_says_what_it_holds() -> None:
    names = {*VERBS, "load", "Run", "Classifier", "Predictions", "Recipe", "HolotypeError"}
    assert names | {"Report", "Comparison", "Audit"} <= set(holotype.__all__)
