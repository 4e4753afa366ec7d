"""Reviews of findings: nothing that somebody answered is lost, and nobody is overruled unseen."""

import csv
import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from holotype.dataset.auditing.issue_reviews import (
    FOUND_COLUMNS,
    Review,
    read_reviewed_issues,
    record_review,
)
from holotype.dataset.auditing.issues_csv import Issue, write_issues
from holotype.errors import InvalidTable, UsageError

CLASSES = ("cat", "dog")
ISSUES = [Issue(f"{n}.png", "label_error", "evidence", "check it") for n in range(30)]


@pytest.fixture
def issues(tmp_path: Path) -> Path:
    file = tmp_path / "issues.csv"
    write_issues(ISSUES, file)
    return file


def cells(file: Path) -> dict[str, dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return {row["path"]: row for row in csv.DictReader(opened)}


def test_an_answer_is_what_train_reads_and_all_other_rows_stay(issues: Path) -> None:
    before = cells(issues)
    record_review(issues, "3.png", "Anna", "correct", label="dog", classes=CLASSES)
    record_review(issues, "4.png", "Anna", "accept")
    record_review(issues, "5.png", "Anna", "dismiss")
    after = cells(issues)
    answers = {path: (row["confirmed"], row["new_label"]) for path, row in after.items()}
    assert answers.pop("3.png") == ("yes", "dog")
    assert answers.pop("4.png") == ("yes", "")
    assert answers.pop("5.png") == ("no", "")
    assert set(answers.values()) == {("", "")}
    for path, row in before.items():
        assert {name: after[path][name] for name in FOUND_COLUMNS} == {
            name: row[name] for name in FOUND_COLUMNS
        }


def test_reviewers_who_disagree_confirm_nothing_until_they_agree(issues: Path) -> None:
    record_review(issues, "1.png", "Anna", "correct", label="dog", classes=CLASSES)
    row = record_review(issues, "1.png", "Ben", "dismiss")
    assert row.is_disputed
    assert (row.confirmed, row.new_label) == ("", "")
    row = record_review(issues, "1.png", "Ben", "correct", label="dog", classes=CLASSES)
    assert not row.is_disputed
    assert (row.confirmed, row.new_label) == ("yes", "dog")
    assert [review.reviewer for review in row.reviews] == ["Anna", "Ben"]
    row = record_review(issues, "1.png", "Ben", None)
    assert [review.reviewer for review in row.reviews] == ["Anna"]


def test_hostile_names_come_back_as_they_were(tmp_path: Path) -> None:
    name = '=cmd|"\u202egnp.x\x1b[31m<script>,\n;'
    file = tmp_path / "issues.csv"
    write_issues([Issue(name, "label_error", name, name)], file)
    record_review(file, name, '@Eve, "x"', "correct", label=name, classes=(name,))
    (row,) = read_reviewed_issues(file)
    assert (row.path, row.new_label, row.reviews[0].reviewer) == (name, name, '@Eve, "x"')


def test_a_column_of_the_user_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "issues.csv"
    file.write_text("path,why\na.png,the tail\n", encoding="utf-8")
    record_review(file, "a.png", "Anna", "accept")
    assert cells(file)["a.png"]["why"] == "the tail"


def test_the_next_audit_keeps_answers_to_the_same_problem_only(issues: Path) -> None:
    record_review(issues, "1.png", "Anna", "correct", label="dog", classes=CLASSES)
    record_review(issues, "2.png", "Anna", "accept")
    write_issues([ISSUES[1], Issue("2.png", "dark", "0.1", "look")], issues)
    first, second = read_reviewed_issues(issues)
    assert (first.confirmed, first.new_label, first.reviews[0].reviewer) == ("yes", "dog", "Anna")
    assert (second.confirmed, second.reviews) == ("", ())


def test_answers_about_what_is_not_found_again_stay_in_a_copy(issues: Path) -> None:
    record_review(issues, "1.png", "Anna", "correct", label="dog", classes=CLASSES)
    record_review(issues, "2.png", "Anna", "dismiss")
    before = issues.read_bytes()
    (note,) = write_issues([ISSUES[1]], issues)
    copy = issues.with_name("issues-1.csv")
    assert note.startswith("1 answer in ")
    assert repr(str(copy)) in note
    assert copy.read_bytes() == before
    assert write_issues([ISSUES[1]], issues) == []
    (again,) = write_issues([], issues)
    assert "issues-2.csv" in again
    assert write_issues([], issues) == []


def test_the_next_audit_keeps_columns_of_the_user(issues: Path) -> None:
    comments = {"1.png": "the lamp was broken", "2.png": ""}
    lines = ["path,problem,comment", *(f"{n},label_error,{c}" for n, c in comments.items())]
    issues.write_text("\n".join(lines), encoding="utf-8")
    assert write_issues(ISSUES[1:3], issues) == []
    record_review(issues, "2.png", "Anna", "accept")
    assert write_issues(ISSUES[1:3], issues) == []
    assert {path: row["comment"] for path, row in cells(issues).items()} == comments
    assert [row.confirmed for row in read_reviewed_issues(issues)] == ["", "yes"]
    before = issues.read_bytes()
    (note,) = write_issues([ISSUES[2]], issues)  # a comment alone is an answer
    assert note.startswith("1 answer in ")
    assert issues.with_name("issues-1.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("path", "reviewer", "decision", "label", "said"),
    [
        ("1.png", "Anna", "correct", "dgo", "no class of this data set.*dog"),
        ("1.png", " ", "accept", "", "expected a name"),
        ("1.png", "Anna", "maybe", "", "expected accept, correct, dismiss"),
        ("1.png", "Anna", "dismiss", "dog", "takes no label"),
        ("elsewhere.png", "Anna", "accept", "", "no finding about"),
    ],
)
def test_what_is_no_answer_is_refused_and_changes_nothing(
    issues: Path, path: str, reviewer: str, decision: str, label: str, said: str
) -> None:
    before = issues.read_bytes()
    with pytest.raises(UsageError, match=said):
        record_review(issues, path, reviewer, decision, label=label, classes=CLASSES)
    assert issues.read_bytes() == before


@pytest.mark.parametrize("cell", ["{", "[1]", '[{"reviewer": "x"}]', '["accept"]'])
def test_a_damaged_cell_is_refused_in_words(tmp_path: Path, cell: str) -> None:
    file = tmp_path / "issues.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([("path", "reviews"), ("a.png", cell)])
    with pytest.raises(InvalidTable, match=r"damaged cell .* 'a.png'"):
        read_reviewed_issues(file)


def _answer_all(file: Path, reviewer: str, numbers: list[int]) -> None:
    for number in numbers:
        record_review(file, f"{number}.png", reviewer, "accept")


def test_two_reviewers_at_once_lose_nothing(issues: Path) -> None:
    numbers = list(range(30))
    spawn = multiprocessing.get_context("fork")
    reviewers = [
        spawn.Process(target=_answer_all, args=(issues, "Anna", numbers)),
        spawn.Process(target=_answer_all, args=(issues, "Ben", numbers[::-1])),
    ]
    for process in reviewers:
        process.start()
    for process in reviewers:
        process.join()
    for row in read_reviewed_issues(issues):
        assert [review.reviewer for review in row.reviews] == ["Anna", "Ben"]


def _answer_and_tell(file: Path, answered: "multiprocessing.connection.Connection") -> None:
    for number in range(30):
        record_review(file, f"{number}.png", "Anna", "accept")
        answered.send(number)


@pytest.mark.parametrize("told", [1, 7, 20])
def test_a_reviewer_killed_in_the_middle_loses_at_most_the_last_answer(
    issues: Path, told: int
) -> None:
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=_answer_and_tell, args=(issues, there)
    )
    process.start()
    for _ in range(told):
        last = here.recv()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while here.poll():
        last = here.recv()
    answered = [row.path for row in read_reviewed_issues(issues) if row.reviews]
    assert set(answered) >= {f"{number}.png" for number in range(last + 1)}
    assert len(answered) <= last + 2
    record_review(issues, "29.png", "Ben", "dismiss")  # the lock of the dead is free


def test_the_cell_of_reviews_is_plain_json(issues: Path) -> None:
    row = record_review(issues, "1.png", "Anna", "correct", label="dog", classes=CLASSES)
    (kept,) = json.loads(cells(issues)["1.png"]["reviews"])
    assert Review(**kept) == row.reviews[0]
    assert kept["time"].endswith("+00:00")
