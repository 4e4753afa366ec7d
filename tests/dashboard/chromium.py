"""What the tests in Chromium do on a page: look at it, and go about it by keys."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Person:
    """Somebody who goes about a page by mouse, or by keys alone: Tab, Enter, Space and letters."""

    page: Any
    by: str

    def press(self, found: Any) -> None:
        """A link, a button, or what can be ticked."""
        if self.by == "mouse":
            found.click()
        else:
            self.go_to(found)
            self.page.keyboard.press("Space" if found.get_attribute("type") else "Enter")

    def link(self, name: str) -> None:
        self.press(self.page.locator("main").get_by_role("link", name=name, exact=True).first)

    def button(self, name: str) -> None:
        self.press(self.page.get_by_role("button", name=name).first)

    def section(self, name: str) -> None:
        self.press(self.page.get_by_role("navigation").get_by_role("link", name=name).first)

    def fill(self, label: str, text: str) -> None:
        """Write into a field, or choose from a list what begins so."""
        found = self.page.get_by_label(label, exact=True)
        if self.by == "keys":
            self.go_to(found)
            self.page.keyboard.type(text)
        elif found.evaluate("one => one.tagName") == "SELECT":
            names = found.locator("option").all_inner_texts()
            found.select_option(label=next(name for name in names if name.startswith(text)))
        else:
            found.click()
            found.fill(text)

    def send(self, label: str, files: Sequence[Path]) -> None:
        """Choose files in the window of the system that the field opens."""
        with self.page.expect_file_chooser() as opened:
            self.press(self.page.get_by_label(label))
        opened.value.set_files(list(map(str, files)))

    def go_to(self, found: Any) -> None:
        """By the keys alone."""
        for _ in range(150):
            if found.evaluate("one => one === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError("the keys do not reach it")
