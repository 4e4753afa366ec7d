"""What the tests in Chromium do on a page: look at it, and go about it by keys."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")


def look(page: Any, name: str) -> None:
    """No violation at both widths, nothing wider than the screen.

    `HOLOTYPE_SCREENSHOTS=FOLDER` keeps each page at 1280 and 390 pixels as an image.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(200)
        found = axe.run(page).response["violations"]
        assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        if "HOLOTYPE_SCREENSHOTS" in os.environ:
            kept = Path(os.environ["HOLOTYPE_SCREENSHOTS"]) / f"{name}-{width}.png"
            page.screenshot(path=str(kept), full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})


def press_on(page: Any, words: str) -> None:
    """Follow a link or press a button by the keys."""
    tab_to(page, lambda: page.evaluate("document.activeElement.innerText") == words)
    page.keyboard.press("Enter")


def tab_to_field(page: Any, name: str) -> None:
    """Go to the field with this id by the keys."""
    tab_to(page, lambda: page.evaluate("document.activeElement.id") == name)


def tab_to(page: Any, is_there: Callable[[], bool]) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if is_there():
            return
    raise AssertionError("the keys do not reach it")
