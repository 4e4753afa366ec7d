"""Reviews of issues.csv: what each reviewer says of a finding, and what they agree on.

An answer is kept in the row of its image: column `reviews` has the last one of every reviewer as
JSON; `confirmed` and `new_label` are what all of them say, and are empty where they disagree. The
file is read, changed and renamed into its place under a lock, so that no answer of another process
is lost, and a process that is killed loses at most the answer it was writing.
"""

import csv
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from holotype.dataset.auditing.exclude_confirmed import CONFIRMED, NEW_LABEL, read_issue_rows
from holotype.errors import InvalidTable, UsageError, did_you_mean
from holotype.files import csv_cell, write_text
from holotype.progress import pluralize

Decision = Literal["accept", "correct", "dismiss"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)
REVIEWS = "reviews"
FOUND_COLUMNS = ("path", "problem", "evidence", "suggestion")
ANSWER_COLUMNS = (CONFIRMED, NEW_LABEL, REVIEWS)
LOCK = ".issues.lock"
LOCK_SECONDS = 30.0
MAX_REVIEWER_CHARACTERS = 100


@dataclass(frozen=True)
class Review:
    """The last answer of one reviewer about one image.

    Attributes:
        decision: `accept`: the finding is right, exclude the image; `correct`: its label is to be
            `label`; `dismiss`: the image is right as it is.
        label: a class where the decision is `correct`; else empty.
        time: UTC, ISO 8601, to the second.
    """

    reviewer: str
    decision: Decision
    label: str
    time: str

    @property
    def answer(self) -> tuple[Decision, str]:
        """What reviewers agree or disagree on."""
        return self.decision, self.label


@dataclass(frozen=True)
class ReviewedIssue:
    """A row of issues.csv with its answers; see `issues_csv.Issue`.

    Attributes:
        confirmed: yes, no or empty, as all reviewers say, or as it was typed into the file.
        new_label: the class that all reviewers give it; else empty.
        reviews: one of each reviewer, sorted by name.
    """

    path: str
    problem: str
    evidence: str
    suggestion: str
    confirmed: str = ""
    new_label: str = ""
    reviews: tuple[Review, ...] = ()

    @property
    def is_disputed(self) -> bool:
        """Whether two reviewers say different things."""
        return len({review.answer for review in self.reviews}) > 1

    def with_reviews(self, reviews: Sequence[Review]) -> "ReviewedIssue":
        """The row with these answers, and what follows from them."""
        answers = {review.answer for review in reviews}
        decision, label = answers.pop() if len(answers) == 1 else ("", "")
        confirmed = {"accept": "yes", "correct": "yes", "dismiss": "no"}.get(decision, "")
        in_order = tuple(sorted(reviews, key=lambda review: review.reviewer))
        return replace(self, confirmed=confirmed, new_label=label, reviews=in_order)


def read_reviewed_issues(issues: Path) -> list[ReviewedIssue]:
    """Every row of an issues.csv with its answers.

    Raises:
        InvalidTable: it cannot be read, or a cell of `reviews` is damaged.
    """
    return [_reviewed_issue(row, issues) for row in read_issue_rows(issues)]


def _reviewed_issue(row: dict[str, str], issues: Path) -> ReviewedIssue:
    cells = {name: row.get(name, "") for name in (*FOUND_COLUMNS, CONFIRMED, NEW_LABEL)}
    return ReviewedIssue(reviews=parse_reviews(row, issues), **cells)


