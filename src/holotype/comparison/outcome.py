"""What a comparison found, and the tables that every form of it is written from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from holotype.comparison.cost import Cost, pareto
from holotype.comparison.disagreements import Agreement, Disagreement, agreement
from holotype.comparison.resampled import METRICS
from holotype.comparison.selection import Choice
from holotype.comparison.standing import LEVEL, Standing
from holotype.comparison.strengths import (
    PRECISION_GAP,
    RECALL_GAP,
    Gap,
    by_class,
    confused_pairs,
    strengths,
    weaknesses,
)


@dataclass(frozen=True)
class Contestant:
    """One run.

    Attributes:
        name: unlike that of the others.
        path: of the run, as it was given or found.
        model: the architecture.
        data: what its pictures are called.
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
    cost: Cost


@dataclass(frozen=True, eq=False)
class Outcome:
    """Everything that was found; each form of it says the same.

    Attributes:
        contestants: in the order they were given.
        standings: by part; the one to read first stands first. Runs without predictions of a
            part are missing in its standing.
        notes: what was left out and why, as sentences.
        measured_on: what speed, latency and memory were measured on, or why they were not.
        disagreements: pictures of the first standing.
        choice: by `--select`; None where none was asked for.
        recall_gap, precision_gap: from where on a class is a weakness, as fractions.
    """

    contestants: tuple[Contestant, ...]
    standings: Mapping[str, Standing]
    notes: tuple[str, ...]
    measured_on: str
    disagreements: tuple[Disagreement, ...]
    choice: Choice | None = None
    recall_gap: float = RECALL_GAP
    precision_gap: float = PRECISION_GAP

    @property
    def main(self) -> Standing:
        """The standing to read first."""
        return next(iter(self.standings.values()))

    @property
    def title(self) -> str:
        data = list(dict.fromkeys(contestant.data for contestant in self.contestants))
        return f"Comparison on {', '.join(data[:3])}{', …' if len(data) > 3 else ''}"

    @cached_property
    def by_name(self) -> Mapping[str, Contestant]:
        return {contestant.name: contestant for contestant in self.contestants}

    def contestant(self, standing: Standing, number: int) -> Contestant:
        """Who has this number in a standing."""
        return self.by_name[standing.names[number]]

    @cached_property
    def weaknesses(self) -> Sequence[Gap]:
        return weaknesses(self.main, recall_gap=self.recall_gap, precision_gap=self.precision_gap)

    @cached_property
    def strengths(self) -> Sequence[Gap]:
        return strengths(self.main, recall_gap=self.recall_gap, precision_gap=self.precision_gap)

    @property
    def agreement(self) -> Agreement:
        return agreement(self.main.answers)

    @property
    def judged_on(self) -> Standing:
        """What a choice is made on: validation, else out of fold, else what there is."""
        return next(
            (self.standings[part] for part in ("val", "oof") if part in self.standings), self.main
        )

    @cached_property
    def front(self) -> list[str]:
        """Names of those that no other beats in accuracy and speed at once, as validation says."""
        judged = self.judged_on
        speeds = {
            number: -speed
            for number in range(len(judged.answers))
            if (speed := self.contestant(judged, number).cost.images_per_second) is not None
        }
        quality = {number: judged.accuracy(number) for number in speeds}
        return [judged.names[number] for number in pareto(quality, speeds)]

    @property
    def chosen(self) -> Contestant | None:
        if self.choice is None:
            return None
        return self.contestant(self.standings[self.choice.part], self.choice.chosen)

    def to_json(self) -> dict[str, Any]:
        """As comparison.json holds it: numbers are finite or null."""
        return {
            "title": self.title,
            "verdict": self.main.verdict(),
            "notes": list(self.notes),
            "measured_on": self.measured_on,
            "runs": {
                one.name: {
                    "path": one.path.as_posix(),
                    "model": one.model,
                    "data": one.data,
                    "bundle_sha256": one.bundle_sha256,
                    **one.cost.to_json(),
                    "on_the_pareto_front": one.name in self.front,
                }
                for one in self.contestants
            },
            "parts": {part: self._part_json(of) for part, of in self.standings.items()},
            "classes": self._classes_json(),
            "strengths": [self._gap_json(gap) for gap in self.strengths],
            "weaknesses": [self._gap_json(gap) for gap in self.weaknesses],
            "confusions": {
                name: self._confusions_json(number) for number, name in enumerate(self.main.names)
            },
            "agreement": vars(self.agreement),
            "disagreements": [
                {"id": one.id, "true_class": one.true_class, "said": one.said}
                for one in self.disagreements
            ],
            "selected": None if self.chosen is None else self.chosen.name,
        }

    def _part_json(self, of: Standing) -> dict[str, Any]:
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
                    "p_value_holm": test.adjusted,
                    "differ": test.adjusted < LEVEL,
                    "method": test.method,
                }
                for test in of.tests
            ],
        }

    def _classes_json(self) -> list[dict[str, Any]]:
        main = self.main
        return [
            {
                "class": main.answers.classes[of.class_number],
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
            for of in by_class(main)
        ]

    def _gap_json(self, gap: Gap) -> dict[str, Any]:
        main = self.main
        return {
            "run": main.names[gap.classifier],
            "class": main.answers.classes[gap.class_number],
            "score": gap.score,
            "value": gap.value,
            "best": gap.best,
            "holder": main.names[gap.holder],
        }

    def _confusions_json(self, number: int) -> list[dict[str, Any]]:
        classes = self.main.answers.classes
        return [
            {
                "true": classes[pair.true_class],
                "called": classes[pair.called],
                "weight": pair.weight,
                "share": pair.share,
            }
            for pair in confused_pairs(self.main, number)
        ]


def _score_json(of: Standing, name: str, number: int) -> dict[str, Any]:
    scores = of.scores[name]
    to_best = scores.to_best[number]
    return {
        "value": scores.values[number],
        "to_best": None if to_best is None else vars(to_best),
        "method": scores.method,
    }
