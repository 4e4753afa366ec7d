"""What an audit found as one HTML page: for each finding the images that it is about.

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

from holotype.dataset.auditing.findings import Findings
from holotype.dataset.auditing.quality import QUALITY_ADVICE
from holotype.dataset.index import Index
from holotype.errors import ImageError
from holotype.files import write_text
from holotype.imaging.decode import decode
from holotype.reporting.templates import jpeg_url, render, thousands

MAX_SIDE_PX = 160  # pixels of an image on the page, which draws every one as large as that
MAX_SHOWN = 60  # groups or images of one kind; the tables beside the page have all
MAX_IN_GROUP = 8
MAX_POOR = 12  # of each problem
MAX_ROWS = 200  # of unusable images
MAX_CLASSES = 60
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
class AuditImage:
    """One image on the page.

    Attributes:
        path: relative to the root.
        label: as given.
        part: of a given split, or "".
        url: the image itself; None where it cannot be read.
        is_small: whether it is drawn so much larger than it is that its pixels should stay pixels.
    """

    path: str
    label: str
    part: str
    url: str | None
    is_small: bool


@dataclass(frozen=True)
class FindingRow:
    """Images side by side, with what is said of them.

    Attributes:
        heading: one line above them.
        evidence: what was measured, below.
        num_more: how many belong to them that are not shown.
    """

    heading: str
    shown: Sequence[AuditImage]
    evidence: Sequence[str] = ()
    num_more: int = 0


@dataclass(frozen=True)
class FindingSection:
    """One kind of finding.

    Attributes:
        groups: what is shown.
        total: how many there are of it.
        as_grid: whether single images stand in a grid, or groups one below the other.
    """

    title: str
    explanation: str
    groups: Sequence[FindingRow]
    total: int
    as_grid: bool = False


def write_audit_page(findings: Findings, index: Index, path: Path, *, title: str) -> None:
    """Write the page; an image that cannot be read is named and not shown.

    Args:
        findings: of the audit.
        index: the images that were audited.
        path: of the HTML file.
        title: the heading, such as the name of the data.
    """
    gallery = _ImageCache(index)
    sections = [section for section in _sections(findings, gallery) if section.groups]
    classes = sorted(findings.class_counts.items(), key=lambda row: (-row[1], row[0]))
    page = render(
        "audit.html.j2",
        {"thousands": thousands},
        title=title,
        findings=findings,
        usable=findings.num_images - len(findings.unusable),
        tiles=_tiles(findings),
        sections=sections,
        rows=findings.summary_rows(),
        class_notes=findings.class_notes(),
        unusable=findings.unusable[:MAX_ROWS],
        classes=classes[:MAX_CLASSES],
        largest=max(findings.class_counts.values(), default=0) or 1,
        sizes=", ".join(f"{width}×{height}" for width, height in findings.sizes),
    )
    write_text(path, page)


@dataclass(eq=False)
class _ImageCache:
    """Images of an index, each read once however often it is shown."""

    index: Index
    _urls: dict[str, tuple[str | None, bool]] = field(default_factory=dict)

    @cached_property
    def _rows(self) -> Mapping[str, tuple[str, str]]:
        columns = (self.index.table[name] for name in ("path", "label", "split"))
        return {path: (label, part) for path, label, part in zip(*columns, strict=True)}

    def image_of(self, path: str) -> AuditImage:
        if path not in self._urls:
            self._urls[path] = self._url(path)
        label, part = self._rows.get(path, ("", ""))
        return AuditImage(path, label, part, *self._urls[path])

    def labels(self, paths: Iterable[str]) -> set[str]:
        return {self._rows.get(path, ("", ""))[0] for path in paths}

    def first_few(self, paths: Iterable[str]) -> tuple[list[AuditImage], int]:
        """The first few, and how many more there are."""
        every = list(paths)
        return [self.image_of(path) for path in every[:MAX_IN_GROUP]], len(every[MAX_IN_GROUP:])

    def _url(self, path: str) -> tuple[str | None, bool]:
        try:
            image = decode(
                self.index.file(path), name=path, minimum_size=(MAX_SIDE_PX, MAX_SIDE_PX)
            )
        except ImageError:
            return None, False
        rgb = image.pixels.convert("RGB")
        if image.mask is not None:
            backdrop = PillowImage.new("RGB", rgb.size, _BACKDROP)
            rgb = PillowImage.composite(rgb, backdrop, image.mask)
        is_small = max(rgb.size) < MAX_SIDE_PX // 2
        return jpeg_url(np.asarray(rgb), MAX_SIDE_PX), is_small


def _tiles(findings: Findings) -> list[tuple[str, str, str]]:
    """(name, number, remark) of what matters most, found or not."""
    counts = findings.counts()
    copies = sum(len(cluster) - 1 for cluster in findings.duplicate_clusters)
    noise = findings.noise_rate
    labels = ("labels probably wrong", "–", "not looked at")
    if noise is not None:
        share = f"{noise.low:.1%} – {noise.high:.1%} of all by estimate"
        labels = ("labels probably wrong", thousands(counts["label_error"]), share)
    return [
        ("unusable images", thousands(counts["unusable"]), ""),
        ("superfluous copies", thousands(copies), "exact and near"),
        ("copies under different labels", thousands(counts["label_conflict"]), ""),
        ("leaks across the given split", thousands(counts["leak"]), ""),
        labels,
    ]


def _sections(findings: Findings, gallery: _ImageCache) -> list[FindingSection]:
    return [
        _conflicts(findings, gallery),
        _leaks(findings, gallery),
        _labels(findings, gallery),
        _copies(findings, gallery),
        _oversized_clusters(findings, gallery),
        _outliers(findings, gallery),
        *_poor(findings, gallery),
        _neighbours(findings, gallery),
    ]


def _conflicts(findings: Findings, gallery: _ImageCache) -> FindingSection:
    equal = [
        FindingRow("the same bytes", *_without_evidence(gallery.first_few(duplicate.paths)))
        for duplicate in findings.conflicts[:MAX_SHOWN]
    ]
    alike = [
        FindingRow(
            f"{pair.kind} copy",
            [gallery.image_of(pair.first), gallery.image_of(pair.second)],
            [pair.evidence],
        )
        for pair in findings.near_duplicate_conflicts[: MAX_SHOWN - len(equal)]
    ]
    return FindingSection(
        "Copies under different labels",
        "One image carries two labels, so at least one of them is wrong.",
        equal + alike,
        len(findings.conflicts) + len(findings.near_duplicate_conflicts),
    )


def _leaks(findings: Findings, gallery: _ImageCache) -> FindingSection:
    groups = []
    for leak in findings.leaks[:MAX_SHOWN]:
        what = "copies of one image" if leak.kind == "duplicates" else f"group {leak.name}"
        heading = f"{what}, {leak.count:,} images, in {', '.join(dict.fromkeys(leak.parts))}"
        groups.append(FindingRow(heading, *_without_evidence(gallery.first_few(leak.paths))))
    return FindingSection(
        "Leaks across the given split",
        "They belong together and stand on different sides: a test on them flatters.",
        groups,
        len(findings.leaks),
    )


def _labels(findings: Findings, gallery: _ImageCache) -> FindingSection:
    groups = [
        FindingRow(
            f"{issue.given} → {issue.suggested}?",
            [gallery.image_of(issue.path)],
            [
                f"{issue.probability_suggested:.0%} {issue.suggested}, "
                f"{issue.probability_given:.1%} {issue.given}",
                *([f"its label weighs {issue.weight:.2g} only"] if issue.weight < 1 else []),
            ],
        )
        for issue in findings.label_errors[:MAX_SHOWN]
    ]
    estimate = f" By estimate {findings.noise_rate} of all labels." if findings.noise_rate else ""
    return FindingSection(
        "Labels that are probably wrong",
        "Given label → what a classifier says that had not seen the image; the most probable "
        f"first.{estimate} Where classes overlap, images that could be either are among them.",
        groups,
        len(findings.label_errors),
        as_grid=True,
    )


def _copies(findings: Findings, gallery: _ImageCache) -> FindingSection:
    evidence = {
        frozenset((p.first, p.second)): f"{p.kind}: {p.evidence}" for p in findings.near_duplicates
    }
    agreed = [
        cluster for cluster in findings.duplicate_clusters if len(gallery.labels(cluster)) == 1
    ]
    clusters = sorted(agreed, key=lambda cluster: (-len(cluster), min(cluster)))[:MAX_SHOWN]
    groups = []
    for cluster in clusters:
        shown, more = gallery.first_few(sorted(cluster))
        said = [text for pair, text in evidence.items() if pair <= cluster]
        heading = f"{len(cluster):,} copies of one image"
        groups.append(FindingRow(heading, shown, said[:3] or ["the same bytes"], more))
    return FindingSection(
        "Copies",
        "One label, one image, several files. Verified: laid upon each other, no place differs "
        "by more than noise. A split keeps them on one side.",
        groups,
        len(agreed),
    )


def _oversized_clusters(findings: Findings, gallery: _ImageCache) -> FindingSection:
    groups = [
        FindingRow(
            f"{len(cluster):,} images", *_without_evidence(gallery.first_few(sorted(cluster)))
        )
        for cluster in findings.oversized_clusters[:MAX_SHOWN]
    ]
    return FindingSection(
        "Oversized clusters",
        "So many images are joined by near copies that this is a warning and no fact: perhaps "
        "they are only alike. A split does not keep them together.",
        groups,
        len(findings.oversized_clusters),
    )


def _outliers(findings: Findings, gallery: _ImageCache) -> FindingSection:
    groups = [
        FindingRow(
            f"{outlier.distance / max(outlier.usual, 1e-9):.1f} times as far from all others as "
            "is usual",
            [gallery.image_of(outlier.path)],
        )
        for outlier in findings.outliers[:MAX_SHOWN]
    ]
    return FindingSection(
        "Outliers",
        "Like no other image here, in the eyes of a network. Do they belong to this data set?",
        groups,
        len(findings.outliers),
        as_grid=True,
    )


def _poor(findings: Findings, gallery: _ImageCache) -> list[FindingSection]:
    """One section for each problem, the worst images of it."""
    of_problem = {
        problem: list(images)
        for problem, images in groupby(findings.quality_issues, key=lambda image: image.problem)
    }
    return [
        FindingSection(
            _POOR_TITLES[problem],
            f"{QUALITY_ADVICE[problem].capitalize()}."
            + ("" if problem == "almost_uniform" else _RELATIVE),
            [
                FindingRow("", [gallery.image_of(image.path)], [image.evidence])
                for image in of_problem[problem][:MAX_POOR]
            ],
            len(of_problem[problem]),
            as_grid=True,
        )
        for problem in QUALITY_ADVICE
        if problem in of_problem
    ]


def _neighbours(findings: Findings, gallery: _ImageCache) -> FindingSection:
    groups = [
        FindingRow(
            f"similarity {pair.similarity:.3f}",
            [gallery.image_of(pair.first), gallery.image_of(pair.second)],
        )
        for pair in findings.conflicting_neighbours[:MAX_SHOWN]
    ]
    return FindingSection(
        "Alike across labels or parts",
        "Each other's nearest image in the eyes of a network, though label or part differ. A "
        "hint and no proof: they are not grouped. Some are wrong labels, some images of one "
        "thing that should share a group, most are only alike.",
        groups,
        len(findings.conflicting_neighbours),
    )


def _without_evidence(
    some: tuple[list[AuditImage], int],
) -> tuple[list[AuditImage], tuple[str, ...], int]:
    """The arguments of a group without evidence."""
    shown, more = some
    return shown, (), more
