"""What a public function is called with is judged at the door, in words that Python users use."""

import inspect
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import holotype
from holotype.arguments import spelled_for_python
from holotype.errors import HolotypeError, UsageError, WrongType
from tests.bundle.tiny import write_images, write_tiny

FUNCTIONS = sorted(
    name
    for name in holotype.__all__
    if inspect.isfunction(getattr(holotype, name))
    and name not in ("serve", "dashboard")  # they would wait
)
ODD: tuple[object, ...] = (object(), 3.7, b"", -(2**70), {3: 4}, "")
# What makes the other arguments right, so that the odd one is what is refused.
RIGHT: dict[str, Any] = {"output": "out", "run": "absent", "data": "absent", "images": "x.png"}
api: Any = holotype  # called in ways that a type checker refuses
FREE = {"progress", "published", "notes"}  # values of types of our own


@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_odd_argument_is_refused_by_a_holotype_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verb = getattr(holotype, name)
    parameters = [
        parameter
        for parameter in inspect.signature(verb).parameters.values()
        if parameter.name not in FREE and parameter.kind is not parameter.VAR_KEYWORD
    ]
    for odd in ODD:
        for wrong in parameters:
            given = {
                each.name: odd if each is wrong else RIGHT.get(each.name, "missing")
                for each in parameters
                if each is wrong or each.default is each.empty
            }
            with pytest.raises(HolotypeError) as refusal:
                verb(**given)
            assert str(refusal.value).endswith((".", "?", "!")), refusal.value
    assert [path.name for path in tmp_path.iterdir() if path.name != "out"] == []


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("arguments")
    write_tiny(place / "bundle")
    write_images(place / "images", 3)
    return place / "bundle"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: api.train("x", folds=2.5), "folds is 2.5, expected a whole number."),
        (lambda: api.train("x", ratios="abc"), "ratios is 'abc', expected a list."),
        (lambda: api.train("x", overrides={3: 4}), "its keys are names"),
        (
            lambda: api.train("x", epochs=3),
            "unexpected keyword argument 'epochs'; give it as overrides={'epochs': …}.",
        ),
        (
            lambda: api.train("x", exclude="issues.csv"),
            "give it as reading=holotype.ReadingOptions(exclude=…).",
        ),
        (lambda: api.export("x", format="onnx", output="y"), "did you mean 'formats'?"),
        (lambda: api.train("x", zzz=1), "unexpected keyword argument 'zzz'."),
        (
            lambda: api.train("x", recipe=3),
            "recipe is 3, expected a path or keys",
        ),
        (lambda: api.audit(None), "data is None; expected the path of a folder"),
        (lambda: api.audit("x", device="gpu", quick=True), "device is 'gpu', expected one of"),
        (lambda: api.audit(""), "data is an empty text"),
        (lambda: api.compare("x", select=3), "select is 3, expected text."),
        (lambda: api.models(42), "name is 42, expected text."),
        (lambda: api.split("x", output="y", seed=-1), "seed -1: expected a whole number"),
        (lambda: api.load(None), "run is None, expected a path."),
        (lambda: api.predict("x", "y", coverage="0.9"), "coverage is '0.9', expected a num"),
        (lambda: api.ReadingOptions(label_pattern=3), "label_pattern is 3, expected text."),
        (lambda: api.Resources(device="gpu"), "device is 'gpu', expected one of auto"),
        (lambda: api.Resuming(checkpoint_minutes="x"), "checkpoint_minutes is 'x', expected"),
        (lambda: api.compare("a", "b"), "several runs are given as one list, compare([…, …])"),
        (lambda: api.ensemble("a", "b", "c"), "several runs are given as one list, ensemble("),
        (lambda: api.split("a", "b"), "several data are given as one list, split("),
        (lambda: api.load("a", "b"), "load: too many positional arguments."),
        (lambda: api.Run(3), "a run is the path of its directory, not 3."),
    ],
)
def test_a_refusal_says_what_was_given_and_what_was_expected(call: Any, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        call()
    assert message in str(refusal.value)


def test_methods_of_a_classifier_judge_theirs(bundle: Path) -> None:
    classifier = api.load(bundle)
    image = next((bundle.parent / "images").iterdir())
    with pytest.raises(UsageError, match="coverage is 'x', expected a number"):
        classifier.predict(image, coverage="x")
    with pytest.raises(UsageError, match="train with overrides references=true"):
        classifier.explain(image, similar=2)


@pytest.mark.parametrize(
    ("images", "advice"),
    [
        (pd.DataFrame({"path": ["a.png"]}), "hand over the column with the paths"),
        ({"a.png": 1}, "hand over the column with the paths"),
        (io.StringIO("a.png\n"), "Name the file"),
        (None, "of type NoneType"),
        ([3], "of type int"),
    ],
)
def test_what_is_no_image_is_not_taken_apart(bundle: Path, images: Any, advice: str) -> None:
    for predict in (holotype.load(bundle).predict, lambda i: api.predict(bundle, i)):
        with pytest.raises(WrongType, match=advice):
            predict(images)


def test_a_row_that_is_not_there_says_how_many_there_are(bundle: Path) -> None:
    found = api.predict(bundle, bundle.parent / "images")
    assert found[-1].file == found[2].file
    assert found[np.int64(1)].file == found[1].file
    with pytest.raises(IndexError, match="there is no prediction 99; there are 3, numbered from 0"):
        found[99]
    with pytest.raises(TypeError, match="a row is a number or a slice, not 'a'"):
        found["a"]


def test_numbers_of_numpy_are_numbers(synthetic: Path, tmp_path: Path) -> None:
    made = holotype.split(
        synthetic, output=tmp_path / "parts", seed=np.int64(3), ratios=np.array([0.6, 0.2, 0.2])
    )
    assert made.to_json()["counts"] == made.counts


def test_a_split_keeps_its_class_names_and_what_it_refused(synthetic: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name, folder in zip(("None", "NA"), sorted(synthetic.iterdir()), strict=False):
        shutil.copytree(folder, data / name)
    (data / "NA" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    made = holotype.split(data, output=tmp_path / "parts")
    assert set(made.to_frame()["label"]) == {"None", "NA"}
    assert set(made.to_frame()["group"]) == {""}
    again = holotype.split(data, output=tmp_path / "parts")
    assert not again.is_new
    assert list(again.refused) == ["NA/broken.png"]
    assert again.refused == made.refused


def test_an_output_that_is_a_file_is_refused_before_the_work(bundle: Path, tmp_path: Path) -> None:
    images = bundle.parent / "images"
    file = tmp_path / "file.txt"
    file.write_text("mine")
    for call in (
        lambda: api.predict(bundle, images, heatmaps=file),
        lambda: api.predict(bundle, images, heatmaps=file / "deeper"),
        lambda: api.evaluate(bundle, images, output=file),
        lambda: api.compare([str(bundle)], output=file),
        lambda: api.explain(bundle, images, output=file / "sheets"),
        lambda: api.split(images, output=file / "parts"),
        lambda: api.train(images, output=file / "run"),
    ):
        with pytest.raises(UsageError, match=r"output '.*' (is a file|lies below '.*', a file)"):
            call()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match="is a directory; name a file"):
        holotype.predict(bundle, images, output=tmp_path / "folder.csv")
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("message", "python"),
    [
        ("--output 'x' is a file.", "output 'x' is a file."),
        ("Take `--recipe scratch`, or `--weights none`.",
         'Take `recipe="scratch"`, or `weights="none"`.'),
        ("Where the split came with the data: --on-leak repair.",
         "Where the split came with the data: on_leak repair."),
        ("`holotype train DATA --output RUN` makes one.",
         "`holotype train DATA --output RUN` makes one."),
        ("a--b stays", "a--b stays"),
        ("--set seed: no", "overrides seed: no"),
    ],
)  # fmt: skip
def test_options_are_spelled_as_python_spells_them(message: str, python: str) -> None:
    assert spelled_for_python(message) == python
