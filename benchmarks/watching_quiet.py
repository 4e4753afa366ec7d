"""Simulated years in which nothing changes, on arrays of real images.

The held-out images of a data set stand for the population: reference and windows are drawn from it
independently and with replacement. In groups of ten alike, each request key sends one image ten
times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.watching.diagnosis.two_sample_tests import ks_test
from holotype.watching.monitoring.image_scores import fit_scores
from holotype.watching.monitoring.monitors import Monitors, Watched
from holotype.watching.watched_images import WatchedImages

DAY_S = 86_400.0
DAYS = 365
WINDOW = 200


@dataclass(frozen=True)
class QuietYears:
    """How many of the simulated years had a false alarm."""

    years: int
    with_alarm: int
    largest_evidence: float
    with_alarm_by_window: int


def image_table(arrays: Mapping[str, NDArray[np.generic]]) -> WatchedImages:
    """Arrays of `watching_images.prepared`."""
    N = len(arrays["targets"])
    return WatchedImages(
        probabilities_NC=arrays["probabilities"].astype(np.float64),
        embeddings_ND=arrays["embeddings"].astype(np.float32),
        unknown_N=arrays["unknown"].astype(np.float64),
        set_size_N=np.full(N, np.nan),
        facts={
            name: arrays[name].astype(np.float64)
            for name in ("brightness", "sharpness", "width", "height", "bytes")
        },
        format_N=arrays["format"].astype(np.str_),
        targets_N=arrays["targets"].astype(np.int64),
        groups_N=np.arange(N).astype(np.str_),
        names_N=np.full(N, ""),
    )


def quiet_years(
    images: WatchedImages,
    reference: int,
    years: Sequence[int],
    alike: int,
    seed: int,
    days: int = DAYS,
) -> QuietYears:
    """Years of daily windows of 200 images, each until its first alarm.

    Args:
        images: the population.
        reference: how many of them the reference has.
        years: the number of each, which its random numbers come from.
        alike: images of one request key.
        days: of a year.
    """
    largest, by_window = [], 0
    for year in years:
        rng = np.random.default_rng([seed, year])
        known, calibration = np.split(rng.integers(0, len(images), reference), [reference // 2])
        scores = fit_scores(images.select(known), None)
        of_all = scores.of(images)
        reference_scores = {name: all_N[calibration] for name, all_N in of_all.items()}
        monitors = Monitors.new(scores.watched(), reference_scores, seed=year)
        evidence, window_alarm = 0.0, False
        for day in range(days):
            # One image of each key counts, and ten alike are one image ten times.
            rows = rng.integers(0, len(images), WINDOW // alike)
            window = {name: all_N[rows] for name, all_N in of_all.items()}
            monitors.update(window, DAY_S if day else 0.0)
            evidence = max(evidence, monitors.evidence)
            if not window_alarm:
                repeated = {name: np.repeat(of_N, alike) for name, of_N in window.items()}
                window_alarm = _tested_alone(repeated, reference_scores, scores.watched())
            if evidence >= 1 and window_alarm:
                break
        largest.append(evidence)
        by_window += window_alarm
    return QuietYears(len(years), int(np.sum(np.array(largest) >= 1)), max(largest), by_window)


def _tested_alone(
    window: Mapping[str, NDArray[np.float64]],
    reference: Mapping[str, NDArray[np.float64]],
    watched: list[Watched],
) -> bool:
    """A test of every score at 5 % in all, as if there were no other window."""
    found = [ks_test(one.name, window[one.name], reference[one.name]) for one in watched]
    outcomes = [outcome for outcome in found if outcome is not None]
    return min(outcome.p_value for outcome in outcomes) < 0.05 / len(outcomes)
