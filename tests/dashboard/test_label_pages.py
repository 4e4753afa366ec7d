"""Logged images are labelled one at a time, and the table of them holds what was chosen."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from holotype.dashboard_pages.addresses import mark_of
from holotype.files import sha256_of
from holotype.watching.labelling.label_sheet import SheetRow, read_sheet, write_label, write_sheet
from tests.dashboard.browsing import Visit

CLASSES = ["ant", "=bee", "cat"]  # one that a spreadsheet would run


@pytest.fixture
def sheet(visit: Visit) -> Path:
    folder = Path(visit.app.state.dashboard.folder) / "to-label"
    write(folder, CLASSES)
    return folder


def write(folder: Path, classes: list[str], count: int = 3) -> None:
    files = []
    for n in range(count):
        files.append(folder.parent / f"{n}.png")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 30), 60 * n).save(files[-1])
    rows = [
        SheetRow(
            f"images/{n}.png", purpose="chosen" if n else "random", predicted=f"said {n}",
            probability="0.7000",
        )
        for n in range(count)
    ]  # fmt: skip
    write_sheet(folder, rows, files, {"classes": classes})


def labels(sheet: Path) -> list[str]:
    return [row.label for row in read_sheet(sheet / "labels.csv")]


def test_every_label_is_kept_and_the_next_open_image_is_shown(visit: Visit, sheet: Path) -> None:
    before = {file: sha256_of(file) for file in sheet.rglob("*.png")}
    page = visit.get("/dashboard/data/")
    page = visit.get(
        next(link for link in page.links if "data/label/" in link or "label/?" in link)
    )
    assert "1 of 3 · 0 labelled" in page.text
    assert "never trains" in page.text
    visit.submit("answer?of=to-label", word=mark_of("=bee"))
    assert labels(sheet) == ["=bee", "", ""]
    assert "2 of 3 · 1 labelled" in visit.page.text
    visit.submit("answer?of=to-label", word="another", another="Dáe")  # decomposed
    assert labels(sheet) == ["=bee", "D\u00e1e", ""]
    visit.submit("answer?of=to-label", word=mark_of("ant"))
    assert labels(sheet) == ["=bee", "D\u00e1e", "ant"]
    visit.get("/dashboard/data/label/?of=to-label&number=1")
    assert "D\u00e1e" in visit.page.text
    visit.submit("answer?of=to-label", word="withdraw")
    assert labels(sheet) == ["=bee", "", "ant"]
    assert {file: sha256_of(file) for file in sheet.rglob("*.png")} == before


def test_a_class_that_another_person_adds_changes_no_button_of_an_older_page(
    visit: Visit, sheet: Path
) -> None:
    file = sheet / "labels.csv"
    write_label(file, "images/0.png", "wolf")
    buttons = visit.get("/dashboard/data/label/?of=to-label&number=1").tags
    wolf = [str(found["value"]) for tag, found in buttons if found.get("name") == "word"][3]
    write_label(file, "images/2.png", "fox")
    visit.submit("answer?of=to-label", word=wolf)
    assert labels(sheet) == ["wolf", "wolf", "fox"]
    write_label(file, "images/0.png", "")
    write_label(file, "images/1.png", "")
    visit.get("/dashboard/data/label/?of=to-label&number=1")
    visit.submit("answer?of=to-label", word=wolf)
    assert visit.status == 422
    assert "classes have changed" in visit.page.text


def test_what_was_answered_is_shown_only_beside_a_label(visit: Visit, sheet: Path) -> None:
    assert "said 0" not in visit.get("/dashboard/data/label/?of=to-label").text
    visit.submit("answer?of=to-label", word=mark_of("ant"))
    assert "said 0" in visit.get("/dashboard/data/label/?of=to-label").text


def test_other_columns_and_rows_of_the_table_stay(visit: Visit, sheet: Path) -> None:
    file = sheet / "labels.csv"
    with file.open(encoding="utf-8", newline="") as opened:
        rows = [{**row, "mine": "a; b"} for row in csv.DictReader(opened)]
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, rows[0].keys(), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    visit.get("/dashboard/data/label/?of=to-label&number=2")
    visit.submit("answer?of=to-label", word=mark_of("cat"))
    with file.open(encoding="utf-8", newline="") as opened:
        found = list(csv.DictReader(opened))
    rows[2]["label"] = "cat"
    assert found == rows


def test_many_classes_are_chosen_from_a_list(visit: Visit) -> None:
    folder = Path(visit.app.state.dashboard.folder) / "many"
    write(folder, [f"class {n}" for n in range(30)])
    visit.get("/dashboard/data/label/?of=many")
    visit.submit("answer?of=many", word="choose", label="")
    assert visit.status == 422
    visit.get("/dashboard/data/label/?of=many")
    visit.submit("answer?of=many", word="choose", label=mark_of("class 29"))
    assert labels(folder) == ["class 29", "", ""]


def test_only_images_of_the_folder_are_sent(browser: Visit, classifiers: Path) -> None:
    sheet = classifiers / "to-label"
    write(sheet, CLASSES)
    page = browser.get("/dashboard/data/label/?of=to-label")
    (source,) = [str(found["src"]) for tag, found in page.tags if tag == "img"]
    browser.get(source)
    assert browser.answer.headers["content-type"] == "image/png"
    text = (sheet / "labels.csv").read_text().replace("images/1.png", "../1.png")
    (sheet / "labels.csv").write_text(text)
    page = browser.get("/dashboard/data/label/?of=to-label&number=1")
    (source,) = [str(found["src"]) for tag, found in page.tags if tag == "img"]
    browser.get(source)
    assert browser.status == 422
    for of in ("", "..", "to-label/images", "nowhere"):
        browser.get(f"/dashboard/data/label/?of={of}")
        assert browser.status == 422, of


def test_who_may_only_look_labels_nothing(
    visit_with_keys: Callable[..., Visit],
) -> None:
    visit = visit_with_keys()
    folder = Path(visit.app.state.dashboard.folder) / "to-label"
    write(folder, CLASSES)
    visit.login("look")
    page = visit.get("/dashboard/data/label/?of=to-label")
    assert "may look, and not label" in page.text
    visit.post("answer?of=to-label", {"csrf": visit.token, "word": "0"})
    assert visit.status == 403
    assert labels(folder) == ["", "", ""]
