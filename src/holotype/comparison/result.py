"""What a comparison found, and the tables that every form of it is written from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from holotype.comparison.bootstrap import METRICS
from holotype.comparison.cost import RunCost, pareto_front
from holotype.comparison.disagreements import Agreement, Disagreement, agreement
from holotype.comparison.leaderboard import SIGNIFICANCE_LEVEL, Leaderboard
from holotype.comparison.per_class import (
    PRECISION_GAP,
    RECALL_GAP,
    Gap,
    compare_classes,
    confused_pairs,
    strengths,
    weaknesses,
)
from holotype.comparison.selection import Selection


@dataclass(frozen=True)
class Candidate:
    """One run.

    Attributes:
        name: unlike that of the others.
        path: of the run, as it was given or found.
        model: the architecture.
        data: what its images are called.
        bundle: the directory of the classifier; None where there is none.
        bundle_sha256: its identity; "" where there is none.
        cost: what it costs.
    """

    name: str
    path: Path
    model: str
    data: str
    bundle: Path | None
    bundle_sha256: str
    cost: RunCost


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything that was found; each form of it says the same.

    Attributes:
        candidates: in the order they were given.
        leaderboards: by part; the one to read first stands first. Runs without predictions of a
            part are missing in its leaderboard.
        notes: what was left out and why, as sentences.
        measured_on: what speed, latency and memory were measured on, or why they were not.
        disagreements: images of the first leaderboard.
        selection: by `--select`; None where none was asked for.
        recall_gap, precision_gap: from where on a class is a weakness, as fractions.
    """

    candidates: tuple[Candidate, ...]
    leaderboards: Mapping[str, Leaderboard]
    notes: tuple[str, ...]
    measured_on: str
    disagreements: tuple[Disagreement, ...]
    selection: Selection | None = None
    recall_gap: float = RECALL_GAP
    precision_gap: float = PRECISION_GAP

    @property
    def main(self) -> Leaderboard:
        """The leaderboard to read first."""
        return next(iter(self.leaderboards.values()))

    @property
    def title(self) -> str:
        data = list(dict.fromkeys(candidate.data for candidate in self.candidates))
        return f"Comparison on {', '.join(data[:3])}{', …' if len(data) > 3 else ''}"

    @cached_property
    def by_name(self) -> Mapping[str, Candidate]:
        return {candidate.name: candidate for candidate in self.candidates}

    def candidate(self, leaderboard: Leaderboard, number: int) -> Candidate:
        """Who has this number in a leaderboard."""
        return self.by_name[leaderboard.names[number]]

    @cached_property
    def weaknesses(self) -> Sequence[Gap]:
        return weaknesses(self.main, recall_gap=self.recall_gap, precision_gap=self.precision_gap)

    @cached_property
    def strengths(self) -> Sequence[Gap]:
        return strengths(self.main, recall_gap=self.recall_gap, precision_gap=self.precision_gap)

    @property
    def agreement(self) -> Agreement:
        return agreement(self.main.aligned)

    @property
    def selection_leaderboard(self) -> Leaderboard:
        """What a choice is made on: validation, else out of fold, else what there is."""
        return next(
            (self.leaderboards[part] for part in ("val", "oof") if part in self.leaderboards),
            self.main,
        )

    @cached_property
    def pareto_front(self) -> list[str]:
        """Names of those that no other beats in accuracy and speed at once, as validation says."""
        judged = self.selection_leaderboard
        speeds = {
            number: -speed
            for number in range(len(judged.aligned))
            if (speed := self.candidate(judged, number).cost.images_per_second) is not None
        }
        quality = {number: judged.accuracy(number) for number in speeds}
        return [judged.names[number] for number in pareto_front(quality, speeds)]

    @property
    def chosen(self) -> Candidate | None:
        if self.selection is None:
            return None
        return self.candidate(self.leaderboards[self.selection.part], self.selection.chosen)

    def to_json(self) -> dict[str, Any]:
        """As comparison.json holds it: numbers are finite or null."""
        return {
            "title": self.title,
            "summary": self.main.summary(),
            "notes": list(self.notes),
            "measured_on": self.measured_on,
            "runs": {
                one.name: {
                    "path": one.path.as_posix(),
                    "model": one.model,
                    "data": one.data,
                    "bundle_sha256": one.bundle_sha256,
                    **one.cost.to_json(),
                    "on_the_pareto_front": one.name in self.pareto_front,
                }
                for one in self.candidates
            },
            "parts": {part: self._part_json(of) for part, of in self.leaderboards.items()},
            "classes": self._classes_json(),
            "strengths": [self._gap_json(gap) for gap in self.strengths],
            "weaknesses": [self._gap_json(gap) for gap in self.weaknesses],
            "confusions": {
                name: self._confusions_json(number) for number, name in enumerate(self.main.names)
            },
            "agreement": vars(self.agreement),
            "disagreements": [
                {"id": one.id, "true_class": one.true_class, "votes": one.votes}
                for one in self.disagreements
            ],
            "selected": None if self.chosen is None else self.chosen.name,
        }

    def _part_json(self, of: Leaderboard) -> dict[str, Any]:
        names = of.names
        return {
            "num_images": of.num_images,
            "num_groups": of.num_groups,
            "caveats": list(of.caveats),
            "leaderboard": [
                {
                    "run": names[number],
                    "rank": list(of.ranks[number]),
                    "accuracy": of.accuracies[number].to_json(),
                    **{name: _score_json(of, name, number) for name in METRICS},
                }
                for number in of.order
            ],
            "overall": None if of.overall is None else vars(of.overall),
            "pairs": [
                {
                    "first": names[test.first],
                    "second": names[test.second],
                    **{key: getattr(test, key) for key in ("difference", "low", "high")},
                    "p_value": test.p_value,
                    "p_value_holm": test.adjusted_p_value,
                    "significant": test.adjusted_p_value < SIGNIFICANCE_LEVEL,
                    "method": test.method,
                }
                for test in of.tests
            ],
        }

    def _classes_json(self) -> list[dict[str, Any]]:
        main = self.main
        return [
            {
                "class": main.aligned.classes[of.class_number],
                "support": of.support,
                "best": [main.names[number] for number in of.best],
                "worst": [main.names[number] for number in of.worst],
                "recall": {
                    name: scores[of.class_number].recall.to_json()
                    for name, scores in zip(main.names, main.per_class, strict=True)
                },
                "precision": {
                    name: scores[of.class_number].precision.to_json()
                    for name, scores in zip(main.names, main.per_class, strict=True)
                },
            }
            for of in compare_classes(main)
        ]

    def _gap_json(self, gap: Gap) -> dict[str, Any]:
        main = self.main
        return {
            "run": main.names[gap.classifier],
            "class": main.aligned.classes[gap.class_number],
            "score": gap.score,
            "value": gap.value,
            "best": gap.best,
            "best_run": main.names[gap.best_classifier],
        }

    def _confusions_json(self, number: int) -> list[dict[str, Any]]:
        classes = self.main.aligned.classes
        return [
            {
                "true": classes[pair.true_class],
                "predicted_class": classes[pair.predicted_class],
                "weight": pair.weight,
                "share": pair.share,
            }
            for pair in confused_pairs(self.main, number)
        ]


def _score_json(of: Leaderboard, name: str, number: int) -> dict[str, Any]:
    scores = of.scores[name]
    difference_to_best = scores.difference_to_best[number]
    return {
        "value": scores.values[number],
        "difference_to_best": None if difference_to_best is None else vars(difference_to_best),
        "method": scores.method,
    }
