"""A bundle that keeps its validation is watched with nothing else there."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.dataset.index import read_index_file
from holotype.errors import CorruptBundle, InvalidRecipe
from holotype.pipeline.keep_validation import with_validation_images
from holotype.predictions import read_predictions
from holotype.progress import Progress
from holotype.run_directory import RunDirectory
from holotype.training.config.resolve import resolve_recipe
from holotype.watching.watch import WatchOptions
from holotype.watching.watch_reference import (
    read_reference,
    reference_in_bundle,
    reference_of_validation,
)
from tests.watching.made_log import MadeLog, answered, png, write_watched_run


def kept_alone(folder: Path, run: RunDirectory, *, with_embeddings: bool) -> Path:
    """A copy of the bundle that keeps its validation, and nothing of the run."""
    shutil.copytree(run.bundle, folder / "alone")
    with_validation_images(
        load_bundle(folder / "alone"), read_index_file(run.index),
        read_predictions(run.predictions / "val.parquet"), with_embeddings=with_embeddings,
    )  # fmt: skip
    return folder / "alone"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return write_watched_run(tmp_path_factory.mktemp("watched"))


@pytest.mark.parametrize("with_embeddings", [True, False])
def test_a_bundle_alone_is_watched_against_its_validation(
    run: RunDirectory, tmp_path: Path, *, with_embeddings: bool
) -> None:
    place = kept_alone(tmp_path, run, with_embeddings=with_embeddings)
    random = np.random.default_rng(1)
    alike = answered(RunDirectory(place), [png(random) for _ in range(200)])
    darker = answered(RunDirectory(place), [png(random, level=105.0) for _ in range(200)])
    log, options = MadeLog(tmp_path / "log"), WatchOptions(window="100")
    log.add(alike, seed=1, windows=3)
    found = holotype.watch(place, log=log.folder, output=tmp_path / "watch", options=options)
    reference = read_reference(tmp_path / "watch", load_bundle(place).sha256)
    assert reference is not None
    assert reference.source == "validation"
    assert len(reference.images) > 100
    assert (reference.images.embeddings_ND is not None) == with_embeddings
    assert (found.alarm, found.new_windows) == (False, 3)
    log.add(darker, seed=2, windows=3)
    found = holotype.watch(place, log=log.folder, output=tmp_path / "watch", options=options)
    assert (found.alarm, found.kind) == (True, "input")


def test_it_is_the_reference_that_the_run_would_give(run: RunDirectory, tmp_path: Path) -> None:
    bundle = load_bundle(kept_alone(tmp_path, run, with_embeddings=True))
    found = reference_in_bundle(bundle)
    expected = reference_of_validation(load_bundle(run.path), run, Progress())
    assert found is not None
    assert expected is not None
    assert set(found.images.names_N.tolist()) == {""}
    for name, value_N in expected.images.facts.items():
        np.testing.assert_array_equal(np.sort(found.images.facts[name]), np.sort(value_N))
    assert sorted(found.images.targets_N.tolist()) == sorted(expected.images.targets_N.tolist())
    assert reference_in_bundle(load_bundle(run.path)) is None


def test_another_reference_than_was_sealed_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    place = kept_alone(tmp_path, run, with_embeddings=False)
    file = place / "watch_reference.npz"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptBundle, match=r"watch_reference\.npz is not what the manifest says"):
        load_bundle(place)
    file.unlink()
    with pytest.raises(CorruptBundle, match=r"watch_reference\.npz is missing"):
        load_bundle(place)


def test_what_learns_from_validation_does_not_keep_it() -> None:
    with pytest.raises(InvalidRecipe, match="leave one out"):
        resolve_recipe("linear", overrides={"watch_reference": "scores", "refit": True})
