"""The findings of an audit by image: the rows of issues.csv."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from holotype.dataset.auditing.exclude_confirmed import CONFIRMED, NEW_LABEL, read_issue_rows
from holotype.dataset.auditing.findings import ExactDuplicates, Findings
from holotype.dataset.auditing.issue_reviews import (
    FOUND_COLUMNS,
    issues_lock,
    rows_text,
)
from holotype.dataset.auditing.quality import QUALITY_ADVICE
from holotype.dataset.near_duplicates.search import NearDuplicate
from holotype.errors import InvalidTable
from holotype.files import write_bytes, write_json, write_text
from holotype.imaging.pillow_headers import SEVERAL_FRAMES
from holotype.progress import pluralize

JOINT = "; "  # between several problems of one image
COLUMNS = (*FOUND_COLUMNS, CONFIRMED, NEW_LABEL)
NOTHING_TO_DO = "nothing to do: a split keeps copies in one part"
ONE_LABEL_IS_WRONG = "confirm only the image whose label is wrong, or give it its new_label"

_Note = tuple[str, str, str, str]  # path, problem, evidence, suggestion


@dataclass(frozen=True)
class Issue:
    """One row of issues.csv: an image and all its problems, joined by semicolons."""

    path: str
    problem: str
    evidence: str
    suggestion: str

    @property
    def problems(self) -> tuple[str, ...]:
        """Every kind of problem, one by one."""
        return tuple(self.problem.split(JOINT))


def issues_of(findings: Findings) -> list[Issue]:
    """One row per image with a problem, the most severe kinds and likeliest label errors first.

    Conflicting neighbours are left out: they are a problem of neither image alone.
    """
    notes: dict[str, list[_Note]] = {}
    for note in _notes(findings):
        notes.setdefault(note[0], []).append(note)
    columns_of = {path: zip(*notes[path], strict=True) for path in notes}
    return [
        Issue(path, *(JOINT.join(dict.fromkeys(values)) for values in columns))
        for path, (_, *columns) in columns_of.items()
    ]


def write_issues(issues: Iterable[Issue], path: Path) -> list[str]:
    """Write the rows as CSV, every field quoted, since names may hold any character.

    The last columns are for people: `confirmed`, `new_label`, after a review `reviews`, and those
    that a person has added. Their values in an existing file are kept for an image with the same
    problems. Where there are answers about anything else, the file that holds them stays, under
    another name.

    Returns:
        A sentence that names the other file; nothing without one.

    Raises:
        InvalidTable: there is a file that cannot be read.
    """
    rows = list(issues)
    if path.is_file() and path.read_bytes() == _csv_text(rows, {}).encode():
        return []  # as it is already, and without an answer
    with issues_lock(path) if os.path.lexists(path) else nullcontext():
        answers = previous_answers(path)
        found = {(issue.path, issue.problem) for issue in rows}
        lost = [key for key, answer in answers.items() if any(answer.values()) and key not in found]
        notes = [_keep_answers(path, len(lost))] if lost else []
        write_text(path, _csv_text(rows, answers))
    return notes


def _keep_answers(path: Path, count: int) -> str:
    """Copy the file to a name of its own."""
    copies = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(1))
    copy = next(one for one in copies if not os.path.lexists(one))
    write_bytes(copy, path.read_bytes())
    return (
        f"{pluralize(count, 'answer')} in {str(path)!r} are about problems that were not found "
        f"again: the file that holds them is kept as {str(copy)!r}."
    )


def _csv_text(issues: Sequence[Issue], answers: Mapping[tuple[str, str], dict[str, str]]) -> str:
    columns = dict.fromkeys([*COLUMNS, *itertools.chain(*answers.values())])
    rows = [vars(issue) | answers.get((issue.path, issue.problem), {}) for issue in issues]
    return rows_text(rows, columns)


def previous_answers(issues: Path) -> dict[tuple[str, str], dict[str, str]]:
    """(path, problem) -> the columns for people of an existing file; nothing without one.

    Raises:
        InvalidTable: the file cannot be read, so its answers would be lost if it were replaced.
    """
    if not os.path.lexists(issues):
        return {}
    try:
        rows = read_issue_rows(issues)
    except InvalidTable as error:
        raise InvalidTable(
            f"{error} It may hold answers, and is not overwritten: save it as CSV again, or move "
            "it away."
        ) from None
    answers = {
        (row["path"], row.get("problem", "")): {
            name: cell for name, cell in row.items() if name not in FOUND_COLUMNS
        }
        for row in rows
    }
    if any(any(answer.values()) for answer in answers.values()) and "problem" not in rows[0]:
        raise InvalidTable(
            f"{str(issues)!r} has answers or columns of yours and no column 'problem', which says "
            "what they are about; it is not overwritten. Add the column, or move the file away."
        )
    return answers


def _notes(findings: Findings) -> Iterator[_Note]:
    """All problems of all images, the most severe kinds first."""
    for refusal in findings.unusable:
        yield refusal.path, refusal.problem, refusal.reason, refusal.advice
    for duplicate in findings.exact_duplicates:
        yield from _on_exact_duplicates(duplicate)
    for pair in findings.near_duplicates:
        yield from _on_near_duplicate(pair, findings.label_of)
    for leak in findings.leaks:
        what = "copies of one image" if leak.kind == "duplicates" else f"group {leak.name!r}"
        parts = ", ".join(leak.parts)
        for path in leak.paths:
            others = ", ".join(repr(other) for other in leak.paths if other != path)
            yield path, "leak", f"{what} in {parts}: see {others}", "move all to one part"
    yield from _probable_problems(findings)
    for path, warnings in findings.warnings.items():
        for warning in warnings:
            yield path, "warning", warning, _advice(path, warning)


def _advice(path: str, warning: str) -> str:
    """On a warning; the pages of a TIFF are often the slices of a volume."""
    if warning == SEVERAL_FRAMES and PurePosixPath(path).suffix.lower() in (".tif", ".tiff"):
        return "check that this is meant; of a stack of slices, holotype slice makes images"
    return "check that this is meant"


def _probable_problems(findings: Findings) -> Iterator[_Note]:
    for issue in findings.label_errors:
        advice = f"check it: if {issue.suggested!r} is right, correct the label"
        yield issue.path, "label_error", issue.evidence, advice
    for cluster in findings.oversized_clusters:
        first = min(cluster)
        evidence = f"in a cluster of {len(cluster)} near-duplicates; the first is {first!r}"
        for path in sorted(cluster):
            yield (
                path,
                "oversized_cluster",
                evidence,
                "check some: are they copies, or only similar?",
            )
    for outlier in findings.outliers:
        yield outlier.path, "outlier", outlier.evidence, "check that it belongs to this data set"
    for image in findings.quality_issues:
        yield image.path, image.problem, image.evidence, QUALITY_ADVICE[image.problem]


def _on_exact_duplicates(duplicate: ExactDuplicates) -> Iterator[_Note]:
    original, *copies = duplicate.paths
    if not duplicate.is_conflict:
        for copy in copies:
            yield copy, "exact_duplicate", f"the same bytes as {original!r}", NOTHING_TO_DO
        return
    labelled = ", ".join(
        f"{path!r} as {name!r}"
        for path, name in zip(duplicate.paths, duplicate.labels, strict=True)
    )
    advice = ONE_LABEL_IS_WRONG
    yield original, "label_conflict", f"the same bytes are labelled {labelled}", advice
    for copy in copies:
        evidence = (
            f"the same bytes as {original!r}, labelled {duplicate.labels[0]!r}; all: {labelled}"
        )
        yield copy, "label_conflict", evidence, advice


def _on_near_duplicate(pair: NearDuplicate, labels: dict[str, str]) -> Iterator[_Note]:
    first, second = labels[pair.first], labels[pair.second]
    evidence = f"{pair.kind} copy of {pair.first!r}: {pair.evidence}"
    if first == second:
        yield pair.second, "near_duplicate", evidence, NOTHING_TO_DO
        return
    advice = ONE_LABEL_IS_WRONG
    other = f"{pair.kind} copy {pair.second!r} is labelled {second!r}, this one {first!r}"
    yield pair.first, "label_conflict", other, advice
    evidence = f"{evidence}; that is labelled {first!r}, this one {second!r}"
    yield pair.second, "label_conflict", evidence, advice


def write_findings(findings: Findings, directory: Path) -> list[str]:
    """Write `audit.json` and `issues.csv` into a directory; returns as `write_issues`."""
    write_json(directory / "audit.json", findings.to_json())
    return write_issues(issues_of(findings), directory / "issues.csv")
