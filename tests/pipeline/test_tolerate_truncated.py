"""`--tolerate-truncated`: trained on, evaluated, predicted and shipped alike; refused without."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageFile

import holotype
from holotype.errors import NotComparable
from tests.conftest import Cli

CUT = ("ring/cut.jpg", "stripes/cut.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that are told apart by their upper half; a JPEG and a PNG are cut off."""
    folder = tmp_path_factory.mktemp("truncated") / "photos"
    rng = np.random.default_rng(5)
    for name in ("ring", "stripes"):
        (folder / name).mkdir(parents=True)
        for number in range(14):
            levels = rng.integers(0, 90, (48, 48, 3), dtype=np.uint8)
            if name == "ring":
                levels[12:36, 12:36] += 120
            else:
                levels[::6] += 120
            Image.fromarray(levels).save(folder / name / f"{number}.png")
    for name in CUT:
        whole = Image.open(folder / name.split("/")[0] / "0.png").rotate(90)
        whole.save(folder / name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) * 2 // 3])
    return folder


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run") / "tolerant"
    reading = holotype.ReadingOptions(tolerate_truncated=True)
    holotype.train(photos, model="hog", image_size=32, output=output, reading=reading)
    return output


def test_recipe_manifest_report_and_card_say_so(run: Path, photos: Path) -> None:
    recipe = yaml.safe_load((run / "recipe.yaml").read_text("utf-8"))
    manifest = json.loads((run / "bundle/manifest.json").read_text("utf-8"))
    assert recipe["tolerate_truncated"] is manifest["preprocessing"]["tolerate_truncated"] is True
    audit = json.loads((run / "audit/audit.json").read_text("utf-8"))
    assert audit["tolerate_truncated"] is True
    assert audit["truncated_images"] == list(CUT)
    assert (audit["num_usable"], audit["unusable_images"]) == (30, [])
    metrics = json.loads((run / "report/metrics.json").read_text("utf-8"))
    assert sum(metrics["truncated_images"].values()) == 2
    said = "2 images are cut off or damaged, tolerated"
    assert any(said in caveat for caveat in metrics["caveats"])
    assert said in (run / "report/index.html").read_text("utf-8")
    card = (run / "MODEL_CARD.md").read_text("utf-8")
    assert said in card
    assert "files that are cut off read as far as they go" in card


def test_all_images_are_in_the_run_and_the_bundle_reads_them_as_training_did(
    run: Path, photos: Path, cli: Cli
) -> None:
    read = holotype.predict(run, [photos / name for name in CUT])
    assert read.refused == ()
    assert len(read.warnings) == 2
    again = holotype.predict(run, [photos / name for name in CUT])  # from the cache
    assert again.warnings == read.warnings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        as_pillow_reads_them = [Image.open(photos / name).convert("RGB") for name in CUT]
    expected = holotype.load(run).predict_proba(as_pillow_reads_them)
    assert np.allclose(read.probabilities, expected, atol=1e-6)
    table = holotype.Run(run).index.table
    assert set(CUT) <= set(table["path"][table["split"] != ""])
    index = holotype.audit(photos, quick=True, tolerate_truncated=True)
    assert index.usable == 30
    report = holotype.evaluate(run, photos)
    assert report.num_images == 30
    assert any("2 images are cut off" in caveat for caveat in report.caveats)
    code, _, said = cli("predict", run, photos / CUT[0])
    assert code == 0
    assert "cut off or damaged; it was read as far as it goes" in said


def test_they_are_left_out_and_refused_by_name_without_it(
    photos: Path, tmp_path: Path, cli: Cli
) -> None:
    run = tmp_path / "strict"
    code, _, said = cli("train", photos, "--model", "hog", "--image-size", 32, "--output", run)
    assert code == 0
    assert all(name in said for name in CUT)
    assert "truncated_images" not in json.loads((run / "report/metrics.json").read_text("utf-8"))
    assert len(holotype.predict(run, [photos / name for name in CUT]).refused) == 2
    code, out, _ = cli("audit", photos, "--quick", "--json")
    assert (code, json.loads(out)["num_usable"]) == (1, 28)
    code, out, _ = cli("audit", photos, "--quick", "--json", "--tolerate-truncated")
    assert json.loads(out)["truncated_images"] == list(CUT)


def test_the_command_and_a_key_of_the_recipe_do_the_same(photos: Path, cli: Cli) -> None:
    _, by_option, _ = cli("train", "--model", "hog", "--tolerate-truncated", "--print-recipe")
    _, by_key, _ = cli("train", "--model", "hog", "--set", "tolerate_truncated=true",
                       "--print-recipe")  # fmt: skip
    assert by_option == by_key
    assert "tolerate_truncated: true" in by_option


def test_an_ensemble_takes_members_that_agree(run: Path, photos: Path, tmp_path: Path) -> None:
    strict = holotype.train(photos, model="hog", image_size=32, output=tmp_path / "strict")
    with pytest.raises(NotComparable):
        holotype.ensemble([run, strict.path], output=tmp_path / "both")
