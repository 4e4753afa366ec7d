"""Runs and audits made without training: what the pages read of them, and nothing more."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from holotype.dataset.auditing.findings import Findings
from holotype.dataset.auditing.issues_csv import Issue, write_issues
from holotype.dataset.index import COLUMNS, Index
from holotype.dataset.near_duplicates.search import NearDuplicate
from holotype.evaluation.build_report import build_report
from holotype.files import write_json, write_text
from holotype.predictions import Predictions

PARTS = ("train", "train", "val", "test")  # of every four images


def make_index(root: Path, classes: Sequence[str], count: int, *, files: bool = False) -> Index:
    """So many images, the classes in turn; with `files` each a small PNG of its own grey."""
    labels = [classes[n % len(classes)] for n in range(count)]
    paths = [f"{n:06d}.png" for n in range(count)]
    table = pd.DataFrame(
        {
            "path": paths,
            "label": labels,
            "group": "",
            "split": [PARTS[n // len(classes) % 4] for n in range(count)],
            "fold": -1,
            "weight": 1.0,
            "sha256": [f"{n:064x}" for n in range(count)],
            "width": 40,
            "height": 30,
            "format": "PNG",
        }
    ).astype(COLUMNS)
    if files:
        root.mkdir(parents=True, exist_ok=True)
        for n, path in enumerate(paths):
            Image.new("L", (40, 30), n % 256).save(root / path)
    return Index(root, table, tuple(sorted(set(classes))))


def predict(index: Index, part: str, seed: int = 0, wrong: float = 0.2) -> Predictions:
    """What a classifier might say of a part that is wrong about a share of it."""
    images = index.part(part)
    rng = np.random.default_rng([seed, len(images)])
    C, targets_N = len(index.classes), images.targets_N
    said_N = np.where(rng.random(len(images)) < wrong, rng.integers(0, C, len(images)), targets_N)
    logits_NC = rng.normal(size=(len(images), C))
    logits_NC[np.arange(len(images)), said_N] = logits_NC.max(axis=1) + rng.random(len(images))
    probabilities_NC = np.exp(logits_NC) / np.exp(logits_NC).sum(axis=1, keepdims=True)
    return Predictions(
        classes=index.classes,
        ids=tuple(images.table["path"]),
        sha256=tuple(images.table["sha256"]),
        targets_N=targets_N,
        weights_N=np.ones(len(images)),
        groups=("",) * len(images),
        folds_N=np.full(len(images), -1),
        logits_NC=logits_NC.astype(np.float32),
        probabilities_NC=probabilities_NC,
    )


def make_run(
    directory: Path,
    index: Index,
    *,
    seed: int = 0,
    wrong: float = 0.2,
    issues: Sequence[Issue] = (),
    pairs: Sequence[NearDuplicate] = (),
) -> Path:
    """A finished run: recipe, index, audit, predictions and scores."""
    write_text(directory / "recipe.yaml", "name: linear\nmodel: hog\nseed: 0\nstages: []\n")
    index.write(directory / "index.parquet")
    labels = dict(zip(index.table["path"], index.table["label"], strict=True))
    findings = Findings(num_images=len(index), near_duplicates=tuple(pairs), label_of=labels)
    write_json(directory / "audit" / "audit.json", findings.to_json())
    write_issues(issues, directory / "audit" / "issues.csv")
    for part in ("val", "test"):
        predictions = predict(index, part, seed, wrong)
        predictions.write(directory / "predictions" / f"{part}.parquet")
    report = build_report(predictions, part="test")
    write_json(directory / "report" / "metrics.json", report.to_json())
    write_json(directory / "environment.json", {"training_seconds": 12.5 + seed})
    return directory
