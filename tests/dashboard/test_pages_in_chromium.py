"""Try it, Specimens, In service, Individuals: by mouse and by keys, with the console empty."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holotype
from holotype.watching.watch import WatchOptions
from tests.bundle.tiny import write_images
from tests.dashboard.chromium import Person, look
from tests.dashboard.made_classifiers import (
    HOSTILE,
    HOSTILE_CLASSES,
    hostile_names,
    write_classifiers,
    write_hostile,
)
from tests.identification.individuals import Sighting, sightings, write, write_table
from tests.serving.running import Running, running
from tests.serving.versions import ask_often, tell, write_version
from tests.watching.made_log import MadeLog, answered, png, write_watched_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classifiers, slices, a registry, a gallery of individuals, and what watching has found."""
    folder = write_classifiers(tmp_path_factory.mktemp("pages"))
    registry = holotype.Registry(folder / "registry", who=HOSTILE_CLASSES[0])
    for seed in (1, 2):
        bundle = write_version(folder / "versions" / str(seed), seed)
        registry.add(bundle.path, name="cells", reason=HOSTILE_CLASSES[2])
    registry.promote("cells", 1, reason="the first")
    for number, name in enumerate(HOSTILE):
        registry.promote("cells", 2 - number % 2, force=True, reason=name)
    registry.close()
    write_hostile(folder, hostile_names(200))
    gallery = holotype.Gallery(folder / "turtles", folder / "one")
    table = write_table(folder / "seen" / "table.csv", sightings(12, 2, 1, ("left", "right")))
    gallery.add(table, attributes={"side": None})
    watched, log = write_watched_run(folder / "watched"), MadeLog(folder / "watched" / "log")
    log.add(answered(watched, [png(np.random.default_rng(1)) for _ in range(300)]), seed=1)
    darker = [png(np.random.default_rng(n), level=105.0) for n in range(300)]
    log.add(answered(watched, darker), seed=2, windows=2)
    options = WatchOptions(window="100")
    holotype.watch(watched.path, log=log.folder, output=folder / "watch", options=options)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    """A classifier with another one in its shadow, and some requests with their labels."""
    words = ("tiny=one", "--workers", "1", "--dashboard", "--log", "log")
    challenger = ("--challenger", "tiny=versions/1", "--shadow")
    images = write_images(folder.parent / "requests", 4)
    with running(*words, *challenger, folder=folder) as server:
        for answer in ask_often(server, images, [None] * 12):
            tell(server, answer, "dark").raise_for_status()
        yield server


@pytest.fixture
def url(server: Running, page: Any) -> str:
    address = f"{server.url}/dashboard/"
    page.goto(address)
    return address


def test_images_are_tried(person: Person, url: str, tmp_path: Path) -> None:
    page = person.page
    look(page, "home")
    person.section("Try it")
    look(page, "try")
    person.fill("Beside it", "two")
    person.fill("Sets with coverage", "0.8")
    person.send("Images", write_images(tmp_path / "images", 20))  # more than one request takes
    person.button("Send images")
    page.wait_for_url("**/try/*")
    assert page.get_by_role("heading", level=1).inner_text() == "20 images"
    look(page, "answers")
    with page.expect_download() as table:
        person.link("Answers of tiny as CSV")
    assert table.value.path().read_text("utf-8").count("\n") == 21
    person.link("000.png")
    page.wait_for_url("**/0?*")
    person.fill("Heatmap", "occlusion")
    if person.by == "keys":
        person.button("Draw")
    page.wait_for_url("**method=occlusion**")
    page.wait_for_load_state("networkidle")
    widths = page.eval_on_selector_all("figure img", "all => all.map((one) => one.naturalWidth)")
    assert len(widths) == 3
    assert min(widths) > 0
    look(page, "tried-image")


