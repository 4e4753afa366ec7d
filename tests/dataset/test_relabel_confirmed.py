"""Confirmed new labels of a table take the place of labels, and only these."""

import unicodedata
from pathlib import Path

import pytest

from holotype.dataset.auditing.exclude_confirmed import exclude_images
from holotype.dataset.auditing.issue_reviews import record_review
from holotype.dataset.auditing.issues_csv import Issue, write_issues
from holotype.dataset.auditing.relabel_confirmed import relabel_images
from holotype.dataset.index import Index
from holotype.errors import InvalidTable
from tests.dataset.indices import make_index


@pytest.fixture
def index() -> Index:
    return make_index(["cat"] * 4 + ["dog"] * 4, splits=["train", "train", "val", "test"] * 2)


def table(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "issues.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_only_confirmed_new_labels_count(index: Index, tmp_path: Path) -> None:
    paths = list(index.table["path"])
    found = relabel_images(
        index,
        table(
            tmp_path, "path,confirmed,new_label", f"{paths[0]},yes,dog", f"{paths[1]},,dog",
            f"{paths[2]},no,dog", f"{paths[3]},yes,", f"{paths[4]},yes,dog", f" {paths[5]} ,1,cat",
        ),
    )  # fmt: skip
    labels = dict(zip(index.table["path"], index.table["label"], strict=True))
    labels |= {paths[0]: "dog", paths[5]: "cat"}
    assert list(found.index.table["label"]) == list(labels.values())
    assert found.labels_before == {paths[0]: "cat", paths[5]: "dog"}
    assert list(index.table["label"]) == ["cat"] * 4 + ["dog"] * 4  # the one that came in
    others = [name for name in index.table.columns if name != "label"]
    assert found.index.table[others].equals(index.table[others])
    assert found.index.table.dtypes.equals(index.table.dtypes)
    assert found.notes[0].startswith("2 images relabelled")
    assert any(note.startswith("2 new labels") and "not confirmed" in note for note in found.notes)
    assert any("1 image had the new label already" in note for note in found.notes)


def test_without_a_column_confirmed_every_new_label_counts(index: Index, tmp_path: Path) -> None:
    first = index.table["path"][0]
    found = relabel_images(index, table(tmp_path, "path,new_label", f"{first},dog"))
    assert found.labels_before == {first: "cat"}


def test_images_that_are_not_there_are_warned_of(index: Index, tmp_path: Path) -> None:
    first = index.table["path"][0]
    rows = ("path,new_label", f"{first},dog", "elsewhere.png,dog")
    found = relabel_images(index, table(tmp_path, *rows))
    assert any(note.startswith("warning: 1 path") and "elsewhere" in note for note in found.notes)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["path,confirmed", "a.png,yes"], "expected the columns 'path' and 'new_label'"),
        (["path,new_label", "PATH,dgo"], "'dgo', which is no class.*dog"),
        (["path,new_label", "elsewhere.png,dog"], "no path in .* is an image of this data set"),
        (["path,confirmed,new_label", "PATH,,dog"], "no new label .* is confirmed"),
        (["path,confirmed,new_label", "PATH,maybe,dog"], "'maybe'"),
        (["path,new_label", "PATH,dog", "PATH,cat"], "two labels, 'dog' and 'cat'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    index: Index, tmp_path: Path, rows: list[str], said: str
) -> None:
    path = index.table["path"][0]
    with pytest.raises(InvalidTable, match=said) as error:
        relabel_images(index, table(tmp_path, *(row.replace("PATH", path) for row in rows)))
    assert "\n" not in str(error.value)


def test_a_disagreement_of_reviewers_changes_nothing_and_is_said(
    index: Index, tmp_path: Path
) -> None:
    first, second = index.table["path"][:2]
    file = tmp_path / "issues.csv"
    write_issues([Issue(path, "label_error", "", "") for path in (first, second)], file)
    for reviewer, label in (("Anna", "dog"), ("Ben", "cat")):
        record_review(file, first, reviewer, "correct", label=label, classes=index.classes)
    with pytest.raises(InvalidTable, match=r"no new label .*reviewers disagree about 1 image"):
        relabel_images(index, file)
    record_review(file, second, "Anna", "correct", label="dog", classes=index.classes)
    found = relabel_images(index, file)
    assert found.labels_before == {second: "cat"}
    assert any(note.startswith("warning: reviewers disagree about 1") for note in found.notes)


def test_of_one_table_excluded_and_relabelled_are_different_images(
    index: Index, tmp_path: Path
) -> None:
    first, second = index.table["path"][:2]
    file = tmp_path / "issues.csv"
    write_issues([Issue(path, "label_error", "", "") for path in (first, second)], file)
    record_review(file, first, "Anna", "correct", label="dog", classes=index.classes)
    record_review(file, second, "Anna", "accept")
    relabelled = relabel_images(index, file).index
    kept, notes = exclude_images(relabelled, file)
    assert set(relabelled.table["path"]) - set(kept.table["path"]) == {second}
    assert any("1 image kept with the new label" in note for note in notes)
    # Without the new labels, what is wrong and not corrected is excluded as before.
    kept, _ = exclude_images(index, file)
    assert set(index.table["path"]) - set(kept.table["path"]) == {first, second}


def test_typed_answers_survive_the_next_audit_and_rows_without_a_new_label_change_nothing(
    index: Index, tmp_path: Path
) -> None:
    first, second, third = index.table["path"][:3]
    file = tmp_path / "issues.csv"
    found = [Issue(path, "label_error", "", "") for path in (first, second, third)]
    write_issues(found, file)
    lines = file.read_text().splitlines()
    assert lines[0].endswith('"confirmed","new_label"')
    typed = [
        lines[0],
        f'"{first}","label_error","","","yes","dog"',
        f'"{second}","label_error","","","yes",""',
        lines[3],
    ]
    file.write_text("\n".join(typed) + "\n")
    answered = file.read_text()
    write_issues(found, file)
    assert file.read_text() == answered
    relabelled = relabel_images(index, file)
    assert set(relabelled.labels_before) <= {first}
    kept, _ = exclude_images(relabelled.index, file)
    assert set(index.table["path"]) - set(kept.table.query("weight > 0")["path"]) == {second}


def test_a_new_label_in_the_unicode_form_of_another_system_is_the_class(tmp_path: Path) -> None:
    index = make_index(["Jörg"] * 2 + ["cat"] * 2, splits=["train", "val"] * 2)
    path = index.table["path"][2 if index.table["label"][2] == "cat" else 0]
    rows = table(
        tmp_path, "path,confirmed,new_label", f"{path},yes,{unicodedata.normalize('NFD', 'Jörg')}"
    )
    found = relabel_images(index, rows)
    assert found.labels_before == {path: "cat"}
    kept, _ = exclude_images(found.index, rows)
    assert len(kept) == len(index)
