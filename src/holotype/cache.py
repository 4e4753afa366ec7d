"""A cache of arrays and files on disk, keyed by hashes of everything that determines their values.

A *namespace* is the hash of everything but the image (weights, layer, preprocessing); within a
namespace every image has one key. Values are appended in shards, so an interrupted pass keeps what
it wrote, and several processes may write at once.

    $HOLOTYPE_CACHE/features/<namespace>/<digest>.keys         (N, 32) bytes
    $HOLOTYPE_CACHE/features/<namespace>/<digest>.values.npy   (N, …), read memory-mapped

The digest is the SHA-256 of kind, namespace, keys and values. It is checked before the first value
of a shard is used (0.07 s for 100 MB); a shard that fails is removed, a `DamagedCache` warning is
given, and its values count as missing. Single files are checked in the same way: 32 bytes of
SHA-256 stand before their content.
"""

import hashlib
import io
import mmap
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.errors import CacheUnwritable, DamagedCache
from holotype.files import atomic_write, cache_directory

KINDS = ("features", "fingerprints", "graphs", "near_duplicates")  # folders of the cache

_SHA256_BYTES = 32

_Buffer = bytes | memoryview | mmap.mmap


def hash_strings(*parts: str) -> str:
    """SHA-256 of a list of strings, hexadecimal; the lengths are hashed too."""
    h = hashlib.sha256()
    for part in parts:
        h.update(len(part).to_bytes(8, "big") + part.encode())
    return h.hexdigest()


def read_cached(name: str) -> bytes | None:
    """The content of one file of the cache; None where it is missing or was damaged.

    Args:
        name: relative to the cache directory, such as `graphs/<key>/embedding.onnx`.
    """
    path = cache_directory() / name
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    content = raw[_SHA256_BYTES:]
    if raw[:_SHA256_BYTES] == _digest(name, content):
        return content
    _remove_damaged(path.parent, [path])
    return None


def write_cached(name: str, content: bytes) -> None:
    """Write one file of the cache; see `read_cached`.

    Raises:
        CacheUnwritable: the disk is full or the directory read-only.
    """
    _write(cache_directory() / name, _digest(name, content) + content)


@dataclass(frozen=True)
class CacheEntry:
    """What is removed from the cache as a whole: a shard of arrays, or a single file.

    Attributes:
        kind: the folder that it is in, such as `features`.
        files: in the order in which they are removed: keys before the values that they name.
        num_bytes: of all files.
        used_at: when it was last read or written, as far as the file system notes that.
    """

    kind: str
    files: tuple[Path, ...]
    num_bytes: int
    used_at: float


def cache_entries() -> list[CacheEntry]:
    """Everything in the cache that was written through this module; nothing else in its folder."""
    found = []
    for kind in KINDS:
        for file in sorted((cache_directory() / kind).rglob("*")):
            keys = file.with_name(file.name.removesuffix(".values.npy") + ".keys")
            if file.name.startswith(".") or (keys != file and keys.is_file()):
                continue  # still being written, or of a shard that its keys stand for
            files = (file, _values_path(file)) if file.suffix == ".keys" else (file,)
            with suppress(OSError):  # another process has just removed it
                stats = [each.stat() for each in files if each.is_file()]
                if stats:
                    used_at = max(max(each.st_atime, each.st_mtime) for each in stats)
                    size = sum(each.st_size for each in stats)
                    found.append(CacheEntry(kind, files, size, used_at))
    return found


