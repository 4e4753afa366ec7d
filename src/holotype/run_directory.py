"""The run directory: names and one lock. Its contents are opaque to it.

runs/photos-1/
  recipe.yaml          everything that decides the run, resolved
  index.parquet        one row per image, with its split
  unseen.parquet       images of classes that were held out whole, where there are any
  train.log            what was said while it ran
  environment.json     versions, machine, command
  history.csv, .json   one row per epoch
  class_names.json     the classes, in the order of the probabilities
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from holotype.arguments import require_directory_place
from holotype.errors import NotARun, RunError, RunExists, RunLocked, did_you_mean
from holotype.files import read_json, reading, remove_path, write_text

LOCK = ".lock"
MAX_CLAIMS = 100  # of a directory that other processes make and remove at the same time


@dataclass(frozen=True)
class RunDirectory:
    """What one training left behind; every name in it is a property here."""

    path: Path

    @classmethod
    @contextmanager
    def claim(
        cls, path: str | Path, accept: "Callable[[RunDirectory], bool]" = lambda run: False
    ) -> "Iterator[RunDirectory]":
        """Make a run directory and hold it for this process, before any work is done for it.

        It is asked under the lock whether the directory is free, so that of two processes only one
        goes on. What is made here and has nothing in it at the end, as after a refusal, is removed.

        Args:
            accept: whether to take a directory that holds something, such as a run to resume.

        Raises:
            RunExists: there is something at this path already.
            RunLocked: another process holds it.
            RunError: it cannot be written.
        """
        require_directory_place(path)
        run = cls(Path(path))
        run._require_free(accept)  # no lock is put beside the files of a user
        made = [one for one in (run.path, *run.path.parents) if not one.exists()]
        try:
            with run._held():
                run._require_free(accept)
                for leftover in sorted(run.path.rglob(".tmp-*")):  # of killed processes
                    remove_path(leftover)
                yield run
        finally:
            with suppress(OSError):
                for empty in made:
                    empty.rmdir()

    def clear(self) -> None:
        """Remove all that it holds, but for the lock."""
        for entry in self.path.iterdir():
            if entry.name != LOCK:
                remove_path(entry)

    @contextmanager
    def create(self) -> Iterator[None]:
        """Make the directory within a run that is held, and hold it too.

        Raises:
            RunLocked: another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self.lock():
            yield

    def _require_free(self, accept: "Callable[[RunDirectory], bool]") -> None:
        if not os.path.lexists(self.path):
            return
        if not self.path.is_dir() or (_has_files(self.path) and not accept(self)):
            raise RunExists(
                f"{str(self.path)!r} already holds something; nothing is overwritten. "
                "Choose another --output, or remove it first."
            )

    @contextmanager
    def _held(self) -> Iterator[None]:
        """The directory, made if need be and locked; the lock of an empty one is removed."""
        with ExitStack() as held:
            for _ in range(MAX_CLAIMS):
                try:
                    self.path.mkdir(parents=True, exist_ok=True)
                    held.enter_context(self.lock())
                    break
                except FileNotFoundError:  # another process has just removed it as empty
                    continue
                except OSError as error:
                    reason = error.strerror or error
                    raise RunError(
                        f"{str(self.path)!r} cannot be written: {reason}. Choose another --output."
                    ) from None
            else:
                raise RunLocked(f"{str(self.path)!r} comes and goes; choose another --output.")
            try:
                yield
            finally:
                if not _has_files(self.path):
                    (self.path / LOCK).unlink(missing_ok=True)

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
    def unseen(self) -> Path:
        return self.path / "unseen.parquet"

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
    def class_names(self) -> Path:
        return self.path / "class_names.json"

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

    def duplicate_clusters(self) -> list[frozenset[str]]:
        """The copies that its audit verified, or that of the run whose stage or fold it is."""
        for audit in (self.audit, self.path.parent.parent / "audit"):
            if (file := audit / "audit.json").is_file():
                clusters = read_json(file).get("duplicate_clusters", [])
                with reading(file):
                    return [frozenset(map(str, paths)) for paths in clusters]
        return []

    @property
    def report(self) -> Path:
        return self.path / "report"

    @property
    def metrics(self) -> Path:
        """The scores of the report, for programs."""
        return self.report / "metrics.json"

    def require_metrics(self) -> Path:
        """
        Raises:
            NotARun: the run is not finished.
        """
        if not self.metrics.is_file():
            raise NotARun(
                f"{str(self.path)!r} is not finished: it has no {self.metrics.name}; go on with it "
                "by `holotype train DATA --output RUN --resume`."
            )
        return self.metrics

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

    @property
    def refit_checkpoints(self) -> Path:
        """Of the training on training and validation together; see `refit` in the recipe."""
        return self.checkpoints / "refit"

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
    """Whether there is more than a lock and what a killed process left half-written."""
    return any(
        entry.name != LOCK and not entry.name.startswith(".tmp-") for entry in directory.iterdir()
    )


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


@contextmanager
def claim_run(
    path: str | Path | None,
    name: str,
    accept: "Callable[[RunDirectory], bool]" = lambda run: False,
) -> Iterator[RunDirectory]:
    """Claim a run directory; see `RunDirectory.claim`.

    Args:
        path: as the user named it; None takes the first of `runs/NAME-1`, `-2`, … that is free, and
            that no other process takes meanwhile.
    """
    with ExitStack() as held:
        while True:
            try:
                run = held.enter_context(RunDirectory.claim(path or next_run_path(name), accept))
                break
            except (RunExists, RunLocked):
                if path is not None:
                    raise
        yield run


def next_run_path(data_name: str, root: Path = Path("runs")) -> Path:
    """`runs/NAME-1`, or the first number that is free."""
    number = 1
    while os.path.lexists(root / f"{data_name}-{number}"):
        number += 1
    return root / f"{data_name}-{number}"
