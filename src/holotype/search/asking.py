"""Ask Optuna what to try next, from one coordinator.

Trials are asked for in batches of as many as there are jobs, and told in the order of their numbers
once all of a batch have ended: what is asked depends on the seed and on earlier batches, and not on
which of them was the quickest. The sampler is made anew for every batch, seeded by its number, so
that a search that goes on from recorded batches asks what an undisturbed one would have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from holotype.search.search_space import Parameter, Params, SearchSpace
from holotype.search.trial_record import TrialRecord

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import TPESampler

STARTUP_TRIALS = 10  # drawn at random, before the sampler has something to learn from
CANDIDATES = 24  # that the sampler draws for every parameter, to take the most promising


def make_sampler(seed: int, batch: int) -> "TPESampler":
    """The tree-structured Parzen estimator, every argument said that Optuna 5 has not deprecated.

    Source:
        Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"; trials of the same
        batch count as bad ones while they run (constant liar), so that they differ.
    """
    from optuna.samplers import TPESampler

    words = np.random.SeedSequence((seed, batch)).generate_state(1)
    return TPESampler(
        n_startup_trials=STARTUP_TRIALS, n_ei_candidates=CANDIDATES, seed=int(words[0]),
        multivariate=False, group=False, constant_liar=True, constraints_func=None,
    )  # fmt: skip


@dataclass(eq=False)
class Asker:
    """The study of a search, and the trials of the batch that was asked for last.

    Attributes:
        space: what is drawn from.
        seed: of the search.
        size: trials of a batch.
    """

    space: SearchSpace
    seed: int
    size: int
    study: "Study" = field(init=False)
    _asked: "list[Trial]" = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(direction="maximize", sampler=make_sampler(self.seed, 0))

    def ask(self, batch: int) -> list[Params]:
        """What the trials of a batch are to try."""
        self.study.sampler = make_sampler(self.seed, batch)
        self._asked = [self.study.ask() for _ in range(self.size)]
        return [self._draw(trial) for trial in self._asked]

    def tell(self, records: Sequence[TrialRecord]) -> None:
        """How the trials of the batch ended, in the order of their numbers."""
        from optuna.trial import TrialState

        for trial, record in zip(self._asked, records, strict=True):
            for step, accuracy in enumerate(record.epochs):
                trial.report(accuracy, step)
            if record.state == "complete":
                self.study.tell(trial, record.accuracy)
            else:
                pruned = record.state == "pruned"
                self.study.tell(trial, state=TrialState.PRUNED if pruned else TrialState.FAIL)

    def replay(self, records: Sequence[TrialRecord]) -> None:
        """Add the trials of a batch that ended in an earlier call."""
        from optuna.trial import TrialState, create_trial

        states = {
            "complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL
        }  # fmt: skip
        for record in records:
            params, distributions = self._as_optuna(record.params)
            last = record.epochs[-1] if record.state == "pruned" and record.epochs else None
            self.study.add_trial(
                create_trial(
                    state=states[record.state],
                    value=record.accuracy if record.state == "complete" else last,
                    params=params,
                    distributions=distributions,
                    intermediate_values=dict(enumerate(record.epochs)),
                )
            )

    def _draw(self, trial: "Trial") -> Params:
        def draw(row: Parameter) -> Any:
            return row.as_drawn(_suggest(trial, row))

        return {row.key: value for row, value in self.space.drawn_rows(draw)}

    def _as_optuna(self, params: Mapping[str, Any]) -> tuple[Params, dict[str, Any]]:
        """The recorded values by the names of the rows that they were drawn for."""
        rows = [
            row for row, _ in self.space.drawn_rows(lambda row: params[row.key]) if not row.is_fixed
        ]
        drawn = {row.name: row.as_choice(params[row.key]) for row in rows}
        return drawn, {row.name: row.distribution() for row in rows}


def _suggest(trial: "Trial", row: Parameter) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    how = row.distribution()
    if isinstance(how, CategoricalDistribution):
        return trial.suggest_categorical(row.name, how.choices)
    if isinstance(how, IntDistribution):
        return trial.suggest_int(row.name, how.low, how.high, step=how.step)
    assert isinstance(how, FloatDistribution)
    return trial.suggest_float(row.name, how.low, how.high, log=how.log, step=how.step)
