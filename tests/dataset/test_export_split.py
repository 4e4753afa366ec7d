"""A split as folders: names that every file system takes, and a record that knows what it is of."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from holotype.dataset.index import COLUMNS, Index, read_index
from holotype.dataset.safe_filenames import collision_key
from holotype.dataset.splitting.export_split import (
    LINKS,
    image_records,
    read_split_record,
    require_same_split,
    write_split_folders,
)
from holotype.dataset.splitting.splitter import split
from holotype.errors import StaleSplit, UsageError

SETTINGS = {"ratios": [0.7, 0.15, 0.15], "seed": 42}


def paint(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(name.encode()))
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / name)
    return root


def written(
    index: Index, output: Path, *, replace: bool = False, **settings: str
) -> dict[str, str]:
    record = write_split_folders(
        split(index), output, records=image_records(index), settings=SETTINGS | settings,
        replace=replace,
    )  # fmt: skip
    return record.files


def test_labels_survive_names_that_are_hard_to_write(tmp_path: Path) -> None:
    paint(tmp_path / "data", *(f"{number}.png" for number in range(12)))
    labels = ["a/b", "a\\b", "A_B", ".hidden", "con", "new\nline"]
    rows = [f"{number}.png,{json.dumps(labels[number % 6])}" for number in range(12)]
    table = tmp_path / "data" / "t.csv"
    table.write_text("path,label\n" + "\n".join(rows).replace("\\\\", "\\").replace("\\n", "\n"))
    index = read_index(table)
    files = written(index, tmp_path / "out")
    folders = {file.split("/")[1] for file in files.values()}
    assert len(folders) == len({collision_key(name) for name in folders}) == 6
    assert not any(name.startswith(".") for name in folders)
    again = read_index(tmp_path / "out" / "table.csv")
    assert again.classes == index.classes
    by_hash = dict(zip(index.table["sha256"], index.table["label"], strict=True))
    assert dict(zip(again.table["sha256"], again.table["label"], strict=True)) == by_hash


def test_images_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    names = [f"a/{folder}/{name}" for folder in "xyz" for name in ("1.png", "2.PNG", "1.PNG")]
    index = read_index(paint(tmp_path / "data", *names, "b/1.png"))
    files = written(index, tmp_path / "out")
    assert len({collision_key(file) for file in files.values()}) == len(files) == 10
    for path, file in files.items():
        assert (tmp_path / "out" / file).read_bytes() == index.file(path).read_bytes()
        assert Path(file).suffix.lower() == ".png"


def test_every_part_has_a_folder_for_every_class(tmp_path: Path) -> None:
    index = read_index(paint(tmp_path / "data", "rare/1.png", *(f"a/{i}.png" for i in range(9))))
    written(index, tmp_path / "out")
    for part in ("train", "val", "test"):
        assert sorted(folder.name for folder in (tmp_path / "out" / part).iterdir()) == [
            "a",
            "rare",
        ]


@pytest.mark.parametrize("name", ["cal", "Calibration"])
def test_a_calibration_part_is_read_from_folders_and_written_as_one(
    tmp_path: Path, name: str
) -> None:
    parts = ("train", "val", "test", name)
    names = [f"{part}/{label}/{n}.png" for part in parts for label in "ab" for n in range(2)]
    index = read_index(paint(tmp_path / "data", *names))
    assert len(index.part("cal")) == 4
    files = written(index, tmp_path / "out")
    again = read_index(tmp_path / "out" / "table.csv")
    assert set(again.part("cal").table["path"]) == {
        files[path] for path in index.part("cal").table["path"]
    }
    assert sorted(path.name for path in (tmp_path / "out" / "cal").iterdir()) == ["a", "b"]


def test_links_lead_to_the_images(tmp_path: Path) -> None:
    index = read_index(paint(tmp_path / "data", "a/1.png", "a/2.png", "b/1.png", "b/2.png"))
    for path, file in written(index, tmp_path / "out", files=LINKS).items():
        assert (tmp_path / "out" / file).is_symlink()
        assert (tmp_path / "out" / file).resolve() == index.file(path).resolve()


def test_the_same_split_is_recognised_and_every_difference_is_named(tmp_path: Path) -> None:
    data = paint(tmp_path / "data", *(f"{c}/{i}.png" for c in "ab" for i in range(4)))
    output = tmp_path / "out"
    files = written(read_index(data), output)

    def check(**settings: object) -> None:
        record = read_split_record(output)
        assert record is not None
        records = image_records(read_index(data))
        require_same_split(record, output, records=records, settings={**SETTINGS, **settings})

    check()
    with pytest.raises(StaleSplit, match="seed was 42, is 7"):
        check(seed=7)
    (data / "a/0.png").rename(data / "a/9.png")
    paint(data, "b/7.png", "b/8.png")
    Image.new("L", (5, 5)).save(data / "b/1.png")
    with pytest.raises(
        StaleSplit,
        match=r"3 images added .*'a/9.png'.*; 1 image removed .*; 1 image changed in cont",
    ):
        check()
    (output / next(iter(files.values()))).unlink()
    with pytest.raises(StaleSplit, match="1 file missing"):
        check()


def test_the_digest_of_the_data_is_the_same_wherever_it_lies(tmp_path: Path) -> None:
    digests = set()
    for place in ("here", "elsewhere"):
        index = read_index(paint(tmp_path / place / "data", "a/1.png", "b/1.png"))
        written(index, tmp_path / place / "out")
        digests.add(json.loads((tmp_path / place / "out/split.json").read_text())["data"])
    assert len(digests) == 1


def test_building_anew_removes_nothing_that_others_put_there(tmp_path: Path) -> None:
    index = read_index(paint(tmp_path / "data", "a/1.png", "b/1.png"))
    output = tmp_path / "out"
    written(index, output)
    with pytest.raises(UsageError, match="is not empty"):
        written(index, output)
    written(index, output, replace=True)
    (output / "train" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"'train/notes.txt', which .* did not write"):
        written(index, output, replace=True)
    assert (output / "train" / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        written(index, tmp_path / "file", replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "file", "out"]


def test_a_record_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    assert read_split_record(tmp_path) is None
    for text in ("{", "[]", '{"settings": {}, "images": [{}]}'):
        (tmp_path / "split.json").write_text(text)
        with pytest.raises(StaleSplit, match="cannot be read"):
            read_split_record(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=12, unique=True))
def test_any_labels_get_folders_that_no_file_system_takes_for_one(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str]
) -> None:
    labels = [label for label in labels if label.isprintable() or "\n" in label] or ["a"]
    folder = tmp_path_factory.mktemp("labels")
    (folder / "1.png").write_bytes(b"x")
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(len(labels))], "label": labels})
    table = table.assign(
        group="", split="train", fold=-1, weight=1.0, sha256="", width=1, height=1, format="PNG"
    ).astype(COLUMNS)
    for path in table["path"]:
        (folder / path).write_bytes(b"x")
    index = Index(folder, table, tuple(sorted(labels)))
    files = write_split_folders(
        index, folder / "out", records=image_records(index), settings={}
    ).files
    folders = {file.split("/")[1] for file in files.values()}
    assert len({collision_key(name) for name in folders}) == len(labels)
    assert all((folder / "out" / file).is_file() for file in files.values())
