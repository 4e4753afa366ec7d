"""Filters of a gallery against a loop over the rows; the matrix against scikit-learn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from holotype.dashboard_pages.addresses import page_of
from holotype.dashboard_pages.data.confusion_table import confusion_table, predicted_parts
from holotype.dashboard_pages.data.image_query import ImageQuery, select_rows
from holotype.dashboard_pages.data.image_table import (
    ImageTable,
    data_directory,
    duplicate_pairs,
    findings_by_kind,
    image_table,
)
from holotype.dashboard_pages.file_cache import FileCache
from holotype.dataset.auditing.issues_csv import Issue
from holotype.dataset.near_duplicates.search import NearDuplicate
from holotype.errors import UsageError
from holotype.evaluation.report_data import read_report
from holotype.predictions import read_predictions
from tests.dashboard.made_runs import make_index, make_run

CLASSES = ("ant", "bee", "cat")
ISSUES = [
    Issue("000003.png", "label_error; dark", "evidence", "advice"),
    Issue("000007.png", "dark", "evidence", "advice"),
    Issue("gone.png", "truncated_image", "evidence", "advice"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    pairs = [
        NearDuplicate("000000.png", "000003.png", "resized", "same", 0.99),
        NearDuplicate("000001.png", "000002.png", "cropped", "two", 0.98),
    ]
    return make_run(
        folder / "one", make_index(folder / "data", CLASSES, 240), issues=ISSUES, pairs=pairs
    )


@pytest.fixture(scope="module")
def table(run: Path) -> ImageTable:
    return image_table(FileCache(4), run)


def rows_where(table: ImageTable, holds: Callable[[int], bool]) -> list[int]:
    return [row for row in range(len(table)) if holds(row)]


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        (ImageQuery(), lambda t, n: True),
        (ImageQuery(label=1), lambda t, n: t.labels[n] == "bee"),
        (ImageQuery(part="val"), lambda t, n: t.parts[n] == "val"),
        (ImageQuery(predicted=2), lambda t, n: t.predicted(n) == "cat"),
        (ImageQuery(answer="wrong"), lambda t, n: t.predicted(n) not in ("", t.labels[n])),
        (ImageQuery(answer="right"), lambda t, n: t.predicted(n) == t.labels[n]),
        (ImageQuery(answer="none"), lambda t, n: t.predicted(n) == ""),
        (ImageQuery(low=0.4, high=0.6), lambda t, n: 0.4 <= t.confidence_N[n] <= 0.6),
        (ImageQuery(words="0001"), lambda t, n: "0001" in t.paths[n]),
        (ImageQuery(finding="dark"), lambda t, n: t.paths[n] in ("000003.png", "000007.png")),
        (ImageQuery(finding="nothing"), lambda t, n: False),
        (ImageQuery(label=99), lambda t, n: False),
        (
            ImageQuery(label=0, part="test", answer="wrong", low=0.3),
            lambda t, n: (
                (t.labels[n], t.parts[n]) == ("ant", "test")
                and t.predicted(n) != "ant"
                and t.confidence_N[n] >= 0.3
            ),
        ),
    ],
)
def test_a_filter_shows_what_a_loop_over_the_rows_finds(
    run: Path, table: ImageTable, query: ImageQuery, holds: Callable[[ImageTable, int], bool]
) -> None:
    findings = findings_by_kind(FileCache(4), run, table)
    assert set(findings) == {"label_error", "dark"}
    rows = select_rows(table, query, findings)
    assert rows.tolist() == rows_where(table, lambda row: holds(table, row))


def test_the_least_confident_come_first_and_those_without_an_answer_last(
    table: ImageTable,
) -> None:
    rows = select_rows(table, ImageQuery(order="uncertain"), {})
    confidence = table.confidence_N[rows]
    known = confidence[~np.isnan(confidence)]
    assert (np.diff(known) >= 0).all()
    assert np.isnan(confidence[len(known) :]).all()
    opposite = table.confidence_N[select_rows(table, ImageQuery(order="confident"), {})]
    assert (np.diff(opposite[: len(known)]) <= 0).all()


def test_pages_hold_every_row_once() -> None:
    rows = np.arange(105)
    pages = [page_of(rows, number, 50) for number in (1, 2, 3)]
    assert np.concatenate([shown for shown, _, _ in pages]).tolist() == rows.tolist()
    assert [place for _, *place in pages] == [[1, 3], [2, 3], [3, 3]]
    assert page_of(rows, 99, 50)[0].tolist() == pages[2][0].tolist()
    assert page_of(list("abc"), 2, 2) == (["c"], 2, 2)
    nothing, *place = page_of(rows[:0], 1, 50)
    assert (len(nothing), place) == (0, [1, 1])


def test_the_matrix_is_that_of_scikit_learn_and_of_the_report(run: Path, table: ImageTable) -> None:
    assert predicted_parts(table) == ["test", "val"]
    for part in ("test", "val"):
        found = read_predictions(run / "predictions" / f"{part}.parquet")
        expected = confusion_matrix(found.targets_N, found.predicted_N, labels=range(3))
        assert (confusion_table(table, part).counts_CC == expected).all()
    report = read_report(run / "report" / "metrics.json")
    of_test = confusion_table(table, "test")
    assert (of_test.counts_CC == report.confusion_CC).all()
    assert of_test.num_right / of_test.num_images == report["accuracy"].value


def test_every_cell_of_the_matrix_counts_what_its_gallery_shows(table: ImageTable) -> None:
    confusion = confusion_table(table, "test")
    for true in range(3):
        for said in range(3):
            rows = select_rows(table, ImageQuery(label=true, predicted=said, part="test"), {})
            assert len(rows) == confusion.counts_CC[true, said]


def test_near_duplicates_of_two_labels_come_first(run: Path) -> None:
    first, second = duplicate_pairs(FileCache(4), run)
    assert (first.first, first.is_conflict) == ("000001.png", True)
    assert (second.first, second.is_conflict) == ("000000.png", False)


def test_a_file_that_changes_is_read_again_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    file, made = tmp_path / "a", []
    cache = FileCache(2)

    def read() -> str:
        made.append(file.read_text() if file.exists() else "")
        return made[-1]

    assert cache.get("key", [file], read) == ""
    file.write_text("one")
    assert [cache.get("key", [file], read) for _ in range(3)] == ["one"] * 3
    file.write_text("three")
    assert cache.get("key", [file], read) == "three"
    assert made == ["", "one", "three"]
    cache.get("other", [], read)
    cache.get("third", [], read)
    cache.get("key", [file], read)
    assert len(made) == 6  # it was the least recently used of three, and two are kept


@pytest.mark.parametrize("of", ["..", "../runs", "/etc", "one/../../x", "no\0thing", "", "x" * 999])
def test_nothing_outside_of_the_folder_is_a_data_set(run: Path, of: str) -> None:
    with pytest.raises(UsageError, match="has no index of images"):
        data_directory(run.parent, of)


def test_a_link_out_of_the_folder_is_not_followed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run)
    with pytest.raises(UsageError):
        data_directory(tmp_path, "link")


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.png", "a/../../secret.png"])
def test_an_index_that_leads_out_of_its_folder_opens_nothing(tmp_path: Path, path: str) -> None:
    index = make_index(tmp_path / "data", CLASSES, 12)
    index.table.loc[0, "path"] = path
    table = image_table(FileCache(4), make_run(tmp_path / "run", index))
    with pytest.raises(UsageError, match="leads out"):
        table.file(0)


@pytest.mark.parametrize(
    "values", [{"low": "x"}, {"high": "nan"}, {"order": "size"}, {"answer": "maybe"}]
)
def test_a_query_that_makes_no_sense_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="expected"):
        ImageQuery.of(values)
