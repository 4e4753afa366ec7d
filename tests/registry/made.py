"""Runs of tiny classifiers, as a registry takes them: made in milliseconds, without training."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from holotype.bundle.bundle import Bundle, load_bundle
from holotype.evaluation.build_report import build_report
from holotype.evaluation.fit_decision import fit_decision
from holotype.files import write_json
from holotype.predictions import Predictions, softmax
from holotype.run_directory import RunDirectory
from tests.bundle.tiny import CLASSES, write_tiny

NUM_IMAGES = 200


def answers(accuracy: float, *, images: range = range(NUM_IMAGES)) -> Predictions:
    """Predictions of which this share is correct, spread evenly over the images."""
    N, C = len(images), len(CLASSES)
    targets_N = np.array([n % C for n in images])
    wrong_N = np.random.default_rng(1).permutation(N) >= round(accuracy * N)
    said_N = np.where(wrong_N, (targets_N + 1) % C, targets_N)
    logits_NC = np.zeros((N, C), np.float32)
    logits_NC[np.arange(N), said_N] = 2.0
    return Predictions(
        classes=CLASSES,
        ids=tuple(f"{n:04d}.png" for n in images),
        sha256=tuple(f"{n:064x}" for n in images),
        targets_N=targets_N,
        weights_N=np.ones(N),
        groups=("",) * N,
        folds_N=np.full(N, -1),
        logits_NC=logits_NC,
        probabilities_NC=softmax(logits_NC),
    )


def write_run(
    path: Path, name: str = "tiny", *, accuracy: float = 0.9, validation: Predictions | None = None
) -> Path:
    """A finished run whose classifier differs from that of any other name.

    Args:
        name: what the bundle is called.
        accuracy: on validation, and on test.
        validation: instead of `accuracy`.
    """
    run = RunDirectory(path)
    predictions = answers(accuracy) if validation is None else validation
    write_sealed(run.bundle, name)
    run.write_recipe(f"name: linear\nmodel: tiny\nseed: {len(name)}\n")
    write_json(run.environment, {"python": "3.11", "git_commit": "0123abc"})
    predictions.write(run.predictions / "val.parquet")
    write_json(run.report / "metrics.json", build_report(predictions, part="test").to_json())
    return path


def write_sealed(path: Path, name: str = "tiny") -> Bundle:
    """A bundle whose decision is sealed; of one template, with another name."""
    bundle = write_tiny(path, name=name)
    return bundle.with_decision(fit_decision(answers(0.9)))


def copy_with_name(template: Path, path: Path, name: str) -> Path:
    """A run whose bundle is called otherwise, and so is another classifier; in a millisecond."""
    shutil.copytree(template, path)
    manifest = path / "bundle" / "manifest.json"
    old = load_bundle(template).manifest
    manifest.write_bytes(replace(old, name=name).to_bytes())
    return path
