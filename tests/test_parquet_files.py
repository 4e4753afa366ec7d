"""Texts of a table: the digest is of their JSON whatever they hold, and strings are made late."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holotype.errors import InvalidTable
from holotype.parquet_files import Texts, read_parquet, write_parquet

TEXTS = {
    "plain": ["a/1.png", "b c", ""],
    "quote": ['say "x"', "b", "c"],
    "only separators": ['", "', "", ""],
    "backslash": ["a\\nb", "b", "c"],
    "control": ["a\nb", "\x7f", "\x00"],
    "other letters": ["Würfel", "ヤマカガシ", "\U0001f40d"],
    "no row": [],
    "empty": [""],
}
KINDS = (pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()))


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_digest_is_that_of_the_json(tmp_path: Path, name: str, kind: pa.DataType) -> None:
    texts, file = TEXTS[name], tmp_path / "table.parquet"
    write_parquet(file, pa.table({"name": pa.array(texts, kind)}), {"of": "ü"})
    found = pq.read_schema(file).metadata[b"holotype_sha256"].decode()
    written = f"{json.dumps({'of': 'ü'})}name{json.dumps(texts)}".encode()
    assert found == hashlib.sha256(written).hexdigest()
    columns, _ = read_parquet(file, {"name": "text"}, "a table")
    assert list(columns["name"]) == texts


def test_a_changed_letter_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    write_parquet(file, pa.table({"name": ["ant", "bee"]}), {})
    table = pq.read_table(file)
    pq.write_table(table.set_column(0, "name", pa.array(["ant", "bea"])), file)
    with pytest.raises(InvalidTable, match="not what was written"):
        read_parquet(file, {"name": "text"}, "a table")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    damaged = pa.array([b"\xff\xfe", b"a"]).view(pa.string())
    pq.write_table(pa.table({"name": damaged}), file)
    with pytest.raises(InvalidTable):
        read_parquet(file, {"name": "text"}, "a table")


LONG = "x" * (1 << 20)
PLAIN: dict[str, Any] = {"use_dictionary": False}
GROWING: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "repeated": ({"name": [LONG] * 400}, {}, "401 MiB"),
    "last": ({"name": ["a"] * 9000 + [LONG] * 400}, {}, "MiB"),
    "compressed": ({"name": [LONG] * 400}, PLAIN, "400 MiB"),
    "lists": ({"name": [[LONG]] * 400}, {}, "not numbers"),
    "zeros": ({"name": np.zeros(10_000_000, np.int64)}, {}, "76 MiB"),
    "prefixes": (
        {"name": ["a"] + [LONG] * 400}, {**PLAIN, "column_encoding": {"name": "DELTA_BYTE_ARRAY"}},
        "cannot be read as a table",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GROWING)
def test_a_small_file_that_would_fill_the_memory_is_refused(tmp_path: Path, case: str) -> None:
    table, options, said = GROWING[case]
    file = tmp_path / "table.parquet"
    pq.write_table(pa.table(table), file, compression="zstd", **options)
    assert file.stat().st_size < 50_000
    with pytest.raises(InvalidTable, match=said):
        read_parquet(file, {"name": "text"}, "a table")


def test_one_long_text_and_many_alike_are_read(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    for texts, rows in (([LONG, *"abc"], 1), (["a long name of a class " * 9] * 300_000, 1 << 20)):
        pq.write_table(pa.table({"name": texts}), file, row_group_size=rows)
        assert list(read_parquet(file, {"name": "text"}, "a table")[0]["name"]) == texts


def test_texts_are_numbered_by_a_list() -> None:
    texts = Texts(pa.array(["b", "a", "x", "b"]))
    assert texts.numbers_in(["a", "b"]).tolist() == [1, 0, -1, 1]
    assert list(texts.unique()) == ["b", "a", "x"]
    assert (texts[2], len(texts)) == ("x", 4)
    assert texts.numbers_in(["a"]).dtype == np.int32
