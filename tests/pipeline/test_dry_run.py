"""`train --dry-run` says what training would take, and leaves no run behind."""

import json
import math
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import holotype
from holotype.dataset.index import read_index_file
from holotype.errors import (
    DatasetError,
    InvalidFolds,
    InvalidRatios,
    InvalidRecipe,
    SplitLeakage,
    UsageError,
)
from holotype.pipeline.run import Run
from holotype.pipeline.training_run.training_options import ReadingOptions
from holotype.run_directory import RunDirectory
from tests.conftest import Cli
from tests.pipeline.conftest import SMALL
from tests.pipeline.test_train_variants import FILE, write

QUICK: dict[str, Any] = {
    "model": "lbp", "recipe": "linear",
    "overrides": {"stages.0.Cs": "[0.01]", "stages.0.folds": "null"},
}  # fmt: skip


def test_a_dry_run_times_every_stage_and_writes_no_run(
    finetuned: Run,
    synthetic: Path,
    session_cache: Path,
    tmp_path: Path,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The network of `finetuned` need not be exported again, but no view of an image is kept.
    graphs, unwritten = tmp_path / "cache" / "graphs", shutil.ignore_patterns(".tmp-*")
    shutil.copytree(session_cache / "graphs", graphs, ignore=unwritten)
    monkeypatch.setenv("HOLOTYPE_CACHE", str(tmp_path / "cache"))
    words = ("--image-size", 64, "--set", "stages.1.views=2", "--set", "stages.1.trainable=2")
    run = tmp_path / "run"
    code, out, _ = cli("train", synthetic, *words, "--recipe", "finetune", "--output", run,
                       "--dry-run", "--json")  # fmt: skip
    assert code == 0
    assert not run.exists()
    found = json.loads(out)
    symmetry, frozen_head, frozen, epochs = found["stages"]
    (parts,) = found["split_sizes"]
    images = parts["train"] + parts["val"]
    assert symmetry["work"] == f"{8 * parts['train']} views to measure the symmetry with"
    views = 4 * parts["train"] + parts["val"]
    assert frozen_head["work"].startswith(f"{views} views")
    assert frozen_head["disk_bytes"] == views * 1280 * 4  # float32 embeddings
    assert frozen["work"].startswith(f"{parts['train'] + images} views")
    assert epochs["work"].startswith("12 epochs of")
    assert all(stage["seconds"] > 0 for stage in found["stages"])
    assert found["seconds"] == pytest.approx(sum(stage["seconds"] for stage in found["stages"]))
    assert found["memory_mb"] > 50


def test_a_dry_run_refuses_what_train_refuses(synthetic: Path, tmp_path: Path) -> None:
    """No part to report on; a teacher beside folds; a teacher that saw what judges its pupil."""
    teacher = holotype.train(synthetic, output=tmp_path / "teacher", **QUICK)
    pupil: dict[str, Any] = {"model": "cnn_baseline", "recipe": "scratch", "image_size": 32}
    taught = {"teacher.run": str(teacher.path), "split_seed": 7}
    for words, kind, refused in (
        ({**QUICK, "ratios": [1, 0, 0]}, DatasetError, "neither validation nor test"),
        ({**pupil, "overrides": taught, "folds": 2}, UsageError, "tests every image once"),
        ({**pupil, "overrides": taught}, SplitLeakage, "that this training is judged by"),
    ):
        for verb in (holotype.estimate, partial(holotype.train, output=tmp_path / "run")):
            with pytest.raises(kind, match=refused):
                verb(synthetic, **words)
    assert not (tmp_path / "run").exists()


def test_what_is_kept_already_costs_nothing(finetuned: Run, synthetic: Path) -> None:
    found = holotype.estimate(synthetic, recipe="finetune", **SMALL)
    assert found.costs[0].disk_bytes == 0  # the same images were embedded by that run
    assert found.costs[0].work.startswith("0 views")


def trained_on(run: RunDirectory) -> dict[str, int]:
    """The images of each part that a run's index holds, without those that count nothing."""
    table = read_index_file(run.index).table
    counted = table[table["weight"] > 0]["split"].value_counts()
    return {part: int(counted.get(part, 0)) for part in ("train", "val", "test")}


@pytest.fixture
def doubted(finetuned: Run, tmp_path: Path) -> Path:
    """A table that names images of all parts of a split with the usual seed."""
    table = read_index_file(finetuned.files.index).table
    named = [
        path
        for part, count in (("train", 9), ("val", 3), ("test", 2))
        for path in table[table["split"] == part]["path"].head(count)
    ]
    (tmp_path / "issues.csv").write_text("path,confirmed\n" + "".join(f"{p},yes\n" for p in named))
    return tmp_path / "issues.csv"


def test_what_is_excluded_is_in_no_count(finetuned: Run, doubted: Path, synthetic: Path) -> None:
    reading = ReadingOptions(exclude=doubted)
    (found,) = holotype.estimate(synthetic, reading=reading, **QUICK).split_sizes
    assert found == {
        part: trained_on(finetuned.files)[part] - count
        for part, count in (("train", 9), ("val", 3), ("test", 2))
    }


def test_with_folds_it_is_the_sum_of_their_trainings(
    doubted: Path, synthetic: Path, tmp_path: Path, cli: Cli, fresh_cache: Path
) -> None:
    words = ("--model", "lbp", "--recipe", "linear", "--folds", 2, "--exclude", doubted)
    code, out, err = cli("train", synthetic, *words, "--dry-run")
    assert code == 0
    assert f" {120 - 14} views " in out, "an image is embedded once, in however many folds"
    assert "is the sum of 2 trainings on " in out
    assert err.count(" excluded.") == 1
    reading = ReadingOptions(exclude=doubted)
    trained = holotype.train(synthetic, output=tmp_path / "run", reading=reading, folds=2, **QUICK)
    for fold in range(2):
        sizes = trained_on(trained.files.fold(fold))
        row = ["fold", str(fold), *map(str, sizes.values())]
        assert row in [line.split() for line in out.splitlines()]


def test_the_batches_of_all_folds_are_counted(synthetic: Path) -> None:
    options: dict[str, Any] = {
        "model": "cnn_baseline", "recipe": "scratch", "image_size": 32,
        "overrides": {
            "batch_size": 16, "epochs": 2, "stages.0.views": 1, "stages.0.augmentation": None,
        },
    }  # fmt: skip
    found = holotype.estimate(synthetic, folds=4, **options)
    batches = sum(math.ceil(sizes["train"] / 16) for sizes in found.split_sizes)
    (cost,) = found.costs
    assert cost.work == f"2 epochs of {batches} batches of up to 16 in 4 trainings"
    assert found.seconds == cost.seconds > 0


def test_what_folds_cannot_do_is_refused_before_anything_is_timed(synthetic: Path) -> None:
    with pytest.raises(InvalidRatios, match="folds need a validation part"):
        holotype.estimate(synthetic, folds=3, ratios=(0.8, 0.0, 0.2), **QUICK)
    with pytest.raises(InvalidFolds, match="at least 2"):
        holotype.estimate(synthetic, folds=1, **QUICK)


def test_what_cannot_be_sealed_at_the_end_is_refused_too(synthetic: Path) -> None:
    with pytest.raises(InvalidRecipe, match="validation has no images"):
        holotype.estimate(
            synthetic, ratios=(0.8, 0.0, 0.2),
            **QUICK | {"overrides": QUICK["overrides"] | {"test_time_augmentation": "mirror"}},
        )  # fmt: skip


def test_a_schedule_that_needs_validation_is_refused_without_it(synthetic: Path) -> None:
    plateau = {"stages.0.schedule": "plateau"}
    with pytest.raises(InvalidRecipe, match="plateau schedule needs a validation loss"):
        holotype.estimate(
            synthetic, ratios=(0.8, 0.0, 0.2), model="cnn_baseline", overrides=plateau
        )


def test_a_file_of_variants_is_refused_with_a_name(
    synthetic: Path, tmp_path: Path, cli: Cli
) -> None:
    code, _, err = cli("train", synthetic, "--recipe", write(tmp_path, FILE), "--dry-run")
    assert code == 2
    assert "shapes.yaml#network" in err
