import hashlib
import os
import random
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from holotype.dataset.index import COLUMNS, read_index, read_index_file, require_classes
from holotype.errors import (
    DatasetError,
    EmptyDataset,
    InvalidPattern,
    InvalidTable,
    SingleClass,
    SplitClassMismatch,
)
from tests.dataset.indices import class_folders, make_index, paint


def test_class_folders_become_one_row_per_image(tmp_path: Path) -> None:
    root = class_folders(tmp_path, "dog/2.jpg", "cat/1.png", "cat/deeper/3.bmp")
    index = read_index(root)
    assert list(index.table["path"]) == ["cat/1.png", "cat/deeper/3.bmp", "dog/2.jpg"]
    assert list(index.table["label"]) == ["cat", "cat", "dog"]
    assert index.classes == ("cat", "dog")
    assert list(index.table["format"]) == ["PNG", "BMP", "JPEG"]
    assert set(index.table["width"]) == {5}
    assert set(index.table["height"]) == {4}
    assert set(index.table["split"]) == {""}
    assert set(index.table["weight"]) == {1.0}
    assert list(index.table) == list(COLUMNS)
    assert index.file("cat/1.png") == root / "cat/1.png"
    for path, sha256 in zip(index.table["path"], index.table["sha256"], strict=True):
        assert sha256 == hashlib.sha256((root / path).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "extension", ["jpg", "jpeg", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "JPG", "Png"]
)
def test_every_image_extension_is_taken_in_any_case(tmp_path: Path, extension: str) -> None:
    image = Image.new("RGB", (6, 6))
    path = tmp_path / "a" / f"x.{extension}"
    path.parent.mkdir()
    image.save(path, format={"jfif": "JPEG"}.get(extension))
    assert len(read_index(tmp_path)) == 1


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("training", "validation", "testing"),
        ("Train", "VALID", "Test"),
    ],
)
def test_split_folders_fill_the_split_column(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        class_folders(tmp_path, f"{name}/a/1.png", f"{name}/b/2.png")
    index = read_index(tmp_path)
    assert len(index.part("train")) == len(index.part("val")) == len(index.part("test")) == 2
    assert index.classes == ("a", "b")


def test_split_folders_with_different_classes_are_refused_by_name(tmp_path: Path) -> None:
    class_folders(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/c/4.png")
    with pytest.raises(SplitClassMismatch, match=r"train lacks 'c'; test lacks 'b'"):
        read_index(tmp_path)
    index = read_index(tmp_path, allow_class_mismatch=True)  # as an audit reads them
    assert index.classes == ("a", "b", "c")
    assert len(index) == 4


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    index = read_index(class_folders(tmp_path, "train/1.png", "bus/2.png"))
    assert index.classes == ("bus", "train")
    assert set(index.table["split"]) == {""}


def test_parts_beside_other_folders_are_refused(tmp_path: Path) -> None:
    class_folders(tmp_path, "train/a/1.png", "test/a/2.png", "misc/3.png")
    with pytest.raises(DatasetError, match="either only split folders or only class folders"):
        read_index(tmp_path)


def test_one_part_beside_a_folder_of_images_is_refused(tmp_path: Path) -> None:
    class_folders(tmp_path, "train/a/1.png", "train/b/2.png", "unlabelled/3.png")
    with pytest.raises(DatasetError, match=r"'train' with 2 folders .* Name '.*train' as the data"):
        read_index(tmp_path)


def test_a_class_called_train_may_hold_folders_of_specimens(tmp_path: Path) -> None:
    class_folders(tmp_path, "train/s1/1.png", "train/s2/2.png", "bus/s3/3.png", "bus/s4/4.png")
    index = read_index(tmp_path, group_pattern="parent-folder")
    assert index.classes == ("bus", "train")
    assert list(index.table["group"]) == ["bus/s3", "bus/s4", "train/s1", "train/s2"]


def test_labels_come_from_file_names_through_a_pattern(tmp_path: Path) -> None:
    class_folders(tmp_path, "cat.1.png", "cat.2.png", "sub/dog.3.png")
    index = read_index(tmp_path, label_pattern=r"(?P<label>[a-z]+)\.\d+")
    assert list(index.table["label"]) == ["cat", "cat", "dog"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?P<label>", "no regular expression"),
        ("[a-z]+", "no group"),
        (r"(?P<label>\d{9})", r"matches 0 of 2.*'cat.1.png'"),
        (r"(?P<label>cat)", r"matches 1 of 2.*'dog.2.png'"),
    ],
)
def test_label_patterns_that_cannot_work_are_refused(
    tmp_path: Path, pattern: str, message: str
) -> None:
    class_folders(tmp_path, "cat.1.png", "dog.2.png")
    with pytest.raises(InvalidPattern, match=message):
        read_index(tmp_path, label_pattern=pattern)


def test_flat_images_without_a_pattern_are_refused_with_the_ways_out(tmp_path: Path) -> None:
    class_folders(tmp_path, "cat.1.png")
    with pytest.raises(DatasetError, match="--label-pattern"):
        read_index(tmp_path)


def test_groups_come_from_the_path_through_a_pattern(tmp_path: Path) -> None:
    class_folders(tmp_path, "a/s1-1.png", "a/s1-2.png", "b/s2-1.png")
    by_name = read_index(tmp_path, group_pattern=r"(?P<group>s\d+)-")
    by_first_group = read_index(tmp_path, group_pattern=r"(s\d+)-")
    assert list(by_name.table["group"]) == ["s1", "s1", "s2"]
    assert list(by_first_group.table["group"]) == ["s1", "s1", "s2"]
    with pytest.raises(InvalidPattern, match="matches 2 of 3"):
        read_index(tmp_path, group_pattern=r"(?P<group>s1)")
    optional = read_index(tmp_path, group_pattern=r"^a/(?P<group>s1)|")
    assert list(optional.table["group"]) == ["s1", "s1", ""]


def test_a_group_in_two_unicode_forms_is_one(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "Jörg") for form in ("NFC", "NFD")]
    class_folders(tmp_path, *(f"a/{name}_{k}.png" for k, name in enumerate(names)), "b/x_1.png")
    index = read_index(tmp_path, group_pattern=r"([^/]+)_\d")
    assert sorted(index.table["group"]) == [names[0], names[0], "x"]


