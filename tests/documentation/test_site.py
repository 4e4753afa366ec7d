"""The documentation as a site: it builds without a warning, and what it links to is there."""

import re
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import holotype
from holotype.cli.app import VERBS
from holotype.errors import HolotypeError

ROOT = Path(__file__).parents[2]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.documentation, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; Sphinx ends with 1 where it has anything to warn of."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "-b", "html", "docs", str(folder)],
        check=True,
        cwd=ROOT,
    )
    return folder


class _Page(HTMLParser):
    """What a page links to, and the places within it that can be linked to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [value for key in ("href", "src") if (value := found.get(key))]
        self.anchors |= {value for key in ("id", "name") if (value := found.get(key))}


def test_every_link_within_the_site_resolves(site: Path) -> None:
    pages = {file: _Page(file) for file in site.rglob("*.html")}
    assert len(pages) > 60
    broken = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            there = target in pages or target.is_file()
            heading = unquote(parts.fragment)
            if there and heading and target in pages and target != file.with_name("search.html"):
                there = heading in pages[target].anchors
            if not there:
                broken.append(f"{file.relative_to(site)} -> {link}")
    assert broken == []


def test_every_public_name_has_its_place_in_the_reference(site: Path) -> None:
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    names = {line.split()[0] for line in zlib.decompress(inventory).decode().splitlines()}
    public = {f"holotype.{name}" for name in holotype.__all__ if name != "__version__"}
    assert public - names == set()


def test_the_command_line_has_every_verb_and_the_errors_are_all_there(site: Path) -> None:
    commands = (site / "command-line.html").read_text("utf-8")
    for verb, _, _ in VERBS:
        assert f'id="holotype-{verb}"' in commands
    reference = (site / "api.html").read_text("utf-8")
    for error in HolotypeError.__subclasses__():
        if error.__module__ == "holotype.errors":
            assert f">{error.__name__}<" in reference


def test_a_comment_that_stands_for_a_table_is_filled_in(site: Path) -> None:
    for file in site.rglob("*.html"):
        assert not re.search(r"&lt;!-- (costs|command line|public names|errors)", file.read_text())
    assert "convnext_tiny" in (site / "families" / "convnext.html").read_text("utf-8")


def test_an_option_keeps_both_its_dashes(site: Path) -> None:
    for file in site.rglob("*.html"):
        found = re.search(r"[^\w<]–[a-z]{2,}.{20}", file.read_text("utf-8"))
        assert found is None, f"{file.name}: {found}"


@pytest.mark.skipif(BROWSER is None, reason="no browser to search with")
@pytest.mark.parametrize("word", ["leakage", "conformal", "truncated"])
def test_the_search_works_without_a_server(word: str, site: Path, tmp_path: Path) -> None:
    found = subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu",
            f"--user-data-dir={tmp_path}",
            "--virtual-time-budget=20000", "--dump-dom", f"file://{site}/search.html?q={word}",
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert re.search(r"found \w+ pages? matching", found.stdout)
    assert found.stdout.count('<li class="kind-') >= 1
