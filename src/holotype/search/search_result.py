"""A search as a value: its trials, its winner, and what the lead is worth."""

import os
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.evaluation.build_report import build_report
from holotype.evaluation.intervals import Estimate
from holotype.evaluation.report_data import Report
from holotype.notebook import data_frame, html_result, html_table
from holotype.pipeline.run import Run
from holotype.predictions import read_predictions
from holotype.search.bias_correction import CorrectedWinner, correct_winner
from holotype.search.search_space import SearchSpace
from holotype.search.trial_record import TrialRecord, best_record
from holotype.search_directory import SearchDirectory
from holotype.text_tables import MAX_COLUMNS, MAX_LINES, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

SHOWN_TRIALS = 8
HEADER = ("trial", "state", "accuracy", "log loss", "what was drawn")


@dataclass(frozen=True, eq=False, repr=False)
class Search(os.PathLike[str]):
    """What `tune` found.

    Attributes:
        path: the directory of the search.
        records: one of every trial; number 0 is the default recipe.
        space: what was drawn from.
        validation: the winner's accuracy on validation, which chose it.
        corrected: the same after correcting for the choice; None where there was none.
    """

    path: Path
    records: tuple[TrialRecord, ...]
    space: SearchSpace
    validation: Estimate
    corrected: CorrectedWinner | None

    @property
    def files(self) -> SearchDirectory:
        return SearchDirectory(self.path)

    @property
    def winner(self) -> TrialRecord:
        """The best trial, by accuracy on validation."""
        best = best_record(self.records)
        assert best is not None
        return best

    @property
    def best_recipe(self) -> Path:
        """`best.yaml`, which `train --recipe` takes."""
        return self.files.best_recipe

    @property
    def run(self) -> Run:
        """The winner as a run, test included.

        Raises:
            NotARun: the search has not come so far.
        """
        return Run(self.files.best.path)

    @property
    def counts(self) -> dict[str, int]:
        """The number of trials by state."""
        states = [record.state for record in self.records]
        return {state: states.count(state) for state in dict.fromkeys(states)}

    def summary(self) -> str:
        """The honest paragraph: score, what is left of the lead, and the test score."""
        winner, default = self.winner, self.records[0]
        complete = self.counts["complete"]
        words = [
            f"Trial {winner.number} is the best of {complete} by accuracy on validation: "
            f"{self.validation}."
        ]
        if self.corrected is None:
            words.append("Nothing was chosen among, so nothing is corrected.")
        else:
            words += self._corrected_words(winner, default)
        words.append(self._test_words())
        return " ".join(words)

    def _corrected_words(self, winner: TrialRecord, default: TrialRecord) -> list[str]:
        assert self.corrected is not None
        found, lead = self.corrected, self.corrected.lead
        words = [
            f"Chosen among {found.num_trials}, some of that is luck: corrected for the choice it "
            f"is {found.accuracy}."
        ]
        if winner.number == 0:
            words.append("It is the default recipe: no trial beat it.")
        elif lead is not None and winner.accuracy is not None and default.accuracy is not None:
            raw = winner.accuracy - default.accuracy
            told = (
                "which cannot be told from none"
                if lead.low <= 0
                else "which is more than luck explains"
            )
            words.append(
                f"Of its lead of {raw:+.3f} over the default recipe {lead.value:+.3f} "
                f"[{lead.low:+.3f}, {lead.high:+.3f}] is left, {told}."
            )
        return words

    def _test_words(self) -> str:
        report = self.test
        if report is None:
            return "It has not been trained as a run yet, and test was not read."
        if report.part != "test":
            return "There is no test part, so nothing is said of images that chose nothing."
        count = f"{report.num_images:,} images"
        return f"On test, read once, on {count}: {report['accuracy']}."

    @property
    def test(self) -> Report | None:
        """The winner's report; None before it is trained as a run."""
        if not (self.files.best.report / "index.html").is_file():
            return None
        return self.run.report

    def rows(self) -> list[tuple[str, ...]]:
        """The best trials, from the best."""
        searched = {row.key for row in self.space.searched}
        return [
            (
                str(record.number), record.state, _fixed(record.accuracy), _fixed(record.log_loss),
                record.reason or _drawn(record, searched) or "the default recipe",
            )
            for record in sorted(self.records, key=lambda one: one.rank)
        ]  # fmt: skip

    def to_frame(self) -> "pd.DataFrame":
        """One row per trial: number, state, accuracy, log_loss, seconds, and every key drawn."""
        keys = dict.fromkeys(row.key for row in self.space.searched)
        columns: dict[str, list[Any]] = {
            name: [getattr(record, name) for record in self.records]
            for name in ("number", "state", "accuracy", "log_loss", "seconds", "reason")
        }
        columns |= {key: [record.params.get(key) for record in self.records] for key in keys}
        return data_frame(columns)

    def to_json(self) -> dict[str, Any]:
        test = self.test
        return {
            "search": str(self.path),
            "best_recipe": str(self.best_recipe),
            "run": str(self.files.best.path),
            "trials": self.counts,
            "winner": asdict(self.winner),
            "default": asdict(self.records[0]),
            "validation": self.validation.to_json(),
            "corrected": None if self.corrected is None else asdict(self.corrected),
            "test": None if test is None else test["accuracy"].to_json(),
            "summary": self.summary(),
        }

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        told = textwrap.wrap(self.summary(), MAX_COLUMNS)
        left = MAX_LINES - 4 - len(told)  # title, header, rule and "… more"
        table = text_table(HEADER, self.rows(), max_rows=max(1, left))
        return short_text(f"Search {self.path}", "\n".join(told), table)

    def _repr_html_(self) -> str:
        table = html_table(HEADER, self.rows()[:SHOWN_TRIALS])
        return html_result(f"Search {self.path}", table, notes=[self.summary()])


def judge(search: SearchDirectory, records: Sequence[TrialRecord], space: SearchSpace) -> Search:
    """The result of a search with at least one complete trial."""
    complete = [record for record in records if record.state == "complete"]
    files = [search.trial(record.number).run.predictions / "val.parquet" for record in complete]
    predictions = [read_predictions(file).scorable() for file in files]
    best = min(range(len(complete)), key=lambda position: complete[position].rank)
    validation = build_report(predictions[best], part="val")["accuracy"]
    corrected = None
    if len(complete) > 1:
        corrected = correct_winner(predictions, 0 if complete[0].number == 0 else None)
    return Search(search.path, tuple(records), space, validation, corrected)


def _fixed(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _drawn(record: TrialRecord, searched: set[str]) -> str:
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in record.params.items()
        if key in searched
    )
