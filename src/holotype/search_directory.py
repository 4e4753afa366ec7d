"""The directory of a search: names, and one lock.

runs/photos-search-1/
  search.json          what is searched, and how; a later call must say the same
  base.yaml            the default recipe, which is trial 0
  index.parquet        one row per image, with its split
  train_val.parquet    the rows that trials see: no image of test is among them
  audit/               index.html, audit.json, issues.csv
  trials/0000/ …       a run each, and how it came to be: asked.json, epochs.json, trial.json
  trials.csv           one row per trial
  best.yaml            the recipe of the winner
  best/                the winner as a run, test included
  report/              index.html, report.json and its figures
  jobs/                the processes that trained
  search.log           what was said
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holotype.errors import NotARun
from holotype.files import read_json
from holotype.run_directory import RunDirectory


@dataclass(frozen=True)
class SearchDirectory:
    """What a search left behind; every name in it is a property here."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "search.json"

    @property
    def base(self) -> Path:
        return self.path / "base.yaml"

    @property
    def index(self) -> Path:
        return self.path / "index.parquet"

    @property
    def train_val(self) -> Path:
        return self.path / "train_val.parquet"

    @property
    def audit(self) -> Path:
        return self.path / "audit"

    @property
    def trials(self) -> Path:
        return self.path / "trials"

    @property
    def table(self) -> Path:
        return self.path / "trials.csv"

    @property
    def best_recipe(self) -> Path:
        return self.path / "best.yaml"

    @property
    def best(self) -> RunDirectory:
        return RunDirectory(self.path / "best")

    @property
    def report(self) -> Path:
        return self.path / "report"

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    @property
    def log(self) -> Path:
        return self.path / "search.log"

    def trial(self, number: int) -> "TrialDirectory":
        return TrialDirectory(self.trials / f"{number:04d}", number)

    def read_settings(self) -> dict[str, Any]:
        """
        Raises:
            NotARun: there is no search at this path.
        """
        if not self.settings.is_file():
            raise NotARun(
                f"{str(self.path)!r} is no search: expected a directory with search.json in it, "
                "as `holotype tune DATA --output SEARCH` makes."
            )
        return read_json(self.settings)


@dataclass(frozen=True)
class TrialDirectory:
    """One trial: a run, and three files more."""

    path: Path
    number: int

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(self.path)

    @property
    def asked(self) -> Path:
        """What was drawn, before it is tried."""
        return self.path / "asked.json"

    @property
    def epochs(self) -> Path:
        """Validation accuracy at the end of every epoch so far."""
        return self.path / "epochs.json"

    @property
    def record(self) -> Path:
        """How it ended, written last."""
        return self.path / "trial.json"
