"""What an audit found, as values: for a table on the terminal, a CSV and a JSON file."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holotype.dataset.listing import Part
from holotype.dataset.lookalikes import Lookalike
from holotype.files import write_json, write_text


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
class Issue:
    """One row of issues.csv: a picture and all that is wrong with it."""

    path: str
    problem: str
    evidence: str
    suggestion: str


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
        suspicious: pictures that are almost uniform, with the reason.
        leaks: copies and groups on different sides of a split that came with the data.
        missing_in_parts: classes of which a part that came with the data has no picture.
        warnings: what was left out of a picture, such as frames of an animation.
        ignored: files that were left out, being no pictures.
        sizes: smallest, median and largest (width, height) by area.
        modes: how many pictures are stored in each mode.
        formats: how many pictures are of each file format.
    """

    images: int
    refusals: tuple[Refusal, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    lookalikes: tuple[Lookalike, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    copies: list[frozenset[str]] = field(default_factory=list)
    class_counts: dict[str, int] = field(default_factory=dict)
    small_classes: dict[str, int] = field(default_factory=dict)
    suspicious: dict[str, str] = field(default_factory=dict)
    leaks: tuple[Leak, ...] = ()
    missing_in_parts: dict[Part, list[str]] = field(default_factory=dict)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    modes: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)

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
        """Whether anything deserves action; statistics and warnings alone do not."""
        return bool(
            self.refusals
            or self.duplicates
            or self.lookalikes
            or self.leaks
            or self.small_classes
            or self.missing_in_parts.get("train")
        )

    def issues(self) -> list[Issue]:
        """One row per picture that has a problem, sorted by path; several problems are joined."""
        notes: dict[str, list[tuple[str, str, str]]] = {}
        for path, *note in self._notes():
            notes.setdefault(path, []).append((note[0], note[1], note[2]))
        rows = []
        for path in sorted(notes):
            problems, evidence, suggestions = zip(*notes[path], strict=True)
            columns = [_joined(problems), _joined(evidence), _joined(suggestions)]
            rows.append(Issue(path, *columns))
        return rows

    def _notes(self) -> list[tuple[str, str, str, str]]:
        """(path, problem, evidence, suggestion), in order of weight."""
        notes = [(r.path, r.problem, r.reason, r.advice) for r in self.refusals]
        for duplicate in self.duplicates:
            notes += _notes_on_duplicate(duplicate)
        for pair in self.lookalikes:
            notes += self._notes_on_lookalike(pair)
        for leak in self.leaks:
            what = "copies of one picture" if leak.kind == "copies" else f"group {leak.name!r}"
            parts = ", ".join(leak.parts)
            for path in leak.paths:
                others = ", ".join(repr(other) for other in leak.paths if other != path)
                notes.append(
                    (path, "leak", f"{what} in {parts}: see {others}", "move all into one part")
                )
        for path, reason in self.suspicious.items():
            notes.append((path, "almost_uniform", reason, "check that this is a picture at all"))
        for path, warnings in self.warnings.items():
            notes += [
                (path, "warning", warning, "check that this is meant") for warning in warnings
            ]
        return notes

    def _notes_on_lookalike(self, pair: Lookalike) -> list[tuple[str, str, str, str]]:
        first, second = self.labels[pair.first], self.labels[pair.second]
        evidence = f"{pair.kind} copy of {pair.first!r}: {pair.evidence}"
        if first == second:
            return [(pair.second, "near_duplicate", evidence, "keep one of the two")]
        advice = "find out which label is right, and keep one of the two"
        other = f"{pair.kind} copy {pair.second!r} is labelled {second!r}, this one {first!r}"
        evidence = f"{evidence}; that is labelled {first!r}, this one {second!r}"
        return [
            (pair.first, "label_conflict", other, advice),
            (pair.second, "label_conflict", evidence, advice),
        ]

    def summary_rows(self) -> list[tuple[str, int, str]]:
        """(what, how many, what it means or what to do) for a table; only what was found."""
        rows = [
            ("unusable pictures", len(self.refusals), "left out of training; see the reasons"),
            (
                "equal files, one label",
                sum(len(d.paths) - 1 for d in self.redundant),
                "redundant; a split keeps them on one side",
            ),
            (
                "equal files, different labels",
                sum(len(d.paths) for d in self.conflicts),
                "at least one label of each is wrong: correct them",
            ),
            (
                "near-duplicate pairs, one label",
                len(self.lookalikes) - len(self.lookalike_conflicts),
                "verified copies; a split keeps them on one side",
            ),
            (
                "near-duplicate pairs, different labels",
                len(self.lookalike_conflicts),
                "verified copies: find out which label is right",
            ),
            ("leaks across the given split", len(self.leaks), "test scores would be too good"),
            (
                "classes too small to split",
                len(self.small_classes),
                "fewer than 3 separate pictures: validation or test will lack them",
            ),
            (
                "classes missing in a given part",
                sum(map(len, self.missing_in_parts.values())),
                "what is missing in train is never learnt, what is missing in test never measured",
            ),
            ("almost uniform pictures", len(self.suspicious), "look at them"),
            ("warnings", len(self.warnings), "something of the picture was left out"),
            ("ignored files", len(self.ignored), "not pictures, or outside every class folder"),
        ]
        return [row for row in rows if row[1]]

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
            "leaks": [vars(leak) for leak in self.leaks],
            "missing_in_parts": self.missing_in_parts,
            "almost_uniform": self.suspicious,
            "warnings": self.warnings,
            "ignored": self.ignored,
            "sizes": self.sizes,
            "modes": self.modes,
            "formats": self.formats,
        }

    def write(self, directory: Path) -> None:
        """`audit.json` and `issues.csv` into a directory."""
        write_json(directory / "audit.json", self.to_json())
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)  # names may hold \r
        writer.writerow(["path", "problem", "evidence", "suggestion"])
        writer.writerows(
            (issue.path, issue.problem, issue.evidence, issue.suggestion) for issue in self.issues()
        )
        write_text(directory / "issues.csv", text.getvalue())


def _notes_on_duplicate(duplicate: Duplicate) -> list[tuple[str, str, str, str]]:
    original, label = duplicate.paths[0], duplicate.labels[0]
    if not duplicate.is_conflict:
        return [
            (copy, "exact_duplicate", f"the same bytes as {original!r}", "keep one of them")
            for copy in duplicate.paths[1:]
        ]
    labelled = ", ".join(
        f"{path!r} as {name!r}"
        for path, name in zip(duplicate.paths, duplicate.labels, strict=True)
    )
    advice = "find out which label is right, and keep one of them"
    first = (original, "label_conflict", f"the same bytes are labelled {labelled}", advice)
    return [
        first,
        *(
            (
                copy,
                "label_conflict",
                f"the same bytes as {original!r}, labelled {label!r}; all: {labelled}",
                advice,
            )
            for copy in duplicate.paths[1:]
        ),
    ]


def _joined(words: tuple[str, ...]) -> str:
    return "; ".join(dict.fromkeys(words))
