"""The median stopping rule: a trial ends early where its best epoch so far is below the median.

It looks only at trials of earlier batches, so the thresholds are known before a trial begins, and
no trial has to ask while it runs: neither the timing of jobs nor where they run changes the result.

Source:
    Golovin et al. 2017, "Google Vizier"; as Optuna's MedianPruner, which the tests compare it with.
"""

from collections.abc import Sequence

import numpy as np

from holotype.search.trial_record import TrialRecord

STARTUP_TRIALS = 5  # complete ones, before any is pruned
WARMUP_EPOCHS = 2  # of a trial, that are never its last


def thresholds(complete: Sequence[TrialRecord]) -> list[float]:
    """For every epoch the median accuracy of complete trials that had it; -1 prunes nothing."""
    if len(complete) < STARTUP_TRIALS:
        return []
    longest = max(len(record.epochs) for record in complete)
    found = []
    for step in range(longest):
        there = [record.epochs[step] for record in complete if len(record.epochs) > step]
        found.append(float(np.median(there)) if step > WARMUP_EPOCHS else -1.0)
    return found


def is_below(epochs: Sequence[float], limits: Sequence[float]) -> bool:
    """Whether a trial with these accuracies so far is pruned after its last epoch."""
    step = len(epochs) - 1
    return step < len(limits) and max(epochs) < limits[step]
