"""Tables of a run as Parquet: every column has a known type, and the content a digest.

The digest is checked when a file is read, so that a changed bit is a refusal and not another
number. Files of versions before it lack it, and are read all the same.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from holotype.errors import InvalidTable
from holotype.files import atomic_write

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Kind = Literal["text", "integer", "number", "numbers"]  # numbers: a list of one length in all rows

MAX_ROWS = 50_000_000
MAX_BYTES = 16 << 30
_DIGEST = "holotype_sha256"
# What a table may take in memory: so much, and so many times its file. Rows of a true table differ,
# so it takes some ten times its file; a long text that all rows repeat takes a million times.
_FREE_BYTES = 64 << 20
_MAX_GROWTH = 200
_ENCODINGS = {"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"}


class Texts:
    """A column of texts as Arrow keeps it: a string is made when it is asked for.

    Args:
        array: of Arrow's type string or large_string, without empty values.
    """

    def __init__(self, array: "pa.Array") -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, row: int) -> str:
        return str(self.array[row])

    def __iter__(self) -> Iterator[str]:
        return iter(self.array.to_numpy(zero_copy_only=False).tolist())  # sooner than to_pylist

    def unique(self) -> "Texts":
        """Every text once, in the order of their first rows."""
        return Texts(self.array.unique())

    def numbers_in(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """The position of each text (N,) in a list; -1 where it is not in there."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.index_in(self.array, value_set=pa.array(texts, self.array.type))
        return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), np.int32)


def write_parquet(path: Path, table: "pa.Table", metadata: Mapping[str, str]) -> None:
    """Write a table whose columns have no empty values, with its digest.

    Args:
        metadata: texts that belong to the table, such as the names of classes.
    """
    import pyarrow.parquet as pq

    digest = _digest(_columns(table), metadata)
    with atomic_write(path) as temporary:
        pq.write_table(table.replace_schema_metadata({**metadata, _DIGEST: digest}), temporary)


def read_parquet(
    path: Path, kinds: Mapping[str, Kind], what: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """The columns of a file of `write_parquet`, and its metadata.

    Args:
        kinds: of exactly the columns that are expected.
        what: the file is, for errors: `an index`.

    Returns:
        Text as `Texts`, numbers as int64 or float64 (N,), lists as float64 (N, length).

    Raises:
        InvalidTable: it is damaged, or something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows > MAX_ROWS or path.stat().st_size > MAX_BYTES:
                raise ValueError(f"{file.metadata.num_rows:,} rows are too many")
            if sorted(file.schema_arrow.names) != sorted(kinds):
                raise ValueError(f"its columns are {', '.join(file.schema_arrow.names)[:80]}")
            texts = [
                name
                for name, kind in kinds.items()
                if kind == "text" and not pa.types.is_nested(file.schema_arrow.field(name).type)
            ]
            limit = _FREE_BYTES + _MAX_GROWTH * path.stat().st_size
            with pq.ParquetFile(path, metadata=file.metadata, read_dictionary=texts) as numbered:
                _refuse_growth(numbered, texts, limit)
            table = file.read()
        metadata = {
            key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
        }
        columns = _columns(table)
        known = metadata.pop(_DIGEST, None)
        metadata = {key: value for key, value in metadata.items() if not key.startswith("ARROW:")}
        if known is not None and known != _digest(columns, metadata):
            raise ValueError("its content is not what was written")
        return {name: _typed(name, columns[name], kind) for name, kind in kinds.items()}, metadata
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError) as error:
        reason = " ".join((str(error) or type(error).__name__).split())[:200].rstrip(".")
        raise InvalidTable(
            f"{str(path)!r} cannot be read as {what}: {reason}. It is damaged, or not of Holotype; "
            "bring it back from a copy, or make it again."
        ) from None


def _refuse_growth(file: "pq.ParquetFile", texts: Sequence[str], limit: int) -> None:
    """Refuse what would take more bytes of memory than the limit.

    Args:
        file: one that reads these columns of texts as numbers and a dictionary.

    Raises:
        ValueError: it would, or is encoded as `write_parquet` encodes nothing.
    """
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)  # of its pages
    others = [name for name in file.schema_arrow.names if name not in texts]
    if size <= limit and others:
        file.scan_contents(others)  # keeps nothing
    for number, group in enumerate(groups):
        if size > limit:
            break
        size += group.num_rows * _longest_texts(file, number, texts)
        # Only of columns that were read: pyarrow ends the process over those that are damaged.
        for column in (group.column(n) for n in range(group.num_columns)):
            size += 8 * column.num_values  # numbers, and where each text begins
            if "BYTE_ARRAY" in column.physical_type and column.path_in_schema not in texts:
                raise ValueError(f"{column.path_in_schema} is not numbers")
            if not _ENCODINGS.issuperset(column.encodings):
                raise ValueError(f"{column.path_in_schema} is encoded in another way")
    if size > limit:
        raise ValueError(f"it would take {size >> 20:,} MiB of memory, far above its own size")


def _longest_texts(file: "pq.ParquetFile", group: int, texts: Sequence[str]) -> int:
    """The bytes that a row takes at most by texts of the dictionaries of its row group.

    The first row comes with the whole dictionary. Texts beside it are in the pages as they are.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    return sum(
        pc.max(pc.binary_length(column.dictionary)).as_py() or 0
        for first in islice(file.iter_batches(1, row_groups=[group], columns=texts), 1)
        for column in first.columns
        if pa.types.is_dictionary(column.type)
    )


def parse_names(text: str | None, path: Path) -> tuple[str, ...]:
    """The names of classes as JSON in the metadata of a file.

    Raises:
        InvalidTable: they are missing, or no list of different names.
    """
    try:
        names = json.loads(text or "null")
    except (ValueError, RecursionError):
        names = None
    if (
        not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) < len(names)
    ):
        raise InvalidTable(
            f"{str(path)!r} does not name its classes: it is not of Holotype, or damaged."
        )
    return tuple(names)


