"""Extras of a bundle are verified like its graphs, sealed with it, and travel with a member."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from holotype.bundle.array_files import arrays_from_bytes, arrays_to_bytes, text_to_array
from holotype.bundle.building.ensemble_bundle import write_members
from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.conformal_scores import ConformalScores
from holotype.bundle.manifest import CalibrationSet, Decision
from holotype.bundle.references import References, cosines_NR, make_references, nearest
from holotype.errors import BundleError, CorruptBundle
from tests.bundle.tiny import CLASSES, EMBEDDING, predicted, write_images, write_tiny

CALIBRATION_SET = CalibrationSet("cal", "1" * 64, num_images=3, penalty=0.01, k_reg=2)
DECISION = Decision(temperature=1.7, predictions_sha256="0" * 64, num_images=40)
SETS = Decision(
    temperature=1.7, predictions_sha256="0" * 64, num_images=40, calibration_set=CALIBRATION_SET
)
CONFORMAL_SCORES = ConformalScores(
    np.array([0.3, 0.1, 0.2]), np.array([0.9, 0.4, 0.6]), np.array([2, 0, 1])
)


def some_references(count: int = 40, seed: int = 0) -> References:
    random = np.random.default_rng(seed)
    embeddings_RD = random.normal(size=(count, EMBEDDING)).astype(np.float32)
    targets_R = random.integers(0, len(CLASSES), count)
    return make_references(embeddings_RD, targets_R, [f"a/ä{n}\udcff.png" for n in range(count)])


def test_references_survive_the_disk_and_sealing(tmp_path: Path) -> None:
    written = some_references()
    write_tiny(tmp_path / "b").with_references(written).with_decision(DECISION)
    read = load_bundle(tmp_path / "b").references
    assert read is not None
    np.testing.assert_array_equal(read.embeddings_RD, written.embeddings_RD)
    np.testing.assert_array_equal(read.targets_R, written.targets_R)
    assert read.names == written.names
    assert load_bundle(tmp_path / "b").temperature == 1.7


def test_what_was_calibrated_survives_the_disk_in_an_order_that_tells_no_image(
    tmp_path: Path,
) -> None:
    write_tiny(tmp_path / "b").with_decision(SETS, CONFORMAL_SCORES)
    read = load_bundle(tmp_path / "b").conformal_scores
    assert read is not None
    np.testing.assert_array_equal(read.targets_N, [0, 1, 2])
    np.testing.assert_array_equal(read.lac_N, [0.1, 0.2, 0.3])
    np.testing.assert_array_equal(read.raps_N, [0.4, 0.6, 0.9])


def test_the_same_references_are_the_same_bytes_and_numpy_reads_them() -> None:
    content = some_references().to_bytes()
    assert content == some_references().to_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["embeddings"], some_references().embeddings_RD)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_neighbours_are_those_of_the_cosine_whatever_the_range_of_the_embedding() -> None:
    from scipy.spatial.distance import cdist

    random = np.random.default_rng(1)
    for scale in (1e-12, 1.0, 1e9):  # half precision alone holds neither the first nor the last
        embeddings_RD = (random.normal(size=(50, 12)) * scale).astype(np.float32)
        queries_ND = random.normal(size=(7, 12)).astype(np.float32)
        references = make_references(embeddings_RD, np.zeros(50, np.int64), ["x"] * 50)
        expected_NR = 1 - cdist(queries_ND, embeddings_RD, "cosine")
        np.testing.assert_allclose(cosines_NR(references, queries_ND), expected_NR, atol=1e-3)
        found = nearest(references, queries_ND[0], 5)
        assert [row for row, _ in found] == list(np.argsort(-expected_NR[0])[:5])
        assert len(nearest(references, queries_ND[0], 99)) == 50


def test_an_image_without_any_embedding_is_like_nothing() -> None:
    references = make_references(np.zeros((2, 4), np.float32), np.zeros(2, np.int64), ["a", "b"])
    assert nearest(references, np.ones(4, np.float32), 1) == [(0, 0.0)]
    assert np.isfinite(cosines_NR(references, np.zeros((3, 4), np.float32))).all()


def test_a_bundle_without_extras_has_none(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "b").with_decision(DECISION)
    assert bundle.references is None
    assert bundle.conformal_scores is None
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "backbone.onnx", "head.onnx", "manifest.json",
    ]  # fmt: skip


def test_nothing_is_added_once_the_decision_is_sealed(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "b").with_decision(DECISION)
    with pytest.raises(BundleError, match="sealed already"):
        bundle.with_references(some_references())
    with pytest.raises(BundleError, match="sealed already"):
        bundle.with_decision(SETS, CONFORMAL_SCORES)
    assert not (tmp_path / "b" / "references.npz").exists()


def test_extras_travel_with_a_member_and_the_whole_has_sets_of_its_own(tmp_path: Path) -> None:
    plain = write_tiny(tmp_path / "a").with_decision(DECISION)
    rich = write_tiny(tmp_path / "b").with_references(some_references())
    rich = rich.with_decision(SETS, CONFORMAL_SCORES)
    whole = write_members(tmp_path / "whole", [plain, rich], name="two")
    whole.with_decision(SETS, CONFORMAL_SCORES)
    loaded = load_bundle(tmp_path / "whole")
    assert [base.references is not None for base in loaded.base_models] == [False, True]
    assert loaded.references is None
    assert loaded.conformal_scores is not None
    assert loaded.base_models[1].sha256 == rich.sha256
    write_members(tmp_path / "again", [loaded], name="one")  # a member of members keeps them
    assert len(load_bundle(tmp_path / "again").base_models) == 2
    with pytest.raises(BundleError, match="its members keep references"):
        loaded.with_references(some_references())


def _rich(directory: Path) -> Bundle:
    bundle = write_tiny(directory).with_references(some_references())
    return bundle.with_decision(SETS, CONFORMAL_SCORES)


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["references.npz", "conformal.npz"])
@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (_flip_a_bit, "is not what the manifest says"),
        (Path.unlink, "is missing"),
        (lambda path: path.write_bytes(b""), "is not what the manifest says"),
    ],
)
def test_a_tampered_extra_is_refused_as_the_bundle_is_loaded(
    tmp_path: Path, file: str, corrupt: Callable[[Path], object], message: str
) -> None:
    _rich(tmp_path / "b")
    corrupt(tmp_path / "b" / file)
    with pytest.raises(CorruptBundle, match=f"{file} {message}"):
        load_bundle(tmp_path / "b")


@pytest.mark.parametrize("file", ["references.npz", "conformal.npz"])
def test_an_extra_that_the_manifest_does_not_name_does_not_belong(
    tmp_path: Path, file: str
) -> None:
    write_tiny(tmp_path / "b").with_decision(DECISION)
    (tmp_path / "b" / file).write_bytes(b"x")
    with pytest.raises(CorruptBundle, match=f"'{file}' does not belong"):
        load_bundle(tmp_path / "b")


def _forged(directory: Path, file: str, content: bytes) -> Bundle:
    """What a forger does: another file, and the manifest's hash made to fit."""
    (directory / file).write_bytes(content)
    path = directory / "manifest.json"
    value = json.loads(path.read_text())
    value["files"][file] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(value))
    return load_bundle(directory)


