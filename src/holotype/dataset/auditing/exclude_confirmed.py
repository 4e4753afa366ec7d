"""Exclude images: those named in a table, such as an audit's issues.csv, and unreadable ones."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from holotype.dataset.auditing.findings import Findings
from holotype.dataset.class_names import class_name
from holotype.dataset.index import Index, require_classes
from holotype.dataset.reading.column_names import column_notes, find_columns
from holotype.dataset.reading.csv_tables import read_csv_table
from holotype.dataset.reading.image_ids import files_of_ids, is_image_id
from holotype.errors import EmptyDataset, InvalidTable
from holotype.imaging.image_warnings import refusal_notes
from holotype.progress import Progress, pluralize

CONFIRMED, NEW_LABEL = "confirmed", "new_label"
_YES = frozenset(["yes", "y", "true", "1", "x"])
_NO = frozenset(["no", "n", "false", "0", ""])


def exclude_images(index: Index, issues: str | Path) -> tuple[Index, list[str]]:
    """The index without the images that a table names, and notes that say what was done.

    Test images stay, with weight 0: their predictions are kept, so the report can give the score
    with and without them (`original_weights`). All others are removed. Split first, so that the
    parts of the other images do not change.

    Args:
        index: already split.
        issues: a CSV file with a column `path`. All rows count, unless there is a column
            `confirmed`, as an audit writes it: then those that say yes, y, true, 1 or x. An image
            that has the `new_label` of its row, as after `relabel_images`, is kept.

    Raises:
        InvalidTable: no such file, no column `path`, a `confirmed` that is neither yes nor no, no
            confirmed row, or no path of this data set.
    """
    rows = _confirmed_rows_of(index, issues)
    not_in_index = paths_not_in_index(index, issues, {row["path"] for row in rows})
    labels = dict(zip(index.table["path"], index.table["label"], strict=True))
    corrected = {
        row["path"]
        for row in rows
        if row["path"] in labels
        and class_name(row.get(NEW_LABEL, "").strip()) == labels[row["path"]]
    }
    rows = [row for row in rows if row["path"] not in corrected]
    present = index.table["path"].isin({row["path"] for row in rows})
    in_test = present & (index.table["split"] == "test")
    table = index.table.copy()
    table.loc[in_test, "weight"] = 0.0
    remaining = replace(index, table=table[~present | in_test].reset_index(drop=True))
    excluded_paths = set(index.table.loc[present, "path"])
    notes = [
        *read_issue_table(Path(issues))[1],
        *_notes(rows, excluded_paths, not_in_index, int(in_test.sum()), issues),
    ]
    if corrected:
        notes.append(f"{pluralize(len(corrected), 'image')} kept with the new label.")
    return remaining, notes


def paths_not_in_index(index: Index, issues: str | Path, named: set[str]) -> list[str]:
    """The paths named in a table that are no image of this data set, sorted.

    Unreadable images belong to the data set, whether or not the index still has them.

    Raises:
        InvalidTable: none of them is one.
    """
    known = {*index.table["path"], *index.undecodable_names}
    not_in_index = sorted(path for path in named - known if not os.path.lexists(index.file(path)))
    if named and len(not_in_index) == len(named):
        raise InvalidTable(
            f"no path in {str(issues)!r} ({pluralize(len(named), 'path')}) is an image of this "
            f"data set; the first: {not_in_index[0]!r}. Expected paths as an audit of the same "
            f"data writes them, such as {index.table['path'].iloc[0]!r}."
        )
    return not_in_index


def original_weights(index: Index, remaining: Index) -> dict[str, float]:
    """The weights of the excluded test images before `exclude_images`, by path.

    Args:
        index, remaining: the input and the output of `exclude_images`.
    """
    before = dict(zip(index.table["path"], index.table["weight"], strict=True))
    after = zip(remaining.table["path"], remaining.table["weight"], strict=True)
    return {path: before[path] for path, weight in after if weight == 0 < before[path]}


def confirmed_rows(issues: Path) -> list[dict[str, str]]:
    """The rows that are confirmed, or all if there is no such column.

    Raises:
        InvalidTable: as `exclude_images`.
    """
    rows = read_issue_rows(issues)
    confirmed = [row for row in rows if is_confirmed(row, issues)]
    if rows and not confirmed:
        raise InvalidTable(
            f"no row of {str(issues)!r} is confirmed ({pluralize(len(rows), 'row')}), so no image "
            "would be excluded. Write yes into the column 'confirmed' of every image to exclude, "
            "or omit --exclude."
        )
    return confirmed


def _confirmed_rows_of(index: Index, issues: str | Path) -> list[dict[str, str]]:
    """The confirmed rows, with paths as the index has them."""
    rows = confirmed_rows(Path(issues))
    path_of = paths_in_index(index, issues, [row["path"] for row in rows])
    return [row | {"path": path_of[row["path"]]} for row in rows]


def read_issue_rows(issues: Path) -> list[dict[str, str]]:
    """All rows of a CSV table of images, as column -> text.

    Raises:
        InvalidTable: as `read_issue_table`.
    """
    return read_issue_table(issues)[0]


def read_issue_table(issues: Path) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """All rows of a CSV table of images, as column -> text; which columns have another name.

    Raises:
        InvalidTable: it cannot be read, or no column names the images, or two could.
    """
    table = read_csv_table(
        issues,
        expected="Expected a CSV file with a column 'path', such as the issues.csv that holotype "
        "audit writes.",
    )
    found = find_columns(repr(str(issues)), table.columns, ("path", NEW_LABEL, CONFIRMED))
    if "path" not in found:
        columns = ", ".join(map(repr, table.columns)) or "no columns"
        raise InvalidTable(
            f"{str(issues)!r} has {columns}; expected a column 'path' and optionally 'confirmed'."
        )
    name_of = {column: name for name, column in found.items()}
    names = [name_of.get(column, column) for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in table.rows], column_notes(found)


def paths_in_index(index: Index, issues: str | Path, named: Iterable[str]) -> dict[str, str]:
    """The path of an image as a table writes it -> as the index does, which has an extension.

    Raises:
        InvalidTable: a path without an extension is that of several images.
    """
    known = set(index.table["path"])
    stripped = {path: path if path in known else path.strip() for path in named}
    ids = {path for path in stripped.values() if path not in known and is_image_id(path)}
    found = files_of_ids(repr(str(issues)), sorted(ids), index.table["path"]) if ids else {}
    return {path: found.get(name, name) for path, name in stripped.items()}


def is_confirmed(row: dict[str, str], issues: Path) -> bool:
    """Whether a row says yes, or there is no column `confirmed`.

    Raises:
        InvalidTable: it says neither yes nor no.
    """
    if CONFIRMED not in row:
        return True
    word = row[CONFIRMED].strip().lower()
    if word not in _YES | _NO:
        raise InvalidTable(
            f"{str(issues)!r} says {row[CONFIRMED]!r} in the column 'confirmed' of "
            f"{row['path']!r}; expected yes or no, or nothing, which is no."
        )
    return word in _YES


def _notes(
    rows: list[dict[str, str]],
    excluded_paths: set[str],
    not_in_index: list[str],
    in_test: int,
    issues: str | Path,
) -> list[str]:
    problems = Counter(
        problem
        for row in rows
        if row["path"] in excluded_paths
        for problem in set(row.get("problem", "").split("; ")) - {""}
    )
    why = ", ".join(f"{name} {count:,}" for name, count in sorted(problems.items()))
    if sum(problems.values()) > len(excluded_paths):
        why += " (some for several reasons)"
    lines = [
        f"{pluralize(len(excluded_paths), 'image')} named in {str(issues)!r} excluded"
        f"{f': {why}' * bool(why)}."
    ]
    if in_test:
        lines.append(f"{in_test:,} of them in test: the score is given with and without.")
    if not_in_index:
        lines.append(
            f"{pluralize(len(not_in_index), 'path')} in {str(issues)!r} not of this data set; the "
            f"first: {not_in_index[0]!r}."
        )
    return lines


def drop_unreadable(index: Index, findings: Findings, progress: Progress) -> Index:
    """Without the images that cannot be read, which are logged, and classes that have no others.

    Raises:
        EmptyDataset: no image can be read.
        SingleClass: one class remains.
    """
    progress.log_all(refusal_notes("left out", findings.unusable))
    kept = index.without(findings.unusable_paths)
    if len(kept) == 0:
        raise EmptyDataset(
            f"none of the {len(index):,} images in {str(index.root)!r} can be read; "
            f"the first: {findings.unusable[0].reason}."
        )
    present = set(kept.table["label"])
    kept = replace(kept, classes=tuple(c for c in kept.classes if c in present))
    require_classes(kept)
    for name in sorted(set(index.classes) - present):
        progress.log(f"class {name!r} is left out: none of its images can be read")
    return kept
