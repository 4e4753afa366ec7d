"""What was computed once and is kept: arrays under the hash of all that decided them.

A *namespace* is everything that decides a computation but the image (weights, cut,
preprocessing); inside a namespace every image has one key. Values are appended in shards, so
that a pass that is killed keeps what it had done, and two processes can write at once.

    $HOLOTYPE_CACHE/features/<namespace>/<shard>.keys.npy      (N,) of 32 bytes
    $HOLOTYPE_CACHE/features/<namespace>/<shard>.values.npy    (N, …) memory-mapped on reading
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
    """`$HOLOTYPE_CACHE`, or `holotype` in the user's cache directory. It may not exist yet."""
    named = os.environ.get("HOLOTYPE_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "holotype"


def hash_strings(*parts: str) -> str:
    """One hexadecimal key for several strings; no two lists of strings share one."""
    h = hashlib.sha256()
    for part in parts:
        h.update(len(part).to_bytes(8, "big") + part.encode())
    return h.hexdigest()


class ArrayCache:
    """The arrays of one namespace, found by key.

    Args:
        kind: the folder under the cache: `features`, `fingerprints`, …
        namespace: the hash of everything that decides the values but the image.
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
        """The values of many keys as one array (N, …); copied shard by shard."""
        if not keys:
            raise ValueError("no keys: the shape of nothing is not known")
        positions = np.array([self._position[bytes.fromhex(key)] for key in keys])
        first = self._shards[positions[0, 0]]
        stacked = np.empty((len(keys), *first.shape[1:]), first.dtype)
        for shard in np.unique(positions[:, 0]):
            rows = np.flatnonzero(positions[:, 0] == shard)
            stacked[rows] = self._shards[shard][positions[rows, 1]]
        return stacked

    def add(self, keys: Sequence[str], values: NDArray[Any]) -> None:
        """Append one shard; values first, so that no key ever points at nothing.

        Raises:
            CacheUnwritable: the disk is full, or the directory read-only.
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
