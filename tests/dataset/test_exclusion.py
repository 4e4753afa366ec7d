"""Images are excluded by a table, such as the confirmed issues of an audit."""

from pathlib import Path

import pytest
from PIL import Image

from holotype.dataset.auditing.exclusion import exclude_images, original_weights
from holotype.dataset.index import Index, read_index
from holotype.errors import InvalidTable


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
    assert lines[0].endswith(" excluded: dark 2, label_error 1.")


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
        (["file,confirmed", "a.png,yes"], "expected a column 'path'"),
        (["path,confirmed", "train/a/0.png,perhaps"], "'perhaps'"),
        ([""], "no columns"),
    ],
)
def test_an_invalid_table_is_refused(
    index: Index, tmp_path: Path, rows: list[str], said: str
) -> None:
    with pytest.raises(InvalidTable, match=said) as error:
        exclude_images(index, table(tmp_path, *rows))
    assert "\n" not in str(error.value)


def test_a_missing_table_is_refused(index: Index, tmp_path: Path) -> None:
    with pytest.raises(InvalidTable, match="cannot be read"):
        exclude_images(index, tmp_path / "nowhere.csv")
