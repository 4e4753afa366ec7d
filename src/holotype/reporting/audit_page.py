"""The findings of an audit as one HTML page, with the images that they are about.

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
from holotype.progress import pluralize
from holotype.reporting.templates import jpeg_url, render, thousands

MAX_SIDE_PX = 160  # pixels of an image on the page
MAX_SHOWN = 60  # rows of one kind of finding; the tables beside the page have all
MAX_IN_ROW = 8
MAX_PER_PROBLEM = 12
MAX_UNUSABLE = 200
MAX_CLASSES = 60
_BACKGROUND = (255, 255, 255)  # behind transparent pixels

_RELATIVE = " Relative to the other images of this data set."
_PROBLEM_TITLES = {
    "almost_uniform": "Almost uniform",
    "dark": "Dark",
    "bright": "Bright",
    "blurred": "Blurred",
    "low_information": "Little detail",
    "odd_aspect": "Unusual aspect ratio",
}


@dataclass(frozen=True)
class AuditImage:
    """One image on the page.

    Attributes:
        path: relative to the root.
        label: as given.
        part: of a given split, or "".
        url: a data URL; None where the image cannot be read.
        is_small: whether it is enlarged so much that it should not be smoothed.
    """

    path: str
    label: str
    part: str
    url: str | None
    is_small: bool


@dataclass(frozen=True)
class FindingRow:
    """One finding: images side by side with a heading and the evidence.

    Attributes:
        heading: one line above the images.
        shown: the images.
        num_more: how many more images belong to it.
        evidence: what was measured.
    """

    heading: str
    shown: Sequence[AuditImage]
    num_more: int = 0
    evidence: Sequence[str] = ()


@dataclass(frozen=True)
class FindingSection:
    """One kind of finding.

    Attributes:
        rows: the findings that are shown.
        total: how many there are.
        as_grid: whether the rows are single images, shown as a grid.
    """

    title: str
    explanation: str
    rows: Sequence[FindingRow]
    total: int
    as_grid: bool = False


def write_audit_page(findings: Findings, index: Index, path: Path, *, title: str) -> None:
    """Write the page; an image that cannot be read is named and not shown.

    Args:
        findings: of the audit.
        index: the audited images.
        path: of the HTML file.
        title: the heading, such as the name of the data.
    """
    images = _ImageCache(index, findings.significant_bits, findings.tolerate_truncated)
    sections = [section for section in _sections(findings, images) if section.rows]
    _, classes = findings.class_table()
    page = render(
        "audit.html.j2",
        title=title,
        findings=findings,
        usable=findings.num_images - len(findings.unusable),
        tiles=_tiles(findings),
        sections=sections,
        rows=findings.summary_rows(),
        class_notes=findings.class_notes(),
        unusable=findings.unusable[:MAX_UNUSABLE],
        classes=classes[:MAX_CLASSES],
        largest=max(findings.class_counts.values(), default=0) or 1,
        sizes=", ".join(f"{width}×{height}" for width, height in findings.sizes),
    )
    write_text(path, page)


@dataclass(eq=False)
class _ImageCache:
    """Images of an index, each read once."""

    index: Index
    bits: int  # significant in images of 16 bits
    tolerate_truncated: bool
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
        """The first few images, and how many more there are."""
        every = list(paths)
        return [self.image_of(path) for path in every[:MAX_IN_ROW]], len(every[MAX_IN_ROW:])

    def _url(self, path: str) -> tuple[str | None, bool]:
        try:
            image = decode(
                self.index.file(path),
                name=path,
                minimum_size=(MAX_SIDE_PX, MAX_SIDE_PX),
                bits=self.bits,
                tolerate_truncated=self.tolerate_truncated,
            )
        except ImageError:
            return None, False
        rgb = image.pixels.convert("RGB")
        if image.mask is not None:
            background = PillowImage.new("RGB", rgb.size, _BACKGROUND)
            rgb = PillowImage.composite(rgb, background, image.mask)
        is_small = max(rgb.size) < MAX_SIDE_PX // 2
        return jpeg_url(np.asarray(rgb), MAX_SIDE_PX), is_small


def _tiles(findings: Findings) -> list[tuple[str, str, str]]:
    """(name, number, remark) of the most important findings, also where there are none."""
    counts = findings.counts()
    copies = sum(len(cluster) - 1 for cluster in findings.duplicate_clusters)
    noise = findings.noise_rate
    labels = ("probable label errors", "–", "not checked")
    if noise is not None:
        share = f"estimated {noise.low:.1%} – {noise.high:.1%} of all labels"
        labels = ("probable label errors", thousands(counts["label_error"]), share)
    return [
        ("unusable images", thousands(counts["unusable"]), ""),
        ("redundant copies", thousands(copies), "exact and near-duplicates"),
        ("copies with different labels", thousands(counts["label_conflict"]), ""),
        ("leaks in the given split", thousands(counts["leak"]), ""),
        labels,
    ]


def _sections(findings: Findings, images: _ImageCache) -> list[FindingSection]:
    return [
        _conflicts(findings, images),
        _leaks(findings, images),
        _label_errors(findings, images),
        _duplicates(findings, images),
        _oversized_clusters(findings, images),
        _outliers(findings, images),
        *_quality_issues(findings, images),
        _neighbours(findings, images),
    ]


def _conflicts(findings: Findings, images: _ImageCache) -> FindingSection:
    equal = [
        FindingRow("equal bytes", *images.first_few(duplicate.paths))
        for duplicate in findings.conflicts[:MAX_SHOWN]
    ]
    alike = [
        FindingRow(
            f"{pair.kind} copy",
            [images.image_of(pair.first), images.image_of(pair.second)],
            evidence=[pair.evidence],
        )
        for pair in findings.near_duplicate_conflicts[: MAX_SHOWN - len(equal)]
    ]
    return FindingSection(
        "Copies with different labels",
        "One image has two labels, so at least one of them is wrong.",
        equal + alike,
        len(findings.conflicts) + len(findings.near_duplicate_conflicts),
    )


def _leaks(findings: Findings, images: _ImageCache) -> FindingSection:
    rows = []
    for leak in findings.leaks[:MAX_SHOWN]:
        what = "copies of one image" if leak.kind == "duplicates" else f"group {leak.name}"
        heading = f"{what}, {leak.count:,} images, in {', '.join(dict.fromkeys(leak.parts))}"
        rows.append(FindingRow(heading, *images.first_few(leak.paths)))
    return FindingSection(
        "Leaks in the given split",
        "Copies or images of one group in several parts: scores on them are too high.",
        rows,
        len(findings.leaks),
    )


def _label_errors(findings: Findings, images: _ImageCache) -> FindingSection:
    rows = [
        FindingRow(
            f"{issue.given} → {issue.suggested}?",
            [images.image_of(issue.path)],
            evidence=[
                f"{issue.probability_suggested:.0%} {issue.suggested}, "
                f"{issue.probability_given:.1%} {issue.given}",
                *([f"weight {issue.weight:.2g}"] if issue.weight < 1 else []),
            ],
        )
        for issue in findings.label_errors[:MAX_SHOWN]
    ]
    noise = findings.noise_rate
    estimate = f" Estimated share of label errors: {noise} of all labels." if noise else ""
    return FindingSection(
        "Probable label errors",
        "Given label → prediction of a classifier that was not trained on the image; the most "
        f"probable first.{estimate} Where classes overlap, ambiguous images are among them.",
        rows,
        len(findings.label_errors),
        as_grid=True,
    )


def _duplicates(findings: Findings, images: _ImageCache) -> FindingSection:
    evidence = {
        frozenset((p.first, p.second)): f"{p.kind}: {p.evidence}" for p in findings.near_duplicates
    }
    agreed = [
        cluster for cluster in findings.duplicate_clusters if len(images.labels(cluster)) == 1
    ]
    clusters = sorted(agreed, key=lambda cluster: (-len(cluster), min(cluster)))[:MAX_SHOWN]
    rows = []
    for cluster in clusters:
        shown, more = images.first_few(sorted(cluster))
        said = [text for pair, text in evidence.items() if pair <= cluster]
        heading = f"{len(cluster):,} copies of one image"
        rows.append(FindingRow(heading, shown, more, said[:3] or ["equal bytes"]))
    return FindingSection(
        "Copies",
        "Several files of one image with one label. Verified by registration: no region differs by "
        "more than noise. A split keeps them in one part.",
        rows,
        len(agreed),
    )


def _oversized_clusters(findings: Findings, images: _ImageCache) -> FindingSection:
    rows = [
        FindingRow(f"{pluralize(len(cluster), 'image')}", *images.first_few(sorted(cluster)))
        for cluster in findings.oversized_clusters[:MAX_SHOWN]
    ]
    return FindingSection(
        "Oversized clusters",
        "Too many images are linked as near-duplicates for this to be certain: they may only be "
        "similar. A split does not keep them together.",
        rows,
        len(findings.oversized_clusters),
    )


def _outliers(findings: Findings, images: _ImageCache) -> FindingSection:
    rows = [
        FindingRow(
            f"{outlier.distance / max(outlier.usual, 1e-9):.1f} times the usual distance to the "
            "nearest images",
            [images.image_of(outlier.path)],
        )
        for outlier in findings.outliers[:MAX_SHOWN]
    ]
    return FindingSection(
        "Outliers",
        "Far from all other images in the embedding of a network. Check whether they belong to "
        "this data set.",
        rows,
        len(findings.outliers),
        as_grid=True,
    )


def _quality_issues(findings: Findings, images: _ImageCache) -> list[FindingSection]:
    """One section for each problem, the worst images first."""
    of_problem = {
        problem: list(images)
        for problem, images in groupby(findings.quality_issues, key=lambda image: image.problem)
    }
    return [
        FindingSection(
            _PROBLEM_TITLES[problem],
            f"{QUALITY_ADVICE[problem].capitalize()}."
            + ("" if problem == "almost_uniform" else _RELATIVE),
            [
                FindingRow("", [images.image_of(image.path)], evidence=[image.evidence])
                for image in of_problem[problem][:MAX_PER_PROBLEM]
            ],
            len(of_problem[problem]),
            as_grid=True,
        )
        for problem in QUALITY_ADVICE
        if problem in of_problem
    ]


def _neighbours(findings: Findings, images: _ImageCache) -> FindingSection:
    rows = [
        FindingRow(
            f"similarity {pair.similarity:.3f}",
            [images.image_of(pair.first), images.image_of(pair.second)],
        )
        for pair in findings.conflicting_neighbours[:MAX_SHOWN]
    ]
    return FindingSection(
        "Nearest neighbours with different labels or parts",
        "Images that are each other's nearest neighbour in the embedding of a network, though "
        "label or part differ. Some are label errors, some show one object and should share a "
        "group, most are only similar; a split does not group them.",
        rows,
        len(findings.conflicting_neighbours),
    )