def test_an_image_is_dropped_and_pasted(page: Any, url: str, tmp_path: Path) -> None:
    (image,) = write_images(tmp_path / "images", 1)
    send = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
        const options = { bubbles: true, cancelable: true };
        document.dispatchEvent(kind === "drop"
            ? new DragEvent("drop", { ...options, dataTransfer: data })
            : new ClipboardEvent("paste", { ...options, clipboardData: data }));
    }"""
    for kind in ("drop", "paste"):
        page.goto(url + "try")
        page.evaluate(send, [kind, list(image.read_bytes())])
        page.wait_for_url("**/try/*")
        assert page.get_by_role("heading", level=1).inner_text() == "1 image"


def test_a_version_is_promoted_and_rolled_back(person: Person, url: str) -> None:
    page = person.page
    person.section("In service")
    person.link("cells")
    page.wait_for_url("**/service/model**")
    look(page, "model")
    person.link("version 2…")
    page.wait_for_url("**/service/promote**")
    look(page, "promote")
    person.fill("Reason", f"by {person.by}")
    person.press(page.get_by_label("Promote it all the same"))
    person.button("Make it the champion")
    page.wait_for_url("**/service/model**")
    assert "Version 2 is the champion" in page.inner_text("main")
    assert f"by {person.by}" in page.inner_text("main")
    person.fill("Reason", "back")
    person.button("Roll back")
    page.get_by_text("Version 1 is the champion").wait_for()


def test_traffic_shadow_and_watching_are_shown(page: Any, url: str, folder: Path) -> None:
    page.goto(url + "service/")
    look(page, "service")
    text = page.inner_text("main")
    watch = json.loads((folder / "watch" / "watch.json").read_text("utf-8"))
    assert watch["alarm"]
    since = watch["change_since"] or watch["alarm_since"]
    assert f"Something changed: {watch['kind']}, since {since}" in text
    assert "in shadow" in text
    assert "neither is surely better yet" in text


def test_what_watching_found_is_read(person: Person, url: str, folder: Path) -> None:
    page = person.page
    person.section("In service")
    watch = json.loads((folder / "watch" / "watch.json").read_text("utf-8"))
    person.link(watch["model"]["name"])
    page.wait_for_url("**/service/watch**")
    page.get_by_role("heading", level=1, name="Watching").wait_for()
    since = watch["change_since"] or watch["alarm_since"]
    assert f"{watch['kind']} has changed since {since}" in page.locator("p.error").inner_text()
    windows = page.get_by_role("region", name="Windows")
    assert windows.locator("tbody tr").count() == len(watch["windows"])
    look(page, f"watch-{person.by}")
    page.set_viewport_size({"width": 390, "height": 900})
    if person.by == "keys":  # what does not fit on a telephone is scrolled to
        person.go_to(windows)
        page.keyboard.press("End")
        page.keyboard.press("ArrowRight")
    person.link("In service")
    page.wait_for_url("**/service/")


def test_a_specimen_is_compared(person: Person, url: str) -> None:
    page = person.page
    person.section("Specimens")
    person.fill("Slices of", "slices")
    person.fill("Known specimens", "slices")
    person.button("Show specimens")
    page.wait_for_url("**known=slices**")
    look(page, "specimens")
    person.link("cross-0")
    page.wait_for_url("**/specimens/one**")
    person.link("disc-0")
    page.get_by_role("heading", name="Slice beside slice: disc-0").wait_for()
    slider = page.get_by_label("Slice", exact=True)
    if person.by == "mouse":
        box = slider.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    else:
        person.go_to(slider)
        page.keyboard.press("ArrowRight")
    page.wait_for_url("**at=1**")
    assert "slice 2 of 4" in page.inner_text("main")
    page.wait_for_load_state("networkidle")
    look(page, "specimen")


def test_an_individual_is_recognised_and_added(person: Person, url: str, tmp_path: Path) -> None:
    page, number = person.page, 5 if person.by == "mouse" else 6
    person.section("Individuals")
    look(page, "galleries")
    person.link("turtles")
    look(page, "known")
    person.send("Images of one encounter", write(tmp_path, [Sighting(number, 9)]))
    person.fill("side", "left")
    person.fill("Encounter", f"by {person.by}")
    person.button("Ask")
    page.wait_for_url("**/identify/ask")
    page.wait_for_load_state("networkidle")
    look(page, "who")
    chosen = page.get_by_label(f"t0{number}", exact=True)
    if not chosen.is_checked():
        person.press(chosen)
    person.button("Add these images")
    page.wait_for_url("**/identify/individual**")
    assert "5 images" in page.inner_text("main")
    assert f"by {person.by}" in page.inner_text("main")
    page.wait_for_load_state("networkidle")
    look(page, "individual")


def names_on(page: Any, selector: str) -> set[str]:
    """What stands in these elements of a page on which nothing runs and nothing is turned round."""
    text = page.text_content("body")
    assert not any(letter in text for letter in "\u202e\u2066\u2069\u200f\x1b\x07")
    assert page.evaluate(
        """[...document.querySelectorAll("*")].every((one) => (one.tagName !== "SCRIPT" || one.src)
            && [...one.attributes].every((found) => !found.name.startsWith("on")))"""
    )
    return {text.strip() for text in page.locator(selector).all_text_contents()}


def test_200_hostile_names_are_legible_and_run_nothing(page: Any, url: str, tmp_path: Path) -> None:
    names = hostile_names(200)
    shown = {name.encode("unicode_escape").decode() for name in names}
    buffer = write_images(tmp_path, 1)[0].read_bytes()
    files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": buffer} for n in names]
    page.goto(url + "try?model=hostile")
    page.set_input_files("#images", files)
    page.get_by_role("button", name="Send images").click()
    page.wait_for_url("**/try/*")
    told = names_on(page, "h2.file")
    for number in range(1, 17):
        page.get_by_role("navigation", name="Pages").get_by_text(
            str(number + 1), exact=True
        ).click()
        page.wait_for_url(f"**page={number}")
        told |= names_on(page, "h2.file")
    assert len(told) == 200
    # Chromium writes %22 for a double quotation mark; what stands before / is no part of a name.
    assert {f"{name}.png" for name in shown if not set(name) & set('"/')} <= told
    page.locator("h2.file a").first.click()
    page.locator("#class").wait_for()
    assert names_on(page, ".probabilities th") == shown
    assert shown <= names_on(page, "#class option")
    look(page, "hostile-tried")

    page.goto(url + "specimens/?model=hostile&of=hostile-slices&known=hostile-slices")
    assert names_on(page, "tbody th") == shown
    page.locator("tbody th a").nth(2).click()
    page.wait_for_url("**/specimens/one**")
    assert names_on(page, "h1") <= shown
    assert names_on(page, "tbody th.name") < shown
    look(page, "hostile-specimen")

    page.goto(url + "identify/gallery?of=hostile-gallery")
    assert names_on(page, "tbody td.name") == shown
    look(page, "hostile-known")
    page.locator("tbody td.name a").nth(2).click()
    page.wait_for_url("**/identify/individual**")
    assert names_on(page, "h1") <= shown
    look(page, "hostile-individual")

    page.goto(url + "service/model?name=cells")
    assert {name.encode("unicode_escape").decode() for name in HOSTILE} <= names_on(page, "td.name")
