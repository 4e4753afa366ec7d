"""Explanations of many images lie in one folder, each under a name of its own."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageFont

from holotype.bundle.image_sources import image_sources
from holotype.explanation.compute_heatmap import heatmap
from holotype.explanation.explainer import TABLE, Explainer
from holotype.explanation.heatmap_drawing import (
    captioned_tiles,
    shortened_to_width,
    stack_vertically,
)
from tests.bundle.tiny import CLASSES, write_images, write_tiny


def test_a_folder_holds_a_sheet_for_each_image_and_a_table(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    paths = write_images(tmp_path / "a", 2) + write_images(tmp_path / "b", 2, seed=1)
    broken = tmp_path / "b" / "broken.png"
    broken.write_text("no image")
    told: list[tuple[int, int]] = []
    explainer = Explainer(bundle)
    explained = explainer.write_sheets(
        image_sources([*paths, broken]), tmp_path / "out",
        on_progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert [one.file for one in explained] == [str(path) for path in paths]
    assert [Path(refusal.file).name for refusal in explained.refused] == ["broken.png"]
    assert told[-1] == (5, 5)
    names = ["000.png", "001.png", "000-2.png", "001-2.png"]
    assert [one.sheet and one.sheet.name for one in explained] == names
    with (tmp_path / "out" / TABLE).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["sheet"] for row in rows] == names
    for row, path in zip(rows, paths, strict=True):
        found = heatmap(bundle, path)
        assert row["class"] == found.class_name
        assert float(row["probability"]) == found.probability
        assert row["method"] == found.method
        explainer.explain(image_sources(path)[0], tmp_path / "alone.png")
        alone = (tmp_path / "alone.png").read_bytes()
        assert (tmp_path / "out" / row["sheet"]).read_bytes() == alone


def test_two_images_with_the_longest_names_there_are_have_a_sheet_each(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    paths = []
    for folder in ("a", "b"):
        (path,) = write_images(tmp_path / folder, 1)
        paths.append(path.rename(path.with_name("n" * 251 + ".png")))
    explained = Explainer(bundle).write_sheets(image_sources(paths), tmp_path / "out")
    assert len(explained) == len(list((tmp_path / "out").glob("*.png"))) == 2


def test_one_class_can_be_asked_of_all(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    paths = write_images(tmp_path / "a", 3)
    explained = Explainer(bundle, CLASSES[2]).write_sheets(image_sources(paths), tmp_path / "out")
    assert {one.label for one in explained} == {CLASSES[2]}


def test_tiles_stand_side_by_side_and_a_missing_image_is_a_grey_one() -> None:
    red, wide = Image.new("RGB", (50, 50), "red"), Image.new("RGB", (400, 100), "blue")
    row = np.asarray(captioned_tiles([red, None, wide], [["one"], ["two", "x" * 200], []]))
    assert row.shape[1] == 3 * 132 + 4 * 12
    middle = 12 + 66
    assert row[middle, 12 + 66].tolist() == [255, 0, 0]
    assert row[middle - 50, 12 + 144 + 120].tolist() == [226, 226, 226]
    assert row[middle, 12 + 2 * 144 + 66].tolist() == [0, 0, 255]
    assert row[middle - 50, 12 + 2 * 144 + 66].tolist() == [255, 255, 255], "its shape is kept"


def test_text_is_shortened_in_its_middle_until_it_fits() -> None:
    font = ImageFont.load_default(11)
    assert shortened_to_width("short", font, 100) == "short"
    text = "specimen-12/" + "z" * 100 + "-0042.png"
    short = shortened_to_width(text, font, 100)
    assert font.getlength(short) <= 100
    assert short.startswith("specim")
    assert short.endswith("42.png")
    assert "…" in short


def test_pages_are_stacked_on_white_paper() -> None:
    whole = stack_vertically([Image.new("RGB", (10, 5), "red"), Image.new("RGB", (4, 7), "blue")])
    assert whole.size == (10, 12)
    assert whole.getpixel((9, 11)) == (255, 255, 255)
    assert whole.getpixel((3, 11)) == (0, 0, 255)


def test_letters_beyond_ascii_are_drawn_as_themselves() -> None:
    from holotype.imaging.pixels import load_font

    font = load_font(14)
    missing = bytes(font.getmask("\U0010ffff"))  # what stands for a letter that the font lacks
    for letter in "üéñßøžЖΩ":
        assert bytes(font.getmask(letter)) != missing
