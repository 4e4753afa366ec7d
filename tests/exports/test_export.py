"""`holotype export`: files, the code of the README, its proof, and what is refused."""

import json
import re
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.dataset.index import Index, read_index
from holotype.dataset.sources.synthetic import make_synthetic
from holotype.dataset.splitting.splitter import split
from holotype.errors import ExportRefused, ParityFailed, UsageError
from holotype.explanation.torch_models import WITHOUT_TORCH
from holotype.exports.loading_code import loading_code
from holotype.exports.torch_formats import _no_weights
from holotype.exports.write_export import ProofImages, compare, run_loading_code, without_heic
from holotype.run_directory import RunDirectory
from tests.bundle.tiny import predicted, write_images
from tests.conftest import Cli
from tests.ensembles.runs import make_run


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("shapes") / "shapes"
    made = read_index(make_synthetic(folder, classes=3, images=90, image_size=40))
    return split(made, ratios=(0.5, 0.3, 0.2), seed=0)


@pytest.fixture(scope="module")
def run(index: Index, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("runs") / "a", index)


def _readme_code(folder: Path) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.S)
    return str(code)


def test_the_code_of_the_readme_gives_the_answers_of_the_bundle(
    run: RunDirectory, index: Index, tmp_path: Path, cli: Cli
) -> None:
    formats = ("onnx", "openvino", "fp16")
    code, out, err = cli("export", run.path, "--format", *formats, "--output", tmp_path / "out")
    assert code == 0, err
    assert all(name in out for name in formats)
    bundle = load_bundle(run.path)
    files = [index.file(path) for path in index.part("test").table["path"]]
    expected = predicted(bundle, files).probabilities_NC
    for name in formats:
        folder = tmp_path / "out" / name
        assert json.loads((folder / "class_names.json").read_text()) == list(bundle.classes)
        readme = folder / "from_readme.py"  # beside the model, as a reader would save it
        readme.write_text(_readme_code(folder))
        assert readme.read_text().strip() == (folder / "predict.py").read_text().strip()
        done = subprocess.run(
            [sys.executable, "-I", readme, *files], capture_output=True, text=True, check=True
        )
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        found = np.array([row["probabilities"] for row in rows])
        tolerance = 0.05 if name == "fp16" else 1e-4
        assert np.abs(found - expected).max() < tolerance
        assert [row["image"] for row in rows] == [str(file) for file in files]


def test_preprocessing_can_be_part_of_the_graph(run: RunDirectory, tmp_path: Path) -> None:
    found = holotype.export(run.path, output=tmp_path / "out", source_size=(40, 40))
    (one,) = found.exports
    assert one.parity is not None
    assert one.parity.same_class == one.parity.images
    for name in ("onnx", "openvino", "fp16"):
        holotype.export(run.path, output=tmp_path / "all", formats=[name], source_size=(40, 40))
        readme = (tmp_path / "all" / name / "README.md").read_text()
        assert "part of the graph, for images of 40 x 40 pixels" in readme
    for refused in ("tflite", "int8", "torchscript"):
        with pytest.raises(ExportRefused, match=f"{refused} has no preprocessing inside"):
            holotype.export(
                run.path, formats=[refused], output=tmp_path / refused, source_size=(40, 40)
            )


def test_images_of_heic_and_of_16_bits_prove_an_export(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    folder = make_synthetic(tmp_path / "shapes", classes=3, images=36, image_size=40)
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        with Image.open(file) as image:
            if number % 2:
                levels = np.asarray(image.convert("L")).astype(np.uint16) * 257
                Image.fromarray(levels).save(file.with_suffix(".pgm"))
            else:
                pillow_heif.from_pillow(image).save(file.with_suffix(".heic"))
        file.unlink()
    made = make_run(tmp_path / "a", split(read_index(folder), ratios=(0.5, 0.3, 0.2), seed=0))
    (one,) = holotype.export(made.path, output=tmp_path / "out").exports
    assert one.parity is not None
    assert one.parity.same_class == one.parity.images


def test_sixteen_bits_that_count_from_white_are_no_negative(
    run: RunDirectory, tmp_path: Path
) -> None:
    """As every decoder shows them: the same picture, stored from black and from white."""
    levels = np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint16) * 257
    black, white = tmp_path / "black.tif", tmp_path / "white.tif"
    Image.fromarray(levels).save(black)
    Image.fromarray(65535 - levels).save(white)
    entry = struct.pack("<HHI", 262, 3, 1)
    content = white.read_bytes()
    place = content.index(entry) + len(entry)
    white.write_bytes(content[:place] + bytes(2) + content[place + 2 :])  # WhiteIsZero
    holotype.export(run.path, output=tmp_path / "out")
    code = tmp_path / "out" / "onnx" / "predict.py"
    first_C, second_C = run_loading_code(code, [black, white], sys.executable)
    assert np.array_equal(first_C, second_C)
    (shipped_C,) = holotype.load(run.path).predict_proba(white)
    assert np.abs(shipped_C - second_C).max() < 1e-4


