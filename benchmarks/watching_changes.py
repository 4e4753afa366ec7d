"""Simulated changes of a quiet stream, on arrays of real images: found, named, and how right.

Half of the images are the reference, windows are drawn from the other half with replacement, ten
quiet ones, then changed ones of 200 images. What is named is what `holotype watch` would name: the
windows since the evidence began to grow, at the alarm, and again with changed windows after it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from holotype.watching.diagnosis.change_kind import kind_of_change
from holotype.watching.diagnosis.estimated_accuracy import estimated_accuracy
from holotype.watching.monitoring.image_scores import ImageScores, fit_scores
from holotype.watching.monitoring.monitors import Monitors
from holotype.watching.take_windows import (
    GROWING,
    QUIET_WINDOWS,
    are_quiet,
    is_enough,
)
from holotype.watching.watched_images import WatchedImages, joined

DAY_S = 86_400.0
WINDOW, QUIET, CHANGED = 200, 10, 3
KINDS = {"class triples": "label shift", "unseen": "novelty"}  # all others are input
NOVEL_SHARE = 0.2


@dataclass
class Found:
    """What became of one planted change over many runs.

    Attributes:
        runs: of which some had an alarm before the change.
        early: so many.
        within: alarms in the first, second and third window.
        first_named: kinds that alarms were called when they were raised.
        named: kinds that they were called in the end.
        looks: by how many windows they were named then.
        cleared: alarms that ended before, although the change went on.
        declined: alarms of which the accuracy was said to be unknowable in the end.
    """

    runs: int = 0
    early: int = 0
    within: list[int] = field(default_factory=lambda: [0] * CHANGED)
    first_named: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    looks: Counter[int] = field(default_factory=Counter)
    cleared: int = 0
    declined: int = 0

    @property
    def share_found(self) -> float:
        return sum(self.within) / max(1, self.runs - self.early)

    def share_named(self, kind: str) -> float:
        """Of the alarms."""
        return self.named[kind] / max(1, sum(self.within))


class Stream:
    """A reference, and windows of one population, changed or not."""

    def __init__(self, tables: Mapping[str, WatchedImages], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tables = tables
        order = self.rng.permutation(len(tables["none"]))
        self.reference = tables["none"].select(order[: len(order) // 2])
        self.rows = order[len(order) // 2 :]
        targets = tables["none"].targets_N[self.rows]
        counts = np.bincount(targets)
        rarest = int(np.where(counts > 0, counts, counts.max() + 1).argmin())
        tripled = rarest if len(counts) == 2 else int(self.rng.integers(0, len(counts)))
        weights = np.where(targets == tripled, 3.0, 1.0)
        self.tripled = weights / weights.sum()

    def window(self, change: str, size: int = WINDOW) -> WatchedImages:
        """Images drawn at random."""
        if change == "unseen":
            new = int((self.rng.random(size) < NOVEL_SHARE).sum())
            novel = self.tables["unseen"]
            images = joined(
                [
                    self.tables["none"].select(self.rng.choice(self.rows, size - new)),
                    novel.select(self.rng.integers(0, len(novel), new)),
                ]
            )
            return images.select(self.rng.permutation(len(images)))
        chances = self.tripled if change == "class triples" else None
        table = self.tables["none" if change == "class triples" else change]
        return table.select(self.rng.choice(self.rows, size, p=chances))


def changes_found(tables: Mapping[str, WatchedImages], change: str, runs: int, seed: int) -> Found:
    """Plant one change in many streams."""
    found = Found(runs)
    for run in range(runs):
        stream = Stream(tables, seed * 1_000_000 + run)
        half = len(stream.reference) // 2
        scores = fit_scores(stream.reference.select(np.arange(half)), None)
        rest = stream.reference.select(np.arange(half, len(stream.reference)))
        monitors = Monitors.new(scores.watched(), scores.of(rest), seed=run)
        for _ in range(QUIET):
            monitors.update(scores.of(stream.window("none")), DAY_S)
        if monitors.evidence >= 1:
            found.early += 1
            continue
        recent: list[WatchedImages] = []
        for number in range(CHANGED):
            if monitors.evidence < GROWING:
                recent = []
            recent.append(stream.window(change))
            monitors.update(scores.of(recent[-1]), DAY_S)
            if monitors.evidence >= 1:
                found.within[number] += 1
                found.first_named[kind_of_change(joined(recent), rest).kind] += 1
                found.cleared += _ended(stream, change, recent, scores, rest)
                images = joined(recent)
                kind = kind_of_change(images, rest)
                found.named[kind.kind] += 1
                found.looks[len(recent)] += 1
                estimate = estimated_accuracy(images, rest, kind, kind.kind).estimate
                found.declined += estimate is None
                break
    return found


def _ended(
    stream: Stream,
    change: str,
    recent: list[WatchedImages],
    scores: ImageScores,
    rest: WatchedImages,
) -> bool:
    """Add changed windows until the kind stands; whether the alarm ended before."""
    quiet: list[WatchedImages] = []
    of_rest = scores.of(rest)
    while not is_enough(len(recent), sum(map(len, recent))):
        window = stream.window(change)
        if not are_quiet(scores.of(window), of_rest):
            quiet = []
            recent.append(window)
            continue
        quiet = [*quiet, window][-QUIET_WINDOWS:]
        if len(quiet) == QUIET_WINDOWS and are_quiet(scores.of(joined(quiet)), of_rest):
            return True
    return False


@dataclass
class Coverage:
    """How often an estimated accuracy held the truth, where there was one.

    Attributes:
        runs: windows.
        answered: those with an estimate.
        covered: those whose own accuracy its interval held.
        covered_source: those where it held the accuracy of what they were drawn from.
    """

    runs: int = 0
    answered: int = 0
    covered: int = 0
    covered_source: int = 0
    widths: list[float] = field(default_factory=list)


def accuracy_under_reweighting(
    tables: Mapping[str, WatchedImages],
    feature_N: NDArray[np.float64],
    runs: int,
    seed: int,
    *,
    repeated: bool = False,
) -> Coverage:
    """Windows of which some kinds of images come more often, by exp(± feature / 2).

    Args:
        feature_N: of every image; standardised here.
        repeated: 600 images drawn with replacement from as many, which so are not independent of
            each other; else each image comes once or not at all, about 200 of 656.
    """
    images, found = tables["none"], Coverage(runs)
    feature_N = (feature_N - feature_N.mean()) / feature_N.std()
    right_N = images.predicted_N == images.targets_N
    for run in range(runs):
        stream = Stream(tables, seed * 1_000_000 + run)
        sign = stream.rng.choice([-0.5, 0.5])
        chances = np.exp(sign * feature_N[stream.rows])
        if repeated:
            chances /= chances.sum()
            rows = stream.rng.choice(stream.rows, CHANGED * WINDOW, p=chances)
        else:
            chances = np.minimum(1, chances / np.quantile(chances, 0.99))
            rows = stream.rows[stream.rng.random(len(chances)) < chances][: CHANGED * WINDOW]
            chances /= chances.sum()
        window = images.select(rows)
        change = kind_of_change(window, stream.reference)
        estimate = estimated_accuracy(window, stream.reference, change).estimate
        if estimate is not None:
            assert estimate.low is not None
            assert estimate.high is not None
            source = float((chances * right_N[stream.rows]).sum())
            found.answered += 1
            found.covered += estimate.low <= float(right_N[rows].mean()) <= estimate.high
            found.covered_source += estimate.low <= source <= estimate.high
            found.widths.append(estimate.high - estimate.low)
    return found


def declines_under_novelty(tables: Mapping[str, WatchedImages], runs: int, seed: int) -> int:
    """Of windows of 600 images with an unseen class at 20 %, those without an estimate."""
    declined = 0
    for run in range(runs):
        stream = Stream(tables, seed * 1_000_000 + run)
        window = stream.window("unseen", CHANGED * WINDOW)
        change = kind_of_change(window, stream.reference)
        declined += estimated_accuracy(window, stream.reference, change).estimate is None
    return declined