def test_a_class_folder_in_the_unicode_form_of_another_system_is_no_group(tmp_path: Path) -> None:
    class_folders(tmp_path, f"{unicodedata.normalize('NFD', 'Jörg')}/1.png", "b/x/2.png")
    with pytest.raises(InvalidPattern, match="1 of 2 images lie directly in their class folder"):
        read_index(tmp_path, group_pattern="parent-folder")


def test_hidden_and_foreign_files_are_left_out_and_counted(tmp_path: Path) -> None:
    root = class_folders(tmp_path, "a/1.png", "b/2.png", "stray.png")
    for hidden in (".hidden.png", "a/.DS_Store", "a/Thumbs.db", ".git/x.png", "__MACOSX/a/1.png"):
        (root / hidden).parent.mkdir(exist_ok=True, parents=True)
        (root / hidden).write_bytes(b"x")
    (root / "a/notes.txt").write_text("x")
    (root / "empty").mkdir()
    index = read_index(root)
    assert list(index.table["path"]) == ["a/1.png", "b/2.png"]
    assert index.ignored == {
        ".git/": "hidden",
        ".hidden.png": "hidden",
        "__MACOSX/": "hidden",
        "a/notes.txt": "no image",
        "empty/": "empty class folder",
        "stray.png": "in no class folder",
    }


def test_names_of_every_kind_are_kept(tmp_path: Path) -> None:
    names = [
        "with space.png",
        "quote\"and'.png",
        "new\nline.png",
        "comma,semi;.png",
        "emoji 🐢.png",
        "x" * 251 + ".png",
        "日本語.png",
        "e\u0301.png",
    ]
    for name in names:
        paint(tmp_path / "clâss, \n1" / name)
    paint(tmp_path / "b" / "1.png")
    index = read_index(tmp_path)
    assert {path.split("/")[1] for path in index.table["path"]} == {*names, "1.png"}
    assert (index.table["sha256"] != "").all()
    index.write(tmp_path / "index.parquet")
    pd.testing.assert_frame_equal(read_index_file(tmp_path / "index.parquet").table, index.table)


