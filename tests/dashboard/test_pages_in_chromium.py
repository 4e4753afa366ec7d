"""Try it, In service and Specimens in Chromium: by mouse and by keys, with the console empty."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holotype
from tests.bundle.tiny import write_images
from tests.dashboard.chromium import look, press_on, tab_to_field
from tests.dashboard.made_classifiers import HOSTILE_CLASSES, write_classifiers
from tests.serving.running import running
from tests.serving.versions import write_version

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classifiers, slices, and a registry with the classifiers under one name."""
    folder = write_classifiers(tmp_path_factory.mktemp("pages"))
    registry = holotype.Registry(folder / "registry", who=HOSTILE_CLASSES[0])
    for seed in (1, 2):
        bundle = write_version(folder / "versions" / str(seed), seed)
        registry.add(bundle.path, name="cells", reason=HOSTILE_CLASSES[2])
    registry.promote("cells", 1, reason="the first")
    registry.close()
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    words = ("tiny=one", "--workers", "1", "--dashboard", "--log", "log")
    with running(*words, folder=folder) as server:
        yield f"{server.url}/dashboard/"


def test_images_are_tried_by_mouse(page: Any, url: str, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 20)
    page.goto(url)
    look(page, "home")
    page.get_by_role("link", name="Try it").first.click()
    look(page, "try")
    page.select_option("#beside", "two")
    page.fill("#coverage", "0.8")
    page.set_input_files("#images", list(map(str, images)))  # more than fit into one request
    page.get_by_role("button", name="Send images").click()
    page.wait_for_url("**/try/*")
    assert page.get_by_role("heading", level=1).inner_text() == "20 images"
    look(page, "answers")
    page.locator("h2.file a").first.click()
    page.select_option("#method", "occlusion")
    page.wait_for_url("**method=occlusion**")
    page.wait_for_load_state("networkidle")
    widths = page.eval_on_selector_all("figure img", "all => all.map((one) => one.naturalWidth)")
    assert len(widths) == 3
    assert min(widths) > 0
    look(page, "image")


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


def test_a_version_is_promoted_by_keys_alone(page: Any, url: str) -> None:
    page.goto(url + "service/")
    look(page, "service")
    press_on(page, "cells")
    page.wait_for_url("**/service/model**")
    look(page, "model")
    press_on(page, "version 2…")
    page.wait_for_url("**/service/promote**")
    look(page, "promote")
    tab_to_field(page, "reason")
    page.keyboard.type("by keys")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/service/model**")
    assert "Version 2 is the champion" in page.inner_text("main")
    assert "by keys" in page.inner_text("main")


def test_a_specimen_is_compared_by_keys_alone(page: Any, url: str) -> None:
    page.goto(url + "specimens/")
    look(page, "specimens")
    tab_to_field(page, "known")
    page.keyboard.type("slices")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**known=slices**")
    press_on(page, "cross-0")
    page.wait_for_url("**/specimens/one**")
    tab_to_field(page, "at")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**at=1**")
    assert "slice 2 of 4" in page.inner_text("main")
    page.wait_for_load_state("networkidle")
    look(page, "specimen")
