"""Small image folders, and indices without image files."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from holotype.dataset.index import COLUMNS, Index


def make_index(
    labels: list[str], groups: list[str] | None = None, splits: list[str] | None = None
) -> Index:
    count = len(labels)
    table = pd.DataFrame(
        {
            "path": [f"{label}/{i:06d}.png" for i, label in enumerate(labels)],
            "label": labels,
            "group": groups or [""] * count,
            "split": splits or [""] * count,
            "fold": -1,
            "weight": 1.0,
            "sha256": "",
            "width": 1,
            "height": 1,
            "format": "PNG",
        }
    ).astype(COLUMNS)
    table = table.sort_values("path", ignore_index=True)
    return Index(Path("/data"), table, tuple(sorted(set(labels))))


def part_of(index: Index) -> dict[str, str]:
    return dict(zip(index.table["path"], index.table["split"], strict=True))


def fold_of(index: Index) -> dict[str, int]:
    return dict(zip(index.table["path"], index.table["fold"], strict=True))


def paint(path: Path, size: tuple[int, int] = (5, 4), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *os.fsencode(path.name)])
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return path


def class_folders(root: Path, *names: str) -> Path:
    for name in names:
        paint(root / name)
    return root
