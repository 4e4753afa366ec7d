"""Shards of images, predicted by jobs, are one table with the answers of one process."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.bundle.bundle import Bundle
from holotype.bundle.image_sources import image_sources
from holotype.bundle.inference import predict_images
from holotype.errors import CorruptFile, HolotypeError, UsageError
from holotype.pipeline.sharding.sharded_prediction import (
    predict_shard,
    predict_sharded,
    read_shard,
    write_shard,
)
from holotype.predictions import Predictions
from holotype.progress import Progress
from tests.bundle.tiny import CLASSES, write_images, write_tiny
from tests.conftest import Cli


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_tiny(tmp_path / "bundle")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Seven images, one of which is broken."""
    folder = tmp_path / "images"
    paths = write_images(folder, 7)
    paths[4].write_bytes(paths[4].read_bytes()[:60])
    return folder


def same(one: Predictions, other: Predictions) -> None:
    assert one.ids == other.ids
    assert one.sha256 == other.sha256
    np.testing.assert_array_equal(one.logits_NC, other.logits_NC)
    np.testing.assert_array_equal(one.probabilities_NC, other.probabilities_NC)
    assert [str(each) for each in one.refused] == [str(each) for each in other.refused]
    assert [type(each) for each in one.refused] == [type(each) for each in other.refused]
    assert one.bundle_sha256 == other.bundle_sha256


def test_shards_are_one_table_in_the_end(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    sources = image_sources(images)
    found = predict_sharded(bundle, sources, tmp_path, on="local", jobs=2, progress=Progress())
    same(found, predict_images(bundle, sources))
    assert len(found) == 6
    assert not list(tmp_path.glob(".tmp-*"))


def test_what_cannot_go_elsewhere_is_refused(
    bundle: Bundle, images: Path, tmp_path: Path, cli: Cli
) -> None:
    in_memory = image_sources([Image.new("RGB", (9, 9))])
    with pytest.raises(UsageError, match="needs files"):
        predict_sharded(bundle, in_memory, tmp_path, on="ray", jobs=1, progress=Progress())
    code, _, err = cli("predict", bundle.path, images, "--on", "slurm")
    assert code == 2
    assert "needs --output" in err


def test_a_shard_that_fails_says_why(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    sources = image_sources(images)
    (bundle.path / "head.onnx").write_bytes(b"broken")
    with pytest.raises(HolotypeError, match="2 of 2 shards failed"):
        predict_sharded(bundle, sources, tmp_path, on="local", jobs=2, progress=Progress())
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("content", ["", "[]", '{"images": [1]}', "{"])
def test_a_damaged_listing_of_a_shard_is_named(
    bundle: Bundle, tmp_path: Path, content: str
) -> None:
    (tmp_path / "0.files.json").write_text(content)
    with pytest.raises(CorruptFile, match=r"0\.files\.json"):
        predict_shard(bundle.path, tmp_path, 0)


def test_damaged_answers_of_a_shard_are_named(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    write_shard(image_sources(images), tmp_path / "0.files.json")
    predict_shard(bundle.path, tmp_path, 0)
    assert len(read_shard(tmp_path, 0)) == 6
    (tmp_path / "0.answers.json").write_text('{"unknown": [1], "refused": [[]]}')
    with pytest.raises(CorruptFile, match=r"0\.answers\.json"):
        read_shard(tmp_path, 0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_predict_and_evaluate_on_ray_answer_as_here(
    bundle: Bundle, images: Path, tmp_path: Path, cli: Cli
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    answers = [tmp_path / "here.csv", tmp_path / "ray.csv"]
    assert cli("predict", bundle.path, images, "--output", answers[0])[0] == 1  # one is refused
    words = ["--on", "ray", "--jobs", 2]
    assert cli("predict", bundle.path, images, "--output", answers[1], *words)[0] == 1
    assert answers[0].read_bytes() == answers[1].read_bytes()
    data = tmp_path / "labelled"
    for number, path in enumerate(sorted(images.iterdir())):
        (data / CLASSES[number % 3]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, data / CLASSES[number % 3] / path.name)
    reports = [tmp_path / "here", tmp_path / "there"]
    assert cli("evaluate", bundle.path, data, "--output", reports[0])[0] == 0
    assert cli("evaluate", bundle.path, data, "--output", reports[1], *words)[0] == 0
    tables = [(report / "report" / "metrics.json").read_bytes() for report in reports]
    assert tables[0] == tables[1]