def test_a_damaged_image_is_named_and_the_others_are_answered(
    run: RunDirectory, index: Index, tmp_path: Path
) -> None:
    """Of a script of Pillow's lines, one with the size in the graph, and one that asks Holotype."""
    good = index.file(index.table["path"].iloc[0])
    with Image.open(good) as image:
        image.resize((640, 640)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:3000])
    (tmp_path / "text.png").write_text("no image")
    holotype.export(run.path, output=tmp_path / "out", formats=["onnx", "openvino"])
    holotype.export(run.path, output=tmp_path / "sized", source_size=(40, 40))
    codes = [*(tmp_path / "out").rglob("predict.py"), *(tmp_path / "sized").rglob("predict.py")]
    asks_holotype = tmp_path / "out" / "onnx" / "by_holotype.py"
    text = loading_code(
        replace(load_bundle(run.path).preprocessing, content="crop"),
        "def probabilities(x): return np.full((1, 3), x.shape[0] / 3)", imports="", needs="",
    )  # fmt: skip
    asks_holotype.write_text(text)
    assert len(codes) == 3
    for code in (*codes, asks_holotype):
        bad = ("cut.jpg", "text.png", "gone.png")
        words = [sys.executable, code, *(tmp_path / name for name in bad), good]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        (answer,) = done.stdout.splitlines()
        assert json.loads(answer)["image"] == str(good)
        said = done.stderr.splitlines()
        for name, line in zip(bad, said, strict=True):
            assert line.startswith(f"{tmp_path / name}: no answer: ")


def test_an_interpreter_without_heic_is_proved_on_other_images(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    files = write_images(tmp_path, 3)
    with Image.open(files[1]) as image:
        pillow_heif.from_pillow(image).save(tmp_path / "image.heic")
    files[1] = tmp_path / "image.heic"
    probabilities_NC = np.eye(3)
    left = without_heic(ProofImages(files, probabilities_NC), "bundle")
    assert left.files == [files[0], files[2]]
    assert np.array_equal(left.probabilities_NC, probabilities_NC[[0, 2]])
    with pytest.raises(ExportRefused, match=r"images are HEIC.*--images FOLDER"):
        without_heic(ProofImages(files[:2], probabilities_NC[:2]), "bundle")


def test_several_runs_and_formats_are_rows_and_what_is_refused_says_why(
    run: RunDirectory, index: Index, tmp_path: Path, cli: Cli
) -> None:
    other = make_run(tmp_path / "b", index, seed=1)
    code, out, _ = cli(
        "export", run.path, other.path, "--format", "onnx", "torchscript",
        "--output", tmp_path / "out", "--json",
    )  # fmt: skip
    assert code == 1
    rows = json.loads(out)["exports"]
    assert [(row["format"], row["path"] is not None) for row in rows] == [
        ("onnx", True), ("torchscript", False), ("onnx", True), ("torchscript", False),
    ]  # fmt: skip
    assert all("export onnx" in row["refused"] for row in rows if row["path"] is None)
    assert (tmp_path / "out" / "b" / "onnx" / "model.onnx").is_file()
    assert not (tmp_path / "out" / "b" / "torchscript").exists()


def test_a_refusal_does_not_advise_how_to_explain(run: RunDirectory) -> None:
    bundle = load_bundle(run.path)
    reason = "hog describes images and is no network, so it has no gradients."
    for advice in ("Take --method occlusion.", WITHOUT_TORCH):
        refused = _no_weights(bundle, UsageError(f"{reason} {advice}"))
        assert str(refused).endswith(f"export onnx. Why: {reason}")


def test_what_was_asked_wrongly_is_refused_before_any_work(
    run: RunDirectory, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "full" / "onnx").mkdir(parents=True)
    (tmp_path / "full" / "onnx" / "mine.txt").touch()
    with pytest.raises(UsageError, match="not empty"):
        holotype.export(run.path, output=tmp_path / "full")
    with pytest.raises(UsageError, match="onnx"):
        holotype.export(run.path, formats=["onx"], output=tmp_path / "x")
    code, _, err = cli("export", run.path, "--output", tmp_path / "x", "--source-size", "big")
    assert code == 2
    assert "WIDTHxHEIGHT" in err


def test_a_bundle_without_its_images_asks_for_some(
    run: RunDirectory, index: Index, tmp_path: Path
) -> None:
    copy = tmp_path / "alone"
    copy.mkdir()
    for file in run.bundle.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ExportRefused, match="images FOLDER"):
        holotype.export(copy, output=tmp_path / "out")
    found = holotype.export(copy, output=tmp_path / "out", images=index.root)
    assert found.exports[0].parity is not None
    with pytest.raises(ExportRefused, match="export the run"):
        holotype.export(copy, formats=["int8"], output=tmp_path / "int8")


def test_onnx2tf_is_asked_for_where_it_is_missing(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(holotype.HolotypeError, match="uv tool install onnx2tf"):
        holotype.export(run.path, formats=["savedmodel"], output=tmp_path / "out")
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_two_classes_as_likely_may_change_places() -> None:
    expected = np.array([[0.50001, 0.49999], [0.9, 0.1]])
    near = compare(expected, np.array([[0.49999, 0.50001], [0.9, 0.1]]), 1e-4)
    assert near.same_class == 2
    far = compare(expected, np.array([[0.5, 0.5], [0.1, 0.9]]), 1e-4)
    assert far.same_class == 1
    assert far.largest_difference == pytest.approx(0.8)


def test_probabilities_that_are_no_numbers_agree_with_nothing() -> None:
    expected = np.array([[0.9, 0.1], [0.6, 0.4]])
    for found in (np.full((2, 2), np.nan), np.array([[0.9, np.nan], [0.6, 0.4]])):
        with pytest.raises(ParityFailed, match="no finite numbers"):
            compare(expected, found, 1e-4)