def _npz(**arrays: NDArray[Any]) -> bytes:
    return arrays_to_bytes(arrays)


E = np.ones((2, EMBEDDING), np.float16)
T = np.array([0, 1])
N = np.frombuffer(b'["a", "b"]', np.uint8)


def _with_pickle() -> bytes:
    content = io.BytesIO()
    np.savez(content, embeddings=E, targets=np.array([print, 1], object), names=N)
    return content.getvalue()


def _compressed() -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, embeddings=E, targets=T, names=N)
    return content.getvalue()


def _promising_more_than_it_has() -> bytes:
    """A header of 2^62 numbers: nobody may make room for them."""
    good = _npz(embeddings=E, targets=T, names=N)
    content = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(good)) as source,
        zipfile.ZipFile(content, "w") as target,
    ):
        for entry in source.infolist():
            raw = source.read(entry).replace(b"(2,)", b"(4611686018427387904,)")
            target.writestr(entry.filename, raw)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 and no more",
        _with_pickle(),
        _compressed(),
        _promising_more_than_it_has(),
        _npz(embeddings=E, targets=T),
        _npz(embeddings=E, targets=T, names=N, more=T),
        _npz(embeddings=E.astype(np.float32), targets=T, names=N),
        _npz(embeddings=E[:, 1:], targets=T, names=N),
        _npz(embeddings=E[:1], targets=T, names=N),
        _npz(embeddings=E * np.nan, targets=T, names=N),
        _npz(embeddings=E, targets=T + 2, names=N),
        _npz(embeddings=E, targets=T - 1, names=N),
        _npz(embeddings=E, targets=T, names=np.frombuffer(b'["a", 2]', np.uint8)),
        _npz(embeddings=E, targets=T, names=text_to_array(("a", "x" * 1_000_000))),
        _npz(embeddings=E, targets=T, names=np.frombuffer(b"[" * 99999, np.uint8)),
        _npz(embeddings=E[:0], targets=T[:0], names=np.frombuffer(b"[]", np.uint8)),
    ],
)
def test_odd_references_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    _rich(tmp_path / "b")
    with pytest.raises(CorruptBundle, match=r"references\.npz makes no sense") as caught:
        _ = _forged(tmp_path / "b", "references.npz", content).references
    assert "\n" not in str(caught.value)


S = np.array([0.5, 0.5])


@pytest.mark.parametrize(
    "content",
    [
        _npz(lac=S, raps=S, targets=T + 9),
        _npz(lac=S[:1], raps=S, targets=T),
        _npz(lac=S * np.inf, raps=S, targets=T),
        _npz(lac=S[:0], raps=S[:0], targets=T[:0]),
    ],
)
def test_odd_calibration_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    _rich(tmp_path / "b")
    with pytest.raises(CorruptBundle, match=r"conformal\.npz makes no sense"):
        _ = _forged(tmp_path / "b", "conformal.npz", content).conformal_scores


def test_calibration_that_the_decision_does_not_know_is_refused(tmp_path: Path) -> None:
    _rich(tmp_path / "b")
    path = tmp_path / "b" / "manifest.json"
    value = json.loads(path.read_text())
    value["decision"]["conformal"] = None
    path.write_text(json.dumps(value))
    with pytest.raises(CorruptBundle, match="in its decision, or in neither"):
        load_bundle(tmp_path / "b")


def test_references_do_not_change_an_answer(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 3)
    plain = write_tiny(tmp_path / "a").with_decision(DECISION)
    rich = _rich(tmp_path / "b")
    np.testing.assert_array_equal(
        predicted(plain, images).probabilities_NC, predicted(rich, images).probabilities_NC
    )


def test_arrays_are_read_back_as_they_were_written() -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(0, np.int64)}
    read = arrays_from_bytes(arrays_to_bytes(arrays), {"a": ("float64", 2), "b": ("int64", 1)})
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
