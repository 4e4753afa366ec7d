"""Families of models and ways to train side by side, on the ELPV solar cells.

    .venv/bin/python benchmarks/elpv_models.py --output runs/elpv-models

Descriptors, networks from nothing at 64 px and a pretrained network under four recipes, on split
seeds 0 to 2; labels, weights and split as in benchmarks/elpv.py. Runs stand side by side, each in a
process of its own with its share of the cores. Every run leaves a JSON file in the output and is
not run again, so a killed benchmark goes on. The table goes to stdout.

Nothing was chosen on these seeds: see docs/log.md.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from elpv import RATIOS, corrected_interval

import holotype
from holotype.architectures.catalog import architecture
from holotype.bundle.bundle import load_bundle
from holotype.bundle.inference import predict_index
from holotype.dataset.index import read_index_file
from holotype.elpv_demo import split_table
from holotype.pipeline.training_run.training_options import Resuming
from holotype.predictions import read_predictions

DIHEDRAL = (
    "{symmetry: dihedral, rotation_degrees: 0, zoom: 0, shift: 0, brightness: 0, contrast: 0}"
)
FROM_NOTHING = "from nothing"
PRETRAINED = "pretrained"


@dataclass(frozen=True)
class Case:
    """One row of the table: a model under a recipe; the augmented stages by number."""

    family: str
    model: str
    recipe: str
    augmented: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.model}-{self.recipe}"


CASES = (
    Case("descriptors", "hog", "svm"),
    Case(FROM_NOTHING, "cnn_baseline", "scratch", (0,)),
    Case(FROM_NOTHING, "cnn_v1", "scratch", (0,)),
    Case(FROM_NOTHING, "cnn_v2_residual", "scratch", (0,)),
    Case(FROM_NOTHING, "cnn_v2_dense", "scratch", (0,)),
    Case(PRETRAINED, "efficientnet_lite0", "linear"),
    Case(PRETRAINED, "efficientnet_lite0", "two_phase", (0, 1)),
    Case(PRETRAINED, "efficientnet_lite0", "progressive", (1, 2, 3)),
    Case(PRETRAINED, "efficientnet_lite0", "finetune", (1,)),
)


@dataclass(frozen=True)
class Result:
    """One run: weighted accuracy on test, what it took, and how fast it answers."""

    case: str
    seed: int
    value: float
    low: float
    high: float
    seconds: float
    parameters: int
    images_per_second: float


def run_one(case: Case, seed: int, output: Path) -> Result:
    path = output / f"{case.name}-{seed}"
    started = time.perf_counter()
    trained = holotype.train(
        output / f"data-{seed}" / "table.csv", output=path, resuming=Resuming(resume=True),
        model=case.model, recipe=case.recipe, ratios=RATIOS,
        overrides={f"stages.{n}.augmentation": DIHEDRAL for n in case.augmented},
    )  # fmt: skip
    seconds = time.perf_counter() - started
    accuracy = trained.metrics["accuracy"]
    assert accuracy.value is not None
    assert accuracy.low is not None
    assert accuracy.high is not None
    return Result(
        case.name, seed, accuracy.value, accuracy.low, accuracy.high, seconds,
        architecture(case.model).parameters_with_head(len(trained.report.classes)) or 0,
        _images_per_second(path),
    )  # fmt: skip


def _images_per_second(run: Path) -> float:
    """Of the bundle on images that it has not seen, decoding included, nothing kept."""
    index = read_index_file(run / "index.parquet").part("val")
    bundle = load_bundle(run)
    started = time.perf_counter()
    predict_index(bundle, index, use_cache=False)
    return len(index) / (time.perf_counter() - started)


def margin(output: Path, better: Sequence[str], worse: Sequence[str], seeds: Sequence[int]) -> str:
    """The best pretrained case minus the best from nothing, both chosen on validation."""

    def chosen(names: Sequence[str]) -> str:
        return max(names, key=lambda name: np.mean([_validation(output, name, s) for s in seeds]))

    first, second = chosen(better), chosen(worse)
    differences = []
    for seed in seeds:
        right = []
        for name in (first, second):
            p = read_predictions(output / f"{name}-{seed}" / "predictions" / "test.parquet")
            right.append(np.average(p.predicted_N == p.targets_N, weights=p.weights_N))
        differences.append(float(right[0] - right[1]))
    mean, low, high = corrected_interval(differences)
    return (
        f"{first} minus {second}, each chosen on validation: {100 * mean:+.1f} points "
        f"[{100 * low:+.1f}, {100 * high:+.1f}] (Nadeau & Bengio)"
    )


def _validation(output: Path, name: str, seed: int) -> float:
    p = read_predictions(output / f"{name}-{seed}" / "predictions" / "val.parquet")
    return float(np.average(p.predicted_N == p.targets_N, weights=p.weights_N))


def table_of(results: Sequence[Result]) -> str:
    seeds = sorted({r.seed for r in results})
    head = ["model", "recipe", *(f"seed {seed}" for seed in seeds)]
    head += ["mean", "seconds", "parameters", "images/s"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for case in CASES:
        own = [r for r in results if r.case == case.name]
        if not own:
            continue
        by_seed = {r.seed: r for r in own}
        cells = [
            f"{100 * r.value:.1f} [{100 * r.low:.1f}, {100 * r.high:.1f}]" if r else ""
            for r in (by_seed.get(seed) for seed in seeds)
        ]
        lines.append(
            f"| {case.model} | {case.recipe} | {' | '.join(cells)} | "
            f"{100 * np.mean([r.value for r in own]):.1f} | "
            f"{np.mean([r.seconds for r in own]):.0f} | {own[0].parameters:,} | "
            f"{np.mean([r.images_per_second for r in own]):.0f} |"
        )
    return "\n".join(lines)


def in_a_process(case: Case, seed: int, output: Path, jobs: int) -> Result:
    """One run by itself, with its share of the cores, or what it left when it was run before."""
    file = output / f"{case.name}-{seed}.json"
    if not file.exists():
        threads = max(1, len(os.sched_getaffinity(0)) // jobs)
        command = [sys.executable, __file__, "--output", str(output)]
        subprocess.run(
            [*command, "--case", case.name, "--seeds", str(seed)],
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"},
            check=True,
        )
    return Result(**json.loads(file.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("runs/elpv-models"))
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("--case", choices=[case.name for case in CASES], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        (case,) = (case for case in CASES if case.name == arguments.case)
        result = run_one(case, *arguments.seeds, arguments.output)
        file = arguments.output / f"{case.name}-{result.seed}.json"
        file.write_text(json.dumps(asdict(result), indent=2) + "\n")
        return
    started = time.perf_counter()
    for seed in arguments.seeds:
        if not (data := arguments.output / f"data-{seed}").exists():
            split_table(data, seed=seed)
    # The longest first, so that no core waits for the last one.
    todo = list(product(reversed(CASES), arguments.seeds))
    with ThreadPoolExecutor(arguments.jobs) as threads:
        results = list(
            threads.map(lambda job: in_a_process(*job, arguments.output, arguments.jobs), todo)
        )
    minutes = (time.perf_counter() - started) / 60
    print(table_of(results))
    better, worse = (
        [case.name for case in CASES if case.family == family]
        for family in (PRETRAINED, FROM_NOTHING)
    )
    found = margin(arguments.output, better, worse, arguments.seeds)
    print(f"\npretrained against from nothing: {found}")
    print(f"\n{minutes:.0f} minutes in all, {arguments.jobs} runs at a time")


if __name__ == "__main__":
    main()
