"""Tables whose columns and images are named as other tools name them."""

from pathlib import Path

import pandas as pd
import pytest

from holotype.dataset.auditing.exclude_confirmed import exclude_images
from holotype.dataset.auditing.relabel_confirmed import relabel_images
from holotype.dataset.index import read_index
from holotype.errors import InvalidPattern, InvalidTable
from holotype.identification.storage.image_listing import KnownFacts, list_images
from holotype.progress import Progress
from holotype.watching.labelling.label_sheet import labels_of_sheets
from holotype.watching.retraining.collected_labels import collect_labels
from tests.dataset.indices import class_folders, make_index


class Heard(Progress):
    """Progress that keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("filename", "class"), ("File", "Category"), ("image", "species"), ("image_path", "target"),
        ("Image Path", "Class-Name"), ("FILEPATH", "LABEL"), ("img", "identity"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "frame"])
def test_well_known_names_of_columns_are_taken_and_named(
    tmp_path: Path, path: str, label: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class_folders(tmp_path, "1.png", "2.png")
    frame = pd.DataFrame({label: ["cat", "dog"], "taken by": "Ann", path: ["1.png", "2.png"]})
    file = tmp_path / f"t.{kind}"
    monkeypatch.chdir(tmp_path)
    if kind == "parquet":
        frame.to_parquet(file)
    elif kind != "frame":
        frame.to_csv(file, index=False, sep="," if kind == "csv" else "\t")
    index = read_index(frame if kind == "frame" else file)
    assert list(index.table["path"]) == ["1.png", "2.png"]
    assert list(index.table["label"]) == ["cat", "dog"]
    named = f"path from the column {path!r}, label from the column {label!r}."
    assert index.reading_notes() == [named]


def test_the_columns_of_the_documentation_come_first_and_are_not_mentioned(tmp_path: Path) -> None:
    class_folders(tmp_path, "1.png", "2.png")
    (tmp_path / "t.csv").write_text(
        "id,file,path,label,class,Group\n7,x,1.png,cat,0,a\n8,y,2.png,dog,1,b\n"
    )
    index = read_index(tmp_path / "t.csv")
    assert list(index.table["label"]) == ["cat", "dog"]
    assert list(index.table["group"]) == ["a", "b"]
    assert index.reading_notes() == ["group from the column 'Group'."]


def test_the_weight_of_an_animal_is_not_that_of_its_image(tmp_path: Path) -> None:
    class_folders(tmp_path, "1.png", "2.png")
    for name, expected in (("Weight", [1, 1]), ("weight", [90, 120])):
        (tmp_path / "t.csv").write_text(f"path,species,{name}\n1.png,cat,90\n2.png,dog,120\n")
        assert read_index(tmp_path / "t.csv").table["weight"].tolist() == expected


def test_an_id_counts_only_where_no_column_names_files(tmp_path: Path) -> None:
    class_folders(tmp_path, "1.png", "2.png")
    (tmp_path / "t.csv").write_text("id;filename;label\n2;1.png;cat\n1;2.png;dog\n")
    assert list(read_index(tmp_path / "t.csv").table["label"]) == ["cat", "dog"]


def test_two_columns_that_could_be_meant_are_refused_and_one_can_be_named(tmp_path: Path) -> None:
    class_folders(tmp_path, "1.png", "2.png")
    (tmp_path / "paths.csv").write_text("file,image,label\n1.png,2.png,a\n")
    with pytest.raises(InvalidTable, match="'file' and 'image' could each be the column 'path'"):
        read_index(tmp_path / "paths.csv")
    table = tmp_path / "labels.csv"
    table.write_text("path,species,class\n1.png,cat,mammal\n2.png,owl,bird\n")
    with pytest.raises(InvalidTable, match="--label-pattern column:species"):
        read_index(table)
    index = read_index(table, label_pattern="column:class")
    assert list(index.table["label"]) == ["mammal", "bird"]
    index = read_index(table, label_pattern="column:class", group_pattern="column:species")
    assert list(index.table["group"]) == ["cat", "owl"]
    assert list(read_index(table, group_pattern="column:class").table["label"]) == ["cat", "owl"]
    with pytest.raises(InvalidTable, match="no column 'order'"):
        read_index(table, label_pattern="column:order")
    with pytest.raises(InvalidPattern, match="is a folder"):
        read_index(tmp_path, label_pattern="column:order")


def test_an_id_is_the_file_of_that_name_below_the_folder_of_the_table(tmp_path: Path) -> None:
    class_folders(tmp_path, "images/a/0012.png", "images/b/v1.2.png", "images/b/0012.png")
    table = tmp_path / "t.csv"
    table.write_text("image_id,label\na/0012,cat\nv1.2,dog\n")
    index = read_index(table)
    assert list(index.table["path"]) == ["images/a/0012.png", "images/b/v1.2.png"]
    assert (index.table["sha256"] != "").all()
    table.write_text("image_id,label\n0012,cat\nv1.2,dog\n")
    with pytest.raises(InvalidTable, match=r"1 of 2 images .*'0012' could be 'images/a/0012.png'"):
        read_index(table)
    table.write_text("image_id,label\n12,cat\nv1.2,dog\n13,dog\n")
    with pytest.raises(InvalidTable, match=r"2 of 3 images .*no file of that name.*'12'"):
        read_index(table)


def test_a_gallery_reads_the_names_that_train_reads(tmp_path: Path) -> None:
    class_folders(tmp_path, "photos/1.png", "photos/2.png")
    (tmp_path / "t.csv").write_text(
        "image_id,identity,species,Encounter\n1,Ann,turtle,e1\n2,Bob,turtle,e2\n"
    )
    heard = Heard()
    listed = list_images(tmp_path / "t.csv", KnownFacts(), heard)
    assert [(image.individual, image.encounter) for image, _ in listed] == [
        ("Ann", "e1"), ("Bob", "e2"),
    ]  # fmt: skip
    assert [Path(image.file).name for image, _ in listed] == ["1.png", "2.png"]
    assert all(image.sha256 for image, _ in listed)
    assert heard.lines == [
        "path from the column 'image_id', individual from the column 'identity', "
        "encounter from the column 'Encounter'."
    ]
    (tmp_path / "t.csv").write_text("file,species\nphotos/1.png,turtle\n")
    listed = list_images(tmp_path / "t.csv", KnownFacts(), Progress())
    assert listed[0][0].individual == "turtle"


def test_labels_that_come_back_are_read_by_these_names(tmp_path: Path) -> None:
    class_folders(tmp_path, "new/1.png", "new/2.png")
    table = tmp_path / "labels.csv"
    table.write_text("Image,Category,Group\n1,cat,g1\nnew/2.png,dog,g2\n")
    collected = collect_labels([table], [])
    assert {(image.file.name, image.label, image.group) for image in collected.images} == {
        ("1.png", "cat", "g1"), ("2.png", "dog", "g2"),
    }  # fmt: skip
    assert "path from the column 'Image', label from the column 'Category'" in collected.notes[0]
    assert set(labels_of_sheets([table]).values()) == {"cat", "dog"}


def test_tables_of_exclusions_and_new_labels_are_read_by_these_names(tmp_path: Path) -> None:
    index = make_index(["cat"] * 4 + ["dog"] * 4)
    table = tmp_path / "issues.csv"
    table.write_text("Image ID,New Label\n000000,dog\ncat/000001,dog\n")
    relabelled = relabel_images(index, table)
    assert set(relabelled.labels_before) == {"cat/000000.png", "cat/000001.png"}
    named = "path from the column 'Image ID', new_label from the column 'New Label'."
    assert named in relabelled.notes
    table.write_text("filename\n000000\n")
    kept, notes = exclude_images(index, table)
    assert len(kept) == 7
    assert "path from the column 'filename'." in notes


def test_blanks_around_labels_are_counted_once(tmp_path: Path) -> None:
    class_folders(tmp_path, "1.png", "2.png", "3.png", "4.png")
    table = tmp_path / "t.csv"
    table.write_text("path,label\n1.png,  lead\n2.png,lead\n3.png, tin\n4.png,iron\n")
    said = "blanks around 2 labels not counted: '  lead' is 'lead', as in other rows."
    index = read_index(table)
    assert index.classes == ("iron", "lead", "tin")
    assert index.reading_notes() == [said]
    assert said in collect_labels([table], []).notes[0]
    heard = Heard()
    list_images(table, KnownFacts(), heard)
    assert said in heard.lines
    table.write_text("path,label\n1.png,lead \n2.png,tin\n")
    said = "blanks around 1 label not counted: 'lead ' is 'lead'."
    assert read_index(table).reading_notes() == [said]
    table.write_text("path,label\n1.png,lead\n2.png,tin\n")
    assert read_index(table).reading_notes() == []
    table.write_text("path,new_label\ncat/000000.png, dog\n")
    notes = relabel_images(make_index(["cat"] * 2 + ["dog"] * 2), table).notes
    assert "blanks around 1 label not counted: ' dog' is 'dog'." in notes
