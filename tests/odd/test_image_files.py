"""Odd files through audit, train, evaluate, predict and Python: right pixels, or refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import holotype
from holotype.bundle.bundle import Bundle
from holotype.dataset.auditing.audit_without_network import audit
from holotype.dataset.index import read_index
from holotype.errors import ImageError
from holotype.imaging.decode import decode
from holotype.imaging.preprocessing import Preprocessing
from holotype.training.data.loader import FramedImages, image_files
from tests.bundle.tiny import CLASSES, PREPROCESSING, SIDE, write_tiny
from tests.conftest import Cli
from tests.odd.image_files import FILES, OddFile

USED = [one for one in FILES if one.pixels is not None]
REFUSED = {one.name: one.problem for one in FILES if one.pixels is None}
CAUSES = [pytest.param(one, id=one.name) for one in FILES if one.content is not None]


def write(folder: Path, one: OddFile) -> Path:
    path = folder / one.name
    if one.content is not None:
        path.write_bytes(one.content)
    elif one.name == "link_to_nowhere.png":
        path.symlink_to(folder / "nowhere.png")
    elif one.name == "link_to_itself.png":
        path.symlink_to(path)
    elif one.name == "sparse_4_gb.tif":
        with path.open("wb") as file:
            file.write(b"II*\0\x08\0\0\0")
            file.truncate(4 * 2**30)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files in the folders of the tiny classifier's classes, in turn."""
    folder = tmp_path_factory.mktemp("odd") / "data"
    for number, one in enumerate(FILES):
        place = folder / CLASSES[number % len(CLASSES)]
        place.mkdir(parents=True, exist_ok=True)
        write(place, one)
        if number < len(CLASSES):
            os.mkfifo(place / "pipe.png")  # never opened, and no image
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "bundle")


def test_the_table_is_large_and_its_names_are_different() -> None:
    assert len(FILES) >= 120
    assert len({one.name for one in FILES}) == len(FILES)


@pytest.mark.parametrize("one", CAUSES)
def test_a_file_has_the_right_pixels_or_is_refused(one: OddFile, tmp_path: Path) -> None:
    path = write(tmp_path, one)
    if one.pixels is None:
        with pytest.raises(ImageError) as refused:
            decode(path)
        assert refused.value.problem == one.problem
        return
    image = decode(path)
    height, width = one.pixels.shape[:2]
    size = {"height": height, "width": width, "fit": "squash", "interpolation": "nearest"}
    framed = Preprocessing(**size, mean=(0, 0, 0), std=(1, 1, 1)).frame(image)
    found = np.asarray(framed.convert("RGB"), float)
    expected = one.pixels if one.pixels.ndim == 3 else one.pixels[:, :, None]
    assert image.stored_size == (width, height)
    assert np.abs(found - expected).max() <= one.tolerance
    assert " ".join(image.warnings).count(one.warning) == 1 if one.warning else not image.warnings


def test_audit_names_what_is_refused_and_nothing_else(data: Path) -> None:
    findings = audit(read_index(data))
    found = {Path(one.path).name: one.problem for one in findings.unusable}
    assert found == REFUSED
    assert {Path(path).name for path in findings.warnings} == {o.name for o in USED if o.warning}


def test_predict_answers_as_for_the_right_pixels(data: Path, bundle: Bundle) -> None:
    """The oracle goes in as an array, past every decoder."""
    classifier = holotype.load(bundle.path)
    found = classifier.predict(data)
    assert {Path(one.file).name: one.problem for one in found.refused} == REFUSED
    answered = dict(zip((Path(i).name for i in found.ids), found.probabilities, strict=True))
    assert set(answered) == {one.name for one in USED}
    oracles = [np.rint(one.pixels).astype(np.uint8) for one in USED if one.pixels is not None]
    expected = classifier.predict_proba(oracles)
    for one, right in zip(USED, expected, strict=True):
        limit = 0.02 if one.tolerance <= 8 else 0.1
        assert np.abs(answered[one.name] - right).max() <= limit, one.name
    assert {Path(path).name for path in found.warnings} == {o.name for o in USED if o.warning}


def test_evaluate_scores_what_predict_answers(data: Path, bundle: Bundle, cli: Cli) -> None:
    report = holotype.evaluate(bundle.path, data)
    found = holotype.load(bundle.path).predict(data)
    right = [Path(i).parent.name == label for i, label in zip(found.ids, found.labels, strict=True)]
    assert report.metrics["accuracy"].value == pytest.approx(np.mean(right))
    code, _, said = cli("evaluate", bundle.path, data)
    assert code == 0
    assert f"{len(REFUSED)} of {len(FILES)} images were refused" in said
    assert said.count("left out:") <= 21


def test_train_learns_from_the_right_pixels(data: Path, tmp_path: Path, cli: Cli) -> None:
    code, _, said = cli("train", data, "--model", "hog", "--output", tmp_path / "run")
    assert code == 0, said
    assert said.count("left out:") <= 21
    run = holotype.Run(tmp_path / "run")
    names = {Path(path).name for path in run.index.table["path"]}
    assert names == {one.name for one in USED}
    files = image_files(run.index)
    framed = FramedImages(files, PREPROCESSING)
    by_name = {one.name: one for one in USED}
    for position, file in enumerate(files):
        one = by_name[file.path.name]
        assert one.pixels is not None
        oracle = Image.fromarray(np.rint(one.pixels).astype(np.uint8)).convert("RGB")
        small = oracle.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        found = np.asarray(framed[position].convert("RGB"), float)
        assert np.abs(found - np.asarray(small)).max() <= one.tolerance + 1, one.name
