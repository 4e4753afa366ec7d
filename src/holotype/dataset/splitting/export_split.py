"""Write a split as folders that other tools read, with a record of what it was made of.

    OUTPUT/train|val|test|cal/CLASS/NAME     copies of the images, or symbolic links to them
    OUTPUT/table.csv                         path, label, group, split, weight
    OUTPUT/unseen/CLASS/NAME, unseen.csv     of the classes that were held out whole, if any
    OUTPUT/split.json                        the images (hash, label, group, part), the settings

Folder and file names are valid and distinct on every file system. Every part has a folder for
every class, even an empty one, so that tools that number classes by folder agree between parts.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from holotype.dataset.atomic_directory import TABLE_FILENAME, staged_directory, write_table
from holotype.dataset.class_names import class_name
from holotype.dataset.index import Index
from holotype.dataset.safe_filenames import collision_key, safe_filename, truncate_name
from holotype.dataset.splitting.splitter import parts_of
from holotype.errors import CorruptFile, StaleSplit, UsageError
from holotype.files import read_json, write_json
from holotype.progress import pluralize

SPLIT_FILENAME = "split.json"
LINKS = "links"
UNSEEN = "unseen"
UNSEEN_TABLE = "unseen.csv"
_CHUNK = 1 << 20

# field of an image in the record -> its name in messages
_FIELD_NAMES = {
    "sha256": "content",
    "label": "label",
    "group": "group",
    "original_split": "original split",
}

ImageRecords = dict[str, dict[str, str]]  # path in the data -> sha256, label, group, original split


@dataclass(frozen=True)
class SplitRecord:
    """The content of `split.json`.

    Attributes:
        settings: everything that determined the split, except the images.
        records: of all images of the data, unreadable ones included.
        files: path in the data -> path in the output.
        parts: path in the data -> part.
        refused: images that could not be read, with the reason.
    """

    settings: dict[str, Any]
    records: ImageRecords
    files: dict[str, str]
    parts: dict[str, str]
    refused: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of the image records; it does not depend on where the data is."""
        text = json.dumps(self.records, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        images = [
            {
                "path": path,
                **facts,
                "part": self.parts.get(path, ""),
                "file": self.files.get(path, ""),  # "" if the image could not be read
            }
            for path, facts in self.records.items()
        ]
        return {
            "holotype_split": 1,
            "data": self.digest,
            "settings": self.settings,
            "refused": self.refused,
            "images": images,
        }


def image_records(index: Index) -> ImageRecords:
    """The facts by which two data sets are compared."""
    names = ("path", "sha256", "label", "group", "split")
    rows = zip(*(index.table[name] for name in names), strict=True)
    return {
        path: {"sha256": sha256, "label": label, "group": group, "original_split": original_split}
        for path, sha256, label, group, original_split in rows
    }


def write_split_folders(
    split_index: Index,
    output: Path,
    *,
    records: ImageRecords,
    settings: Mapping[str, Any],
    replace: bool = False,
    unseen: Index | None = None,
    refused: Mapping[str, str] | None = None,
) -> SplitRecord:
    """Write the folders, the table and the record, atomically.

    Args:
        split_index: with its split column filled; it may lack images of `records`.
        settings: where `files` is LINKS, symbolic links are written instead of copies.
        replace: replace a split that is in `output`.
        unseen: images of classes that were held out whole.
        refused: images that could not be read, with the reason.

    Raises:
        UsageError: the output is not empty, or holds files that are not of a split.
    """
    files = _output_paths(split_index)
    parts = dict(zip(split_index.table["path"], split_index.table["split"], strict=True))
    held_out: dict[str, str] = {}
    if unseen is not None and len(unseen):
        in_unseen = dataclasses.replace(unseen, table=unseen.table.assign(split=UNSEEN))
        held_out = _output_paths(in_unseen)
        files |= held_out
        parts |= dict.fromkeys(held_out, UNSEEN)
    record = SplitRecord(dict(settings), dict(records), files, parts, dict(refused or {}))
    if replace:
        require_only_split_files(output)
    with staged_directory(output, replace=replace) as directory:
        for part in parts_of(split_index):
            for name in _class_folders(split_index).values():
                (directory / part / name).mkdir(parents=True)
        for path, file in files.items():
            source = split_index.file(path)
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            if settings.get("files") == LINKS:
                (directory / file).symlink_to(os.path.abspath(source))
            else:
                _copy(source, directory / file)
        names = ("path", "label", "group", "split", "weight")
        rows = zip(*(split_index.table[name] for name in names), strict=True)
        write_table(directory, names, [(files[path], *others) for path, *others in rows])
        if unseen is not None and held_out:
            columns = unseen.table[["path", "label", "group", "weight"]]
            columns = columns.assign(path=columns["path"].map(files))
            write_table(
                directory, columns.columns.tolist(), columns.to_numpy().tolist(), name=UNSEEN_TABLE
            )
        write_json(directory / SPLIT_FILENAME, record.to_json())
    return record


def _copy(source: Path, target: Path) -> None:
    """Copy bytes; an error of writing does not name the source."""
    with source.open("rb") as read, target.open("xb") as written:
        shutil.copyfileobj(read, written, _CHUNK)


def read_split_record(output: Path) -> SplitRecord | None:
    """Read `split.json`; None if there is none.

    Raises:
        StaleSplit: the record cannot be read.
    """
    path = output / SPLIT_FILENAME
    if not path.exists():
        return None
    try:
        raw = read_json(path)
        rows, refused = raw["images"], dict(raw.get("refused", {}))
        if not all(type(value) is str for row in (*rows, refused) for value in row.values()):
            raise ValueError("a value of an image is no text")
        return SplitRecord(
            settings=dict(raw["settings"]),
            records={  # groups were once kept in any Unicode form
                row["path"]: {name: class_name(row[name]) for name in _FIELD_NAMES} for row in rows
            },
            files={row["path"]: row["file"] for row in rows if row["file"]},
            parts={row["path"]: row["part"] for row in rows if row["file"]},
            refused=refused,
        )
    except (CorruptFile, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StaleSplit(
            f"{str(path)!r} cannot be read: {error!r}. Expected what `holotype split` wrote; "
            "remove the folder, or choose another --output."
        ) from None


def require_same_split(
    record: SplitRecord, output: Path, *, records: ImageRecords, settings: Mapping[str, Any]
) -> None:
    """Refuse folders that hold another split.

    Raises:
        StaleSplit: the images, their files or the settings differ.
    """
    differences = [
        f"{name} was {record.settings.get(name)}, is {settings.get(name)}"
        for name in sorted({*record.settings, *settings})
        if record.settings.get(name) != settings.get(name)
    ]
    then, now = record.records, records
    added, removed = sorted(set(now) - set(then)), sorted(set(then) - set(now))
    changed = sorted(path for path in set(now) & set(then) if now[path] != then[path])
    how = [
        word
        for key, word in _FIELD_NAMES.items()
        if any(now[path][key] != then[path][key] for path in changed)
    ]
    in_what = f"changed in {', '.join(how)}"
    for what, paths in (("added", added), ("removed", removed), (in_what, changed)):
        if paths:
            differences.append(f"{pluralize(len(paths), 'image')} {what} (such as {paths[0]!r})")
    gone = [file for file in record.files.values() if not (output / file).exists()]
    if gone:
        differences.append(f"{pluralize(len(gone), 'file')} missing (such as {gone[0]!r})")
    if differences:
        raise StaleSplit(
            f"{str(output)!r} holds another split: {'; '.join(differences)}. "
            "Use --force to replace it, or choose another --output."
        )


def require_only_split_files(output: Path) -> None:
    """Refuse to replace an output that holds files which `holotype split` did not write.

    Raises:
        UsageError: it does.
    """
    record = read_split_record(output) if output.exists() else None
    ours = {
        SPLIT_FILENAME,
        TABLE_FILENAME,
        UNSEEN_TABLE,
        *(record.files.values() if record else ()),
    }
    for folder, _, files in os.walk(output):
        for name in files:
            file = (Path(folder) / name).relative_to(output).as_posix()
            if record is None or file not in ours:
                raise UsageError(
                    f"{str(output)!r} holds {file!r}, which `holotype split` did not write; "
                    "nothing is removed. Choose another --output, or move it away."
                )


def _class_folders(index: Index) -> dict[str, str]:
    """label -> the name of its folder."""
    taken: set[str] = set()
    return {
        label: _unique_name(_unhidden(safe_filename(label)), label, taken)
        for label in index.classes
    }


def _output_paths(index: Index) -> dict[str, str]:
    """path in the data -> path in the output."""
    folders = _class_folders(index)
    taken: dict[str, set[str]] = {}
    output_paths = {}
    for path, label, part in sorted(
        zip(index.table["path"], index.table["label"], index.table["split"], strict=True)
    ):
        folder = f"{part}/{folders[label]}"
        name = _unhidden(safe_filename(PurePosixPath(path).name))
        output_paths[path] = f"{folder}/{_unique_name(name, path, taken.setdefault(folder, set()))}"
    return output_paths


def _unhidden(name: str) -> str:
    """Prefix a hidden name, which other tools would skip."""
    return truncate_name(f"_{name}") if name.startswith(".") else name


def _unique_name(name: str, source: str, taken: set[str]) -> str:
    """The name, with a hash of its source appended if the name is taken."""
    if collision_key(name) in taken:
        mark = "-" + hashlib.sha256(source.encode()).hexdigest()[:12]
        whole = PurePosixPath(truncate_name(name, max_bytes=200))
        name = f"{whole.stem}{mark}{whole.suffix}"
    taken.add(collision_key(name))
    return name
