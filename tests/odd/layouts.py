# ruff: noqa: E501 - a case is one line
"""Odd data sets, each with its right outcome: the images of each class, or the refusal.

Adding a case is one line, where `images` and `table` make what it needs.
"""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

HEIC_HEAD = b"\0\0\0\x18ftypheic" + bytes(200)
LEVEL = {"cat": 60, "dog": 190}


def paint(path: Path) -> None:
    """A small image of its own, dark for cats and bright for dogs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    level = next((LEVEL[name] for name in LEVEL if name in str(path)), 120)
    seed = list(os.fsencode(path.name)) + list(os.fsencode(path.parent.name))
    pixels = np.random.default_rng(seed).integers(level - 50, level + 50, (24, 24, 3), np.uint8)
    with open(path, "wb") as file:
        Image.fromarray(pixels).save(file, "PNG")


def images(top: Path, *folders: str, count: int = 6, suffix: str = ".png") -> Path:
    """`count` images in each folder."""
    for folder in folders:
        for number in range(count):
            paint(top / folder / f"{number}{suffix}")
    return top


def table(text: str, *, name: str = "table.csv", encoding: str = "utf-8") -> Callable[[Path], Path]:
    """A table beside cat/ and dog/; ROWS stands for a row of each of its images.

    Of a row, {s} is the separator, {e} the line end.
    """

    def make(top: Path) -> Path:
        images(top, "cat", "dog")
        head, _, row = text.partition("ROWS")
        rows = "".join(
            row.replace("{p}", f"{c}/{n}.png").replace("{l}", c) for c in LEVEL for n in range(6)
        )
        (top / name).write_bytes((head + rows).encode(encoding))
        return top / name

    return make


def folders(*names: str, count: int = 6) -> Callable[[Path], Path]:
    return lambda top: images(top, *names, count=count)


def flat(*names: str) -> Callable[[Path], Path]:
    """Images without folders."""

    def make(top: Path) -> Path:
        for name in names:
            paint(top / name)
        return top

    return make


def with_files(contents: dict[str, bytes], *names: str) -> Callable[[Path], Path]:
    """Class folders, and other files."""

    def make(top: Path) -> Path:
        images(top, *(names or ("cat", "dog")))
        for name, content in contents.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                (top / name).write_bytes(content)
            else:
                (top / name).mkdir(exist_ok=True)
        return top

    return make


def with_links(links: dict[str, str]) -> Callable[[Path], Path]:
    """cat/ and dog/ lie in a store; in the data are links only."""

    def make(top: Path) -> Path:
        images(top / "store", "cat", "dog")
        (top / "data").mkdir()
        for name, target in links.items():
            link = top / "data" / name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(top / target)
        return top / "data"

    return make


def undecodable(*names: bytes) -> Callable[[Path], Path]:
    def make(top: Path) -> Path:
        images(top, "cat", "dog") if b"all" not in names[0] else None
        for name in names:
            path = os.path.join(os.fsencode(top), name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            paint(Path(os.fsdecode(path)))
        return top

    return make


def pipe(name: str) -> Callable[[Path], Path]:
    def make(top: Path) -> Path:
        images(top, "cat", "dog")
        os.mkfifo(top / name)
        return top / name

    return make


def parquet(top: Path) -> Path:
    images(top, "cat", "dog")
    rows = [(f"{c}/{n}.png", c) for c in LEVEL for n in range(6)]
    pd.DataFrame(rows, columns=["path", "label"]).to_parquet(top / "table.parquet")
    return top / "table.parquet"


def archive(top: Path) -> Path:
    images(top, "cat", "dog")
    with zipfile.ZipFile(top / "photos.zip", "w") as opened:
        opened.write(top / "cat/0.png", "cat/0.png")
    return top / "photos.zip"


def copies(top: Path) -> Path:
    images(top, "cat", "dog")
    for number in range(3):
        (top / f"dog/copy{number}.png").write_bytes((top / f"cat/{number}.png").read_bytes())
    return top


@dataclass(frozen=True)
class Layout:
    """A data set and what every verb must make of it.

    Attributes:
        name: of the case.
        make: writes it below a folder and gives what is named on the command line.
        classes: images that can be read of each class; empty where it is refused.
        refused: words of the refusal.
        said: words of what audit, train and evaluate say of it.
        unusable: images that are refused by name.
        options: of reading, such as label_pattern.
        cannot_train: words of what only training refuses.
        mismatch: words of what training and evaluating refuse.
        answers: images that predict answers for the folder, where these are not all of `classes`.
    """

    name: str
    make: Callable[[Path], Path]
    classes: dict[str, int] = field(default_factory=dict)
    refused: str = ""
    said: str = ""
    unusable: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    cannot_train: str = ""
    mismatch: str = ""
    answers: int | None = None


BOTH = {"cat": 6, "dog": 6}
STORE = {"cat": "store/cat", "dog": "store/dog"}
PARTS = {"cat": 18, "dog": 18}
RUN = {"runs/one/recipe.yaml": b"", "runs/one/train.log": b"", "runs/one/report/a.png": b""}

LAYOUTS = [
    # folders
    Layout("class folders", folders("cat", "dog"), BOTH),
    Layout("folders in class folders", folders("cat/a", "cat/b", "dog/a"), {"cat": 12, "dog": 6}),
    Layout("train, val, test", folders("train/cat", "train/dog", "val/cat", "val/dog", "test/cat", "test/dog"), PARTS),
    Layout("Training, Valid, TEST", folders("Training/cat", "Training/dog", "Valid/cat", "Valid/dog", "TEST/cat", "TEST/dog"), PARTS),
    Layout("train and test", folders("train/cat", "train/dog", "test/cat", "test/dog"), {"cat": 12, "dog": 12}),
    Layout("flat test beside train", lambda top: images(images(top, "train/cat", "train/dog"), "test"), BOTH, said="6 images in no class folder", answers=18),
    Layout("parts beside a class", folders("train/cat", "val/cat", "dog"), refused="beside 'dog'"),
    Layout("parts with other classes", folders("train/cat", "train/dog", "test/cat"), {"cat": 12, "dog": 6}, mismatch="test lacks 'dog'"),
    Layout("one class", folders("cat"), {"cat": 6}, cannot_train="one class only"),
    Layout("a folder too high", folders("photos/cat", "photos/dog"), {"photos": 12}, cannot_train="Did you mean"),
    Layout("images in no folder", folders("."), refused="in no class folders"),
    Layout("names tell the label", flat(*(f"{c}.{n}.png" for c in LEVEL for n in range(6))), BOTH, options={"label_pattern": r"(cat|dog)\.\d+"}),
    Layout("a name without a label", flat("cat.1.png", "dog.2.png", "cow.png"), refused="matches 2 of 3 file names", options={"label_pattern": r"(cat|dog)\.\d+"}),
    Layout("an empty folder", lambda top: top, refused="holds no images"),
    Layout("only text", with_files({"a/notes.txt": b"x"}, "nothing/.hidden"), refused="holds no images"),
    Layout("an empty class folder", with_files({"bird/": b""}), BOTH, said="1 class folder without images, 'bird/'"),
    Layout("other files", with_files({"cat/notes.txt": b"x", "labels.csv": b"x"}), BOTH, said="2 files that are no images"),
    Layout("folders of systems", lambda top: images(images(top, "cat", "dog"), "@eaDir", "$RECYCLE.BIN", "cat/.thumbnails"), BOTH, said="3 hidden images and folders of the system"),
    Layout("hidden images", with_files({"cat/._0.png": b"x", "cat/.DS_Store": b"x"}), BOTH, said="1 hidden image or folder of the system"),
    Layout("a run within", with_files(RUN), BOTH, said="1 folder that Holotype wrote, 'runs/one/'"),
    Layout("a class in HEIC only", with_files({f"bird/{n}.HEIC": HEIC_HEAD for n in range(4)}), {**BOTH, "bird": 0}, unusable=4),
    Layout("broken images", with_files({"cat/a.png": b"", "dog/b.jpg": b"<html>"}), BOTH, unusable=2),
    Layout("nothing but broken images", lambda top: with_files({f"{c}/x{n}.png": b"" for c in LEVEL for n in range(3)}, "x/.y")(top), {"cat": 0, "dog": 0}, unusable=6, cannot_train="none of the 6 images"),
    Layout("equal files under two labels", copies, {"cat": 6, "dog": 9}),
    Layout("not there", lambda top: top / "nowhere", refused="does not exist"),
    Layout("an image instead of a folder", lambda top: images(top, "cat") / "cat/0.png", refused="neither a folder nor a table"),
    # links
    Layout("linked class folders", with_links(STORE), BOTH),
    Layout("linked images", with_links({f"{c}/{n}.png": f"store/{c}/{n}.png" for c in LEVEL for n in range(6)}), BOTH),
    Layout("a link that leads nowhere", with_links({**STORE, "bird/0.png": "nowhere.png"}), {**BOTH, "bird": 0}, unusable=1),
    Layout("a link back to the top", with_links({**STORE, "loop": "data"}), BOTH),
    # names
    Layout("names that are not UTF-8", undecodable(b"cat/b\xe4r.png", b"dog/b\xe4r.png"), BOTH, unusable=2, answers=14),
    Layout("all names are not UTF-8", undecodable(b"all-\xe4/0.png", b"all-\xfc/0.png"), {}, unusable=2, cannot_train="has a name that is valid UTF-8", answers=2),
    Layout("one class in two Unicode forms", folders("katze-\u00e4-cat", "katze-a\u0308-cat", "dog"), {"dog": 6, "katze-\u00e4-cat": 12}),
    Layout("classes that differ in case", folders("cat", "Cat", "dog"), {"cat": 6, "Cat": 6, "dog": 6}, said="look alike: 'Cat', 'cat'"),
    Layout("classes that differ in a blank", folders("cat", "cat ", "dog"), {"cat": 6, "cat ": 6, "dog": 6}, said="look alike: 'cat', 'cat '"),
    Layout("odd class names", folders("=1+1", "a;b,c", "\U0001f600", "-x", "new\nline"), dict.fromkeys(("=1+1", "a;b,c", "\U0001f600", "-x", "new\nline"), 6)),
    # tables
    Layout("commas", table("path,label\nROWS{p},{l}\n"), BOTH),
    Layout("semicolons", table("path;label\nROWS{p};{l}\n"), BOTH),
    Layout("tabs", table("path\tlabel\nROWS{p}\t{l}\n", name="table.tsv"), BOTH),
    Layout("a line for Excel", table("sep=;\npath;label\nROWS{p};{l}\n"), BOTH),
    Layout("byte order mark", table("path,label\nROWS{p},{l}\n", encoding="utf-8-sig"), BOTH),
    Layout("UTF-16", table("path\tlabel\nROWS{p}\t{l}\n", encoding="utf-16"), BOTH),
    Layout("Windows-1252", table("path,label\nROWS{p},{l}-\u00e4\n", encoding="cp1252"), {"cat-\u00e4": 6, "dog-\u00e4": 6}),
    Layout("lines of Windows", table("path,label\r\nROWS{p},{l}\r\n"), BOTH),
    Layout("lines of an old Macintosh", table("path,label\rROWS{p},{l}\r"), BOTH),
    Layout("blanks around all cells", table("path , label\nROWS {p} , {l} \n"), BOTH),
    Layout("a comma too many in all rows", table("path,label,\nROWS{p},{l},\n"), BOTH),
    Layout("empty rows", table("path,label\nROWS{p},{l}\n\n ,\n"), BOTH),
    Layout("quotes", table('"path","label"\nROWS"{p}","{l}, ""the""\nbeast"\n'), {'cat, "the"\nbeast': 6, 'dog, "the"\nbeast': 6}),
    Layout("an index column", table(",path,label\nROWS0,{p},{l}\n"), BOTH),
    Layout("columns that mean nothing", table("who,path,label,when\nROWSme,{p},{l},now\n"), BOTH),
    Layout("capital parts", table("path,label,split\nROWS{p},{l},Train\n"), BOTH),
    Layout("decimal commas", table("path;label;weight\nROWS{p};{l};0,5\n"), BOTH),
    Layout("a cell too many in a row", table("path,label\ncat/0.png,cat,dog\nROWS"), refused="has 3 cells, and the header 2"),
    Layout("Windows paths", table("path,label\ncat\\0.png,cat\nROWS"), refused="backslashes"),
    Layout("no column of labels", table("path,kind\nROWS{p},{l}\n"), refused="no column 'label'"),
    Layout("no label in a row", table("path,label\ncat/0.png,\nROWS"), refused="row 1 .*no label"),
    Layout("the same image twice", table("path,label\ncat/0.png,cat\nROWS{p},{l}\n"), refused="2 times"),
    Layout("an unknown part", table("path,label,split\nROWS{p},{l},holdout\n"), refused="unknown split 'holdout'"),
    Layout("a negative weight", table("path,label,weight\nROWS{p},{l},-1\n"), refused="weight '-1'"),
    Layout("two columns of one name", table("path,label,label\nROWS{p},{l},{l}\n"), refused="two columns called 'label'"),
    Layout("only a header", table("path,label\nROWS"), refused="no rows"),
    Layout("an empty table", table("ROWS"), refused="it is empty"),
    Layout("no text", table("\0\1\2\3\4\5ROWS"), refused=""),
    Layout("images that are not there", table("path,label\nbird/9.png,bird\nROWS{p},{l}\n"), {**BOTH, "bird": 0}, unusable=1),
    Layout("Parquet", parquet, BOTH),
    Layout("a damaged Parquet", table("PAR1ROWS", name="table.parquet"), refused="cannot be read as Parquet"),
    Layout("a pipe called table.csv", pipe("table.csv"), refused="folder or a device"),
    Layout("a pipe called table.parquet", pipe("table.parquet"), refused="folder or a device"),
    Layout("a spreadsheet", lambda top: with_files({"table.xlsx": b"PK\3\4"})(top) / "table.xlsx", refused="neither a folder nor a table"),
    Layout("JSON", lambda top: with_files({"table.json": json.dumps([]).encode()})(top) / "table.json", refused="neither a folder nor a table"),
    # archives
    Layout("an archive", archive, refused="Unpack archives first"),
]  # fmt: skip
