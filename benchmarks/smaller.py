"""Smaller classifiers beside their originals, paired, on validation: int8, pruning, distillation.

    .venv/bin/python benchmarks/smaller.py --output runs/smaller int8 prune distil

int8: five networks; each is quantised and judged as `holotype export --format int8` does it. The
first three have published weights and a linear head on ELPV; the others are trained from nothing on
MNIST-5k at 32 pixels. Prune and distil: on MNIST-5k too, both sides in one run.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.comparison.aligned_predictions import align_predictions
from holotype.comparison.significance import difference_interval
from holotype.exports.int8_quantisation import measure_speedup
from holotype.pipeline.exporting.export_int8 import try_int8
from holotype.pipeline.run import Run
from holotype.progress import to_stderr
from holotype.run_directory import RunDirectory

PRETRAINED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
SCRATCH = ("resnet18", "cnn_v1_residual")
SHORT = ["epochs=5", "stages.0.patience=null"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=["int8", "prune", "distil"])
    parser.add_argument("--output", type=Path, default=Path("runs/smaller"))
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for part in asked.parts:
        for name, row in {"int8": _int8, "prune": _prune, "distil": _distil}[part](asked.output):
            found[name] = row
            print(f"{name}: {row}", flush=True)
    (asked.output / "smaller.json").write_text(json.dumps(found, indent=2))


def _data(name: str, output: Path) -> Path:
    folder = output / name
    if not folder.exists():
        return Path(holotype.fetch(name, output=folder))
    table = folder / "table.csv"
    return table if table.exists() else folder


def _train(output: Path, name: str, data: Path, **options: Any) -> Run:
    run = output / name
    if (run / "report" / "index.html").is_file():
        return Run(run)
    return holotype.train(data, output=run, **options)


def _networks(output: Path) -> Any:
    for name in PRETRAINED:
        yield name, _train(output, name, _data("elpv", output), model=name, recipe="linear")
    for name in SCRATCH:
        yield name, _scratch(output, name, name)


def _scratch(output: Path, run: str, model: str, *more: str) -> Run:
    return _train(
        output, run, _data("mnist5k", output), model=model, recipe="scratch", image_size=32,
        overrides=["weights=none", *SHORT, *more],
    )  # fmt: skip


def _int8(output: Path) -> Any:
    for name, run in _networks(output):
        with tempfile.TemporaryDirectory() as scratch:
            int8 = RunDirectory(Path(scratch) / "int8")
            int8.path.mkdir()
            bundle = load_bundle(run.path)
            _, trial = try_int8(bundle, run.files, run.index, int8, False, to_stderr())
        yield name, f"{'ships' if trial.is_accepted else 'refused'}: {trial}"


def _prune(output: Path) -> Any:
    for name in SCRATCH:
        original = _scratch(output, name, name)
        pruned = _train(
            output, f"{name}-pruned", _data("mnist5k", output), recipe="pruned",
            resuming=holotype.Resuming(init_from=original.path),
            overrides=["epochs=4", "stages.0.views=4"],
        )  # fmt: skip
        yield f"{name}, pruned", _beside(original, pruned)


def _distil(output: Path) -> Any:
    teacher = _scratch(output, "resnet18", "resnet18")
    alone = _scratch(output, "cnn_baseline", "cnn_baseline")
    taught = _scratch(output, "taught", "cnn_baseline", f"teacher.run={teacher.path}")
    yield "cnn_baseline, taught by resnet18, beside itself alone", _beside(alone, taught)
    yield "cnn_baseline, taught by resnet18, beside its teacher", _beside(teacher, taught)


def _beside(before: Run, after: Run) -> str:
    """The paired difference on validation, and how much faster the second one is."""
    answers = align_predictions(
        {"before": before.predictions("val"), "after": after.predictions("val")}, "val"
    )
    correct_MN = answers.correct_MN.astype(np.float64)
    gain = difference_interval(correct_MN[1] - correct_MN[0], answers.weights_N, answers.units)
    bundles = [load_bundle(run.path) for run in (before, after)]
    size = bundles[0].preprocessing
    inputs = np.random.default_rng(0).normal(size=(4, 3, size.height, size.width))
    graphs = [bundle.graphs["backbone.onnx"] for bundle in bundles]
    speedup = measure_speedup(graphs[0], graphs[1], inputs.astype(np.float32))
    accuracies = correct_MN @ answers.weights_N / answers.weights_N.sum()
    return (
        f"{accuracies[0]:.2%} → {accuracies[1]:.2%}, {100 * gain[0]:+.2f} points "
        f"[{100 * gain[1]:+.2f}, {100 * gain[2]:+.2f}] on {len(correct_MN[0]):,} images; "
        f"{speedup.factor:.2f} times as fast; {len(graphs[0]) / 1e6:.1f} "
        f"→ {len(graphs[1]) / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
