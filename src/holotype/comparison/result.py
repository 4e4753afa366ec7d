"""The result of a comparison, as values, as comparison.json and as rows of the CSV files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.comparison.bootstrap import ACCURACY, METRICS
from holotype.comparison.cost import RunCost, pareto_front
from holotype.comparison.disagreements import Agreement, Disagreement, agreement
from holotype.comparison.leaderboard import Leaderboard
from holotype.comparison.per_class import (
    PRECISION_GAP,
    RECALL_GAP,
    Gap,
    compare_classes,
    confused_pairs,
    strengths,
    weaknesses,
)
from holotype.comparison.retrieval.search_comparison import SEARCH_HEADER, SearchComparison
from holotype.comparison.selection import Selection
from holotype.evaluation.intervals import Estimate
from holotype.notebook import data_frame, html_result, html_table
from holotype.text_tables import TEXT_ROWS, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

LEADERBOARD_HEADER = ("rank", "run", "accuracy", "log loss")


@dataclass(frozen=True)
class Candidate:
    """One run of a comparison.

    Attributes:
        name: unique in the comparison.
        path: of the run, as it was given or found.
        model: the architecture.
        data: the name of its data set.
        bundle: the directory of the classifier; None where there is none.
        bundle_sha256: its hash; "" where there is none.
        cost: size, training time and speed.
    """

    name: str
    path: Path
    model: str
    data: str
    bundle: Path | None
    bundle_sha256: str
    cost: RunCost

    def __fspath__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Several runs, compared on the same images.

    Attributes:
        candidates: the runs, in the order in which they were given.
        leaderboards: by part, the most important one first. Runs without predictions of a part are
            missing in its leaderboard.
        notes: what was left out and why, as sentences.
        measured_on: what speed, latency and memory were measured on, or why they were not.
        disagreements: images of the first leaderboard on which the runs disagree.
        selection: the run chosen by `--select`; None without it.
        recall_gap, precision_gap: how far below the best a class is a weakness, as fractions.
        searches: with the embeddings, where a run was trained for them; else None.
    """

    candidates: tuple[Candidate, ...]
    leaderboards: Mapping[str, Leaderboard]
    notes: tuple[str, ...]
    measured_on: str
    disagreements: tuple[Disagreement, ...]
    selection: Selection | None = None
    recall_gap: float = RECALL_GAP
    precision_gap: float = PRECISION_GAP
    searches: SearchComparison | None = None

    @property
    def main(self) -> Leaderboard:
        """The first leaderboard: on test where there is one."""
        return next(iter(self.leaderboards.values()))

    @property
    def title(self) -> str:
        data = list(dict.fromkeys(candidate.data for candidate in self.candidates))
        return f"Comparison on {', '.join(data[:3])}{', …' if len(data) > 3 else ''}"

    @cached_property
    def by_name(self) -> Mapping[str, Candidate]:
        return {candidate.name: candidate for candidate in self.candidates}

    def candidate(self, leaderboard: Leaderboard, number: int) -> Candidate:
        """The run with this number in a leaderboard."""
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
        """The leaderboard for choices: validation, else out of fold, else the first."""
        return next(
            (self.leaderboards[part] for part in ("val", "oof") if part in self.leaderboards),
            self.main,
        )

    @cached_property
    def pareto_front(self) -> list[str]:
        """Names of the runs that no other beats in both accuracy (on validation) and speed."""
        leaderboard = self.selection_leaderboard
        seconds = {
            number: -speed
            for number in range(len(leaderboard))
            if (speed := self.candidate(leaderboard, number).cost.images_per_second) is not None
        }
        quality = {number: leaderboard.accuracy(number) for number in seconds}
        return [leaderboard.names[number] for number in pareto_front(quality, seconds)]

    @property
    def selected(self) -> Candidate | None:
        """The run that the selection rule chose; `load` takes it. None without a rule."""
        if self.selection is None:
            return None
        return self.candidate(self.leaderboards[self.selection.part], self.selection.chosen)

    def selection_sentence(self) -> str:
        """Which run the rule chose; "" without a rule."""
        if self.selection is None or self.selected is None:
            return ""
        part = self.leaderboards[self.selection.part].title.lower()
        eligible = len(self.selection.eligible)
        return (
            f"Selected on {part} by “{self.selection.rule.text}”: {self.selected.name}"
            f"{f', of {eligible} eligible runs' if eligible > 1 else ''}."
            + "".join(
                f" {name} was passed over: {reason}."
                for name, reason in self.selection.passed_over.items()
            )
        )

    def to_frame(self) -> "pd.DataFrame":
        """The rows of comparison.csv: one for each run and part, the best of a part first."""
        return _frame(self.records())

    @property
    def per_class(self) -> "pd.DataFrame":
        """The rows of per_class.csv: one for each class and run."""
        return _frame(self.class_records())

    def rows(self, leaderboard: Leaderboard) -> list[tuple[str, str, str, float | None]]:
        """Rank, run, accuracy with its interval, and log loss; the best run first."""
        log_losses = leaderboard.scores["log_loss"].values
        return [
            (
                leaderboard.rank_text(number),
                leaderboard.names[number],
                str(leaderboard.accuracies[number]),
                log_losses[number],
            )
            for number in leaderboard.order
        ]

    def __repr__(self) -> str:
        table = text_table(LEADERBOARD_HEADER, self.rows(self.main), max_rows=TEXT_ROWS - 1)
        return short_text(f"{self.title}: {self.main.title}", table, self.selection_sentence())

    def _repr_html_(self) -> str:
        tables = [
            html_table(LEADERBOARD_HEADER, self.rows(board), caption=board.title)
            for board in self.leaderboards.values()
        ]
        if self.searches is not None:
            caption = self.searches.title
            tables.append(html_table(SEARCH_HEADER, self.searches.rows(), caption=caption))
        notes = (self.main.summary(), self.selection_sentence(), *self.notes)
        return html_result(self.title, *tables, notes=[note for note in notes if note])

    def records(self) -> list[dict[str, Any]]:
        """One row for each run and part, as in comparison.csv; None where unknown."""
        return [
            self._record(part, leaderboard, number)
            for part, leaderboard in self.leaderboards.items()
            for number in leaderboard.order
        ]

    def _record(self, part: str, leaderboard: Leaderboard, number: int) -> dict[str, Any]:
        run = self.candidate(leaderboard, number)
        differences = {ACCURACY: leaderboard.difference_to_best(number)}
        values = {}
        for name in METRICS:
            values[name] = leaderboard.scores[name].values[number]
            differences[name] = leaderboard.scores[name].difference_to_best[number]
        return {
            "part": part,
            "rank_best": leaderboard.ranks[number][0],
            "rank_worst": leaderboard.ranks[number][1],
            "run": run.name,
            "model": run.model,
            **_with_ends(ACCURACY, leaderboard.accuracies[number]),
            **values,
            "macro_recall": values["balanced_accuracy"],
            "weighted_recall": leaderboard.accuracy(number),
            **{
                f"{name}_difference_to_best{end}": getattr(difference, attribute, None)
                for name, difference in differences.items()
                for attribute, end in (("value", ""), ("low", "_low"), ("high", "_high"))
            },
            **run.cost.to_json(),
            "bundle_sha256": run.bundle_sha256,
        }

    def class_records(self) -> list[dict[str, Any]]:
        """One row for each class and run, as in per_class.csv; a score that is 0/0 is undefined."""
        weak = {(gap.classifier, gap.class_number, gap.score) for gap in self.weaknesses}
        strong = {(gap.classifier, gap.class_number, gap.score) for gap in self.strengths}
        records = []
        for compared in compare_classes(self.main):
            c = compared.class_number
            for number, name in enumerate(self.main.names):
                scores = self.main.per_class[number][c]
                records.append(
                    {
                        "class": scores.name,
                        "run": name,
                        "support": scores.support,
                        "predicted": scores.predicted,
                        **_with_ends("recall", scores.recall),
                        **_with_ends("precision", scores.precision),
                        "best_recall": number in compared.best,
                        "worst_recall": number in compared.worst,
                        "weak_recall": (number, c, "recall") in weak,
                        "weak_precision": (number, c, "precision") in weak,
                        "strong_recall": (number, c, "recall") in strong,
                        "strong_precision": (number, c, "precision") in strong,
                    }
                )
        return records

    def to_json(self) -> dict[str, Any]:
        """As comparison.json holds it: numbers are finite or null."""
        names = self.main.names
        return {
            "title": self.title,
            "summary": self.main.summary(),
            "notes": list(self.notes),
            "measured_on": self.measured_on,
            "runs": {
                run.name: {
                    "path": run.path.as_posix(),
                    "model": run.model,
                    "data": run.data,
                    "bundle_sha256": run.bundle_sha256,
                    **run.cost.to_json(),
                    "on_the_pareto_front": run.name in self.pareto_front,
                }
                for run in self.candidates
            },
            "parts": {
                part: _leaderboard_json(leaderboard)
                for part, leaderboard in self.leaderboards.items()
            },
            "searches": None if self.searches is None else self.searches.to_json(),
            "classes": _classes_json(self.main),
            "strengths": [_gap_json(self.main, gap) for gap in self.strengths],
            "weaknesses": [_gap_json(self.main, gap) for gap in self.weaknesses],
            "confusions": {
                name: _confusions_json(self.main, number) for number, name in enumerate(names)
            },
            "agreement": vars(self.agreement),
            "disagreements": [
                {"id": image.id, "true_class": image.true_class, "votes": image.votes}
                for image in self.disagreements
            ],
            "selected": None if self.selected is None else self.selected.name,
        }


