"""The cache: what was written is read back; what was damaged is thrown away and said once."""

import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from holotype.cache import ArrayCache, read_cached, write_cached
from holotype.errors import DamagedCache, UsageError
from holotype.files import atomic_write, cache_directory

KEYS = [hashlib.sha256(bytes([n])).hexdigest() for n in range(6)]
VALUES = np.arange(24, dtype=np.float32).reshape(6, 4)

Damage = Callable[[Path], object]


def _alter(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 255
    file.write_bytes(content)


DAMAGES: dict[str, Damage] = {
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + bytes(32)),
    "altered": _alter,
}


def test_values_are_read_back_by_another_process(fresh_cache: Path) -> None:
    ArrayCache("features", "space").add(KEYS[:4], VALUES[:4])
    ArrayCache("features", "space").add(KEYS[4:], VALUES[4:])
    cache = ArrayCache("features", "space")
    assert np.array_equal(cache.stack(KEYS[::-1]), VALUES[::-1])
    assert np.array_equal(cache[KEYS[5]], VALUES[5])
    assert hashlib.sha256(b"other").hexdigest() not in cache


def test_what_another_process_is_writing_is_no_damage(fresh_cache: Path) -> None:
    ArrayCache("features", "space").add(KEYS[:3], VALUES[:3])
    (keys,) = (fresh_cache / "features/space").glob("*.keys")
    with atomic_write(keys) as unfinished:
        unfinished.write_bytes(keys.read_bytes()[:20])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(ArrayCache("features", "space").stack(KEYS[:3]), VALUES[:3])
            assert KEYS[3] not in ArrayCache("features", "space")
        assert unfinished.exists()
        unfinished.write_bytes(keys.read_bytes())


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("which", ["*.keys", "*.values.npy"])
def test_a_damaged_shard_counts_as_missing(fresh_cache: Path, which: str, damage: Damage) -> None:
    ArrayCache("features", "space").add(KEYS[:3], VALUES[:3])
    (damaged,) = (fresh_cache / "features/space").glob(which)
    ArrayCache("features", "space").add(KEYS[3:], VALUES[3:])
    damage(damaged)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        cache = ArrayCache("features", "space")
        found = [key in cache for key in KEYS]
    assert found == 3 * [False] + 3 * [True]
    assert [warning.category for warning in said] == [DamagedCache]
    assert "fail their checksum" in str(said[0].message)
    assert not damaged.exists()
    cache.add(KEYS[:3], VALUES[:3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(ArrayCache("features", "space").stack(KEYS), VALUES)


@pytest.mark.parametrize("which", ["*.keys", "*.values.npy"])
def test_a_lost_half_of_a_shard_counts_as_missing(fresh_cache: Path, which: str) -> None:
    ArrayCache("features", "space").add(KEYS, VALUES)
    next((fresh_cache / "features/space").glob(which)).unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedCache)
        cache = ArrayCache("features", "space")
        assert not any(key in cache for key in KEYS)
    cache.add(KEYS, VALUES)
    assert np.array_equal(ArrayCache("features", "space").stack(KEYS), VALUES)


def test_values_under_other_keys_are_not_believed(fresh_cache: Path) -> None:
    cache = ArrayCache("features", "space")
    cache.add(KEYS, VALUES)
    (file,) = cache.directory.glob("*.values.npy")
    np.save(file, np.roll(VALUES, 1, axis=0))
    with pytest.warns(DamagedCache):
        assert KEYS[0] not in ArrayCache("features", "space")


def test_a_shard_of_another_namespace_is_not_believed(fresh_cache: Path) -> None:
    ArrayCache("features", "space").add(KEYS, VALUES)
    (fresh_cache / "features/space").rename(fresh_cache / "features/other")
    with pytest.warns(DamagedCache):
        assert KEYS[0] not in ArrayCache("features", "other")


def test_what_was_computed_anew_goes_before_what_is_on_disk(fresh_cache: Path) -> None:
    ArrayCache("features", "space").add(KEYS, VALUES)
    cache = ArrayCache("features", "space")
    cache.add(KEYS, VALUES + 1)
    assert np.array_equal(cache.stack(KEYS), VALUES + 1)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_counts_as_missing(fresh_cache: Path, damage: Damage) -> None:
    assert read_cached("graphs/key/embedding.onnx") is None
    write_cached("graphs/key/embedding.onnx", b"a graph")
    assert read_cached("graphs/key/embedding.onnx") == b"a graph"
    damage(fresh_cache / "graphs/key/embedding.onnx")
    with pytest.warns(DamagedCache, match="fail their checksum"):
        assert read_cached("graphs/key/embedding.onnx") is None
    assert not (fresh_cache / "graphs/key/embedding.onnx").exists()


def test_a_file_of_another_name_is_not_believed(fresh_cache: Path) -> None:
    write_cached("graphs/key/embedding.onnx", b"a graph")
    (fresh_cache / "graphs/key/embedding.onnx").rename(fresh_cache / "graphs/key/cut1.onnx")
    with pytest.warns(DamagedCache):
        assert read_cached("graphs/key/cut1.onnx") is None


@pytest.mark.parametrize("kind", ["link", "of another", "own", "none"])
def test_without_a_home_the_cache_is_no_directory_of_another_user(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOLOTYPE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    user = os.getuid() + (kind == "of another")
    monkeypatch.setattr(os, "getuid", lambda: user)
    place = tmp_path / f"holotype-{user}"
    if kind == "link":
        (tmp_path / "theirs").mkdir()
        place.symlink_to(tmp_path / "theirs")
    elif kind != "none":
        place.mkdir()
    if kind in ("link", "of another"):
        with pytest.raises(UsageError, match="is a link, or of another user"):
            cache_directory()
    else:
        assert cache_directory() == place
        assert kind == "own" or place.stat().st_mode & 0o077 == 0
