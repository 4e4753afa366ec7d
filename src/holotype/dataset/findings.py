"""What an audit found, as values: for a table on the terminal, a CSV and a JSON file."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.dataset.labels import LabelIssue, NoiseRate
from holotype.dataset.listing import Part
from holotype.dataset.lookalikes import Lookalike
from holotype.dataset.outliers import Neighbours, Outlier
from holotype.dataset.quality import POOR, PoorImage
from holotype.dataset.split import some_of
from holotype.files import write_json

if TYPE_CHECKING:
    from holotype.dataset.issues import Issue

# kind as `--fail-on` names it, what it is called in a table, what it means or what to do
_ROWS = (
    ("unusable", "unusable pictures", "left out of training; see the reasons"),
    ("duplicate", "equal files, one label", "redundant; a split keeps them on one side"),
    ("near_duplicate", "near-duplicate pairs, one label", "a split keeps them on one side"),
    ("conflict", "copies under different labels", "at least one label of each is wrong"),
    ("leak", "leaks across the given split", "test scores would be too good"),
    ("crowd", "crowds of near copies", "too many to be believed, and not grouped: look at them"),
    (
        "small_class",
        "classes too small to split",
        "fewer than 3 separate pictures: validation or test will lack them",
    ),
    (
        "missing_class",
        "classes missing in a given part",
        "what is missing in train is never learnt, what is missing in test never measured",
    ),
    ("label", "labels probably wrong", "look at each; correct them or train with --exclude"),
    ("outlier", "outliers", "like no other picture: do they belong here?"),
    ("neighbour", "alike across labels or parts", "a hint, not grouped"),
    ("almost_uniform", "almost uniform pictures", "are they pictures at all?"),
    ("dark", "dark pictures", "far darker than is usual here"),
    ("bright", "bright pictures", "far brighter than is usual here"),
    ("blurred", "blurred pictures", "far less sharp than is usual here"),
    ("low_information", "pictures with little detail", "far less than is usual here"),
    ("odd_aspect", "pictures of an odd shape", "far longer than is usual here"),
    ("warning", "warnings", "something of the picture was left out"),
)
KINDS = tuple(kind for kind, _, _ in _ROWS)
NEED_NETWORK = frozenset(["label", "outlier", "neighbour"])  # the kinds that a network sees


@dataclass(frozen=True)
class Refusal:
    """A picture that cannot be used."""

    path: str
    problem: str
    reason: str
    advice: str


@dataclass(frozen=True)
class Duplicate:
    """Files with the same bytes; the first by name is called the original."""

    paths: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def is_conflict(self) -> bool:
        return len(set(self.labels)) > 1


@dataclass(frozen=True)
class Leak:
    """Pictures that belong together and stand on different sides of the split that was given.

    Attributes:
        kind: `copies` or `group`.
        name: the group, or the first of the copies.
        paths: all copies, or of a group one picture for each part.
        parts: the parts in the same order.
        count: how many pictures belong together.
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
        images: how many pictures were looked at.
        refusals: pictures that cannot be used.
        duplicates: files with the same bytes.
        lookalikes: verified copies that differ in their bytes.
        labels: the labels of all pictures that `lookalikes` names.
        copies: all that shows one picture, equal files and lookalikes together; what a split
            keeps on one side.
        class_counts: usable pictures of every class.
        small_classes: classes that cannot reach every part of a split, with how many separate
            pictures they have: groups and copies count once.
        crowds: clusters of near copies too large to be believed; see `lookalikes.crowds`. They are
            in neither `lookalikes` nor `copies`.
        poor: pictures that are uniform, dark, bright, blurred, without detail or oddly long.
        leaks: copies and groups on different sides of a split that came with the data.
        missing_in_parts: classes of which a part that came with the data has no picture.
        warnings: what was left out of a picture, such as frames of an animation.
        ignored: files that were left out, being no pictures.
        sizes: smallest, median and largest (width, height) by area.
        modes: how many pictures are stored in each mode.
        formats: how many pictures are of each file format.
        label_issues: labels that are probably wrong, the most probable first.
        noise: the estimated share of wrong labels; None where labels were not looked at.
        outliers: pictures that are like no other, the strangest first.
        neighbours: pictures that look alike across labels or parts; a hint, never grouped.
        not_looked_at: what was left undone and why, in sentences.
    """

    images: int
    refusals: tuple[Refusal, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    lookalikes: tuple[Lookalike, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    copies: list[frozenset[str]] = field(default_factory=list)
    class_counts: dict[str, int] = field(default_factory=dict)
    small_classes: dict[str, int] = field(default_factory=dict)
    crowds: list[frozenset[str]] = field(default_factory=list)
    poor: tuple[PoorImage, ...] = ()
    leaks: tuple[Leak, ...] = ()
    missing_in_parts: dict[Part, list[str]] = field(default_factory=dict)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    modes: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    label_issues: tuple[LabelIssue, ...] = ()
    noise: NoiseRate | None = None
    outliers: tuple[Outlier, ...] = ()
    neighbours: tuple[Neighbours, ...] = ()
    not_looked_at: tuple[str, ...] = ()

    @property
    def broken(self) -> set[str]:
        """Paths of the pictures that cannot be used."""
        return {refusal.path for refusal in self.refusals}

    @property
    def redundant(self) -> tuple[Duplicate, ...]:
        """Equal files under one label."""
        return tuple(d for d in self.duplicates if not d.is_conflict)

    @property
    def conflicts(self) -> tuple[Duplicate, ...]:
        """Equal files under different labels: at least one of the labels is wrong."""
        return tuple(d for d in self.duplicates if d.is_conflict)

    @property
    def lookalike_conflicts(self) -> tuple[Lookalike, ...]:
        """Verified copies under different labels."""
        return tuple(
            pair for pair in self.lookalikes if self.labels[pair.first] != self.labels[pair.second]
        )

    @property
    def imbalance(self) -> float:
        """Pictures of the largest class over those of the smallest; 1 is balanced."""
        counts = self.class_counts.values()
        return max(counts) / max(min(counts), 1) if counts else 1.0

    @property
    def has_findings(self) -> bool:
        """Whether anything deserves action; suspicions, statistics and warnings alone do not."""
        return bool(
            self.refusals
            or self.duplicates
            or self.lookalikes
            or self.leaks
            or self.small_classes
            or self.missing_in_parts.get("train")
        )

    def counts(self) -> dict[str, int]:
        """How many of each kind were found, by the names that `--fail-on` takes; 0 included."""
        poor = Counter(image.problem for image in self.poor)
        return {
            "unusable": len(self.refusals),
            "duplicate": sum(len(d.paths) - 1 for d in self.redundant),
            "near_duplicate": len(self.lookalikes) - len(self.lookalike_conflicts),
            "conflict": sum(len(d.paths) for d in self.conflicts) + len(self.lookalike_conflicts),
            "leak": len(self.leaks),
            "crowd": len(self.crowds),
            "small_class": len(self.small_classes),
            "missing_class": sum(map(len, self.missing_in_parts.values())),
            "label": len(self.label_issues),
            "outlier": len(self.outliers),
            "neighbour": len(self.neighbours),
            **{problem: poor[problem] for problem in POOR},
            "warning": len(self.warnings),
        }

    def summary_rows(self) -> list[tuple[str, int, str]]:
        """(what, how many, what it means or what to do) for a table; only what was found."""
        counts = self.counts()
        rows = [(what, counts[kind], advice) for kind, what, advice in _ROWS]
        rows.append(
            ("ignored files", len(self.ignored), "not pictures, or outside every class folder")
        )
        return [row for row in rows if row[1]]

    def class_notes(self) -> list[str]:
        """What is amiss with whole classes, by name, in sentences."""
        notes = [
            f"The given {part} part has no picture of: {some_of(names)}."
            for part, names in self.missing_in_parts.items()
        ]
        if self.small_classes:
            small = [f"{name} ({count})" for name, count in self.small_classes.items()]
            notes.append(f"Classes of few pictures that may stand apart: {some_of(small)}.")
        if sum(count > 0 for count in self.class_counts.values()) == 1:
            notes.append("There is one class only, so there is nothing to learn to tell apart.")
        return notes

    def to_json(self) -> dict[str, Any]:
        """Everything, as values that JSON can hold."""
        return {
            "images": self.images,
            "usable": self.images - len(self.refusals),
            "classes": self.class_counts,
            "imbalance": round(self.imbalance, 4),
            "small_classes": self.small_classes,
            "refusals": [vars(refusal) for refusal in self.refusals],
            "exact_duplicates": [
                {"paths": d.paths, "labels": d.labels, "conflict": d.is_conflict}
                for d in self.duplicates
            ],
            "near_duplicates": [
                vars(pair) | {"labels": [self.labels[pair.first], self.labels[pair.second]]}
                for pair in self.lookalikes
            ],
            "copies": [sorted(cluster) for cluster in self.copies],
            "crowds": [sorted(cluster) for cluster in self.crowds],
            "leaks": [vars(leak) for leak in self.leaks],
            "missing_in_parts": self.missing_in_parts,
            "quality": [
                {"path": i.path, "problem": i.problem, "evidence": i.evidence} for i in self.poor
            ],
            "label_issues": [vars(issue) for issue in self.label_issues],
            "noise_rate": vars(self.noise) if self.noise else None,
            "outliers": [vars(outlier) for outlier in self.outliers],
            "neighbours": [vars(pair) for pair in self.neighbours],
            "not_looked_at": self.not_looked_at,
            "warnings": self.warnings,
            "ignored": self.ignored,
            "sizes": self.sizes,
            "modes": self.modes,
            "formats": self.formats,
        }

    def issues(self) -> list["Issue"]:
        """One row per picture that has a problem; see `issues_of`."""
        from holotype.dataset.issues import issues_of  # which reads findings

        return issues_of(self)

    def write(self, directory: Path) -> None:
        """`audit.json` and `issues.csv` into a directory."""
        from holotype.dataset.issues import write_issues

        write_json(directory / "audit.json", self.to_json())
        write_issues(self.issues(), directory / "issues.csv")
