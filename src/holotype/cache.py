"""A cache of arrays on disk, keyed by hashes of everything that determines their values.

A *namespace* is the hash of everything but the image (weights, layer, preprocessing); within a
namespace every image has one key. Values are appended in shards, so an interrupted pass keeps what
it wrote, and several processes may write at once.

    $HOLOTYPE_CACHE/features/<namespace>/<shard>.keys.npy      (N, 32) uint8
    $HOLOTYPE_CACHE/features/<namespace>/<shard>.values.npy    (N, …), read memory-mapped
"""

import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.errors import CacheUnwritable
from holotype.files import atomic_write


def cache_directory() -> Path:
    """`$HOLOTYPE_CACHE`, or `holotype` in the user's cache directory; it may not exist yet."""
    named = os.environ.get("HOLOTYPE_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "holotype"


def hash_strings(*parts: str) -> str:
    """SHA-256 of a list of strings, hexadecimal; the lengths are hashed too."""
    h = hashlib.sha256()
    for part in parts:
        h.update(len(part).to_bytes(8, "big") + part.encode())
    return h.hexdigest()


class ArrayCache:
    """The arrays of one namespace, by key.

    Args:
        kind: folder in the cache directory: `features`, `fingerprints`, …
        namespace: hash of everything that determines the values except the image.
    """

    def __init__(self, kind: str, namespace: str) -> None:
        self.directory = cache_directory() / kind / namespace
        self._shards: list[NDArray[Any]] = []
        self._position: dict[bytes, tuple[int, int]] = {}
        for keys_path in sorted(self.directory.glob("*.keys.npy")):
            self._open_shard(keys_path)

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._position

    def __getitem__(self, key: str) -> NDArray[Any]:
        shard, row = self._position[bytes.fromhex(key)]
        return np.asarray(self._shards[shard][row])

    def stack(self, keys: Sequence[str]) -> NDArray[Any]:
        """The values of N keys as one array (N, …)."""
        if not keys:
            raise ValueError("no keys; expected at least one")
        positions = np.array([self._position[bytes.fromhex(key)] for key in keys])
        first = self._shards[positions[0, 0]]
        stacked = np.empty((len(keys), *first.shape[1:]), first.dtype)
        for shard in np.unique(positions[:, 0]):
            rows = np.flatnonzero(positions[:, 0] == shard)
            stacked[rows] = self._shards[shard][positions[rows, 1]]
        return stacked

    def add(self, keys: Sequence[str], values: NDArray[Any]) -> None:
        """Append one shard: values first, then keys, so that every key on disk has its value.

        Raises:
            CacheUnwritable: the disk is full or the directory read-only.
        """
        name = uuid.uuid4().hex
        raw = np.frombuffer(b"".join(map(bytes.fromhex, keys)), np.uint8).reshape(-1, 32)
        keys_path = self.directory / f"{name}.keys.npy"
        try:
            for path, array in ((_values_path(keys_path), values), (keys_path, raw)):
                with atomic_write(path) as temporary:
                    np.save(temporary, np.ascontiguousarray(array))
        except OSError as error:
            raise CacheUnwritable(
                f"the cache {str(cache_directory())!r} cannot be written: {error.strerror}. Make "
                "room, or set HOLOTYPE_CACHE to a directory that can be written."
            ) from error
        self._open_shard(keys_path)

    def _open_shard(self, keys_path: Path) -> None:
        raw = np.load(keys_path)
        self._shards.append(np.load(_values_path(keys_path), mmap_mode="r"))
        shard = len(self._shards) - 1
        for row in range(len(raw)):
            self._position.setdefault(raw[row].tobytes(), (shard, row))


def _values_path(keys_path: Path) -> Path:
    return keys_path.with_name(keys_path.name.replace(".keys.", ".values."))
