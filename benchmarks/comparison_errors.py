"""How often a comparison of equal models names a difference, and how often it finds a true one.

    .venv/bin/python benchmarks/comparison_errors.py

Models are simulated: whether each is right about an image is a threshold on what is hard for all,
what a model lacks about a whole group, and chance. Five models of one accuracy, about 300 images;
four settings: independent images of equal weight; of different weights; in 6 to 40 groups of very
unequal size; in groups with weights. Errors are counted over 1,000 comparisons each, with Wilson's
95 % intervals. For power one of the models is better by 1 to 12 points. Permutation tests draw 999
permutations here and 20,000 in a comparison, which costs a little power and no validity.

Writes docs/images/comparison_power.png and a table to standard output; about 6 minutes on one core.
"""

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from holotype.comparison.significance import apply_gatekeeping, compare_all, compare_pairs, ranks
from holotype.evaluation.intervals import SamplingUnits, wilson
from holotype.reporting import plot_style

IMAGE = Path(__file__).parent.parent / "docs" / "images" / "comparison_power.png"
SETTINGS = ("plain", "weights", "groups", "groups and weights")
COLOURS = (plot_style.BLUE, plot_style.SKY, plot_style.ORANGE, plot_style.RED)
MODELS, IMAGES, NUM_PERMUTATIONS, SIGNIFICANCE_LEVEL = 5, 300, 999, 0.05
GAINS = (0.01, 0.02, 0.04, 0.06, 0.08, 0.12)
WEIGHTS = (1.0, 2 / 3, 1 / 3)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Answers of models to one simulated test set."""

    correct_MN: NDArray[np.bool_]
    weights_N: NDArray[np.float64]
    units: SamplingUnits


@dataclass(frozen=True)
class Errors:
    """Of equal models, in how many comparisons something was claimed.

    Attributes:
        comparisons: in all.
        pairs: at least one pair was told apart, after Holm's correction and the overall test.
        overall: the test of all together was below 5 %.
        either: one or the other: any claim at all.
        uncorrected: at least one pair was below 5 % before the correction.
        covered: of all pairs' 95 % intervals the share that holds 0.
    """

    comparisons: int
    pairs: int
    overall: int
    either: int
    uncorrected: int
    covered: float


def draw(
    setting: str, rng: np.random.Generator, *, gain: float = 0.0, models: int = MODELS
) -> Drawn:
    """Answers of models of equal accuracy, near 79 %; the last one better by `gain`."""
    if "groups" in setting:
        count = int(rng.integers(6, 41))
        sizes = rng.lognormal(0, 0.8, count)
        sizes = np.maximum(1, np.round(sizes / sizes.sum() * IMAGES)).astype(int)
        unit_N = np.repeat(np.arange(count), sizes)
        units = SamplingUnits(unit_N, count, True)
    else:
        units = SamplingUnits.images(IMAGES)
    N = len(units.unit_N)
    weights_N = rng.choice(WEIGHTS, N) if "weights" in setting else np.ones(N)
    hard_N = 1.2 * rng.normal(size=units.count)[units.unit_N] + rng.normal(size=N)
    lacking_MN = 0.7 * rng.normal(size=(models, N))
    spread = 1.2**2 + 1 + 0.7**2
    if units.grouped:
        lacking_MN += 0.8 * rng.normal(size=(models, units.count))[:, units.unit_N]
        spread += 0.8**2
    z_MN = (hard_N + lacking_MN) / np.sqrt(spread)  # standard normal
    threshold_M1 = np.full((models, 1), _quantile(0.79))
    threshold_M1[-1] = _quantile(0.79 + gain)
    return Drawn(z_MN < threshold_M1, weights_N, units)


def errors(setting: str, comparisons: int, *, seed: int = 0, models: int = MODELS) -> Errors:
    """Compare equal models many times."""
    rng = np.random.default_rng([seed, SETTINGS.index(setting)])
    pairs = overall = either = uncorrected = covered = intervals = 0
    for number in range(comparisons):
        one = draw(setting, rng, models=models)
        found = (one.correct_MN, one.weights_N, one.units)
        overall_test = compare_all(*found, seed=number, num_permutations=NUM_PERMUTATIONS)
        tests = apply_gatekeeping(
            compare_pairs(*found, seed=number, num_permutations=NUM_PERMUTATIONS), overall_test
        )
        together = overall_test.p_value < SIGNIFICANCE_LEVEL
        some_pair = any(test.adjusted_p_value < SIGNIFICANCE_LEVEL for test in tests)
        pairs, overall = pairs + some_pair, overall + together
        either += some_pair or together
        uncorrected += any(test.p_value < SIGNIFICANCE_LEVEL for test in tests)
        covered += sum(test.low <= 0 <= test.high for test in tests)
        intervals += len(tests)
    return Errors(comparisons, pairs, overall, either, uncorrected, covered / intervals)


def power(setting: str, gain: float, comparisons: int, *, seed: int = 0) -> tuple[int, int]:
    """In how many comparisons the better model is told apart from one, and from all others."""
    rng = np.random.default_rng([seed, 1000 + round(1000 * gain), SETTINGS.index(setting)])
    from_one = from_all = 0
    for number in range(comparisons):
        one = draw(setting, rng, gain=gain)
        answers = (one.correct_MN, one.weights_N, one.units)
        overall = compare_all(*answers, seed=number, num_permutations=NUM_PERMUTATIONS)
        tests = apply_gatekeeping(
            compare_pairs(*answers, seed=number, num_permutations=NUM_PERMUTATIONS), overall
        )
        found = [t for t in tests if t.second == MODELS - 1 and t.difference > 0]
        from_one += any(test.adjusted_p_value < SIGNIFICANCE_LEVEL for test in found)
        from_all += ranks(tests, MODELS)[-1] == (1, 1)
    return from_one, from_all


def power_figure(found: dict[str, list[tuple[int, int]]], comparisons: int) -> Figure:
    """How often the one better of five is told apart from another, by how much better it is."""
    figure = Figure(figsize=(7.2, 4.6), dpi=plot_style.DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=plot_style.FAINT, linewidth=0.6)
    gains = 100 * np.array(GAINS)
    for (setting, counts), colour in zip(found.items(), COLOURS, strict=True):
        shares = np.array([one / comparisons for one, _ in counts])
        ends = np.array([wilson(share, comparisons) for share in shares])
        axes.fill_between(gains, ends[:, 0], ends[:, 1], color=colour, alpha=0.15, linewidth=0)
        axes.plot(gains, shares, "o-", color=colour, label=setting)
        alls = [every / comparisons for _, every in counts]
        axes.plot(gains, alls, "o:", color=colour, markersize=3)
    axes.plot([], [], "k-", label="told apart from one of the others")
    axes.plot([], [], "k:", label="told apart from all four")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(0, gains[-1] + 0.3)
    axes.set_xlabel("points by which one of five models is truly better than 79 %")
    axes.set_ylabel("share of comparisons")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set_title(f"Power on about {IMAGES} images, Holm-corrected", loc="left", fontsize=11)
    return figure


def _quantile(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))


def _share(count: int, of: int) -> str:
    low, high = wilson(count / of, of)
    return f"{100 * count / of:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _table(rows: Iterable[tuple[str, Errors]]) -> str:
    header = (
        "setting", "a pair told apart", "overall test below 5 %", "either",
        "a pair, uncorrected", "intervals that hold 0",
    )  # fmt: skip
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for setting, found in rows:
        counts = (found.pairs, found.overall, found.either, found.uncorrected)
        cells = [setting, *(_share(count, found.comparisons) for count in counts)]
        lines.append("| " + " | ".join([*cells, f"{100 * found.covered:.1f} %"]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=1000)
    parser.add_argument("--for-power", type=int, default=200, help="comparisons for each gain")
    given = parser.parse_args()
    started = time.perf_counter()
    print(_table((setting, errors(setting, given.comparisons)) for setting in SETTINGS))
    found = {
        setting: [power(setting, gain, given.for_power) for gain in GAINS] for setting in SETTINGS
    }
    print("\n| one of five better by | " + " | ".join(SETTINGS) + " |")
    print("|---" * (len(SETTINGS) + 1) + "|")
    for place, gain in enumerate(GAINS):
        cells = [_share(found[setting][place][0], given.for_power) for setting in SETTINGS]
        print(f"| {100 * gain:.0f} points | " + " | ".join(cells) + " |")
    plot_style.save(power_figure(found, given.for_power), IMAGE)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
