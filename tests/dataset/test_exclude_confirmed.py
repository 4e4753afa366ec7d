"""Images are excluded by a table, such as the confirmed issues of an audit."""

import csv
from pathlib import Path

import pytest
from PIL import Image

import holotype
from holotype.dataset.auditing.exclude_confirmed import (
    exclude_images,
    original_weights,
    read_issue_rows,
)
from holotype.dataset.auditing.issues_csv import Issue, write_issues
from holotype.dataset.index import Index, read_index
from holotype.errors import InvalidTable
from tests.dataset.indices import class_folders


@pytest.fixture
def index(tmp_path: Path) -> Index:
    for part, count in (("train", 4), ("val", 2), ("test", 3)):
        for number in range(2 * count):
            path = tmp_path / "data" / part / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 20 * number).save(path)
    return read_index(tmp_path / "data")


def table(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "issues.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_without_a_column_confirmed_all_listed_images_are_excluded(
    index: Index, tmp_path: Path
) -> None:
    issues = table(
        tmp_path, "path,problem", "train/a/0.png,blurred", "val/b/1.png,label_error",
        "test/a/0.png,label_error",
    )  # fmt: skip
    left, lines = exclude_images(index, issues)
    assert set(index.table["path"]) - set(left.table["path"]) == {"train/a/0.png", "val/b/1.png"}
    assert lines[0].startswith("3 images")
    assert "blurred 1, label_error 2" in lines[0]
    assert lines[1].startswith("1 of them")


def test_test_images_stay_with_weight_0_and_their_original_weights_are_known(
    index: Index, tmp_path: Path
) -> None:
    index.table.loc[index.table["path"] == "test/b/1.png", "weight"] = 0.25
    issues = table(tmp_path, "path", "test/a/0.png", "test/b/1.png")
    left, _ = exclude_images(index, issues)
    weights = dict(zip(left.table["path"], left.table["weight"], strict=True))
    assert weights["test/a/0.png"] == weights["test/b/1.png"] == 0
    assert sorted(set(weights.values())) == [0, 1]
    assert len(left) == len(index)
    assert original_weights(index, left) == {"test/a/0.png": 1.0, "test/b/1.png": 0.25}
    assert index.table["weight"].min() == 0.25  # the index that came in is untouched


def test_only_confirmed_rows_count_if_there_is_such_a_column(index: Index, tmp_path: Path) -> None:
    issues = table(
        tmp_path, "path,confirmed", "train/a/0.png,yes", "train/b/1.png,no", "train/a/2.png,",
        "train/b/3.png, TRUE ", "val/a/0.png,1", "val/b/1.png,0",
    )  # fmt: skip
    left, lines = exclude_images(index, issues)
    gone = set(index.table["path"]) - set(left.table["path"])
    assert gone == {"train/a/0.png", "train/b/3.png", "val/a/0.png"}
    assert len(lines) == 1


def test_before_a_split_all_listed_images_are_removed(index: Index, tmp_path: Path) -> None:
    index.table["split"] = ""
    left, _ = exclude_images(index, table(tmp_path, "path", "test/a/0.png"))
    assert len(left) == len(index) - 1
    assert original_weights(index, left) == {}


def test_an_unknown_path_is_noted_and_no_error(index: Index, tmp_path: Path) -> None:
    left, lines = exclude_images(index, table(tmp_path, "path", "elsewhere.png", "train/a/0.png"))
    assert len(left) == len(index) - 1
    named = str(tmp_path / "issues.csv")
    assert lines == [
        f"1 image named in {named!r} excluded.",
        f"1 path in {named!r} not of this data set; the first: 'elsewhere.png'.",
    ]


def test_a_table_of_other_data_is_refused(index: Index, tmp_path: Path) -> None:
    issues = table(tmp_path, "path", "data/train/a/0.png", "elsewhere.png")
    with pytest.raises(InvalidTable, match=r"no path in .* \(2 paths\) .*'test/a/0.png'"):
        exclude_images(index, issues)


@pytest.mark.parametrize("word", ["", "no", "0"])
def test_a_table_that_confirms_nothing_is_refused_with_how_to_confirm(
    index: Index, tmp_path: Path, word: str
) -> None:
    issues = table(tmp_path, "path,confirmed", f"train/a/0.png,{word}", f"val/a/0.png,{word}")
    with pytest.raises(InvalidTable, match=r"no row .* \(2 rows\).*Write yes") as error:
        exclude_images(index, issues)
    assert "\n" not in str(error.value)


def test_the_empty_table_of_clean_data_excludes_nothing(index: Index, tmp_path: Path) -> None:
    left, lines = exclude_images(index, table(tmp_path, "path,problem,confirmed"))
    assert len(left) == len(index)
    assert lines[0].startswith("0 images")


