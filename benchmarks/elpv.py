"""Linear head against fine-tuning on the ELPV solar cells, over several split seeds.

    .venv/bin/python benchmarks/elpv.py --seeds 0 1 2 3 4 --output runs/elpv

Labels, weights and the 75/25 split stratified by label and type as Deitsch et al. 2019; 15 % of the
training part is validation. The same with blocks of 60 consecutive cells as groups, which no module
crosses: what cell-level splits hide. Writes `elpv.json` into the output, and the table to stdout;
what is in `elpv.json` already is not run again.

Nothing in the recipes was chosen on the seeds 0 to 4: see docs/log.md.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy import stats

import holotype
from holotype.elpv_demo import SETTINGS, TEST_FRACTION, VALIDATION_FRACTION, split_table
from holotype.predictions import read_predictions

RATIOS = (1 - VALIDATION_FRACTION - TEST_FRACTION, VALIDATION_FRACTION, TEST_FRACTION)
RECIPES = ("linear", "finetune")


@dataclass(frozen=True)
class Result:
    """One run: weighted accuracy on test with its 95 % interval, and the seconds it took."""

    protocol: str
    seed: int
    recipe: str
    value: float
    low: float
    high: float
    unweighted: float
    seconds: float


def run_one(protocol: str, seed: int, recipe: str, output: Path) -> Result:
    table = split_table(
        output / f"{protocol}-{seed}-{recipe}-data", seed=seed, blocks=protocol == "blocks"
    )
    started = time.perf_counter()
    trained = holotype.train(
        table,
        output=output / f"{protocol}-{seed}-{recipe}",
        recipe=recipe,
        ratios=RATIOS,
        overrides=SETTINGS if recipe == "finetune" else None,
    )
    seconds = time.perf_counter() - started
    accuracy, plain = trained.metrics["accuracy"], trained.metrics["accuracy_unweighted"]
    values = [accuracy.value, accuracy.low, accuracy.high, plain.value]
    value, low, high, unweighted = (math.nan if v is None else v for v in values)
    return Result(protocol, seed, recipe, value, low, high, unweighted, seconds)


def corrected_interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval of a difference over overlapping random splits.

    The training parts of random splits overlap, so the plain t-interval is too narrow: the variance
    is multiplied by 1/n + test/train instead of 1/n (Nadeau & Bengio 2003, "Inference for the
    Generalization Error", Machine Learning 52).
    """
    n = len(differences)
    mean, variance = float(np.mean(differences)), float(np.var(differences, ddof=1))
    ratio = TEST_FRACTION / (1 - TEST_FRACTION)
    half = stats.t.ppf(0.975, n - 1) * math.sqrt(variance * (1 / n + ratio))
    return mean, mean - half, mean + half


def interval_over_images(output: Path, protocol: str, seeds: Sequence[int]) -> tuple[float, float]:
    """95 % interval of the mean difference, by a paired bootstrap over images (or blocks).

    An image is drawn with all test parts that it stands in, so that the five parts, which share
    images, do not count as independent. The networks are held as they are: this says how sure we
    are for these ten classifiers, the corrected interval how sure for training anew.
    """
    rng = np.random.default_rng(0)
    parts = []
    for seed in seeds:
        linear, tuned = (
            read_predictions(output / f"{protocol}-{seed}-{recipe}/predictions/test.parquet")
            for recipe in RECIPES
        )
        assert linear.ids == tuned.ids
        gain_N = (tuned.predicted_N == tuned.targets_N).astype(float)
        gain_N -= linear.predicted_N == linear.targets_N
        units = linear.groups if protocol == "blocks" else linear.ids
        parts.append((units, gain_N, linear.weights_N))
    names = sorted({name for units, _, _ in parts for name in units})
    number = {name: n for n, name in enumerate(names)}
    means = []
    for _ in range(2000):
        counts = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        gains = []
        for units, gain_N, weights_N in parts:
            drawn_N = counts[[number[name] for name in units]] * weights_N
            gains.append(float(drawn_N @ gain_N / drawn_N.sum()))
        means.append(float(np.mean(gains)))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def table_of(results: Sequence[Result], output: Path) -> str:
    lines = []
    for protocol in dict.fromkeys(r.protocol for r in results):
        lines += [f"**{protocol}**", "", "| seed | linear | finetune | difference | seconds |"]
        lines += ["|---|---|---|---|---|"]
        differences, means = [], {recipe: [] for recipe in RECIPES}
        for seed in sorted({r.seed for r in results if r.protocol == protocol}):
            pair = {r.recipe: r for r in results if (r.protocol, r.seed) == (protocol, seed)}
            linear, tuned = pair["linear"], pair["finetune"]
            differences.append(tuned.value - linear.value)
            for recipe in RECIPES:
                means[recipe].append(pair[recipe].value)
            lines.append(
                f"| {seed} | {_shown(linear)} | {_shown(tuned)} | {100 * differences[-1]:+.2f} | "
                f"{linear.seconds:.0f}, {tuned.seconds:.0f} |"
            )
        average = [f"{100 * float(np.mean(means[recipe])):.2f}" for recipe in RECIPES]
        if len(differences) > 1:
            mean, low, high = corrected_interval(differences)
            spread = f"{100 * mean:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
            seeds = sorted({r.seed for r in results if r.protocol == protocol})
            over = [f"{100 * end:+.2f}" for end in interval_over_images(output, protocol, seeds)]
            spread += f", over images [{over[0]}, {over[1]}]"
            lines.append(f"| mean | {average[0]} | {average[1]} | {spread} | |")
        lines.append("")
    return "\n".join(lines)


def _shown(result: Result) -> str:
    return f"{100 * result.value:.2f} [{100 * result.low:.2f}, {100 * result.high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--protocols", nargs="+", choices=["cells", "blocks"], default=["cells", "blocks"]
    )
    parser.add_argument("--output", type=Path, default=Path("runs/elpv"))
    arguments = parser.parse_args()
    file = arguments.output / "elpv.json"
    results = [Result(**row) for row in json.loads(file.read_text())] if file.exists() else []
    done = {(r.protocol, r.seed, r.recipe) for r in results}
    for protocol, seed, recipe in product(arguments.protocols, arguments.seeds, RECIPES):
        if (protocol, seed, recipe) not in done:
            results.append(run_one(protocol, seed, recipe, arguments.output))
            file.write_text(json.dumps([vars(r) for r in results], indent=2) + "\n")
    print(table_of(results, arguments.output))


if __name__ == "__main__":
    main()
