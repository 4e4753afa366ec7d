"""The directory of a retraining: each step leaves a file, and what is there is not done again.

retrained/cells-1/
  retraining.json      the champion, and what was asked for; written first
  labels.csv, images/  the labels that came back, and copies of their images
  placement.json       where each new image stands, and what was left out
  label_check.json     what was found among the new labels; label_issues.csv names the suspected
  NAME.parquet         old and new images with their parts: what the candidate trains on
  fresh.parquet        the random images with a label, which train nothing
  recipe.yaml          of the champion
  run/                 the candidate, an ordinary run
  jobs/                the process that trained it, and its log
  old_test.csv, fresh.csv   what champion and candidate say of every image they are judged on
  decision.json        the two comparisons
  result.json          how it ended; written last
"""

from dataclasses import dataclass
from pathlib import Path

from holotype.run_directory import RunDirectory

RETRAINING = "retraining.json"


@dataclass(frozen=True)
class RetrainingDirectory:
    """The names of its files."""

    path: Path

    @property
    def request(self) -> Path:
        return self.path / RETRAINING

    @property
    def labels(self) -> Path:
        return self.path / "labels.csv"

    @property
    def images(self) -> Path:
        return self.path / "images"

    @property
    def placement(self) -> Path:
        return self.path / "placement.json"

    @property
    def label_check(self) -> Path:
        return self.path / "label_check.json"

    @property
    def label_issues(self) -> Path:
        return self.path / "label_issues.csv"

    def data(self, name: str) -> Path:
        """What the candidate trains on; the file gives the classifier its name."""
        return self.path / f"{name}.parquet"

    @property
    def fresh(self) -> Path:
        return self.path / "fresh.parquet"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(self.path / "run")

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    def answers(self, part: str) -> Path:
        """Of the part `old_test` or `fresh`."""
        return self.path / f"{part}.csv"

    @property
    def decision(self) -> Path:
        return self.path / "decision.json"

    @property
    def result(self) -> Path:
        return self.path / "result.json"
