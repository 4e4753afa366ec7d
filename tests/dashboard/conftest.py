"""A dashboard in this process, without workers; `open_dashboard` makes further ones."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bundle.tiny import write_images
from tests.dashboard.browsing import Visit, open_dashboard
from tests.dashboard.chromium import CHROMIUM, Person
from tests.dashboard.made_classifiers import write_classifiers
from tests.serving.running import Running, running


@pytest.fixture
def visit(tmp_path: Path) -> Visit:
    """A visitor of a dashboard over an empty folder, on loopback without keys."""
    return open_dashboard(tmp_path / "runs")


@pytest.fixture
def visit_with_keys(tmp_path: Path) -> Callable[..., Visit]:
    """A visitor of a dashboard with keys, of which `visit.keys` is the file."""

    def opened(**changes: object) -> Visit:
        return open_dashboard(tmp_path / "runs", keys=tmp_path / "keys.json", **changes)

    return opened


@pytest.fixture(scope="session")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of tiny classifiers; see `made_classifiers`."""
    return write_classifiers(tmp_path_factory.mktemp("classifiers"))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_images(tmp_path_factory.mktemp("sent") / "images", 4)


@pytest.fixture(scope="session")
def server(classifiers: Path) -> Iterator[Running]:
    """A server of one of the classifiers with a dashboard over their folder."""
    words = ("tiny=one", "--workers", "1", "--dashboard", "--log", "log")
    with running(*words, folder=classifiers) as found:
        yield found


@pytest.fixture
def browser(server: Running) -> Iterator[Visit]:
    """A visitor of the server."""
    with httpx.Client(base_url=server.url, follow_redirects=True, timeout=60) as client:
        yield Visit(None, client)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, to which no other machine exists."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("no Chromium")
    only_here = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", only_here]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page on which whatever the console says, and any other address, fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    told: list[str] = []

    def dismiss(dialog: Any) -> None:
        told.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def is_here(url: str) -> bool:
        return url.startswith(("http://127.0.0.1:", "data:"))

    def hear(message: Any) -> None:
        # Of a page that says why something is refused the browser says that it is a refusal.
        is_refusal = "status of 403" in message.text and message.location["url"] == page.url
        told.extend([] if is_refusal else [message.text])

    page.on("console", hear)
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", dismiss)
    page.on("request", lambda request: told.extend([u for u in [request.url] if not is_here(u)]))
    yield page
    context.close()
    assert told == []


@pytest.fixture(params=["mouse", "keys"])
def person(page: Any, request: pytest.FixtureRequest) -> Person:
    return Person(page, request.param)
