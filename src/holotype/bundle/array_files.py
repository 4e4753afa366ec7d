"""Arrays of a bundle in one `.npz` file: the same arrays give the same bytes.

A bundle may come from an untrusted source, so every entry is checked when it is read: no
compression, no pickle, no more bytes than the file has.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time in a zip: no time of writing
_MAX_HEADER = 10_000


def arrays_to_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An uncompressed `.npz` without times: the same arrays give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.create_system = 3  # the same on every operating system
            array = io.BytesIO()
            np.lib.format.write_array(
                array, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False
            )
            archive.writestr(entry, array.getvalue())
    return content.getvalue()


def arrays_from_bytes(
    content: bytes, expected: Mapping[str, tuple[str, int]]
) -> dict[str, NDArray[Any]]:
    """The arrays of an untrusted `.npz`; read-only views of its bytes.

    Args:
        expected: type (such as `float16`) and number of axes of every array, by name.

    Raises:
        ValueError: anything but exactly these arrays, or bytes that do not fill them.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if sorted(entry.filename for entry in entries) != sorted(f"{n}.npy" for n in expected):
                found = ", ".join(entry.filename[:40] for entry in entries[:5])
                raise ValueError(f"it holds {found or 'nothing'}, expected {', '.join(expected)}")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("its entries are compressed")
            raw = {entry.filename.removesuffix(".npy"): archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"it is no archive of arrays ({error})") from error
    return {name: _array(raw[name], name, *kind) for name, kind in expected.items()}


def _array(raw: bytes, name: str, dtype: str, axes: int) -> NDArray[Any]:
    stream = io.BytesIO(raw)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{name} is of another format")
    shape, is_fortran, kind = np.lib.format.read_array_header_1_0(
        stream, max_header_size=_MAX_HEADER
    )
    if kind != np.dtype(dtype).newbyteorder("<") or is_fortran or len(shape) != axes:
        raise ValueError(f"{name} is {kind} of shape {shape}, expected {dtype} with {axes} axes")
    values = raw[stream.tell() :]
    if min(shape, default=0) < 0 or len(values) != kind.itemsize * int(
        np.prod(shape, dtype=object)
    ):
        raise ValueError(f"{name} of shape {shape} has {len(values)} bytes")
    return np.frombuffer(values, kind).reshape(shape)


def text_to_array(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Strings as the bytes of a JSON list."""
    return np.frombuffer(json.dumps(list(texts)).encode("ascii"), np.uint8)


def text_from_array(array_B: NDArray[np.uint8]) -> tuple[str, ...]:
    """The strings of `text_to_array`.

    Raises:
        ValueError: it is something else.
    """
    try:
        texts = json.loads(array_B.tobytes().decode("ascii"))
    except RecursionError as error:
        raise ValueError("the names are no list of strings") from error
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("the names are no list of strings")
    return tuple(texts)
