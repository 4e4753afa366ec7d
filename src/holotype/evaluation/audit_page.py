"""What an audit found as one HTML page: for each finding the pictures that it is about.

It stands here, beside the report, since both are made by `rendering` and look alike.

Shape suffixes: H height, W width, C colour channels (red, green, blue).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from holotype.dataset.findings import Findings
from holotype.dataset.index import Index
from holotype.dataset.quality import POOR
from holotype.errors import ImageRefused
from holotype.evaluation.rendering import jpeg_url, render, thousands
from holotype.files import write_text
from holotype.images import decode

LARGEST_SIDE = 160  # pixels of a picture on the page, which draws every one as large as that
MOST = 60  # groups or pictures of one kind; the tables beside the page have all
MOST_IN_GROUP = 8
MOST_POOR = 12  # of each problem
MOST_ROWS = 200  # of unusable pictures
MOST_CLASSES = 60
_BACKDROP = (255, 255, 255)  # what transparent pixels are seen against

_RELATIVE = " Judged by what is usual in this data set."
_POOR_TITLES = {
    "almost_uniform": "Almost uniform",
    "dark": "Dark",
    "bright": "Bright",
    "blurred": "Blurred",
    "low_information": "Little detail",
    "odd_aspect": "Of an odd shape",
}


@dataclass(frozen=True)
class Shown:
    """One picture on the page.

    Attributes:
        path: relative to the root.
        label: as given.
        part: of a given split, or "".
        url: the picture itself; None where it cannot be read.
        is_small: whether it is drawn so much larger than it is that its pixels should stay pixels.
    """

    path: str
    label: str
    part: str
    url: str | None
    is_small: bool


@dataclass(frozen=True)
class Group:
    """Pictures side by side, with what is said of them.

    Attributes:
        says: one line above them.
        evidence: what was measured, below.
        more: how many belong to them that are not shown.
    """

    says: str
    shown: Sequence[Shown]
    evidence: Sequence[str] = ()
    more: int = 0


@dataclass(frozen=True)
class Section:
    """One kind of finding.

    Attributes:
        groups: what is shown.
        of: how many there are of it.
        is_cards: whether single pictures stand in a grid, or groups one below the other.
    """

    title: str
    explains: str
    groups: Sequence[Group]
    of: int
    is_cards: bool = False


def write_audit_page(findings: Findings, index: Index, path: Path, *, title: str) -> None:
    """Write the page; a picture that cannot be read is named and not shown.

    Args:
        findings: of the audit.
        index: the pictures that were audited.
        path: of the HTML file.
        title: the heading, such as the name of the data.
    """
    gallery = _Gallery(index)
    sections = [section for section in _sections(findings, gallery) if section.groups]
    classes = sorted(findings.class_counts.items(), key=lambda row: (-row[1], row[0]))
    page = render(
        "audit.html.j2",
        {"thousands": thousands},
        title=title,
        findings=findings,
        usable=findings.images - len(findings.refusals),
        tiles=_tiles(findings),
        sections=sections,
        rows=findings.summary_rows(),
        class_notes=findings.class_notes(),
        refusals=findings.refusals[:MOST_ROWS],
        classes=classes[:MOST_CLASSES],
        largest=max(findings.class_counts.values(), default=0) or 1,
        sizes=", ".join(f"{width}×{height}" for width, height in findings.sizes),
    )
    write_text(path, page)


@dataclass(eq=False)
class _Gallery:
    """Pictures of an index, each read once however often it is shown."""

    index: Index
    _urls: dict[str, tuple[str | None, bool]] = field(default_factory=dict)

    @cached_property
    def _rows(self) -> Mapping[str, tuple[str, str]]:
        columns = (self.index.table[name] for name in ("path", "label", "split"))
        return {path: (label, part) for path, label, part in zip(*columns, strict=True)}

    def one(self, path: str) -> Shown:
        if path not in self._urls:
            self._urls[path] = self._url(path)
        label, part = self._rows.get(path, ("", ""))
        return Shown(path, label, part, *self._urls[path])

    def labels(self, paths: Iterable[str]) -> set[str]:
        return {self._rows.get(path, ("", ""))[0] for path in paths}

    def some(self, paths: Iterable[str]) -> tuple[list[Shown], int]:
        """The first few, and how many more there are."""
        every = list(paths)
        return [self.one(path) for path in every[:MOST_IN_GROUP]], len(every[MOST_IN_GROUP:])

    def _url(self, path: str) -> tuple[str | None, bool]:
        try:
            image = decode(
                self.index.file(path), name=path, minimum_size=(LARGEST_SIDE, LARGEST_SIDE)
            )
        except ImageRefused:
            return None, False
        picture = image.pixels.convert("RGB")
        if image.mask is not None:
            backdrop = PillowImage.new("RGB", picture.size, _BACKDROP)
            picture = PillowImage.composite(picture, backdrop, image.mask)
        is_small = max(picture.size) < LARGEST_SIDE // 2
        return jpeg_url(np.asarray(picture), LARGEST_SIDE), is_small


def _tiles(findings: Findings) -> list[tuple[str, str, str]]:
    """(name, number, remark) of what matters most, found or not."""
    counts = findings.counts()
    copies = sum(len(cluster) - 1 for cluster in findings.copies)
    noise = findings.noise
    labels = ("labels probably wrong", "–", "not looked at")
    if noise is not None:
        share = f"{noise.low:.1%} – {noise.high:.1%} of all by estimate"
        labels = ("labels probably wrong", thousands(counts["label"]), share)
    return [
        ("unusable pictures", thousands(counts["unusable"]), ""),
        ("superfluous copies", thousands(copies), "exact and near"),
        ("copies under different labels", thousands(counts["conflict"]), ""),
        ("leaks across the given split", thousands(counts["leak"]), ""),
        labels,
    ]


def _sections(findings: Findings, gallery: _Gallery) -> list[Section]:
    return [
        _conflicts(findings, gallery),
        _leaks(findings, gallery),
        _labels(findings, gallery),
        _copies(findings, gallery),
        _crowds(findings, gallery),
        _outliers(findings, gallery),
        *_poor(findings, gallery),
        _neighbours(findings, gallery),
    ]


def _conflicts(findings: Findings, gallery: _Gallery) -> Section:
    equal = [
        Group("the same bytes", *_first(gallery.some(duplicate.paths)))
        for duplicate in findings.conflicts[:MOST]
    ]
    alike = [
        Group(f"{pair.kind} copy", [gallery.one(pair.first), gallery.one(pair.second)],
              [pair.evidence])
        for pair in findings.lookalike_conflicts[: MOST - len(equal)]
    ]  # fmt: skip
    return Section(
        "Copies under different labels",
        "One picture carries two labels, so at least one of them is wrong.",
        equal + alike,
        len(findings.conflicts) + len(findings.lookalike_conflicts),
    )


def _leaks(findings: Findings, gallery: _Gallery) -> Section:
    groups = []
    for leak in findings.leaks[:MOST]:
        what = "copies of one picture" if leak.kind == "copies" else f"group {leak.name}"
        says = f"{what}, {leak.count:,} pictures, in {', '.join(dict.fromkeys(leak.parts))}"
        groups.append(Group(says, *_first(gallery.some(leak.paths))))
    return Section(
        "Leaks across the given split",
        "They belong together and stand on different sides: a test on them flatters.",
        groups,
        len(findings.leaks),
    )


def _labels(findings: Findings, gallery: _Gallery) -> Section:
    groups = [
        Group(
            f"{issue.given} → {issue.suggested}?",
            [gallery.one(issue.path)],
            [
                f"{issue.probability_suggested:.0%} {issue.suggested}, "
                f"{issue.probability_given:.1%} {issue.given}",
                *([f"its label weighs {issue.weight:.2g} only"] if issue.weight < 1 else []),
            ],
        )
        for issue in findings.label_issues[:MOST]
    ]
    estimate = f" By estimate {findings.noise} of all labels." if findings.noise else ""
    return Section(
        "Labels that are probably wrong",
        "Given label → what a classifier says that had not seen the picture; the most probable "
        f"first.{estimate} Where classes overlap, pictures that could be either are among them.",
        groups,
        len(findings.label_issues),
        is_cards=True,
    )


def _copies(findings: Findings, gallery: _Gallery) -> Section:
    evidence = {
        frozenset((p.first, p.second)): f"{p.kind}: {p.evidence}" for p in findings.lookalikes
    }
    agreed = [cluster for cluster in findings.copies if len(gallery.labels(cluster)) == 1]
    clusters = sorted(agreed, key=lambda cluster: (-len(cluster), min(cluster)))[:MOST]
    groups = []
    for cluster in clusters:
        shown, more = gallery.some(sorted(cluster))
        said = [text for pair, text in evidence.items() if pair <= cluster]
        says = f"{len(cluster):,} copies of one picture"
        groups.append(Group(says, shown, said[:3] or ["the same bytes"], more))
    return Section(
        "Copies",
        "One label, one picture, several files. Verified: laid upon each other, no place differs "
        "by more than noise. A split keeps them on one side.",
        groups,
        len(agreed),
    )


def _crowds(findings: Findings, gallery: _Gallery) -> Section:
    groups = [
        Group(f"{len(crowd):,} pictures", *_first(gallery.some(sorted(crowd))))
        for crowd in findings.crowds[:MOST]
    ]
    return Section(
        "Crowds",
        "So many pictures are joined by near copies that this is a warning and no fact: perhaps "
        "they are only alike. A split does not keep them together.",
        groups,
        len(findings.crowds),
    )


def _outliers(findings: Findings, gallery: _Gallery) -> Section:
    groups = [
        Group(
            f"{outlier.distance / max(outlier.usual, 1e-9):.1f} times as far from all others as "
            "is usual",
            [gallery.one(outlier.path)],
        )
        for outlier in findings.outliers[:MOST]
    ]
    return Section(
        "Outliers",
        "Like no other picture here, in the eyes of a network. Do they belong to this data set?",
        groups,
        len(findings.outliers),
        is_cards=True,
    )


def _poor(findings: Findings, gallery: _Gallery) -> list[Section]:
    """One section for each problem, the worst pictures of it."""
    of_problem = {
        problem: list(images)
        for problem, images in groupby(findings.poor, key=lambda image: image.problem)
    }
    return [
        Section(
            _POOR_TITLES[problem],
            f"{POOR[problem].capitalize()}.{'' if problem == 'almost_uniform' else _RELATIVE}",
            [
                Group("", [gallery.one(image.path)], [image.evidence])
                for image in of_problem[problem][:MOST_POOR]
            ],
            len(of_problem[problem]),
            is_cards=True,
        )
        for problem in POOR
        if problem in of_problem
    ]


def _neighbours(findings: Findings, gallery: _Gallery) -> Section:
    groups = [
        Group(
            f"similarity {pair.similarity:.3f}", [gallery.one(pair.first), gallery.one(pair.second)]
        )
        for pair in findings.neighbours[:MOST]
    ]
    return Section(
        "Alike across labels or parts",
        "Each other's nearest picture in the eyes of a network, though label or part differ. A "
        "hint and no proof: they are not grouped. Some are wrong labels, some pictures of one "
        "thing that should share a group, most are only alike.",
        groups,
        len(findings.neighbours),
    )


def _first(some: tuple[list[Shown], int]) -> tuple[list[Shown], tuple[str, ...], int]:
    """The arguments of a group without evidence."""
    shown, more = some
    return shown, (), more
