"""Odd input: one image of each, one individual, a thousand images of one, nothing at all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import holotype
from holotype.identification.storage.gallery_files import GalleryFiles
from tests.conftest import Cli
from tests.identification.individuals import Sighting, draw, sightings, write


def one_line(err: str) -> str:
    (line,) = [line for line in err.splitlines() if not line.startswith("Next: ")]
    return line


def test_one_image_of_each_individual_is_answered_by_the_cosine_and_that_is_said(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    write(tmp_path / "photos", sightings(5, 1))
    (asked,) = write(tmp_path / "asked", [Sighting(2, 9)])
    assert cli("identify", "add", tmp_path / "g", tmp_path / "photos", "--classifier", tiny)[0] == 0
    code, out, err = cli("identify", "query", tmp_path / "g", asked)
    assert code == 0
    assert out.startswith(f"{asked}: t02")
    assert "fewer than 10 individuals have comparable images of two encounters" in one_line(err)


def test_one_individual_is_answered_with_a_probability(tiny: Path, tmp_path: Path) -> None:
    gallery = holotype.Gallery(tmp_path / "g", tiny)
    gallery.add(write(tmp_path / "photos", sightings(1, 1)), label="ada")
    found = gallery.query(write(tmp_path / "asked", [Sighting(0, 9)]))[0]
    assert found.answer == "ada"
    assert found.is_new is None
    assert found.ranked[0].probability + found.new_probability == pytest.approx(1)


def test_a_thousand_images_of_one_individual(tiny: Path, tmp_path: Path) -> None:
    gallery = holotype.Gallery(tmp_path / "g", tiny)
    gallery.add(write(tmp_path / "photos", sightings(1, 1)), label="ada")
    block = gallery.images.block()
    image = block.images[0]
    files = GalleryFiles(tmp_path / "g")
    with files.writing():
        many = block.select([0] * 1000)
        files.append(
            replace(many, images=tuple(replace(image, sha256=f"{n:04d}") for n in range(1000)))
        )
    found = gallery.query(write(tmp_path / "asked", [Sighting(0, 9)]))[0]
    assert found.answer == "ada"
    assert found.ranked[0].num_images == 1001
    assert np.isfinite(found.ranked[0].probability)


@pytest.mark.parametrize("verb", ["add", "query"])
def test_an_empty_call_is_one_clear_line(cli: Cli, tiny: Path, tmp_path: Path, verb: str) -> None:
    holotype.Gallery(tmp_path / "g", tiny).add(write(tmp_path / "p", sightings(1, 1)), label="ada")
    label = ["--label", "bo"] if verb == "add" else []
    code, _, err = cli("identify", verb, tmp_path / "g", *label)
    assert code == 2
    assert "no image was named" in one_line(err)
    (tmp_path / "empty").mkdir()
    code, _, err = cli("identify", verb, tmp_path / "g", tmp_path / "empty", *label)
    assert code == 1
    assert "no image below" in one_line(err)


@pytest.mark.parametrize("verb", ["add", "query"])
def test_an_unreadable_image_costs_itself_only(
    cli: Cli, tiny: Path, tmp_path: Path, verb: str
) -> None:
    holotype.Gallery(tmp_path / "g", tiny).add(write(tmp_path / "p", sightings(1, 1)), label="ada")
    good = write(tmp_path / "q", [Sighting(0, 9)])[0]
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:200])
    label = ["--label", "bo"] if verb == "add" else []
    code, out, err = cli("identify", verb, tmp_path / "g", bad, good, *label)
    assert code == 1
    assert out
    (line,) = [line for line in err.splitlines() if line.startswith("refused")]
    assert "bad.png" in line
    code, _, err = cli("identify", verb, tmp_path / "g", bad, *label)
    assert code == 1
    assert "bad.png" in err


def test_nobody_is_named_is_one_clear_line(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    image = write(tmp_path, sightings(1, 1))[0]
    code, _, err = cli("identify", "add", tmp_path / "g", image, "--classifier", tiny)
    assert code == 2
    assert "it is not said who this is" in one_line(err)
    assert not (tmp_path / "g").exists()


def test_a_rate_that_the_gallery_cannot_keep_is_refused(
    cli: Cli, known: holotype.Gallery, tmp_path: Path
) -> None:
    image = write(tmp_path, [Sighting(0, 9)])[0]
    code, _, err = cli(
        "identify", "query", known.path, image, "--attribute", "side=left", "--new-rate", "0.001"
    )
    assert code == 2
    assert "cannot keep a rate of 0.001" in one_line(err)


def test_what_cannot_be_answered_is_refused_before_the_work(
    cli: Cli, known: holotype.Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worked(*_: object, **__: object) -> None:
        raise AssertionError("worked before it refused")

    monkeypatch.setattr("holotype.identification.gallery.questions_of_gallery", worked)
    monkeypatch.setattr("holotype.identification.open_gallery.embed_images", worked)
    image = write(tmp_path, [Sighting(0, 9)])[0]
    for verb, words, said in (
        ("query", [image, "--attribute", "side=left", "--top", "0"], "--top 0: expected"),
        ("query", [image, "--attribute", "side=left", "--new-rate", "2"], "between 0 and 1"),
        ("query", [image, "--attribute", "side=left", "--output", "/proc/none"], "'/proc/none/"),
        ("discover", [image, "--attribute", "side=left", "--output", "/proc/none"], "'/proc/none/"),
        ("compare", [image, image, "--output", "/proc/none/a.png"], "'/proc/none/a.png'"),
        ("evaluate", ["--output", "/proc/none"], "'/proc/none/"),
        ("evaluate", ["--new-rate", "0"], "between 0 and 1"),
        ("evaluate", ["--against", tmp_path / "nothing"], "cannot be read"),
    ):
        code, _, err = cli("identify", verb, known.path, *words)
        assert code in (1, 2)
        assert said in one_line(err)


def test_images_none_of_which_can_be_used_are_one_clear_line(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    holotype.Gallery(tmp_path / "g", tiny).add(write(tmp_path / "p", sightings(1, 1)), label="ada")
    bad = tmp_path / "bad" / "ada" / "zero.png"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"")
    for verb in ("discover", "query"):
        code, _, err = cli("identify", verb, tmp_path / "g", bad, "--output", tmp_path / verb)
        assert code == 1
        assert f"refused: '{bad}'" in err
        assert (tmp_path / verb / "index.html").is_file()
    code, out, err = cli("identify", "evaluate", tmp_path / "g", bad.parents[1])
    assert (code, out) == (1, "")
    assert one_line(err).startswith("error: no image can be asked about: ")


def test_an_evaluation_says_what_one_image_of_each_individual_cannot_tell(
    tiny: Path, tmp_path: Path
) -> None:
    single = holotype.Gallery(tmp_path / "g", tiny)
    write(tmp_path / "photos", sightings(5, 1))
    single.add(tmp_path / "photos")
    assert any("how well known ones are named cannot be said" in n for n in single.evaluate().notes)
    alone = holotype.Gallery(tmp_path / "h", tiny)
    write(tmp_path / "more", sightings(1, 3))
    alone.add(tmp_path / "more")
    assert any("about one individual" in note for note in alone.evaluate().notes)


def test_unicode_names_16_bits_and_alpha_are_taken(tiny: Path, tmp_path: Path) -> None:
    gallery = holotype.Gallery(tmp_path / "g", tiny)
    name, pixels = "Schildkröte 🐢 漢字", draw(Sighting(1, 0))
    folder = tmp_path / "photos" / name
    folder.mkdir(parents=True)
    deep = pixels[:, :, 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "naïve…画像.png")
    clear = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    Image.fromarray(clear).save(folder / "alpha.png")
    added = gallery.add(tmp_path / "photos")
    assert (added.num_added, added.refused) == (2, ())
    assert [one.name for one in gallery.list()] == [name]
    asked = gallery.query(folder / "naïve…画像.png")[0]
    assert asked.answer == name
