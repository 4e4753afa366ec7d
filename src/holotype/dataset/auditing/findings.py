"""What an audit found, as values: for a table on the terminal, a CSV and a JSON file."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from holotype.dataset.auditing.label_errors import NoiseRate, SuspectedLabelError
from holotype.dataset.auditing.outliers import NeighbourPair, Outlier
from holotype.dataset.auditing.quality import QUALITY_ADVICE, QualityIssue
from holotype.dataset.near_duplicates.search import NearDuplicate
from holotype.dataset.reading.sample_records import Part
from holotype.dataset.splitting.splitter import abbreviated

# kind as `--fail-on` names it, what it is called in a table, what it means or what to do
_ROWS = (
    ("unusable", "unusable images", "left out of training; see the reasons"),
    ("exact_duplicate", "equal files, one label", "redundant; a split keeps them on one side"),
    ("near_duplicate", "near-duplicate pairs, one label", "a split keeps them on one side"),
    ("label_conflict", "copies under different labels", "at least one label of each is wrong"),
    ("leak", "leaks across the given split", "test scores would be too good"),
    (
        "oversized_cluster",
        "oversized clusters",
        "too many to be believed, and not grouped: look at them",
    ),
    (
        "small_class",
        "classes too small to split",
        "fewer than 3 separate images: validation or test will lack them",
    ),
    (
        "missing_class",
        "classes missing in a given part",
        "what is missing in train is never learnt, what is missing in test never measured",
    ),
    ("label_error", "labels probably wrong", "look at each; correct them or train with --exclude"),
    ("outlier", "outliers", "like no other image: do they belong here?"),
    ("conflicting_neighbour", "alike across labels or parts", "a hint, not grouped"),
    ("almost_uniform", "almost uniform images", "are they images at all?"),
    ("dark", "dark images", "far darker than is usual here"),
    ("bright", "bright images", "far brighter than is usual here"),
    ("blurred", "blurred images", "far less sharp than is usual here"),
    ("low_information", "images with little detail", "far less than is usual here"),
    ("odd_aspect", "images of an odd shape", "far longer than is usual here"),
    ("warning", "warnings", "something of the image was left out"),
)
KINDS = tuple(kind for kind, _, _ in _ROWS)
NEED_NETWORK = frozenset(
    ["label_error", "outlier", "conflicting_neighbour"]
)  # the kinds that a network sees


@dataclass(frozen=True)
class UnusableImage:
    """An image that cannot be used."""

    path: str
    problem: str
    reason: str
    advice: str


@dataclass(frozen=True)
class ExactDuplicates:
    """Files with the same bytes; the first by name is called the original."""

    paths: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def is_conflict(self) -> bool:
        return len(set(self.labels)) > 1


@dataclass(frozen=True)
class Leak:
    """Images that belong together and stand on different sides of the split that was given.

    Attributes:
        kind: `duplicates` or `group`.
        name: the group, or the first of the copies.
        paths: all copies, or of a group one image for each part.
        parts: the parts in the same order.
        count: how many images belong together.
    """

    kind: str
    name: str
    paths: tuple[str, ...]
    parts: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Findings:
    """All that an audit found; nothing of the user's was touched.

    Attributes:
        num_images: how many images were looked at.
        unusable: images that cannot be used.
        exact_duplicates: files with the same bytes.
        near_duplicates: verified copies that differ in their bytes.
        label_of: the labels of all images that `near_duplicates` names.
        duplicate_clusters: all that shows one image, equal files and near_duplicates together;
            what a split keeps on one side.
        class_counts: usable images of every class.
        small_classes: classes that cannot reach every part of a split, with how many separate
            images they have: groups and copies count once.
        oversized_clusters: clusters of near copies too large to be believed; see
            `NearDuplicates`. They are in neither `near_duplicates` nor `duplicate_clusters`.
        quality_issues: images that are uniform, dark, bright, blurred, without detail or oddly
            long.
        leaks: copies and groups on different sides of a split that came with the data.
        missing_in_parts: classes of which a part that came with the data has no image.
        warnings: what was left out of an image, such as frames of an animation.
        ignored: files that were left out, being no images.
        sizes: smallest, median and largest (width, height) by area.
        modes: how many images are stored in each mode.
        formats: how many images are of each file format.
        label_errors: labels that are probably wrong, the most probable first.
        noise_rate: the estimated share of wrong labels; None where labels were not looked at.
        outliers: images that are like no other, the strangest first.
        conflicting_neighbours: images that look alike across labels or parts; a hint, never
            grouped.
        skipped_checks: what was left undone and why, in sentences.
    """

    num_images: int
    unusable: tuple[UnusableImage, ...] = ()
    exact_duplicates: tuple[ExactDuplicates, ...] = ()
    near_duplicates: tuple[NearDuplicate, ...] = ()
    label_of: dict[str, str] = field(default_factory=dict)
    duplicate_clusters: list[frozenset[str]] = field(default_factory=list)
    class_counts: dict[str, int] = field(default_factory=dict)
    small_classes: dict[str, int] = field(default_factory=dict)
    oversized_clusters: list[frozenset[str]] = field(default_factory=list)
    quality_issues: tuple[QualityIssue, ...] = ()
    leaks: tuple[Leak, ...] = ()
    missing_in_parts: dict[Part, list[str]] = field(default_factory=dict)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    modes: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    label_errors: tuple[SuspectedLabelError, ...] = ()
    noise_rate: NoiseRate | None = None
    outliers: tuple[Outlier, ...] = ()
    conflicting_neighbours: tuple[NeighbourPair, ...] = ()
    skipped_checks: tuple[str, ...] = ()

    @property
    def unusable_paths(self) -> set[str]:
        """Paths of the images that cannot be used."""
        return {refusal.path for refusal in self.unusable}

    @property
    def redundant(self) -> tuple[ExactDuplicates, ...]:
        """Equal files under one label."""
        return tuple(d for d in self.exact_duplicates if not d.is_conflict)

    @property
    def conflicts(self) -> tuple[ExactDuplicates, ...]:
        """Equal files under different labels: at least one of the labels is wrong."""
        return tuple(d for d in self.exact_duplicates if d.is_conflict)

    @property
    def near_duplicate_conflicts(self) -> tuple[NearDuplicate, ...]:
        """Verified copies under different labels."""
        return tuple(
            pair
            for pair in self.near_duplicates
            if self.label_of[pair.first] != self.label_of[pair.second]
        )

    @property
    def imbalance(self) -> float:
        """Images of the largest class over those of the smallest; 1 is balanced."""
        counts = self.class_counts.values()
        return max(counts) / max(min(counts), 1) if counts else 1.0

    @property
    def has_findings(self) -> bool:
        """Whether anything deserves action; suspicions, statistics and warnings alone do not."""
        return bool(
            self.unusable
            or self.exact_duplicates
            or self.near_duplicates
            or self.leaks
            or self.small_classes
            or self.missing_in_parts.get("train")
        )

    def counts(self) -> dict[str, int]:
        """How many of each kind were found, by the names that `--fail-on` takes; 0 included."""
        by_problem = Counter(image.problem for image in self.quality_issues)
        return {
            "unusable": len(self.unusable),
            "exact_duplicate": sum(len(d.paths) - 1 for d in self.redundant),
            "near_duplicate": len(self.near_duplicates) - len(self.near_duplicate_conflicts),
            "label_conflict": sum(len(d.paths) for d in self.conflicts)
            + len(self.near_duplicate_conflicts),
            "leak": len(self.leaks),
            "oversized_cluster": len(self.oversized_clusters),
            "small_class": len(self.small_classes),
            "missing_class": sum(map(len, self.missing_in_parts.values())),
            "label_error": len(self.label_errors),
            "outlier": len(self.outliers),
            "conflicting_neighbour": len(self.conflicting_neighbours),
            **{problem: by_problem[problem] for problem in QUALITY_ADVICE},
            "warning": len(self.warnings),
        }

    def summary_rows(self) -> list[tuple[str, int, str]]:
        """(what, how many, what it means or what to do) for a table; only what was found."""
        counts = self.counts()
        rows = [(what, counts[kind], advice) for kind, what, advice in _ROWS]
        rows.append(
            ("ignored files", len(self.ignored), "not images, or outside every class folder")
        )
        return [row for row in rows if row[1]]

    def class_notes(self) -> list[str]:
        """What is amiss with whole classes, by name, in sentences."""
        notes = [
            f"The given {part} part has no image of: {abbreviated(names)}."
            for part, names in self.missing_in_parts.items()
        ]
        if self.small_classes:
            small = [f"{name} ({count})" for name, count in self.small_classes.items()]
            notes.append(f"Classes of few images that may stand apart: {abbreviated(small)}.")
        if sum(count > 0 for count in self.class_counts.values()) == 1:
            notes.append("There is one class only, so there is nothing to learn to tell apart.")
        return notes

    def to_json(self) -> dict[str, Any]:
        """Everything, as values that JSON can hold."""
        return {
            "num_images": self.num_images,
            "num_usable": self.num_images - len(self.unusable),
            "classes": self.class_counts,
            "imbalance": round(self.imbalance, 4),
            "small_classes": self.small_classes,
            "unusable_images": [vars(refusal) for refusal in self.unusable],
            "exact_duplicates": [
                {"paths": d.paths, "labels": d.labels, "conflict": d.is_conflict}
                for d in self.exact_duplicates
            ],
            "near_duplicates": [
                vars(pair) | {"labels": [self.label_of[pair.first], self.label_of[pair.second]]}
                for pair in self.near_duplicates
            ],
            "duplicate_clusters": [sorted(cluster) for cluster in self.duplicate_clusters],
            "oversized_clusters": [sorted(cluster) for cluster in self.oversized_clusters],
            "leaks": [vars(leak) for leak in self.leaks],
            "missing_in_parts": self.missing_in_parts,
            "quality_issues": [
                {"path": i.path, "problem": i.problem, "evidence": i.evidence}
                for i in self.quality_issues
            ],
            "label_errors": [vars(issue) for issue in self.label_errors],
            "noise_rate": vars(self.noise_rate) if self.noise_rate else None,
            "outliers": [vars(outlier) for outlier in self.outliers],
            "conflicting_neighbours": [vars(pair) for pair in self.conflicting_neighbours],
            "skipped_checks": self.skipped_checks,
            "warnings": self.warnings,
            "ignored": self.ignored,
            "sizes": self.sizes,
            "modes": self.modes,
            "formats": self.formats,
        }
