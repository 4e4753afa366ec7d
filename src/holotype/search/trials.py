"""The trials of a search, batch by batch: those on record are replayed, the others run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from holotype.errors import HolotypeError
from holotype.files import read_json, reading, write_json
from holotype.search.asking import Asker
from holotype.search.median_pruning import thresholds
from holotype.search.search_space import SearchSpace
from holotype.search.trial_recipe import trial_recipe
from holotype.search.trial_record import TrialRecord, best_record, read_record, write_table
from holotype.search_directory import SearchDirectory, TrialDirectory
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import resolve_recipe
from holotype.training.config.yaml_files import parse_yaml


@dataclass(frozen=True, eq=False)
class Asked:
    """A trial before it is run.

    Attributes:
        number: of the trial; 0 is the default recipe.
        params: as drawn.
        recipe: resolved.
        thresholds: of accuracy at the end of every epoch, below which it is pruned.
    """

    number: int
    params: Mapping[str, Any]
    recipe: Recipe
    thresholds: Sequence[float] = ()

    def write(self, directory: TrialDirectory) -> None:
        write_json(
            directory.asked,
            {
                "params": self.params,
                "thresholds": list(self.thresholds),
                "recipe": self.recipe.to_yaml(),
            },
        )


def read_asked(directory: TrialDirectory) -> Asked:
    """What `Asked.write` wrote."""
    found = read_json(directory.asked)
    with reading(directory.asked):
        fields = parse_yaml(found["recipe"], str(directory.asked))
        recipe = resolve_recipe(fields, model=fields["model"])
        return Asked(directory.number, found["params"], recipe, found["thresholds"])


class TrialRunner(Protocol):
    """Runs the trials of a batch at once."""

    def run(self, asked: Sequence[Asked]) -> None:
        """Returns when the record of each is written."""


@dataclass(frozen=True, eq=False)
class TrialLoop:
    """The coordinator's loop.

    Attributes:
        search: where the trials are.
        base: the default recipe.
        space: what is drawn from.
        seed: of what is asked.
        jobs: trials of a batch.
        runner: runs them.
        on_batch: called with all records so far.
    """

    search: SearchDirectory
    base: Recipe
    space: SearchSpace
    seed: int
    jobs: int
    runner: TrialRunner
    on_batch: Callable[[Sequence[TrialRecord]], None] = lambda records: None

    def run(self, trials: int, seconds: float | None = None) -> list[TrialRecord]:
        """All records, of earlier calls too, in the order of their numbers.

        Args:
            trials: after so many beside the default recipe the search ends.
            seconds: or after so long, trials of earlier calls included; None for no limit. A batch
                that began is finished.
        """
        asker = Asker(self.space, self.seed, self.jobs)
        records = self._run_batch([Asked(0, {}, self.base)])
        spent = records[0].seconds
        batch = 0
        while len(records) <= trials and (seconds is None or spent < seconds):
            first = len(records)
            numbers = range(first, min(first + self.jobs, trials + 1))
            found = self._recorded(numbers)
            is_replayed = found is not None and len(found) == self.jobs
            if found is not None and is_replayed:
                asker.replay(found)
            else:
                found = self._ask_and_run(asker, batch, numbers, records)
                if len(found) == self.jobs:
                    asker.tell(found)
            records += found
            spent += max(record.seconds for record in found)
            batch += 1
            if not is_replayed:
                write_table(records, self.space, self.search.table)
                self.on_batch(records)
        write_table(records, self.space, self.search.table)
        return records

    def _ask_and_run(
        self, asker: Asker, batch: int, numbers: range, before: Sequence[TrialRecord]
    ) -> list[TrialRecord]:
        drawn = asker.ask(batch)[: len(numbers)]
        limits = thresholds([record for record in before if record.state == "complete"])
        asked = []
        for number, params in zip(numbers, drawn, strict=True):
            try:
                recipe = trial_recipe(self.base, self.space, params)
            except HolotypeError as error:
                reason = " ".join(str(error).split())
                failed = TrialRecord(number, "failed", params, reason=reason)
                failed.write(self.search.trial(number))
            else:
                asked.append(Asked(number, params, recipe, limits))
        return self._run_batch(asked, numbers)

    def _run_batch(
        self, asked: Sequence[Asked], numbers: Sequence[int] | None = None
    ) -> list[TrialRecord]:
        """Run those that are not on record; the records of all."""
        missing = [one for one in asked if read_record(self.search.trial(one.number)) is None]
        for one in missing:
            one.write(self.search.trial(one.number))
        if missing:
            self.runner.run(missing)
        found = self._recorded(numbers or [one.number for one in asked])
        assert found is not None, "the runner left a trial without a record"
        return found

    def _recorded(self, numbers: Sequence[int]) -> list[TrialRecord] | None:
        """The records of these trials; None where one has not ended."""
        found = [read_record(self.search.trial(number)) for number in numbers]
        known = [record for record in found if record is not None]
        return known if len(known) == len(found) else None


def describe(record: TrialRecord, records: Sequence[TrialRecord]) -> str:
    """One line on a trial, for the log."""
    if record.accuracy is None:
        return f"trial {record.number}: {record.state}: {record.reason}"
    best = best_record(records)
    assert best is not None
    standing = "the best so far" if best is record else f"best {best.accuracy:.4f}"
    return (
        f"trial {record.number}: accuracy {record.accuracy:.4f}, log loss {record.log_loss:.4f} "
        f"({standing})"
    )
