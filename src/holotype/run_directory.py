"""The run directory: names and one lock. Its contents are opaque to it.

runs/photos-1/
  recipe.yaml          everything that decides the run, resolved
  index.parquet        one row per image, with its split
  train.log            what was said while it ran
  environment.json     versions, machine, command
  history.csv          one row per epoch
  checkpoints/         what is needed to go on
  bundle/              the classifier that ships
  predictions/         val.parquet, test.parquet; oof.parquet of folds
  audit/               index.html, audit.json, issues.csv
  report/              index.html, metrics.json, images
  MODEL_CARD.md        what it is, what it was measured on and where it ends, for whoever gets it
  folds/<number>/      with --folds: the run that was tested on the images of that fold
  stages/<name>/       where there are several: the best of each, a run of its own, RUN@NAME
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from holotype.errors import NotARun, RunExists, RunLocked, did_you_mean
from holotype.files import write_text

LOCK = ".lock"


@dataclass(frozen=True)
class RunDirectory:
    """What one training left behind; every name in it is a property here."""

    path: Path

    @classmethod
    def new(cls, path: str | Path) -> "RunDirectory":
        """A run that does not exist yet; nothing is written before `create`.

        What a refusal left behind, no more than the lock, is free too.

        Raises:
            RunExists: there is something at this path already.
        """
        run = cls(Path(path))
        if run.path.exists() and (not run.path.is_dir() or _has_files(run.path)):
            raise RunExists(
                f"{str(run.path)!r} already holds something; nothing is overwritten. "
                "Choose another --output, or remove it first."
            )
        return run

    @contextmanager
    def create(self) -> Iterator[None]:
        """Make the directory and hold it for this process.

        Raises:
            RunLocked: another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self.lock():
            yield

    @classmethod
    def open(cls, path: str | Path) -> "RunDirectory":
        """An existing run directory.

        Raises:
            NotARun: there is no finished or unfinished run at this path.
        """
        run = cls(run_path(path))
        if not run.recipe.is_file():
            raise NotARun(
                f"{str(path)!r} is not a run: expected a directory with recipe.yaml in it, "
                "as `holotype train DATA --output RUN` makes."
            )
        return run

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    def write_recipe(self, text: str) -> None:
        write_text(self.recipe, text)

    @property
    def index(self) -> Path:
        return self.path / "index.parquet"

    @property
    def log(self) -> Path:
        return self.path / "train.log"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def history(self) -> Path:
        return self.path / "history.csv"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def bundle(self) -> Path:
        return self.path / "bundle"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    @property
    def audit(self) -> Path:
        return self.path / "audit"

    @property
    def report(self) -> Path:
        return self.path / "report"

    @property
    def card(self) -> Path:
        return self.path / "MODEL_CARD.md"

    @property
    def folds(self) -> Path:
        return self.path / "folds"

    @property
    def root_run(self) -> "RunDirectory":
        """The run that this stage belongs to; a run that is no stage is whole itself."""
        return RunDirectory(self.path.parent.parent) if self.path.parent.name == "stages" else self

    def fold(self, number: int) -> "RunDirectory":
        """The run that was tested on the images of one fold."""
        return RunDirectory(self.folds / str(number))

    @property
    def stages(self) -> Path:
        return self.path / "stages"

    def stage(self, name: str) -> "RunDirectory":
        """The run that a stage of this one left, written `RUN@NAME` on the command line."""
        return RunDirectory(self.stages / name)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process.

        Raises:
            RunLocked: another process holds it.
        """
        import filelock

        lock = filelock.FileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise RunLocked(
                f"{str(self.path)!r} is being written by another process; "
                "wait for it to end, or choose another --output."
            ) from None
        try:
            yield
        finally:
            lock.release()


def _has_files(directory: Path) -> bool:
    return any(entry.name != LOCK for entry in directory.iterdir())


def run_path(path: str | os.PathLike[str]) -> Path:
    """Where a run lies: the path itself, and for `RUN@NAME` what the stage of that name left.

    Raises:
        NotARun: the run has no stage of this name.
    """
    run, at, name = os.fspath(path).rpartition("@")
    if not at or Path(path).exists() or not RunDirectory(Path(run)).recipe.is_file():
        return Path(path)
    stages = RunDirectory(Path(run)).stages
    known = sorted(folder.name for folder in stages.iterdir()) if stages.is_dir() else []
    if name not in known:
        has = f"Its stages: {', '.join(known)}." if known else "It trained in one stage."
        raise NotARun(f"{run!r} has no stage called {name!r}{did_you_mean(name, known)} {has}")
    return RunDirectory(Path(run)).stage(name).path


def next_run_path(data_name: str, root: Path = Path("runs")) -> Path:
    """`runs/NAME-1`, or the first number that is free."""
    number = 1
    while (root / f"{data_name}-{number}").exists():
        number += 1
    return root / f"{data_name}-{number}"
