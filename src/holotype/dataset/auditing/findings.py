"""The findings of an audit as one value, with counts, table rows and JSON."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from holotype.dataset.auditing.embedding_neighbors import NeighbourPair, Outlier
from holotype.dataset.auditing.label_errors import NoiseRate, SuspectedLabelError
from holotype.dataset.auditing.quality import QUALITY_ADVICE, QualityIssue
from holotype.dataset.class_names import quoted_names, similar_class_names
from holotype.dataset.near_duplicates.search import NearDuplicate
from holotype.dataset.reading.sample_records import Part
from holotype.dataset.splitting.splitter import abbreviated
from holotype.imaging.image_warnings import truncated_images, truncated_note
from holotype.imaging.significant_bits import FULL_BITS
from holotype.progress import pluralize

# kind as `--fail-on` names it, its name in a table, its meaning or what to do
ROWS = (
    ("unusable", "unusable images", "excluded from training; see the reasons"),
    ("exact_duplicate", "equal files, one label", "nothing to do: a split keeps them in one part"),
    (
        "near_duplicate",
        "near-duplicate pairs, one label",
        "nothing to do: a split keeps them in one part",
    ),
    (
        "label_conflict",
        "copies under different labels",
        "exclude or relabel the one whose label is wrong",
    ),
    ("leak", "leaks in the given split", "test scores would be too optimistic"),
    ("oversized_cluster", "oversized clusters", "too large to be near-duplicates; not grouped"),
    ("small_class", "classes too small to split", "fewer than 3 separate images"),
    ("similar_class", "class names that look alike", "rename them, unless both are meant"),
    (
        "missing_class",
        "classes missing in a given part",
        "not learnt in train, not measured in test",
    ),
    (
        "label_error",
        "probable label errors",
        "check each; correct (--relabel) or leave out (--exclude)",
    ),
    ("outlier", "outliers", "unlike all other images: do they belong here?"),
    ("conflicting_neighbour", "alike across labels or parts", "a hint; not grouped"),
    ("almost_uniform", "almost uniform images", "hardly any contrast"),
    ("dark", "dark images", "far darker than usual in this data"),
    ("bright", "bright images", "far brighter than usual in this data"),
    ("blurred", "blurred images", "far less sharp than usual in this data"),
    ("low_information", "images with little detail", "far less than usual in this data"),
    ("odd_aspect", "images of an odd shape", "far more elongated than usual in this data"),
    ("warning", "warnings", "a part of the image was ignored"),
)
KINDS = tuple(kind for kind, _, _ in ROWS)
# kinds that are found on the embeddings of a network
NEED_NETWORK = frozenset(["label_error", "outlier", "conflicting_neighbour"])


@dataclass(frozen=True)
class UnusableImage:
    """An image that cannot be used."""

    path: str
    problem: str
    reason: str
    advice: str

    @property
    def file(self) -> str:
        """The path, as `ImageError` calls it."""
        return self.path


@dataclass(frozen=True)
class ExactDuplicates:
    """Files with the same bytes, sorted by path; the first is called the original."""

    paths: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def is_conflict(self) -> bool:
        return len(set(self.labels)) > 1


@dataclass(frozen=True)
class Leak:
    """Images of one group, or copies of one image, in several parts of the given split.

    Attributes:
        kind: `duplicates` or `group`.
        name: the group, or the path of the first copy.
        paths: of all copies, or of one image of the group for each part.
        parts: of `paths`, in the same order.
        count: number of images of the group or copies.
    """

    kind: str
    name: str
    paths: tuple[str, ...]
    parts: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Findings:
    """The findings of an audit.

    Attributes:
        num_images: all images, unusable ones included.
        unusable: images that cannot be read.
        exact_duplicates: files with the same bytes.
        near_duplicates: verified copies of one image with different bytes.
        label_of: the labels of the images in `near_duplicates`.
        duplicate_clusters: equal files and near-duplicates, joined where they overlap; a split
            keeps each in one part.
        class_counts: the number of usable images of each class.
        given_parts: part of a split that came with the data -> usable images of each class in it;
            images that it leaves open are `unassigned`. Empty where no split came.
        small_classes: classes with fewer separate images than a split has parts -> how many they
            have; all images of a group, or copies of one image, count once.
        oversized_clusters: clusters too large to be near-duplicates of one image; they are in
            neither `near_duplicates` nor `duplicate_clusters`.
        quality_issues: images that are uniform, dark, bright, blurred, without detail or elongated.
        leaks: copies and groups in several parts of a split that came with the data.
        missing_in_parts: part of a given split -> the classes of which it has no image.
        warnings: path -> what was ignored in an image, such as later frames of an animation.
        significant_bits: of images of 16 bits, with which they were read.
        tolerate_truncated: whether files that are cut off were read as far as they go.
        unused_range: a sentence where images of 16 bits use a small part of their range.
        ignored: files that are no images by their extension, and the like; see `Index`.
        sizes: smallest, median and largest (width, height) by area, in pixels.
        modes: the number of images by Pillow mode.
        formats: the number of images by file format.
        label_errors: probable label errors, the most probable first.
        noise_rate: the estimated share of wrong labels; None if labels were not checked.
        outliers: the most distant first.
        conflicting_neighbours: similar images with different labels or parts; a hint, not grouped.
        skipped_checks: which checks were skipped and why, in sentences.
    """

    num_images: int
    unusable: tuple[UnusableImage, ...] = ()
    exact_duplicates: tuple[ExactDuplicates, ...] = ()
    near_duplicates: tuple[NearDuplicate, ...] = ()
    label_of: dict[str, str] = field(default_factory=dict)
    duplicate_clusters: list[frozenset[str]] = field(default_factory=list)
    class_counts: dict[str, int] = field(default_factory=dict)
    given_parts: dict[str, dict[str, int]] = field(default_factory=dict)
    small_classes: dict[str, int] = field(default_factory=dict)
    oversized_clusters: list[frozenset[str]] = field(default_factory=list)
    quality_issues: tuple[QualityIssue, ...] = ()
    leaks: tuple[Leak, ...] = ()
    missing_in_parts: dict[Part, list[str]] = field(default_factory=dict)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    significant_bits: int = FULL_BITS
    tolerate_truncated: bool = False
    unused_range: str = ""
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
    def conflicts(self) -> tuple[ExactDuplicates, ...]:
        """Equal files under different labels."""
        return tuple(d for d in self.exact_duplicates if d.is_conflict)

    @property
    def near_duplicate_conflicts(self) -> tuple[NearDuplicate, ...]:
        """Near-duplicates under different labels."""
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

    def class_table(self) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """Header and rows: usable images of every class, in all and in each given part."""
        parts = self.given_parts.items()
        ordered = sorted(self.class_counts.items(), key=lambda row: (-row[1], row[0]))
        rows = [(name, count, *(of_part[name] for _, of_part in parts)) for name, count in ordered]
        return ("class", "usable images", *(part for part, _ in parts)), rows

    @property
    def imbalance_note(self) -> str:
        """How the largest class compares with the smallest, as a sentence without its full stop."""
        counts = self.class_counts.values()
        if not any(counts):
            return "no class has a usable image"
        largest = pluralize(max(counts), "usable image")
        if min(counts) == 0:
            return f"the largest class has {largest}, another has none"
        if max(counts) == min(counts):
            return f"every class has {largest}"
        return f"the largest class is {self.imbalance:.3g} times the smallest"

    @property
    def similar_classes(self) -> list[tuple[str, ...]]:
        """Sets of classes whose names differ in letter case, blanks or look-alike letters only."""
        return similar_class_names(self.class_counts)

    def similar_class_notes(self) -> list[str]:
        """A sentence for each set of classes whose names look alike."""
        return [
            f"Class names that look alike: {quoted_names(names, names)}."
            for names in self.similar_classes
        ]

    @property
    def has_findings(self) -> bool:
        """Whether anything needs action.

        Copies under one label, quality issues, warnings and statistics alone do not.
        """
        return bool(
            self.unusable
            or self.conflicts
            or self.near_duplicate_conflicts
            or self.leaks
            or self.small_classes
            or self.similar_classes
            or self.missing_in_parts.get("train")
        )

    def counts(self) -> dict[str, int]:
        """The number of findings of each kind, 0 included; kinds as `--fail-on` names them."""
        by_problem = Counter(image.problem for image in self.quality_issues)
        return {
            "unusable": len(self.unusable),
            "exact_duplicate": sum(
                len(d.paths) - 1 for d in self.exact_duplicates if not d.is_conflict
            ),
            "near_duplicate": len(self.near_duplicates) - len(self.near_duplicate_conflicts),
            "label_conflict": sum(len(d.paths) for d in self.conflicts)
            + len(self.near_duplicate_conflicts),
            "leak": len(self.leaks),
            "oversized_cluster": len(self.oversized_clusters),
            "small_class": len(self.small_classes),
            "similar_class": len(self.similar_classes),
            "missing_class": sum(map(len, self.missing_in_parts.values())),
            "label_error": len(self.label_errors),
            "outlier": len(self.outliers),
            "conflicting_neighbour": len(self.conflicting_neighbours),
            **{problem: by_problem[problem] for problem in QUALITY_ADVICE},
            "warning": len(self.warnings),
        }

    def summary_rows(self) -> list[tuple[str, int, str]]:
        """(name, count, meaning or advice) of each kind that was found."""
        counts = self.counts()
        rows = [(what, counts[kind], advice) for kind, what, advice in ROWS]
        rows.append(
            ("ignored files", len(self.ignored), "not images, or outside every class folder")
        )
        return [row for row in rows if row[1]]

    def class_notes(self) -> list[str]:
        """Problems of whole classes, and of all images together, in sentences."""
        notes = [
            f"The given {part} part has no image of: {abbreviated(names)}."
            for part, names in self.missing_in_parts.items()
        ]
        notes += self.similar_class_notes()
        if self.small_classes:
            small = [f"{name} ({count})" for name, count in self.small_classes.items()]
            notes.append(f"Classes with few separate images: {abbreviated(small)}.")
        if sum(count > 0 for count in self.class_counts.values()) == 1:
            notes.append("There is one class only; a classifier needs at least two.")
        if self.unused_range:
            notes.append(self.unused_range)
        return [*notes, *truncated_note(self.warnings)]

    def to_json(self) -> dict[str, Any]:
        return {
            "num_images": self.num_images,
            "num_usable": self.num_images - len(self.unusable),
            "classes": self.class_counts,
            "given_parts": self.given_parts,
            "imbalance": round(self.imbalance, 4),
            "small_classes": self.small_classes,
            "similar_classes": self.similar_classes,
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
            "significant_bits": self.significant_bits,
            "tolerate_truncated": self.tolerate_truncated,
            "truncated_images": truncated_images(self.warnings),
            "unused_range": self.unused_range,
            "ignored": self.ignored,
            "sizes": self.sizes,
            "modes": self.modes,
            "formats": self.formats,
        }
