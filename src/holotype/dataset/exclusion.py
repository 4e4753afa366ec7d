"""Pictures that a person wants left out, as named in a table such as the issues.csv of an audit."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

from holotype.dataset.index import Index
from holotype.errors import InvalidTable

CONFIRMED = "confirmed"
_YES = frozenset(["yes", "y", "true", "1", "x"])
_NO = frozenset(["no", "n", "false", "0", ""])


def excluded(index: Index, issues: str | Path) -> tuple[Index, list[str]]:
    """The index without the pictures that a table names, and sentences that say what was done.

    Pictures of train and val are gone; so are those without a part. Pictures of *test* stay, with
    weight 0: a test score must not quietly become the score of what was left of it, and with
    their predictions kept, the report can say both (`weights_before`). It is for this, and so
    that the other pictures stay on their sides, that a split should come first.

    Args:
        index: split, if a part is to be judged.
        issues: a CSV file with a column `path`. All its rows count, unless there is a column
            `confirmed`: then those that say yes, true, 1 or x.

    Raises:
        InvalidTable: no such file, no column `path`, or a `confirmed` that is neither yes nor no.
    """
    rows = confirmed_rows(Path(issues))
    named = {row["path"] for row in rows}
    present = index.table["path"].isin(named)
    in_test = present & (index.table["split"] == "test")
    table = index.table.copy()
    table.loc[in_test, "weight"] = 0.0
    left = replace(index, table=table[~present | in_test].reset_index(drop=True))
    lines = _sentences(rows, set(index.table.loc[present, "path"]), int(in_test.sum()), issues)
    return left, lines


def weights_before(index: Index, left: Index) -> dict[str, float]:
    """What the test pictures that were left out weighed before, by path.

    Args:
        index, left: what went into `excluded`, and what came out.
    """
    before = dict(zip(index.table["path"], index.table["weight"], strict=True))
    after = zip(left.table["path"], left.table["weight"], strict=True)
    return {path: before[path] for path, weight in after if weight == 0 < before[path]}


def confirmed_rows(issues: Path) -> list[dict[str, str]]:
    """The rows that count, by column.

    Raises:
        InvalidTable: as `excluded`, which is too late for a person who waits.
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
    if CONFIRMED not in columns:
        return rows
    return [row for row in rows if _is_yes(row, issues)]


def _is_yes(row: dict[str, str], issues: Path) -> bool:
    word = row[CONFIRMED].strip().lower()
    if word not in _YES | _NO:
        raise InvalidTable(
            f"{str(issues)!r} says {row[CONFIRMED]!r} in the column 'confirmed' of "
            f"{row['path']!r}; expected yes or no, or nothing, which is no."
        )
    return word in _YES


def _sentences(
    rows: list[dict[str, str]], present: set[str], in_test: int, issues: str | Path
) -> list[str]:
    problems = Counter(
        row["problem"] for row in rows if row["path"] in present and "problem" in row
    )
    why = ", ".join(f"{name} {count:,}" for name, count in sorted(problems.items()))
    lines = [
        f"{len(present):,} pictures named in {str(issues)!r} are left out{f': {why}' * bool(why)}."
    ]
    if in_test:
        lines.append(
            f"{in_test:,} of them are test pictures: the score is given with and without them."
        )
    unknown = sorted({row["path"] for row in rows} - present)
    if unknown:
        lines.append(
            f"{len(unknown):,} paths in {str(issues)!r} are no picture of this data set; the "
            f"first: {unknown[0]!r}."
        )
    return lines