def record_review(
    issues: Path,
    path: str,
    reviewer: str,
    decision: Decision | None,
    *,
    label: str = "",
    classes: Collection[str] = (),
) -> ReviewedIssue:
    """Keep the answer of one reviewer about one image; nothing else of the file changes.

    Args:
        issues: an issues.csv of an audit.
        path: of the image, as in the table.
        reviewer: a name; an earlier answer of the same name is replaced.
        decision: None takes the answer of this reviewer back.
        label: where the decision is `correct`: one of `classes`.

    Returns:
        The row as it is now.

    Raises:
        UsageError: an unknown decision, class or image, or no name.
        InvalidTable: the file cannot be read.
    """
    reviewer = _checked_reviewer(reviewer)
    _check_decision(decision, label, classes)
    with issues_lock(issues):
        rows = read_issue_rows(issues)
        number = next((n for n, row in enumerate(rows) if row["path"] == path), None)
        if number is None:
            raise UsageError(f"{str(issues)!r} has no finding about {path!r}.")
        issue = _reviewed_issue(rows[number], issues)
        kept = [review for review in issue.reviews if review.reviewer != reviewer]
        if decision is not None:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            kept.append(Review(reviewer, decision, label, now))
        issue = issue.with_reviews(kept)
        rows[number] |= {
            CONFIRMED: issue.confirmed,
            NEW_LABEL: issue.new_label,
            REVIEWS: _reviews_cell(issue.reviews),
        }
        write_text(issues, rows_text(rows, dict.fromkeys([*rows[0], *ANSWER_COLUMNS])))
        return issue


def rows_text(rows: Iterable[Mapping[str, str]], columns: Collection[str]) -> str:
    """CSV with every field quoted, since names may hold any character."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    writer.writerows([csv_cell(row.get(name, "")) for name in columns] for row in rows)
    return text.getvalue()


@contextmanager
def issues_lock(issues: Path) -> Iterator[None]:
    """Hold an issues.csv for this process while it is read and replaced.

    Raises:
        InvalidTable: another process holds it for longer than any answer takes.
    """
    import filelock

    try:
        with filelock.FileLock(issues.with_name(LOCK), timeout=LOCK_SECONDS):
            yield
    except filelock.Timeout:
        raise InvalidTable(
            f"{str(issues)!r} is held by another process for {LOCK_SECONDS:g} s; end that process, "
            "and answer again."
        ) from None


def disagreement_note(rows: Sequence[dict[str, str]], issues: Path) -> list[str]:
    """A sentence where reviewers disagree about images, which are then neither yes nor no."""
    disputed = [row["path"] for row in rows if _reviewed_issue(row, issues).is_disputed]
    if not disputed:
        return []
    return [
        f"warning: reviewers disagree about {pluralize(len(disputed), 'image')} in "
        f"{str(issues)!r}, which stay as they are; the first: {disputed[0]!r}."
    ]


def parse_reviews(row: dict[str, str], issues: Path) -> tuple[Review, ...]:
    """The answers in the column `reviews` of a row; none where there is no such column.

    Raises:
        InvalidTable: the cell is damaged.
    """
    cell = row.get(REVIEWS, "").strip()
    if not cell:
        return ()
    try:
        reviews = tuple(_review(each) for each in json.loads(cell))
    except (ValueError, TypeError, LookupError, RecursionError):
        raise InvalidTable(
            f"{str(issues)!r} has a damaged cell in the column {REVIEWS!r} of {row['path']!r}; "
            "expected what the review of labels writes there, or nothing."
        ) from None
    return reviews


def _review(fields: Any) -> Review:
    review = Review(**fields)
    if review.decision not in DECISIONS or not all(isinstance(v, str) for v in fields.values()):
        raise ValueError(review.decision)
    return review


def _reviews_cell(reviews: Sequence[Review]) -> str:
    return json.dumps([asdict(review) for review in reviews], ensure_ascii=False) if reviews else ""


def _checked_reviewer(reviewer: str) -> str:
    reviewer = " ".join(reviewer.split())
    if not reviewer or len(reviewer) > MAX_REVIEWER_CHARACTERS:
        raise UsageError(
            f"the reviewer is called {reviewer[:20]!r}; expected a name of 1 to "
            f"{MAX_REVIEWER_CHARACTERS} characters."
        )
    return reviewer


def _check_decision(decision: Decision | None, label: str, classes: Collection[str]) -> None:
    if decision is not None and decision not in DECISIONS:
        raise UsageError(f"decision is {decision!r}; expected {', '.join(DECISIONS)}.")
    if decision == "correct" and label not in classes:
        raise UsageError(f"{label!r} is no class of this data set{did_you_mean(label, classes)}")
    if decision != "correct" and label:
        raise UsageError(f"{decision or 'an answer taken back'} takes no label, and got {label!r}.")
