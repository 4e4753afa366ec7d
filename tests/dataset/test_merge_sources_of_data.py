"""Where groups are read from, and several folders and tables as one index."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.dataset.index import read_index, read_index_file
from holotype.errors import DatasetError, InvalidPattern, InvalidTable, UsageError


def paint(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(name.encode()))
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(root / name)
    return root


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="names there are valid Unicode")
def test_a_source_whose_name_is_no_text_is_left_out_and_named(tmp_path: Path) -> None:
    good = paint(tmp_path / "good", "a/1.png", "b/1.png")
    other = paint(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9")), "a/2.png", "b/2.png")
    index = read_index([good, other])
    assert list(index.table["path"]) == ["good/a/1.png", "good/b/1.png"]
    assert index.undecodable_names == (r"\xe9/a/2.png", r"\xe9/b/2.png")
    assert len(read_index(other)) == 2


def test_the_parent_folder_is_the_group(tmp_path: Path) -> None:
    paint(tmp_path, "cat/tom/1.png", "cat/tom/2.png", "cat/kitty/1.png", "dog/tom/1.png")
    index = read_index(tmp_path, group_pattern="parent-folder")
    assert list(index.table["group"]) == ["cat/kitty", "cat/tom", "cat/tom", "dog/tom"]


def test_one_specimen_in_two_parts_is_one_group(tmp_path: Path) -> None:
    paint(tmp_path, "train/a/s1/1.png", "train/b/s2/1.png", "test/a/s1/2.png", "test/b/s3/1.png")
    index = read_index(tmp_path, group_pattern="parent-folder")
    assert list(index.table["group"]) == ["a/s1", "b/s3", "a/s1", "b/s2"]


def test_a_class_folder_is_no_group(tmp_path: Path) -> None:
    paint(tmp_path, "cat/tom/1.png", "cat/2.png", "dog/3.png")
    with pytest.raises(InvalidPattern, match=r"2 of 3 images lie directly.*'cat/2.png'"):
        read_index(tmp_path, group_pattern="parent-folder")


def test_any_column_of_a_table_may_name_the_group(tmp_path: Path) -> None:
    paint(tmp_path, "1.png", "2.png")
    table = tmp_path / "t.csv"
    table.write_text("path,label,group,patient no\n1.png,a,g,7\n2.png,b,g,8\n")
    index = read_index(table, group_pattern="column:patient no")
    assert list(index.table["group"]) == ["7", "8"]
    with pytest.raises(InvalidTable, match="no column 'patient'"):
        read_index(table, group_pattern="column:patient")
    with pytest.raises(InvalidPattern, match="is a folder"):
        read_index(tmp_path, group_pattern="column:patient")


def test_parquet_columns_may_name_the_group_too(tmp_path: Path) -> None:
    import pandas as pd

    paint(tmp_path, "1.png", "2.png")
    frame = pd.DataFrame({"path": ["1.png", "2.png"], "label": ["a", "b"], "patient": [7, 8]})
    frame.to_parquet(tmp_path / "t.parquet")
    index = read_index(tmp_path / "t.parquet", group_pattern="column:patient")
    assert list(index.table["group"]) == ["7", "8"]


def test_equal_labels_of_two_folders_are_one_class(tmp_path: Path) -> None:
    lab = paint(tmp_path / "lab", "cat/1.png", "dog/1.png")
    field = paint(tmp_path / "deep" / "field", "cat/1.png", "cow/1.png")
    (field / "notes.txt").touch()
    index = read_index([lab, field])
    assert index.classes == ("cat", "cow", "dog")
    assert index.root == tmp_path
    assert list(index.table["path"]) == [
        "deep/field/cat/1.png", "deep/field/cow/1.png", "lab/cat/1.png", "lab/dog/1.png",
    ]  # fmt: skip
    assert all(index.file(path).is_file() for path in index.table["path"])
    assert index.ignored == {"deep/field/notes.txt": "no image"}
    index.write(tmp_path / "run" / "index.parquet")
    assert read_index_file(tmp_path / "run" / "index.parquet").root == tmp_path


def test_labels_may_carry_the_name_of_their_source(tmp_path: Path) -> None:
    lab = paint(tmp_path / "lab", "cat/1.png", "dog/1.png")
    table = paint(tmp_path / "field", "1.png") / "herbarium.csv"
    table.write_text("path,label\n1.png,cat\n")
    index = read_index([lab, table], label_prefix=True)
    assert index.classes == ("herbarium-cat", "lab-cat", "lab-dog")
    assert read_index(lab, label_prefix=True).classes == ("lab-cat", "lab-dog")


def test_copies_are_found_across_sources(tmp_path: Path) -> None:
    first = paint(tmp_path / "first", "a/1.png", "b/2.png", "b/3.png")
    second = paint(tmp_path / "second", "a/4.png", "b/5.png")
    shutil.copy(first / "a/1.png", second / "b/copy.png")
    from holotype.dataset.auditing.audit_without_network import audit

    findings = audit(read_index([first, second]))
    assert frozenset(["first/a/1.png", "second/b/copy.png"]) in findings.duplicate_clusters


def test_an_image_of_two_sources_is_refused(tmp_path: Path) -> None:
    root = paint(tmp_path / "data", "a/x/1.png", "b/x/1.png")
    with pytest.raises(DatasetError, match=r"both hold 'a/x/1.png'"):
        read_index([root, root / "a"])
    with pytest.raises(DatasetError, match="no data was named"):
        read_index([])


def test_sources_of_one_name_give_no_prefix(tmp_path: Path) -> None:
    first = paint(tmp_path / "2024" / "lab", "cat/1.png")
    second = paint(tmp_path / "2025" / "lab", "cat/1.png")
    with pytest.raises(UsageError, match="'lab-cat'"):
        read_index([first, second], label_prefix=True)
    assert len(read_index([first, second])) == 2
