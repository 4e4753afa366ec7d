"""Ensembles of the ELPV classifiers against the best of their members.

    .venv/bin/python benchmarks/elpv_models.py --output runs/elpv-models
    .venv/bin/python benchmarks/elpv_ensembles.py runs/elpv-models --output runs/elpv-ensembles

For every seed of which there are runs, ensembles of all of them and of the pretrained ones, by
every method. Members, weights, temperature and the best member are decided on validation. Prints a
table: weighted accuracy and log loss on test, and the difference to the best member; for each seed
with its paired interval over images, over all seeds with Nadeau and Bengio's. What is in the
output is not made again.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from elpv import corrected_interval
from elpv_models import CASES, PRETRAINED

from holotype import ensemble
from holotype.ensembles.ensemble_recipe import read_ensemble_recipe
from holotype.ensembles.ensemble_weights import METHODS, EnsembleMethod
from holotype.progress import to_stderr
from holotype.run_directory import RunDirectory

SETS = ("all", PRETRAINED)


def members_of(folder: Path, kind: str, seed: int) -> list[Path]:
    """The finished runs of a seed, in the order of the cases."""
    cases = [case for case in CASES if kind == "all" or case.family == kind]
    paths = [folder / f"{case.name}-{seed}" for case in cases]
    return [path for path in paths if (path / "report" / "metrics.json").is_file()]


def made(runs: Sequence[Path], method: EnsembleMethod, output: Path) -> dict[str, Any]:
    """What the ensemble's report says."""
    if not (output / "report" / "index.html").is_file():
        ensemble(runs, output=output, method=method, progress=to_stderr())
    comparison: dict[str, Any] = json.loads(
        (output / "report" / "best_member_comparison.json").read_text()
    )
    scores = json.loads((output / "report" / "metrics.json").read_text())
    recipe = read_ensemble_recipe(RunDirectory(output).recipe)
    assert recipe is not None
    return {"comparison": comparison, "scores": scores, "members": len(recipe.members)}


def with_interval(value: dict[str, float], scale: float = 1.0, places: int = 1) -> str:
    numbers = [f"{scale * value[key]:+.{places}f}" for key in ("value", "low", "high")]
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"


def score(value: dict[str, float], scale: float, places: int) -> str:
    numbers = [f"{scale * value[key]:.{places}f}" for key in ("value", "low", "high")]
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"


def over_seeds(differences: Sequence[float], scale: float, places: int) -> str:
    if len(differences) < 2:
        return ""
    mean, low, high = corrected_interval(differences)
    value = {"value": mean, "low": low, "high": high}
    return with_interval(value, scale, places)


def rows_of(kind: str, method: EnsembleMethod, found: dict[int, dict[str, Any]]) -> list[str]:
    """One row for each seed, and one over all."""
    rows = []
    for seed, one in found.items():
        judged, comparison = one["comparison"]["reported"], one["comparison"]
        cells = [
            kind,
            method,
            str(seed),
            f"{one['members']}, best {Path(comparison['best_member']).name}",
            score(one["scores"]["accuracy"], 100, 1),
            score(one["scores"]["log_loss"], 1, 3),
            with_interval(judged["accuracy"], 100),
            with_interval(judged["log_loss"], 1, 3),
            f"{comparison['images_per_second'] or 0:.0f} "
            f"({comparison['best_member_images_per_second'] or 0:.0f})",
            "yes" if comparison["recommended"] else "no",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    accuracies, losses = (
        [one["scores"][key]["value"] for one in found.values()] for key in ("accuracy", "log_loss")
    )
    points, nats = (
        [one["comparison"]["reported"][key]["value"] for one in found.values()]
        for key in ("accuracy", "log_loss")
    )
    cells = [
        kind, method, "mean", "", f"{100 * np.mean(accuracies):.1f}", f"{np.mean(losses):.3f}",
        over_seeds(points, 100, 1), over_seeds(nats, 1, 3), "", "",
    ]  # fmt: skip
    rows.append("| " + " | ".join(cells) + " |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="what elpv_models.py wrote")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("runs/elpv-ensembles"))
    arguments = parser.parse_args()
    head = [
        "members", "method", "seed", "how many", "accuracy", "log loss",
        "points to the best member", "log loss to the best member", "images/s (best member)",
        "recommended",
    ]  # fmt: skip
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for kind in SETS:
        for method in METHODS:
            found = {}
            for seed in arguments.seeds:
                runs = members_of(arguments.runs, kind, seed)
                if len(runs) > 1:
                    output = arguments.output / f"{kind}-{method}-{seed}"
                    found[seed] = made(runs, method, output)
            if found:
                print("\n".join(rows_of(kind, method, found)), flush=True)


if __name__ == "__main__":
    main()