def test_a_name_that_is_no_text_is_left_out_and_named(tmp_path: Path) -> None:
    class_folders(tmp_path, "a/1.png", "b/2.png")
    good = (tmp_path / "a/1.png").read_bytes()
    with open(os.fsencode(tmp_path / "a") + b"/\xff.png", "wb") as file:
        file.write(good)
    index = read_index(tmp_path)
    assert len(index) == 2
    assert index.undecodable_names == (r"a/\xff.png",)


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", "a/1.png", "b/2.png")
    elsewhere = paint(tmp_path / "elsewhere" / "3.png")
    (root / "a/linked.png").symlink_to(elsewhere)
    (root / "c").symlink_to(elsewhere.parent)
    (root / "a/loop").symlink_to(root)
    (root / "b/self").symlink_to(root / "b/self")
    (root / "b/gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(root / "b/pipe.png")
    index = read_index(root)
    assert list(index.table["path"]) == [
        "a/1.png",
        "a/linked.png",
        "b/2.png",
        "b/gone.png",
        "c/3.png",
    ]
    assert index.table.set_index("path").loc["b/gone.png", "sha256"] == ""


def test_unreadable_images_keep_their_row(tmp_path: Path) -> None:
    class_folders(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/broken.jpg").write_text("no image")
    (tmp_path / "a/empty.jpg").touch()
    table = read_index(tmp_path).table.set_index("path")
    assert table.loc["a/broken.jpg", "width"] == 0
    assert table.loc["a/broken.jpg", "format"] == ""
    assert table.loc["a/broken.jpg", "sha256"] == hashlib.sha256(b"no image").hexdigest()


def test_nothing_is_written_beside_read_only_images(tmp_path: Path) -> None:
    class_folders(tmp_path, "a/1.png", "b/2.png")
    folders = [tmp_path / "a", tmp_path / "b", tmp_path]
    before = sorted(tmp_path.rglob("*"))
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert len(read_index(tmp_path)) == 2
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_order_of_files_on_disk_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{c}/{i}.png" for c in "abc" for i in range(20)]
    class_folders(tmp_path, *names)
    expected = read_index(tmp_path).table
    scandir = os.scandir

    class Shuffled(list):  # type: ignore[type-arg]
        def __enter__(self) -> "Shuffled":
            return self

        def __exit__(self, *_: object) -> None:
            return None

    def shuffled(path: str) -> Shuffled:
        entries = list(scandir(path))
        random.Random(len(entries)).shuffle(entries)
        return Shuffled(entries)

    monkeypatch.setattr(os, "scandir", shuffled)
    pd.testing.assert_frame_equal(read_index(tmp_path).table, expected)


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyDataset, match="holds no images"):
        read_index(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(EmptyDataset, match="1 other files"):
        read_index(tmp_path)
    with pytest.raises(DatasetError, match="does not exist"):
        read_index(tmp_path / "nowhere")
    (tmp_path / "archive.zip").touch()
    with pytest.raises(DatasetError, match="Unpack"):
        read_index(tmp_path / "archive.zip")


def test_one_class_is_refused_only_where_training_asks(tmp_path: Path) -> None:
    index = read_index(class_folders(tmp_path, "photos/a/1.png", "photos/b/2.png"))
    with pytest.raises(SingleClass, match=r"Did you mean '.*photos'"):
        require_classes(index)
    require_classes(read_index(tmp_path / "photos"))


def test_an_index_comes_back_from_its_file(tmp_path: Path) -> None:
    index = read_index(class_folders(tmp_path / "data", "b/1.png", "a/2.png"))
    file = tmp_path / "run" / "index.parquet"
    index.write(file)
    again = read_index_file(file)
    pd.testing.assert_frame_equal(again.table, index.table)
    assert (again.root, again.classes) == (index.root, index.classes)
    as_data = read_index(file)
    pd.testing.assert_frame_equal(as_data.table, index.table)
    assert as_data.root == index.root
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(InvalidTable, match="cannot be read as an index: its columns are a"):
        read_index_file(tmp_path / "other.parquet")


def test_parts_and_remainders_keep_the_classes_of_the_whole(tmp_path: Path) -> None:
    index = read_index(class_folders(tmp_path, "a/1.png", "b/2.png"))
    rest = index.without({"a/1.png"})
    assert list(rest.table["path"]) == ["b/2.png"]
    assert rest.classes == ("a", "b")


def test_targets_number_the_classes_of_the_whole() -> None:
    index = make_index(["wren", "owl", "wren", "crow"], splits=["test", "train", "test", "train"])
    assert index.classes == ("crow", "owl", "wren")
    test = index.part("test")
    assert test.targets_N.tolist() == [2, 2]
    assert test.targets_N.dtype == "int64"
    assert not len(index.part("val").targets_N)