class ArrayCache:
    """The arrays of one namespace, by key.

    Args:
        kind: folder in the cache directory, one of `KINDS`.
        namespace: hash of everything that determines the values except the image.
    """

    def __init__(self, kind: str, namespace: str) -> None:
        self.directory = cache_directory() / kind / namespace
        self._name = f"{kind}/{namespace}"
        self._keys_paths: list[Path] = []
        self._values: list[NDArray[Any] | None] = []  # of each shard; None until it is checked
        self._position: dict[bytes, tuple[int, int]] = {}
        for keys_path in sorted(self.directory.glob("[!.]*.keys")):
            with suppress(OSError):  # another process has just removed it
                keys = _split_keys(keys_path.read_bytes())
                self._append(keys_path, keys, None)
                if not keys:
                    self._checked(len(self._values) - 1)

    def __reduce__(self) -> tuple[type["ArrayCache"], tuple[str, ...]]:
        """Another process opens the same files."""
        return ArrayCache, tuple(self._name.split("/", 1))

    def __contains__(self, key: str) -> bool:
        position = self._position.get(bytes.fromhex(key))
        return position is not None and self._checked(position[0]) is not None

    def __getitem__(self, key: str) -> NDArray[Any]:
        shard, row = self._position[bytes.fromhex(key)]
        return np.asarray(self._intact(shard)[row])

    def stack(self, keys: Sequence[str]) -> NDArray[Any]:
        """The values of N keys as one array (N, …).

        Raises:
            KeyError: one of them is not in the cache.
        """
        if not keys:
            raise ValueError("no keys; expected at least one")
        positions = np.array([self._position[bytes.fromhex(key)] for key in keys])
        first = self._intact(int(positions[0, 0]))
        stacked = np.empty((len(keys), *first.shape[1:]), first.dtype)
        for shard in np.unique(positions[:, 0]).tolist():
            rows = np.flatnonzero(positions[:, 0] == shard)
            stacked[rows] = self._intact(shard)[positions[rows, 1]]
        return stacked

    def add(self, keys: Sequence[str], values: NDArray[Any]) -> None:
        """Append one shard: values first, then keys, so that every key on disk has its value.

        Raises:
            CacheUnwritable: the disk is full or the directory read-only.
        """
        raw_keys = b"".join(map(bytes.fromhex, keys))
        file = io.BytesIO()
        np.save(file, np.ascontiguousarray(values))
        digest = _digest(self._name, raw_keys, file.getbuffer()).hex()
        keys_path = self.directory / f"{digest}.keys"
        _write(_values_path(keys_path), file.getbuffer())
        _write(keys_path, raw_keys)
        self._append(
            keys_path, _split_keys(raw_keys), np.load(_values_path(keys_path), mmap_mode="r")
        )

    def _append(self, keys_path: Path, keys: list[bytes], values: NDArray[Any] | None) -> None:
        shard = len(self._values)
        self._keys_paths.append(keys_path)
        self._values.append(values)
        self._position.update((key, (shard, row)) for row, key in enumerate(keys))

    def _intact(self, shard: int) -> NDArray[Any]:
        values = self._checked(shard)
        if values is None:
            raise KeyError(f"a damaged file in the cache {str(self.directory)!r}")
        return values

    def _checked(self, shard: int) -> NDArray[Any] | None:
        """The values of a shard; None where it is damaged, and then it is removed."""
        values = self._values[shard]
        if values is not None:
            return values
        keys_path = self._keys_paths[shard]
        values_path = _values_path(keys_path)
        try:
            with values_path.open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            with content:
                digest = _digest(self._name, keys_path.read_bytes(), content)
        except (OSError, ValueError):  # ValueError: an empty file cannot be mapped
            digest = b""
        if digest.hex() == keys_path.stem:
            self._values[shard] = np.load(values_path, mmap_mode="r")
            return self._values[shard]
        _remove_damaged(self.directory, [keys_path, values_path])
        self._position = {k: at for k, at in self._position.items() if at[0] != shard}
        return None


def _split_keys(raw: bytes) -> list[bytes]:
    ends = range(_SHA256_BYTES, len(raw) + 1, _SHA256_BYTES)
    return [raw[end - _SHA256_BYTES : end] for end in ends]


def _values_path(keys_path: Path) -> Path:
    return keys_path.with_suffix(".values.npy")


def _digest(name: str, *contents: _Buffer) -> bytes:
    """SHA-256 of a name in the cache and of what it holds."""
    h = hashlib.sha256(name.encode() + b"\0")
    for content in contents:
        h.update(len(content).to_bytes(8, "big"))
        h.update(content)
    return h.digest()


def _write(path: Path, content: _Buffer) -> None:
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        reason = error.strerror or error
        raise CacheUnwritable(
            f"the cache {str(cache_directory())!r} cannot be written: {reason}. Make "
            "room, or set HOLOTYPE_CACHE to a directory that can be written."
        ) from error


def _remove_damaged(directory: Path, files: Sequence[Path]) -> None:
    for file in files:
        with suppress(OSError):
            file.unlink()
    warnings.warn(
        f"the cache {str(directory)!r} held values that fail their checksum: they are not used, "
        "and are computed anew.",
        DamagedCache,
        stacklevel=2,
    )
