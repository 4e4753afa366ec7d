"""Several classifiers' predictions of the same images, and runs of tiny classifiers on disk."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from holotype.bundle.bundle import write_bundle
from holotype.bundle.inference import predict_index
from holotype.comparison.aligned_predictions import AlignedPredictions, align_predictions
from holotype.comparison.cost import RunCost
from holotype.comparison.disagreements import disagreements
from holotype.comparison.leaderboard import Leaderboard, build_leaderboard
from holotype.comparison.result import Candidate, Comparison
from holotype.comparison.selection import Selection
from holotype.dataset.index import read_index
from holotype.dataset.splitting.splitter import split
from holotype.evaluation.fit_decision import fit_decision
from holotype.predictions import Predictions, softmax
from holotype.run_directory import RunDirectory
from tests.bundle.tiny import CLASSES, backbone_model, head_model, manifest, write_images
from tests.evaluation.made import called


def several(
    num_images: int = 200,
    num_classes: int = 3,
    signals: Sequence[float] = (1.0, 1.5, 2.0),
    *,
    seed: int = 0,
    groups: int | None = None,
    weighted: bool = False,
) -> dict[str, Predictions]:
    """Classifiers that share what is hard and differ in how much they know."""
    rng = np.random.default_rng(seed)
    N, C = num_images, num_classes
    targets_N = rng.integers(0, C, N)
    hard_NC = rng.normal(size=(N, C))
    weights_N = rng.choice([1 / 3, 2 / 3, 1.0], N) if weighted else np.ones(N)
    found = {}
    for number, signal in enumerate(signals):
        logits_NC = hard_NC + 0.7 * rng.normal(size=(N, C))
        logits_NC[np.arange(N), targets_N] += signal
        found[f"run {number}"] = Predictions(
            classes=tuple(f"class {c}" for c in range(C)),
            ids=tuple(f"folder/{n:04d}.png" for n in range(N)),
            sha256=tuple(f"{n:064x}" for n in range(N)),
            targets_N=targets_N,
            weights_N=weights_N,
            groups=("",) * N if groups is None else tuple(f"g{n % groups}" for n in range(N)),
            folds_N=np.full(N, -1),
            logits_NC=logits_NC.astype(np.float32),
            probabilities_NC=softmax(logits_NC.astype(np.float32)),
        )
    return found


def answered(
    targets: Sequence[int], *answers: Sequence[int], num_classes: int = 3
) -> AlignedPredictions:
    """Classifiers a, b, … that call the images what is given."""
    each = {
        chr(ord("a") + number): replace(
            called(targets, predicted, num_classes),
            sha256=tuple(f"{n:064x}" for n in range(len(targets))),
        )
        for number, predicted in enumerate(answers)
    }
    return align_predictions(each, "test")


def comparison_of(
    leaderboards: dict[str, Leaderboard],
    costs: Sequence[RunCost] | None = None,
    selection: Selection | None = None,
) -> Comparison:
    """A comparison of runs of which only predictions and costs exist."""
    main = next(iter(leaderboards.values()))
    costs = costs or [RunCost()] * len(main.names)
    candidates = tuple(
        Candidate(name, Path("runs") / name, "tiny", "photos", None, "", cost)
        for name, cost in zip(main.names, costs, strict=True)
    )
    return Comparison(
        candidates, leaderboards, (), "Not measured.", tuple(disagreements(main.aligned)), selection
    )


def comparison(*, num_images: int = 200, num_classes: int = 3, models: int = 3) -> Comparison:
    """Of test and validation."""
    signals = [1.0 + 0.5 * number for number in range(models)]
    parts = {
        part: build_leaderboard(
            align_predictions(several(num_images, num_classes, signals, seed=n), part), part
        )
        for n, part in enumerate(("test", "val"))
    }
    return comparison_of(parts, [RunCost(images_per_second=10.0 * (m + 1)) for m in range(models)])


def write_class_folders(folder: Path, count: int = 60) -> Path:
    """Class folders of colour noise."""
    for number, name in enumerate(CLASSES):
        write_images(folder / name, count // len(CLASSES), seed=number)
    return folder


def write_run(path: Path, data: Path, *, seed: int = 0, split_seed: int = 0) -> RunDirectory:
    """A run such as training leaves, of a tiny classifier with random weights."""
    run = RunDirectory(path)
    index = split(read_index(data), ratios=(0.4, 0.3, 0.3), seed=split_seed)
    index.write(run.index)
    run.write_recipe("model: tiny\n")
    run.environment.write_text(json.dumps({"training_seconds": 12.5, "training_resumed": False}))
    bundle = write_bundle(
        run.bundle,
        backbone=backbone_model().SerializeToString(),
        head=head_model(seed=seed).SerializeToString(),
        manifest=manifest(name=data.name),
    )
    bundle = bundle.with_decision(
        fit_decision(predict_index(bundle, index.part("val"), use_cache=False))
    )
    for part in ("val", "test"):
        predictions = predict_index(bundle, index.part(part), use_cache=False)
        predictions.write(run.predictions / f"{part}.parquet")
    return run
