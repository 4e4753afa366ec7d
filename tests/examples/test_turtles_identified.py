"""The turtle example ends in a gallery: trained, added to, asked, and judged, on its own layout."""

import csv
import json
from pathlib import Path

import pytest

import holotype
from tests.conftest import Cli
from tests.examples.conftest import Images
from tests.examples.reduced import FOLDER, reduced
from tests.identification.individuals import Sighting, sightings, write

TINY = f"{FOLDER / 'my_net.py'}:build"


def write_turtles(file: Path, seen: list[Sighting]) -> Path:
    """A table with the turtle, encounter, side and date of each image."""
    paths = write(file.parent / "images", seen)
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["path", "label", "encounter", "side", "date"])
        for path, one in zip(paths, seen, strict=True):
            encounter = f"{one.name}-dive{one.encounter}"
            date = f"2025-0{1 + one.encounter}-12"
            rows.writerow([path.relative_to(file.parent), one.name, encounter, one.side, date])
    return file


@pytest.mark.usefixtures("real_plots")
def test_turtles_are_trained_then_others_known_again_by_a_gallery(
    images: Images, cli: Cli, tmp_path: Path
) -> None:
    data, said = images("turtles")
    run = holotype.train(
        data, output=tmp_path / "run", **said, **reduced("turtles", "resnet18", model=TINY)
    )
    table = write_turtles(tmp_path / "table.csv", sightings(12, 4, 1, ("left", "right")))
    gallery = tmp_path / "gallery"
    code, out, _ = cli(
        "identify", "add", gallery, table, "--classifier", run.path, "--attribute", "side"
    )
    assert code == 0
    assert out.startswith("96 images added, 12 new individuals")

    later = [Sighting(3, 8, 0, "left"), Sighting(3, 8, 0, "right"), Sighting(50, 8, 0, "left")]
    asked = write_turtles(tmp_path / "later" / "table.csv", later)
    code, out, _ = cli("identify", "query", gallery, asked, "--json")
    assert code == 0
    first, second = json.loads(out)["questions"]
    assert (first["name"], first["answer"], len(first["images"])) == ("t03-dive8", "t03", 2)
    assert second["name"] == "t50-dive8"
    assert second["new_probability"] > 0.5

    code, out, _ = cli("identify", "evaluate", gallery, "--output", tmp_path / "scores")
    assert code == 0
    scores = json.loads((tmp_path / "scores" / "evaluation.json").read_text())["metrics"]
    assert scores["rank_1"]["value"] > 0.8
    code, out, _ = cli("identify", "history", gallery, "t03")
    assert out.count("t03-dive") == 8
    assert "2025-04-12" in out