def _frame(records: Sequence[dict[str, Any]]) -> "pd.DataFrame":
    """The records as rows; NaN where a value is None."""
    columns = {name: [row[name] for row in records] for name in records[0]}
    return data_frame(columns).fillna(float("nan"))


def _with_ends(name: str, estimate: Estimate) -> dict[str, float | str | None]:
    """A value and the ends of its interval."""
    value = "undefined" if estimate.value is None else estimate.value
    return {name: value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _leaderboard_json(leaderboard: Leaderboard) -> dict[str, Any]:
    names = leaderboard.names
    return {
        "num_images": leaderboard.num_images,
        "num_groups": leaderboard.num_groups,
        "caveats": list(leaderboard.caveats),
        "leaderboard": [
            {
                "run": names[number],
                "rank": list(leaderboard.ranks[number]),
                ACCURACY: leaderboard.accuracies[number].to_json(),
                **{name: _score_json(leaderboard, name, number) for name in METRICS},
            }
            for number in leaderboard.order
        ],
        "overall": None if leaderboard.overall is None else vars(leaderboard.overall),
        "pairs": [
            {
                "first": names[test.first],
                "second": names[test.second],
                "difference": test.difference,
                "low": test.low,
                "high": test.high,
                "p_value": test.p_value,
                "p_value_holm": test.adjusted_p_value,
                "significant": test.is_significant,
                "method": test.method,
            }
            for test in leaderboard.tests
        ],
    }


def _score_json(leaderboard: Leaderboard, name: str, number: int) -> dict[str, Any]:
    scores = leaderboard.scores[name]
    difference = scores.difference_to_best[number]
    return {
        "value": scores.values[number],
        "difference_to_best": None if difference is None else vars(difference),
        "method": scores.method,
    }


def _classes_json(main: Leaderboard) -> list[dict[str, Any]]:
    return [
        {
            "class": main.aligned.classes[compared.class_number],
            "support": compared.support,
            "best": [main.names[number] for number in compared.best],
            "worst": [main.names[number] for number in compared.worst],
            **{
                score: {
                    name: getattr(scores[compared.class_number], score).to_json()
                    for name, scores in zip(main.names, main.per_class, strict=True)
                }
                for score in ("recall", "precision")
            },
        }
        for compared in compare_classes(main)
    ]


def _gap_json(main: Leaderboard, gap: Gap) -> dict[str, Any]:
    return {
        "run": main.names[gap.classifier],
        "class": main.aligned.classes[gap.class_number],
        "score": gap.score,
        "value": gap.value,
        "best": gap.best,
        "best_run": main.names[gap.best_classifier],
    }


def _confusions_json(main: Leaderboard, number: int) -> list[dict[str, Any]]:
    classes = main.aligned.classes
    return [
        {
            "true": classes[pair.true_class],
            "predicted_class": classes[pair.predicted_class],
            "weight": pair.weight,
            "share": pair.share,
        }
        for pair in confused_pairs(main, number)
    ]
