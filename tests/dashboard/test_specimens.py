"""Specimens: the numbers of the pages are those of `match_specimens`, and slices are drawn."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.bundle.bundle import load_bundle
from holotype.dashboard_pages.classifiers import place_below
from holotype.errors import UsageError
from holotype.explanation.specimen_matching import (
    SpecimenMatch,
    match_specimens,
    read_reference_slices,
    read_slices,
)
from tests.bundle.tiny import predicted
from tests.dashboard.browsing import Visit
from tests.dashboard.made_classifiers import HOSTILE_CLASSES

ASKED = {"model": "one", "of": "slices", "known": "slices"}


@pytest.fixture(scope="module")
def expected(classifiers: Path) -> SpecimenMatch:
    """What is most like `cross-0`, by the function that the command uses."""
    scans = classifiers / "slices"
    own = [one for one in read_slices([scans]) if one.specimen == "cross-0"]
    bundle = load_bundle(classifiers / "one")
    return match_specimens(bundle, own, read_reference_slices(scans)).specimens[0]


def test_specimens_of_a_folder_are_listed_and_their_names_run_nothing(browser: Visit) -> None:
    page = browser.get("/dashboard/specimens/")
    values = [found.get("value") for tag, found in page.tags if tag == "option"]
    assert "slices" in values
    page = browser.get("/dashboard/specimens/", params=ASKED)
    assert "4 specimens" in page.text
    assert "<script>alert" not in browser.answer.text
    assert f"disc-1{HOSTILE_CLASSES[0]} 4" in page.text
    browser.get(next(link for link in page.links if "script" in link))
    assert browser.status == 200
    assert "<script>alert" not in browser.answer.text


def test_the_ranking_is_that_of_the_command(browser: Visit, expected: SpecimenMatch) -> None:
    page = browser.get("/dashboard/specimens/one", params={**ASKED, "specimen": "cross-0"})
    assert f"{expected.class_name} {100 * expected.probability:.1f} %" in page.text
    for rank, one in enumerate(expected.ranked, start=1):
        row = f"{rank} {one.specimen} {one.label} {one.ssim:.3f} {one.ncc:.3f} {one.dice:.3f}"
        assert row in page.text
    for pair in expected.ranked[0].pairs:
        assert f"SSIM {pair.ssim:.3f} · NCC {pair.ncc:.3f} · Dice {pair.dice:.3f}" in page.text
    other = expected.ranked[-1]
    page = browser.get(
        "/dashboard/specimens/one",
        params={**ASKED, "specimen": "cross-0", "against": other.specimen},
    )
    assert f"SSIM {other.pairs[0].ssim:.3f}" in page.text


def test_the_answer_at_a_slice_is_that_of_the_classifier(browser: Visit, classifiers: Path) -> None:
    files = sorted((classifiers / "slices" / "cross-0").glob("*.png"))
    found = predicted(load_bundle(classifiers / "one"), files)
    for at in (0, 3):
        asked = {**ASKED, "known": "", "specimen": "cross-0", "at": at}
        page = browser.get("/dashboard/specimens/one", params=asked)
        assert f"slice {at + 1} of 4: cross-0/z-{at}.png" in page.text
        for name, share in zip(found.classes, found.probabilities_NC[at], strict=True):
            assert f"{name} {100 * share:.1f} %" in page.text


def test_the_overlap_says_which_slice_is_where(browser: Visit) -> None:
    """A cross in its frame lies within a disc, which fills its own."""
    cross, disc = "cross-0/z-3.png", "disc-0/z-3.png"
    black, white, orange, blue = (0, 0, 0), (255, 255, 255), (230, 159, 0), (0, 114, 178)
    for first, second, expected in (
        (disc, cross, {black, white, orange}),
        (cross, disc, {black, white, blue}),
        (cross, cross, {black, white}),
    ):
        asked = {"of": "slices", "known": "slices", "name": first, "reference": second}
        browser.get("/dashboard/specimens/overlap.png", params=asked)
        drawn = np.asarray(Image.open(io.BytesIO(browser.answer.content)).convert("RGB"))
        colours, counts = np.unique(drawn.reshape(-1, 3), axis=0, return_counts=True)
        # A few pixels of the edges may lie either way.
        clear = {tuple(colour) for colour in colours[counts > 0.01 * counts.sum()].tolist()}
        assert clear == expected


@pytest.mark.parametrize(
    ("of", "name"),
    [
        ("slices", "../one/recipe.yaml"),
        ("..", "x"),
        ("slices", "/etc/passwd"),
        ("one", "nothing"),
        ("x" * 999, "x"),
    ],
)
def test_only_slices_of_a_folder_below_are_read(of: str, name: str, browser: Visit) -> None:
    browser.get("/dashboard/specimens/slice.png", params={"of": of, "name": name})
    assert browser.status == 422


def test_a_stage_is_found_in_a_run_below_and_nowhere_else(tmp_path: Path) -> None:
    for run in ("runs/one", "other"):
        (tmp_path / run / "stages" / "warm-up").mkdir(parents=True)
    found = place_below(tmp_path / "runs", "one@warm-up")
    assert found == (tmp_path / "runs" / "one" / "stages" / "warm-up").resolve()
    for named in (
        "../other@warm-up",
        "one@../../..",
        "one@nothing",
        "one@",
        "@",
        "one@" + "x" * 999,
    ):
        with pytest.raises(UsageError, match="below the folder"):
            place_below(tmp_path / "runs", named)
