"""A gallery: who is in it, who is asked about, and what it refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import holotype
from holotype.bundle.image_sources import image_sources
from holotype.errors import EmptyDataset, GalleryError, NotAGallery, UsageError
from holotype.identification.matched_images import image_opener
from holotype.identification.storage.gallery_files import GalleryFiles
from tests.bundle.tiny import backbone_model, head_model, manifest, write_bundle
from tests.conftest import Cli
from tests.identification.individuals import Sighting, sightings, write, write_table


def test_a_known_individual_is_found_and_an_unknown_one_is_new(
    known: holotype.Gallery, tmp_path: Path
) -> None:
    asked = [Sighting(individual, 9) for individual in range(20)]
    found = known.query(write(tmp_path, asked), attributes={"side": "left"})
    assert [one.best.individual for one in found[:15]] == [one.name for one in asked[:15]]
    assert [one.answer for one in found[15:]] == ["new"] * 5
    assert sum(one.is_new for one in found[:15]) <= 2  # at a rate of 5 %, one of 15 is expected
    for one in found:
        total = sum(each.probability for each in one.ranked) + one.new_probability
        assert total == pytest.approx(1, abs=0.01)


def test_sides_are_never_compared(known: holotype.Gallery, tmp_path: Path) -> None:
    left = write(tmp_path, [Sighting(0, 9)])
    as_right = known.query(left, attributes={"side": "right"}, top=15)[0]
    assert {Path(one.best_pair.known).stem[-5:] for one in as_right.ranked} == {"right"}
    assert as_right.answer == "new"
    as_top = known.query(left, attributes={"side": "top"})[0]
    assert as_top.ranked == ()
    assert as_top.new_probability == 1
    assert as_top.is_new is None


def test_images_of_one_encounter_are_one_question(known: holotype.Gallery, tmp_path: Path) -> None:
    paths = write(tmp_path, [Sighting(3, 9, number) for number in range(4)])
    together = known.query(paths, encounter="dive 9", attributes={"side": "left"})
    assert [one.name for one in together] == ["dive 9"]
    assert together[0].answer == "t03"
    assert together[0].images == tuple(path.as_posix() for path in paths)
    table = write_table(
        tmp_path / "asked" / "table.csv", [Sighting(3, 8), Sighting(4, 8), Sighting(3, 8, 1)]
    )
    assert [(one.name, one.best.individual) for one in known.query(table)] == [
        ("t03-e8", "t03"), ("t04-e8", "t04"),
    ]  # fmt: skip


def test_an_image_without_the_attribute_is_refused(known: holotype.Gallery, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no side"):
        known.query(write(tmp_path, [Sighting(0, 9)]))
    with pytest.raises(UsageError, match="did you mean 'side'"):
        known.query(write(tmp_path, [Sighting(0, 9)]), attributes={"sid": "left"})


def test_the_history_of_an_individual_is_its_images_by_date(known: holotype.Gallery) -> None:
    assert len(known.list()) == 15
    one = known.history("t03")[0]
    assert len(one.images) == 6
    assert one.encounters == ("t03-e0", "t03-e1", "t03-e2")
    assert (one.dates[0], one.dates[-1]) == ("2026-01-01", "2026-03-01")
    frame = known.history("t03").to_frame()
    assert set(frame["side"]) == {"left", "right"}
    with pytest.raises(UsageError, match="no individual 't3'; did you mean"):
        known.history("t3")


def test_a_folder_of_folders_names_individuals_and_encounters(tiny: Path, tmp_path: Path) -> None:
    write(tmp_path / "photos", sightings(3, 2))
    gallery = holotype.Gallery(tmp_path / "gallery", tiny)
    added = gallery.add(tmp_path / "photos")
    assert (added.num_added, added.new_individuals) == (6, ("t00", "t01", "t02"))
    assert gallery.history("t01")[0].encounters == ("e0", "e1")


def test_the_same_image_under_two_names_is_said_and_not_added(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    paths = write(tmp_path, sightings(2, 1))
    gallery = tmp_path / "gallery"
    assert cli("identify", "add", gallery, paths[0], "--label", "ada", "--classifier", tiny)[0] == 0
    code, out, err = cli("identify", "add", gallery, *paths, "--label", "bo")
    assert code == 1
    assert out.startswith("1 image added, 1 new individual")
    assert "is not added as 'bo': the same image is in the gallery as 'ada'" in err
    code, out, _ = cli("identify", "add", gallery, paths[0], "--label", "ada")
    assert code == 0
    assert out.startswith("0 images added, 0 new individuals, 1 image there already")


def test_an_individual_is_renamed_joined_and_removed(tiny: Path, tmp_path: Path) -> None:
    paths = write(tmp_path / "photos", sightings(3, 2))
    gallery = holotype.Gallery(tmp_path / "gallery", tiny)
    gallery.add(tmp_path / "photos")
    assert str(gallery.rename("t00", "ada")) == "t00 is now called ada: 2 images"
    assert str(gallery.rename("t01", "ada")) == "t01 joined with ada: 2 images"
    assert [one.name for one in gallery.list()] == ["ada", "t02"]
    assert gallery.remove("ada", image=paths[0].as_posix()).num_images == 1
    assert gallery.remove("t02").num_images == 2
    assert [(one.name, len(one.images)) for one in gallery.list()] == [("ada", 3)]
    with pytest.raises(UsageError, match="has no image"):
        gallery.remove("ada", image="elsewhere.png")
    gallery.remove("ada")
    for ask in (
        lambda: gallery.query(paths[0]),
        lambda: gallery.discover(paths[0]),
        lambda: gallery.compare(paths[0], paths[1]),
        lambda: gallery.evaluate(),
    ):
        with pytest.raises(EmptyDataset, match="holds no images"):
            ask()


def test_images_of_one_name_in_two_directories_are_told_apart(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = holotype.Gallery(tmp_path / "gallery", tiny)
    for day in ("day 1", "day 2"):
        (tmp_path / day).mkdir()
        monkeypatch.chdir(tmp_path / day)
        Image.new("RGB", (32, 32), "red" if day == "day 1" else "blue").save("1.png")
        gallery.add("1.png", label="ada")
    red, blue = (image.file for image in gallery.history("ada")[0].images)
    assert (red, blue) == tuple((tmp_path / day / "1.png").as_posix() for day in ("day 1", "day 2"))
    shown = image_opener(image_sources("1.png"))(red)  # of a question by the same name
    assert shown is not None
    assert shown.getpixel((5, 5)) == (255, 0, 0)
    assert gallery.remove("ada", image="1.png").num_images == 1
    assert [image.file for image in gallery.history("ada")[0].images] == [red]


def test_another_classifier_is_refused(tiny: Path, tmp_path: Path) -> None:
    write(tmp_path / "photos", sightings(2, 1))
    gallery = tmp_path / "gallery"
    holotype.Gallery(gallery, tiny).add(tmp_path / "photos")
    other = write_bundle(
        tmp_path / "other",
        backbone=backbone_model(3).SerializeToString(),
        head=head_model().SerializeToString(),
        manifest=manifest(),
    ).without_decision()
    with pytest.raises(GalleryError, match="embeddings of two bundles cannot be compared"):
        holotype.Gallery(gallery, other.path).query(tmp_path / "photos")


def test_a_gallery_moves_with_its_bundle_or_asks_for_it(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "one" / "bundle")
    image = write(tmp_path / "photos", sightings(2, 1))[0]
    holotype.Gallery(tmp_path / "one" / "gallery", tmp_path / "one" / "bundle").add(
        tmp_path / "photos"
    )
    (tmp_path / "one").rename(tmp_path / "two")
    assert holotype.Gallery(tmp_path / "two" / "gallery").query(image)[0].best
    (tmp_path / "two" / "bundle").rename(tmp_path / "bundle")
    with pytest.raises(GalleryError, match="name it"):
        holotype.Gallery(tmp_path / "two" / "gallery").query(image)
    again = holotype.Gallery(tmp_path / "two" / "gallery", tmp_path / "bundle")
    assert again.query(image)[0].best


def test_what_is_no_gallery_is_said(cli: Cli, tmp_path: Path) -> None:
    with pytest.raises(NotAGallery, match="is no gallery"):
        holotype.Gallery(tmp_path)
    code, _, err = cli("identify", "query", tmp_path / "nothing", "a.png")
    assert code == 1
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", ["images.json", "embeddings.npy", "thumbnails.npy"])
def test_a_changed_byte_is_a_refusal(tiny: Path, tmp_path: Path, kind: str) -> None:
    write(tmp_path / "photos", sightings(2, 1))
    holotype.Gallery(tmp_path / "gallery", tiny).add(tmp_path / "photos")
    (file,) = (tmp_path / "gallery" / "segments").glob(f"*.{kind}")
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    with pytest.raises(holotype.HolotypeError, match="its content is not what was written"):
        holotype.Gallery(tmp_path / "gallery").list()


def test_answers_are_json(cli: Cli, known: holotype.Gallery, tmp_path: Path) -> None:
    (image,) = write(tmp_path, [Sighting(5, 9)])
    code, out, _ = cli(
        "identify", "query", known.path, image, "--attribute", "side=left", "--top", 2, "--json"
    )
    assert code == 0
    answer = json.loads(out)
    assert answer["questions"][0]["answer"] == "t05"
    assert len(answer["questions"][0]["ranked"]) == 2
    assert answer["threshold"]["rate"] == 0.05


def test_many_small_additions_become_one_segment(tiny: Path, tmp_path: Path) -> None:
    gallery = holotype.Gallery(tmp_path / "gallery", tiny)
    paths = write(tmp_path / "photos", sightings(1, 1, 2))
    gallery.add(paths[0], label="ada")
    files = GalleryFiles(tmp_path / "gallery")
    image = gallery.images.images[0]
    for number in range(40):
        block = replace(
            gallery.images.block().select([0]), images=(replace(image, sha256=str(number)),)
        )
        with files.writing():
            files.append(block)
    manifest, found = files.read()
    assert len(manifest.segments) < 33
    assert [one.sha256 for one in found] == [image.sha256, *map(str, range(40))]
    assert len(list((tmp_path / "gallery" / "segments").iterdir())) == 3 * len(manifest.segments)
    np.testing.assert_array_equal(
        found.embeddings(np.arange(41)), np.tile(found.embeddings(np.array([0])), (41, 1))
    )