@pytest.mark.parametrize("word", ["yes", "YES", "True", "1", "x", " X "])
def test_yes_has_several_spellings(index: Index, tmp_path: Path, word: str) -> None:
    issues = table(tmp_path, "path,confirmed", f"train/a/0.png,{word}", "train/b/1.png,")
    left, _ = exclude_images(index, issues)
    assert set(index.table["path"]) - set(left.table["path"]) == {"train/a/0.png"}


def test_unreadable_images_that_an_audit_names_belong_to_the_data_set(
    index: Index, tmp_path: Path
) -> None:
    usable = index.without({"train/a/0.png"})
    left, lines = exclude_images(
        usable, table(tmp_path, "path,problem", "train/a/0.png,empty_file")
    )
    assert len(left) == len(usable)
    assert lines == [f"0 images named in {str(tmp_path / 'issues.csv')!r} excluded."]


def test_several_problems_of_an_image_are_counted_separately(index: Index, tmp_path: Path) -> None:
    issues = table(
        tmp_path, "path,problem", "train/a/0.png,label_error; dark", "train/b/1.png,dark",
    )  # fmt: skip
    _, lines = exclude_images(index, issues)
    assert lines[0].endswith(" excluded: dark 2, label_error 1 (some for several reasons).")


def test_names_with_any_character_and_a_spreadsheets_byte_order_mark_are_read(
    index: Index, tmp_path: Path
) -> None:
    index.table["path"] = index.table["path"].replace("train/a/0.png", 'a,"b"\n🐢.png')
    issues = tmp_path / "issues.csv"
    issues.write_text(
        '\ufeff"path","confirmed"\r\n"a,""b""\n🐢.png","yes"\r\n', "utf-8", newline=""
    )
    left, _ = exclude_images(index, issues)
    assert len(left) == len(index) - 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["where,confirmed", "a.png,yes"], "expected a column 'path'"),
        (["path,confirmed", "train/a/0.png,perhaps"], "'perhaps'"),
        ([""], "it is empty"),
    ],
)
def test_an_invalid_table_is_refused(
    index: Index, tmp_path: Path, rows: list[str], said: str
) -> None:
    with pytest.raises(InvalidTable, match=said) as error:
        exclude_images(index, table(tmp_path, *rows))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0"])
def test_a_spreadsheet_in_place_of_a_table_is_said(
    index: Index, tmp_path: Path, head: bytes
) -> None:
    (tmp_path / "issues.xlsx").write_bytes(head + bytes(range(256)))
    with pytest.raises(InvalidTable, match="a spreadsheet or an archive, not text; save it as CSV"):
        exclude_images(index, tmp_path / "issues.xlsx")


def test_a_missing_table_is_refused(index: Index, tmp_path: Path) -> None:
    with pytest.raises(InvalidTable, match="cannot be read"):
        exclude_images(index, tmp_path / "nowhere.csv")


def test_blanks_around_a_path_are_no_part_of_it(index: Index, tmp_path: Path) -> None:
    left, _ = exclude_images(index, table(tmp_path, "path,confirmed", " train/a/0.png , yes"))
    assert len(left) == len(index) - 1


@pytest.mark.parametrize(
    ("separator", "encoding"),
    [(",", "utf-8-sig"), (";", "utf-8-sig"), (",", "cp1252"), ("\t", "utf-16")],
)
def test_confirmations_outlive_a_spreadsheet_and_the_next_audit(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    file = tmp_path / "issues.csv"
    write_issues([Issue("dög/1.png", "outlier", "far; away", "look")], file)
    rows = list(csv.reader(file.open(encoding="utf-8", newline="")))
    rows[1][rows[0].index("confirmed")] = "yes"
    with file.open("w", encoding=encoding, newline="") as opened:
        csv.writer(opened, delimiter=separator).writerows(rows)
    write_issues([Issue("dög/1.png", "outlier", "far; away", "look")], file)
    assert [row["confirmed"] for row in read_issue_rows(file)] == ["yes"]


@pytest.mark.parametrize("content", [b"\x81\x8d", b"path,confirmed\na.png,yes\n", b"path\nb,c\n"])
def test_answers_that_cannot_be_read_are_not_overwritten(tmp_path: Path, content: bytes) -> None:
    class_folders(tmp_path / "data", "a/1.png", "b/2.png")
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/issues.csv").write_bytes(content)
    with pytest.raises(InvalidTable, match="not overwritten"):
        holotype.audit(tmp_path / "data", quick=True, output=tmp_path / "audit")
    assert [each.name for each in (tmp_path / "audit").iterdir()] == ["issues.csv"]
    assert (tmp_path / "audit/issues.csv").read_bytes() == content
