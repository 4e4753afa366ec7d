"""Images that a person wants left out, as named in a table such as the issues.csv of an audit."""

import csv
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from holotype.dataset.index import Index
from holotype.errors import InvalidTable
from holotype.progress import pluralize

CONFIRMED = "confirmed"
_YES = frozenset(["yes", "y", "true", "1", "x"])
_NO = frozenset(["no", "n", "false", "0", ""])


def exclude_images(index: Index, issues: str | Path) -> tuple[Index, list[str]]:
    """The index without the images that a table names, and sentences that say what was done.

    Images of train and val are gone; so are those without a part. Images of *test* stay, with
    weight 0: a test score must not quietly become the score of what was left of it, and with
    their predictions kept, the report can say both (`original_weights`). It is for this, and so
    that the other images stay on their sides, that a split should come first.

    Args:
        index: split, if a part is to be judged.
        issues: a CSV file with a column `path`. All its rows count, unless there is a column
            `confirmed`, as an audit writes it: then those that say yes, true, 1 or x.

    Raises:
        InvalidTable: no such file, no column `path`, a `confirmed` that is neither yes nor no, no
            row that is confirmed, or none of its paths is of this data set.
    """
    not_in_index = paths_not_in_index(index, issues)
    rows = confirmed_rows(Path(issues))
    present = index.table["path"].isin({row["path"] for row in rows})
    in_test = present & (index.table["split"] == "test")
    table = index.table.copy()
    table.loc[in_test, "weight"] = 0.0
    remaining = replace(index, table=table[~present | in_test].reset_index(drop=True))
    excluded_paths = set(index.table.loc[present, "path"])
    return remaining, _sentences(rows, excluded_paths, not_in_index, int(in_test.sum()), issues)


def paths_not_in_index(index: Index, issues: str | Path) -> list[str]:
    """Paths that a table names and that are no image of this data set, sorted.

    Images that cannot be read are of the data set, whether or not the index still has them: the
    audit names them too.

    Raises:
        InvalidTable: as `exclude_images`.
    """
    named = {row["path"] for row in confirmed_rows(Path(issues))}
    known = {*index.table["path"], *index.undecodable_names}
    not_in_index = sorted(path for path in named - known if not os.path.lexists(index.file(path)))
    if named and len(not_in_index) == len(named):
        raise InvalidTable(
            f"no path in {str(issues)!r} ({pluralize(len(named), 'path')}) is an image of "
            "this data "
            f"set; the first: {not_in_index[0]!r}. Expected paths as the audit of the same "
            "data writes "
            f"them, such as {index.table['path'].iloc[0]!r}."
        )
    return not_in_index


def original_weights(index: Index, remaining: Index) -> dict[str, float]:
    """What the test images that were left out weighed before, by path.

    Args:
        index, remaining: what went into `exclude_images`, and what came out.
    """
    before = dict(zip(index.table["path"], index.table["weight"], strict=True))
    after = zip(remaining.table["path"], remaining.table["weight"], strict=True)
    return {path: before[path] for path, weight in after if weight == 0 < before[path]}


def confirmed_rows(issues: Path) -> list[dict[str, str]]:
    """The rows that count, by column.

    Raises:
        InvalidTable: as `exclude_images`, which is too late for a person who waits.
    """
    rows = read_issue_rows(issues)
    if not rows or CONFIRMED not in rows[0]:
        return rows
    confirmed = [row for row in rows if _is_yes(row, issues)]
    if not confirmed:
        raise InvalidTable(
            f"no row of {str(issues)!r} is confirmed ({pluralize(len(rows), 'row')}), so nothing "
            "would be left out. Write yes into the column 'confirmed' of every image that is to "
            "go, or leave --exclude out."
        )
    return confirmed


def read_issue_rows(issues: Path) -> list[dict[str, str]]:
    """All rows of a table of images, by column.

    Raises:
        InvalidTable: it cannot be read, or has no column `path`.
    """
    try:
        with issues.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            rows = [{name: row.get(name) or "" for name in columns} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidTable(
            f"{str(issues)!r} cannot be read: {error}. Expected a CSV file with a column 'path', "
            "such as the issues.csv that holotype audit writes."
        ) from None
    if "path" not in columns:
        found = ", ".join(map(repr, columns)) or "no columns"
        raise InvalidTable(
            f"{str(issues)!r} has {found}; expected a column 'path', and if you like 'confirmed'."
        )
    return rows


def _is_yes(row: dict[str, str], issues: Path) -> bool:
    word = row[CONFIRMED].strip().lower()
    if word not in _YES | _NO:
        raise InvalidTable(
            f"{str(issues)!r} says {row[CONFIRMED]!r} in the column 'confirmed' of "
            f"{row['path']!r}; expected yes or no, or nothing, which is no."
        )
    return word in _YES


def _sentences(
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
    are = "is" if len(excluded_paths) == 1 else "are"
    lines = [
        f"{pluralize(len(excluded_paths), 'image')} named in {str(issues)!r} {are} left out"
        f"{f': {why}' * bool(why)}."
    ]
    if in_test:
        are = "is a test image" if in_test == 1 else "are test images"
        lines.append(f"{in_test:,} of them {are}: the score is given with and without.")
    if not_in_index:
        are = "is" if len(not_in_index) == 1 else "are"
        lines.append(
            f"{pluralize(len(not_in_index), 'path')} in {str(issues)!r} {are} no image of "
            "this data "
            f"set; the first: {not_in_index[0]!r}."
        )
    return lines
