"""The page of an audit: every finding with its images, whatever they are called."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

import holotype
from holotype.dataset.auditing.audit_without_network import audit
from holotype.dataset.auditing.embedding_neighbors import NeighbourPair, Outlier
from holotype.dataset.auditing.findings import Findings
from holotype.dataset.auditing.label_errors import NoiseRate, SuspectedLabelError
from holotype.dataset.index import read_index
from holotype.reporting import audit_page
from holotype.reporting.audit_page import MAX_SIDE_PX, write_audit_page

LONG = "Ammonoidea <b>Größe</b> 漢字 $x^2$ & sixty letters of a name, uncut"


class _Page(HTMLParser):
    """The text of a page, and where its images come from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.sources, self.tags = "", [], set()
        self.feed(text)

    text: str
    sources: list[str]
    tags: set[str]

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve images, among them grey, alpha, CMYK and 16 bits; copies; broken ones."""
    whole = Image.fromarray(skimage.data.immunohistochemistry())
    root = tmp_path / "data"
    for name in (LONG, "b", "c"):
        (root / name).mkdir(parents=True)
    for number in range(12):
        row, column = divmod(number, 6)
        image = whole.crop((80 * column, 80 * row, 80 * column + 80, 80 * row + 80))
        if number == 0:
            image = image.convert("L")
        if number == 1:
            image.putalpha(Image.linear_gradient("L").resize((80, 80)))
        if number == 2:
            image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200)
        if number == 3:
            image.convert("CMYK").save(root / LONG / "3.jpg")
            continue
        image.save(root / (LONG, "b", "c")[number % 3] / f"{number}.png")
    Image.open(root / "b/4.png").resize((160, 160)).save(root / LONG / "copy.png")
    Image.open(root / "c/5.png").resize((160, 160)).save(root / "c/copy.png")
    (root / "c/empty <i>.png").touch()
    return root


def _written(findings: Findings, root: Path, path: Path) -> _Page:
    write_audit_page(findings, read_index(root), path, title="Audit of data")
    return _Page(path.read_text("utf-8"))


def test_the_page_shows_every_kind_of_finding_and_loads_nothing(root: Path, tmp_path: Path) -> None:
    found = audit(read_index(root))
    of_class = f"{LONG}/0.png"
    findings = Findings(
        **{name: getattr(found, name) for name in vars(found)}
        | {
            "label_errors": (SuspectedLabelError(of_class, LONG, "b", 0.01, 0.98, 0.5),),
            "noise_rate": NoiseRate(0.05, 0.02, 0.09, 12),
            "outliers": (Outlier("b/1.png", 0.8, 0.2, "c/2.png"),),
            "conflicting_neighbours": (
                NeighbourPair("b/7.png", "c/8.png", 0.97, ("b", "c"), ("", "")),
            ),
            "oversized_clusters": [frozenset({"b/7.png", "b/10.png"})],
            "skipped_checks": ("Something was not looked at: <reason>.",),
        }
    )
    page = _written(findings, root, tmp_path / "index.html")
    for words in (
        "Copies with different labels",
        "Oversized clusters",
        "Outliers",
        "Unusable images",
        "Nearest neighbours with different labels or parts",
        "Probable label errors",
        f"{LONG} → b?",
        "98% b, 1.0%",
        "4.0 times the usual distance",
        "5.0% (2.0% to 9.0%)",
        "Skipped checks",
        "<reason>",
        "c/empty <i>.png",
        of_class,
        f"{LONG}/copy.png",
    ):
        assert words in page.text, words
    assert re.search(r"^Copies \d+$", page.text, re.MULTILINE)
    assert page.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert not {"script", "link", "i"} & page.tags  # a name is text, not markup


def test_of_clean_data_the_page_says_so(root: Path, tmp_path: Path) -> None:
    page = _written(Findings(num_images=3, class_counts={"a": 3}), root, tmp_path / "index.html")
    assert re.search(r"Findings\s+None\.", page.text)
    assert not re.search("Copies|Outliers|Unusable images|Skipped checks", page.text)
    assert page.sources == []
    empty = _written(Findings(num_images=0), root, tmp_path / "index.html")
    assert "0 images, in 0 classes." in empty.text


def test_many_findings_are_cut_and_how_many_there_are_is_said(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_page, "MAX_SHOWN", 3)
    paths = list(read_index(root).table["path"][:7])
    findings = Findings(num_images=14, outliers=tuple(Outlier(p, 0.8, 0.2, p) for p in paths))
    page = _written(findings, root, tmp_path / "index.html")
    assert re.search(r"Outliers\s+3 of 7", page.text)
    assert len(page.sources) == 3


def test_classes_that_are_amiss_are_named(root: Path, tmp_path: Path) -> None:
    findings = Findings(
        num_images=9,
        class_counts={"a": 4, "b": 5, "c <i>": 0},
        small_classes={"a": 2},
        given_parts={"train": {"a": 4, "b": 5, "c <i>": 0}, "test": {"a": 7, "b": 0, "c <i>": 0}},
        missing_in_parts={"test": ["b", "c <i>"]},
    )
    page = _written(findings, root, tmp_path / "index.html")
    of_classes = page.text[page.text.index("Classes") :]
    for sentence in findings.class_notes():
        assert sentence in of_classes
    assert "The given test part has no image of: b, c <i>." in of_classes
    assert "Classes with few separate images: a (2)." in of_classes
    assert re.search(r"Usable images\s*train\s*test\s*b\s*5\s*5\s*0\s*a\s*4\s*4\s*7", of_classes)
    assert "i" not in page.tags


def test_small_images_are_drawn_as_large_as_others_and_keep_their_pixels(tmp_path: Path) -> None:
    """79 pixels and 80 lie beside each other, so one must not be drawn twice as large."""
    root = tmp_path / "data"
    (root / "a").mkdir(parents=True)
    for side in (8, 79, 80, 400):
        Image.effect_noise((side, side), 60).save(root / "a" / f"{side}.png")
    paths = [f"a/{side}.png" for side in (8, 79, 80, 400)]
    findings = Findings(num_images=4, outliers=tuple(Outlier(p, 0.8, 0.2, p) for p in paths))
    _written(findings, root, tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text("utf-8")
    drawn = dict(re.findall(r'<img [^>]*alt="a/(\d+).png"( class="small")?>', text))
    assert drawn == {"8": ' class="small"', "79": ' class="small"', "80": "", "400": ""}
    rules = dict(re.findall(r"^(\.frame img[^{]*?) {(.*?)}", text, re.MULTILINE))
    (of_all,) = (rule for names, rule in rules.items() if names.startswith(".frame img,"))
    assert f"width: {MAX_SIDE_PX / 16:g}rem; height: {MAX_SIDE_PX / 16:g}rem" in of_all
    assert "object-fit: contain" in of_all
    assert rules[".frame img.small"].strip() == "image-rendering: pixelated;"  # and no other size


def test_an_image_that_has_gone_is_named_and_not_shown(root: Path, tmp_path: Path) -> None:
    findings = Findings(num_images=14, outliers=(Outlier("b/1.png", 0.8, 0.2, "b/7.png"),))
    index = read_index(root)
    (root / "b/1.png").unlink()
    write_audit_page(findings, index, tmp_path / "index.html", title="Audit")
    page = _Page((tmp_path / "index.html").read_text("utf-8"))
    assert "cannot be shown" in page.text
    assert "b/1.png" in page.text
    assert page.sources == []


def test_no_page_breaks_an_option_after_its_hyphens() -> None:
    package = Path(holotype.__file__).parent
    assert ".option { white-space: nowrap; }" in (package / "reporting" / "page.css").read_text()
    whole = '<span class="option">--exclude</span>'
    assert whole in (package / "reporting" / "audit.html.j2").read_text()
    for template in package.rglob("*.html.j2"):
        for code in re.findall(r"<code>.*?</code>", template.read_text()):
            assert "--" not in re.sub(r'<span class="option">--[a-z-]+</span>', "", code), template
