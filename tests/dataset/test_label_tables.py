"""Tables of labelled images: CSV, TSV, Parquet and DataFrames."""

import os
import unicodedata
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest

from holotype.dataset.index import read_index
from holotype.errors import (
    EmptyDataset,
    InvalidPattern,
    InvalidTable,
)
from tests.dataset.indices import class_folders, paint


def test_a_table_is_read_with_all_its_columns(tmp_path: Path) -> None:
    class_folders(tmp_path, "x/1.png", "x/2.png")
    absolute = paint(tmp_path / "x" / "3.png")
    (tmp_path / "t.csv").write_text(
        "\ufeffpath,label,group,split,weight,note\n"
        f"x/2.png,NA,g1,train,0.5,?\n{absolute},cat,,Validation,1,\n./x/1.png, cat ,g1,test,0,\n"
    )
    index = read_index(tmp_path / "t.csv")
    assert index.root == tmp_path
    assert list(index.table["path"]) == ["x/1.png", "x/2.png", "x/3.png"]
    assert list(index.table["label"]) == ["cat", "NA", "cat"]
    assert list(index.table["group"]) == ["g1", "g1", ""]
    assert list(index.table["split"]) == ["test", "train", "val"]
    assert list(index.table["weight"]) == [0, 0.5, 1]


@pytest.mark.parametrize("kind", ["csv", "semicolon", "tsv", "parquet"])
def test_all_kinds_of_tables_say_the_same(tmp_path: Path, kind: str) -> None:
    class_folders(tmp_path, "a 1.png", "new\nline.png")
    table = pd.DataFrame({"path": ["a 1.png", "new\nline.png"], "label": ["one", "two"]})
    file = tmp_path / f"t.{'csv' if kind == 'semicolon' else kind}"
    if kind == "parquet":
        table.astype({"label": "category"}).to_parquet(file)
    else:
        separator = {"csv": ",", "semicolon": ";", "tsv": "\t"}[kind]
        table.to_csv(file, sep=separator, index=False)
    index = read_index(file)
    assert list(index.table["path"]) == ["a 1.png", "new\nline.png"]
    assert list(index.table["label"]) == ["one", "two"]
    assert (index.table["sha256"] != "").all()


def test_a_frame_says_what_its_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path, "a/1.png", "b/2.png")
    frame = pd.DataFrame(
        {"path": [Path("b/2.png"), Path("a/1.png")], "label": [2, 1], "group": [pd.NA, "g"]}
    )
    before = frame.copy(deep=True)
    frame.to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.chdir(tmp_path)
    of_frame, of_file = read_index(frame), read_index(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(of_frame.table, of_file.table)
    assert of_frame.root == of_file.root
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("column", ["path", "label"])
def test_a_frame_without_a_column_is_refused(column: str) -> None:
    frame = pd.DataFrame({"path": ["a.png"], "label": ["a"]}).drop(columns=column)
    with pytest.raises(InvalidTable, match=f"the DataFrame has no column '{column}'"):
        read_index(frame)


def test_images_above_the_table_move_the_root(tmp_path: Path) -> None:
    class_folders(tmp_path, "images/1.png", "images/2.png")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/t.csv").write_text("path,label\n../images/1.png,a\n../images/2.png,b\n")
    index = read_index(tmp_path / "tables/t.csv")
    assert index.root == tmp_path / "images"
    assert list(index.table["path"]) == ["1.png", "2.png"]
    assert (index.table["sha256"] != "").all()


def test_a_missing_image_keeps_its_row_for_the_audit_to_name(tmp_path: Path) -> None:
    class_folders(tmp_path, "1.png")
    (tmp_path / "t.csv").write_text("path,label\n1.png,a\ngone.png,b\n")
    assert list(read_index(tmp_path / "t.csv").table["sha256"] == "") == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("where,label\n1.png,a\n", "no column 'path'.*'where', 'label'.*filename, file"),
        ("path,what\n1.png,a\n", "no column 'label'.*class"),
        ("path,label\n1.png,a\n2.png,\n", r"row 2 \('2.png'\): no label; expected"),
        (
            "path,label\n1.png,\n2.png,b\n3.png,\n",
            r"row 1 \('1.png'\): no label, the first of 2 rows without one; expected",
        ),
        ("path,label\n,a\n", "row 1: no path"),
        ("path,label\n1.png,a\n./1.png,b\n", r"names '1.png' 2 times \(rows 1, 2\)"),
        ("path,label,weight\n1.png,a,-1\n", "row 1 .*weight '-1'.*at least 0"),
        ("path,label,weight\n1.png,a,inf\n", "weight 'inf'"),
        ("path,label,weight\n1.png,a,1e-300\n", "row 1 .*weight '1e-300'.*from 1e-12 to 1e"),
        ("path,label,weight\n1.png,a,1e300\n", "weight '1e300'"),
        ("path,label,weight\n1.png,a,\n", "weight ''"),
        ("path,label,weight\n1.png,a,heavy\n", "weight 'heavy'"),
        ("path,label,split\n1.png,a,dev\n", "unknown split 'dev'.*train, val, test or cal"),
        ("", "cannot be read as a table"),
    ],
)
def test_wrong_tables_are_refused_with_their_row(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InvalidTable, match=message):
        read_index(tmp_path / "t.csv")


def test_parquet_refuses_missing_labels_and_broken_files(tmp_path: Path) -> None:
    pd.DataFrame({"path": ["1.png", "2.png"], "label": ["a", None]}).to_parquet(
        tmp_path / "t.parquet"
    )
    with pytest.raises(InvalidTable, match="row 2"):
        read_index(tmp_path / "t.parquet")
    (tmp_path / "broken.parquet").write_text("no")
    with pytest.raises(InvalidTable, match="cannot be read as Parquet"):
        read_index(tmp_path / "broken.parquet")


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\n")
    with pytest.raises(EmptyDataset, match="no rows"):
        read_index(tmp_path / "t.csv")


