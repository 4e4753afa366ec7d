"""What the programs of a new user share: quick settings, and what lies on disk."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

# Of the recipe `linear` on descriptors: one strength leaves nothing to cross-validate.
QUICK: dict[str, object] = {"stages.0.Cs": [1.0], "stages.0.folds": None}

SAME = 1e-6


def test_files(run: Path, data: Path) -> tuple[list[Path], list[str]]:
    """The images of the test split and their true classes, in the order of the predictions."""
    rows = pd.read_parquet(run / "predictions" / "test.parquet")
    labels = pd.read_parquet(run / "index.parquet").set_index("path")["label"]
    return [data / name for name in rows["id"]], [str(labels[name]) for name in rows["id"]]


test_files.__test__ = False  # type: ignore[attr-defined]


def stored_probabilities(run: Path, part: str) -> np.ndarray:
    """(N, C) float64, as they lie on disk."""
    table = pd.read_parquet(run / "predictions" / f"{part}.parquet")
    return np.stack(table["probabilities"].to_list())


def stored_metrics(run: Path) -> dict[str, object]:
    metrics = json.loads((run / "report" / "metrics.json").read_text())
    assert isinstance(metrics, dict)
    return metrics


def probabilities_of(answer: dict[str, object]) -> np.ndarray:
    """(N, C) float64, of what `predict --json` answered."""
    classes = answer["classes"]
    predictions = answer["predictions"]
    assert isinstance(classes, list)
    assert isinstance(predictions, list)
    return np.array([[one["probabilities"][name] for name in classes] for one in predictions])


def noise(seed: int, size: int = 48) -> np.ndarray:
    """(H, W, 3) uint8: an image of nothing."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (size, size, 3), dtype=np.uint8)


def as_rgb(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
