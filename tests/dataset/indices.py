"""Indices of images that nobody has painted, for what looks at rows only."""

from pathlib import Path

import pandas as pd

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
