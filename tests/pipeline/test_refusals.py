"""What is refused wholly: one clear line, the right exit code, no traceback, nothing lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from holotype.pipeline.run import Run
from tests.conftest import Cli


def _images(folder: Path, classes: list[str], each: int = 6) -> Path:
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for n in range(each):
            pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            PillowImage.fromarray(pixels).save(folder / name / f"{n}.png")
    return folder


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _one_class(folder: Path) -> Path:
    return _images(folder, ["only"])


def _all_bad(folder: Path) -> Path:
    for file in _images(folder, ["a", "b"]).glob("*/*.png"):
        file.write_bytes(b"no image")
    return folder


def _split_classes_differ(folder: Path) -> Path:
    _images(folder / "train", ["cat", "dog"])
    _images(folder / "test", ["cat", "fox"])
    return folder


def _missing(folder: Path) -> Path:
    return folder / "nowhere"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_empty, "image"),
        (_one_class, "'only'"),
        (_all_bad, "12"),
        (_split_classes_differ, "fox"),
        (_missing, "nowhere"),
    ],
)
def test_data_that_cannot_be_used_is_one_clear_line(
    make: Callable[[Path], Path], words: str, tmp_path: Path, cli: Cli
) -> None:
    code, out, error = cli(
        "train", make(tmp_path / "data"), "--output", tmp_path / "run", "--recipe", "linear"
    )
    last = error.rstrip().splitlines()[-1]
    assert code in (1, 2)
    assert out == ""
    assert last.startswith("error: ")
    assert words in last
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ratios", "0.7", "0.2", "0.2"], "sum to 1.1"),
        (["--model", "efficientnet_lite9"], "did you mean 'efficientnet_lite"),
        (["--recipe", "fintune"], "did you mean 'finetune'"),
        (["--set", "sed=1"], "did you mean 'seed'"),
        (["--set", "seed"], "KEY=VALUE"),
        (["--device", "cuda"], "no such device"),
        (["--epochs", "many"], "epochs"),
        (["--lerning-rate", "1"], "learning-rate"),
        (["--label-pattern", "(unclosed"], "pattern"),
    ],
)
def test_wrong_words_are_exit_code_2_and_one_clear_line(
    options: list[str], words: str, synthetic: Path, tmp_path: Path, cli: Cli
) -> None:
    code, out, error = cli("train", synthetic, "--output", tmp_path / "run", *options)
    assert code == 2
    assert out == ""
    assert words in error.rstrip().splitlines()[-1]
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_a_run_that_exists_is_never_overwritten(synthetic: Path, finetuned: Run, cli: Cli) -> None:
    before = finetuned.files.recipe.read_bytes()
    code, _, error = cli("train", synthetic, "--output", finetuned.path)
    assert code == 1
    assert "already holds something" in error
    assert finetuned.files.recipe.read_bytes() == before


def test_pretrained_weights_without_a_network_are_refused_with_the_four_ways(
    synthetic: Path, tmp_path: Path, cli: Cli
) -> None:
    code, _, error = cli(
        "train",
        synthetic,
        "--output",
        tmp_path / "run",
        "--model",
        "resnet18",
        "--recipe",
        "linear",
    )
    assert code == 1
    for words in ("(1)", "(2)", "(3)", "(4)", "efficientnet_lite0", "--weights none"):
        assert words in error
    assert not (tmp_path / "run").exists()


@pytest.fixture
def copied(finetuned: Run, tmp_path: Path) -> Path:
    bundle = tmp_path / "bundle"
    shutil.copytree(finetuned.files.bundle, bundle)
    return bundle


def test_a_corrupted_bundle_is_refused(copied: Path, synthetic: Path, cli: Cli) -> None:
    graph = copied / "backbone.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(bytes(content))
    code, out, error = cli("predict", copied, next(synthetic.glob("*/*.png")))
    assert (code, out) == (1, "")
    assert "backbone.onnx is not what the manifest says" in error


def test_a_bundle_with_external_data_is_refused(copied: Path, synthetic: Path, cli: Cli) -> None:
    import hashlib

    import onnx

    model = onnx.load(copied / "head.onnx")
    onnx.external_data_helper.convert_model_to_external_data(
        model, location="weights.bin", size_threshold=0
    )
    (copied / "head.onnx").unlink()
    onnx.save(model, copied / "head.onnx")
    (copied / "weights.bin").unlink()
    manifest = json.loads((copied / "manifest.json").read_text())
    digest = hashlib.sha256((copied / "head.onnx").read_bytes()).hexdigest()
    manifest["files"]["head.onnx"] = digest
    (copied / "manifest.json").write_text(json.dumps(manifest))
    (copied / "manifest.sha256").unlink()
    code, out, error = cli("predict", copied, next(synthetic.glob("*/*.png")))
    assert (code, out) == (1, "")
    assert "reads its tensors from other files" in error


def test_a_class_that_the_classifier_does_not_know_is_named(
    finetuned: Run, tmp_path: Path, cli: Cli
) -> None:
    data = _images(tmp_path / "data", ["disk", "ring"])
    code, _, error = cli("evaluate", finetuned.path, data, "--output", tmp_path / "out")
    assert code == 1
    assert "did you mean 'disc'" in error
    assert not (tmp_path / "out").exists()


def test_one_bad_image_of_ten_is_named_and_nine_are_answered(
    finetuned: Run, synthetic: Path, tmp_path: Path, cli: Cli
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    for n, file in enumerate(sorted(synthetic.glob("*/*.png"))[:10]):
        shutil.copyfile(file, folder / f"{n}.png")
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:100])
    output = tmp_path / "answers.json"
    code, _, error = cli("predict", finetuned.path, folder, "--output", output)
    answers = json.loads(output.read_text())
    assert code == 1
    assert len(answers["predictions"]) == 9
    assert [Path(refusal["file"]).name for refusal in answers["refused"]] == ["3.png"]
    assert "3.png" in error


def test_an_image_size_that_the_network_refuses_is_one_clear_line(
    synthetic: Path, tmp_path: Path, cli: Cli
) -> None:
    code, _, error = cli(
        "train", synthetic, "--output", tmp_path / "run", "--model", "timm:vit_tiny_patch16_224",
        "--weights", "none", "--image-size", 100, "--recipe", "scratch",
    )  # fmt: skip
    assert code == 2
    assert "image_size 100" in error.rstrip().splitlines()[-1]