def test_patterns_beside_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label,group\n1.png,a,g\n")
    with pytest.raises(InvalidPattern, match="--label-pattern"):
        read_index(tmp_path / "t.csv", label_pattern="(.)")
    with pytest.raises(InvalidPattern, match="--group-pattern"):
        read_index(tmp_path / "t.csv", group_pattern="(.)")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_tables_are_read_as_spreadsheets_save_them(
    tmp_path: Path, encoding: str, separator: str, line_end: str
) -> None:
    class_folders(tmp_path, "a/1.png", "b/ö.png")
    rows = (("path", "label", "weight"), ("a/1.png", "Bär", "1"), (" b/ö.png ", "b", '"0,5"'))
    text = line_end.join(separator.join(row) for row in rows) + line_end
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    table = read_index(tmp_path / "t.csv").table
    assert list(table["path"]) == ["a/1.png", "b/ö.png"]
    assert list(table["label"]) == ["Bär", "b"]
    assert list(table["weight"]) == [1, 0.5]
    assert (table["sha256"] != "").all()


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_path_is_found_in_the_unicode_form_of_another_system(
    tmp_path: Path, on_disk: Literal["NFC", "NFD"], in_table: Literal["NFC", "NFD"]
) -> None:
    name = unicodedata.normalize(on_disk, "bär/ö.png")
    class_folders(tmp_path, name)
    listed = unicodedata.normalize(in_table, name)
    (tmp_path / "t.csv").write_text(f"path,label\n{listed},a\n", encoding="utf-8")
    assert list(read_index(tmp_path / "t.csv").table["path"]) == [name]


@pytest.mark.parametrize(
    "text",
    [
        "path,label,\n1.png,a,\n2.png,b,\n",
        "path,label\n1.png,a,\n2.png,b,,\n",
        "path,label,group\n1.png,a\n\n2.png,b\n,,\n",
        "sep=;\npath;label\n1.png;a\n2.png;b\n",
        '"path" , "label"\n1.png,a\n2.png,b\n'.replace(" ", ""),
    ],
)
def test_commas_too_many_and_cells_too_few_are_accepted_where_they_are_empty(
    tmp_path: Path, text: str
) -> None:
    class_folders(tmp_path, "1.png", "2.png")
    (tmp_path / "t.csv").write_text(text)
    table = read_index(tmp_path / "t.csv").table
    assert list(table["label"]) == ["a", "b"]
    assert (table["sha256"] != "").all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n1.png,a\n2.png,b,c\n", r"row 2 \('2.png'\) has 3 cells.*2 columns"),
        ("path,label\nC:\\me\\1.png,a\n", "row 1 .*backslashes.*forward slashes"),
        ("path,label,label\n1.png,a,b\n", "two columns called 'label'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_row(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InvalidTable, match=message):
        read_index(tmp_path / "t.csv")


def test_a_group_in_two_unicode_forms_is_one(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "Jörg") for form in ("NFC", "NFD")]
    class_folders(tmp_path, "1.png", "2.png")
    rows = "".join(f"{n}.png,a,{name}\n" for n, name in enumerate(names, start=1))
    (tmp_path / "t.csv").write_text("path,label,group\n" + rows, encoding="utf-8")
    assert list(read_index(tmp_path / "t.csv").table["group"]) == [names[0], names[0]]


def test_whole_numbers_beside_gaps_are_written_as_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class_folders(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "t.csv").write_text("path,label,group\n1.png,a,7\n2.png,b,\n3.png,b,x1.5\n")
    frame = pd.DataFrame({"path": ["1.png", "2.png"], "label": ["a", "b"], "group": [7, None]})
    monkeypatch.chdir(tmp_path)
    assert list(read_index(frame).table["group"]) == ["7", ""]
    assert list(read_index("t.csv").table["group"]) == ["7", "", "x1.5"]
    assert list(read_index(frame.assign(group=[7.5, None])).table["group"]) == ["7.5", ""]
    doses = frame.assign(label=[0.5, 1.0], group=[2.0, 3.0])  # without gaps as pandas writes them
    assert list(read_index(doses).table["label"]) == ["0.5", "1.0"]
    assert list(read_index(doses).table["group"]) == ["2.0", "3.0"]


def test_two_columns_of_one_name_are_refused_in_a_frame() -> None:
    frame = pd.DataFrame([["1.png", "a", "b"]], columns=["path", "label", "label"])
    with pytest.raises(InvalidTable, match="two columns called 'label'; leave one"):
        read_index(frame)


def test_blanks_after_separators_stand_outside_quotes(tmp_path: Path) -> None:
    class_folders(tmp_path, "1.png", " 2.png")
    (tmp_path / "t.csv").write_text('path, label\n1.png, "a, b"\n" 2.png", c\n')
    index = read_index(tmp_path / "t.csv")
    assert list(index.table["path"]) == [" 2.png", "1.png"]
    assert list(index.table["label"]) == ["c", "a, b"]
    (tmp_path / "t.csv").write_text('path,label\n 2.png,a\n1.png,"3, ""b"""\n')
    assert list(read_index(tmp_path / "t.csv").table["path"]) == [" 2.png", "1.png"]


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(InvalidTable, match="a device"):
        read_index(tmp_path / "t.csv")


# --- the index as a file ----------------------------------------------------------------------