def _columns(table: "pa.Table") -> dict[str, Any]:
    """Every column as texts or an array; a list of lists as (values, lengths)."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # of no rows
            column = pa.concat_arrays(column.chunks) if column.chunks else pa.array([], column.type)
        if column.null_count:
            raise ValueError(f"{name} has empty values")
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            lengths = np.asarray(column.value_lengths().to_numpy(zero_copy_only=False))
            values = column.flatten()
            if values.null_count:
                raise ValueError(f"{name} has empty values")
            columns[name] = (np.asarray(values.to_numpy(zero_copy_only=False)), lengths)
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            columns[name] = np.asarray(column.to_numpy(zero_copy_only=False))
        elif (text := _text_type(column.type)) is not None:
            columns[name] = Texts(column.cast(text))
        else:
            columns[name] = column.to_pylist()
    return columns


def _text_type(found: "pa.DataType") -> "pa.DataType | None":
    """The type of the texts of a column, numbered ones too; None where it is no text."""
    import pyarrow as pa

    text = found.value_type if pa.types.is_dictionary(found) else found
    return text if pa.types.is_string(text) or pa.types.is_large_string(text) else None


def _digest(columns: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    h = hashlib.sha256(json.dumps(dict(sorted(metadata.items()))).encode())
    for name, values in sorted(columns.items()):
        h.update(name.encode())
        if isinstance(values, Texts):
            _update_by_texts(h, values)
        elif isinstance(values, list):
            h.update(_as_json(values))
        for array in values if isinstance(values, tuple) else (values,):
            if isinstance(array, np.ndarray):
                plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
                h.update(f"{plain.dtype} {plain.shape}".encode())
                h.update(plain.data)
    return h.hexdigest()


def _update_by_texts(h: "hashlib._Hash", texts: Texts) -> None:
    """By what `json.dumps` makes of them; where it escapes nothing they need only be joined."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pa.large_string()
    one_list = pa.ListArray.from_arrays([0, len(texts)], texts.array.cast(text))
    joined = pc.binary_join(one_list, pa.scalar('", "', text))[0].as_buffer()
    octets = np.frombuffer(joined, np.uint8)
    is_plain = (
        len(texts) > 0
        and octets.min(initial=32) >= 32
        and octets.max(initial=32) < 127
        and not (octets == ord("\\")).any()
        and np.count_nonzero(octets == ord('"')) == 2 * (len(texts) - 1)
    )
    if not is_plain:
        h.update(_as_json(list(texts)))
        return
    for part in (b'["', joined, b'"]'):
        h.update(part)


def _as_json(values: list[Any]) -> bytes:
    return json.dumps(values, default=str).encode("utf-8", "backslashreplace")


def _typed(name: str, values: Any, kind: Kind) -> Any:
    if kind == "text":
        if not isinstance(values, Texts):
            raise ValueError(f"{name} is not text")
        values.array.validate(full=True)
        return values
    if kind == "numbers":
        if not isinstance(values, tuple) or values[0].dtype.kind not in "iuf":
            raise ValueError(f"{name} is not lists of numbers")
        flat, lengths = values
        if len(set(lengths.tolist())) > 1:
            raise ValueError(f"{name} has lists of different lengths")
        return flat.astype(np.float64).reshape(len(lengths), -1)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in (
        "iu" if kind == "integer" else "iuf"
    ):
        raise ValueError(f"{name} is not {'whole numbers' if kind == 'integer' else 'numbers'}")
    return values.astype(np.int64 if kind == "integer" else np.float64)
