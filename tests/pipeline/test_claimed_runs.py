"""Who holds a run, when it is finished, and how it goes on where its files were damaged."""

import json
import shutil
from pathlib import Path

import pytest

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.errors import RunExists, RunLocked
from holotype.files import TEMPORARY_PREFIX
from holotype.pipeline.run import Run
from holotype.pipeline.training_run.resume import is_finished
from holotype.run_directory import RunDirectory
from tests.conftest import Cli

FAST = {"model": "hog", "recipe": "svm"}


@pytest.fixture(scope="module")
def finished(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return holotype.train(synthetic, output=tmp_path_factory.mktemp("claimed") / "run", **FAST)


@pytest.fixture
def copied(finished: Run, tmp_path: Path) -> RunDirectory:
    return RunDirectory(Path(shutil.copytree(finished.path, tmp_path / "run")))


def _resume(run: RunDirectory, synthetic: Path) -> None:
    resuming = holotype.Resuming(resume=True)
    holotype.train(synthetic, output=run.path, resuming=resuming, **FAST)


def test_an_output_that_is_held_is_refused_before_the_data_are_read(tmp_path: Path) -> None:
    with RunDirectory.claim(tmp_path / "run"), pytest.raises(RunLocked):
        holotype.train(tmp_path / "no such data", output=tmp_path / "run", **FAST)


def test_a_default_name_that_is_held_becomes_the_next_one(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with RunDirectory.claim("runs/shapes-1") as other:
        run = holotype.train(synthetic, **FAST)
        assert run.path == Path("runs/shapes-2")
        assert [entry.name for entry in other.path.iterdir()] == [".lock"]


def test_a_refusal_leaves_no_directory(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "empty").mkdir()
    code, _, error = cli("train", tmp_path / "empty", "--output", tmp_path / "runs" / "one")
    assert (code, "holds no image" in error or "no image" in error) == (1, True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["empty"]


def test_a_run_that_was_killed_as_its_recipe_was_written_goes_on(
    synthetic: Path, finished: Run, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    (run.path / ".lock").touch()
    (run.path / f"{TEMPORARY_PREFIX}0.yaml").write_text("name: sv")
    _resume(run, synthetic)
    assert load_bundle(run.path).sha256 == load_bundle(finished.path).sha256
    assert not list(run.path.rglob(f"{TEMPORARY_PREFIX}*"))


@pytest.mark.parametrize(
    "file",
    ["bundle/manifest.json", "bundle/head.onnx", "predictions/val.parquet", "report/metrics.json"],
)
def test_a_page_alone_does_not_make_a_run_finished(
    file: str, copied: RunDirectory, finished: Run, synthetic: Path
) -> None:
    assert is_finished(copied)
    whole = (copied.path / file).read_bytes()
    (copied.path / file).write_bytes(whole[: len(whole) // 2])
    assert not is_finished(copied)
    _resume(copied, synthetic)
    assert is_finished(copied)
    assert load_bundle(copied.path).sha256 == load_bundle(finished.path).sha256


def test_a_bundle_that_was_never_sealed_answers_nobody(
    copied: RunDirectory, finished: Run, synthetic: Path, cli: Cli
) -> None:
    manifest = copied.bundle / "manifest.json"
    value = {**json.loads(manifest.read_text()), "unsealed": True, "decision": None}
    manifest.write_text(json.dumps(value))
    (copied.bundle / "manifest.sha256").unlink()
    code, out, error = cli("predict", copied.path, next(synthetic.glob("*/*.png")))
    assert (code, out) == (1, "")
    assert "is not sealed" in error
    assert "--resume" in error
    _resume(copied, synthetic)
    assert load_bundle(copied.path).sha256 == load_bundle(finished.path).sha256


@pytest.mark.parametrize("content", [b"", b"\0\1\xff\xfe", b"- a list", b"name: [", b"split: 5"])
def test_a_damaged_recipe_is_one_line_that_names_it(
    content: bytes, copied: RunDirectory, synthetic: Path, cli: Cli
) -> None:
    copied.recipe.write_bytes(content)
    for words in (
        (
            "train",
            synthetic,
            "--output",
            copied.path,
            "--resume",
            "--recipe",
            "svm",
            "--model",
            "hog",
        ),
        ("train", synthetic, "--output", copied.path.with_name("n"), "--recipe", copied.recipe),
        ("train", synthetic, "--init-from", copied.path, "--output", copied.path.with_name("n")),
    ):
        code, _, error = cli(*words)
        assert code in (1, 2), words
        assert error.strip().splitlines()[-1].startswith("error: "), error
        assert "Traceback" not in error


def test_a_finished_run_is_not_begun_again(copied: RunDirectory, synthetic: Path) -> None:
    with pytest.raises(RunExists):
        holotype.train(synthetic, output=copied.path, **FAST)


def test_an_output_that_cannot_be_written_is_noticed_before_the_work(
    synthetic: Path, finished: Run, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "file").touch()
    below, image = tmp_path / "file" / "out", next(synthetic.glob("*/*.png"))
    for words in (
        ("predict", finished.path, image, "--output", f"{below}.csv"),
        ("predict", finished.path, image, "--heatmaps", below),
        ("evaluate", finished.path, synthetic, "--output", below),
        ("explain", finished.path, image, "--output", f"{below}.png"),
        ("compare", finished.path, "--output", below),
        ("audit", synthetic, "--output", below),
        ("split", synthetic, "--output", below),
        ("augment", synthetic, "--output", f"{below}.png"),
        ("train", synthetic, "--output", below),
    ):
        code, out, error = cli(*words)
        assert (code in (1, 2), out) == (True, ""), words
        assert len(error.strip().splitlines()) == 1, error  # nothing was begun
        assert str(tmp_path / "file") in error
        assert ".tmp-" not in error
