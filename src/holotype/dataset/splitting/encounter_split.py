"""A split in time: of every individual, earlier encounters train and later ones are tested on.

An encounter (a group and its day) is in one part, and so are copies of one image. Nothing is drawn.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from holotype.dataset.index import Index, Part
from holotype.dataset.splitting.assignment import AtomicGroup, find_atomic_groups

if TYPE_CHECKING:
    import pandas as pd

IN_TIME: tuple[Part, ...] = ("train", "val", "cal", "test")  # the earliest first


def split_by_time(
    index: Index, shares: Mapping[Part, float], keep_together: Sequence[frozenset[str]]
) -> dict[str, Part]:
    """path -> part. Of an individual with one encounter all images train.

    With more, the first encounter is in train and the last in test, and those between take the part
    that their place in time falls into, by the shares.

    Args:
        index: with the date of every image.
        shares: of the parts that are wanted; they sum to 1.
        keep_together: sets of paths that must be in one part, such as verified copies.
    """
    table = index.table.sort_values("path", ignore_index=True)
    parts = [part for part in IN_TIME if shares.get(part, 0) > 0]
    ends = list(accumulate(shares[part] for part in parts))
    part_of: dict[str, Part] = {}
    for encounters in _encounters_by_individual(index, table, keep_together).values():
        count = len(encounters)
        for place, rows in enumerate(encounters):
            middle = (place + 0.5) / count
            number = next((n for n, end in enumerate(ends) if middle < end), len(parts) - 1)
            if place == 0:
                number = 0
            elif place == count - 1:
                number = len(parts) - 1
            part_of |= {table["path"].iloc[row]: parts[number] for row in rows}
    return part_of


def _encounters_by_individual(
    index: Index, table: "pd.DataFrame", keep_together: Sequence[frozenset[str]]
) -> dict[str, list[list[int]]]:
    """The rows of every encounter of an individual, the earliest first."""
    dated: dict[str, list[tuple[str, str, list[int]]]] = {}
    for encounter in find_atomic_groups(table, keep_together, seed=0):
        paths = [table["path"].iloc[row] for row in encounter.rows]
        # Of several days, as copies may join, the last: no later image may train.
        day = max(index.dates[path] for path in paths)
        dated.setdefault(_individual(encounter), []).append((day, paths[0], encounter.rows))
    return {name: [rows for *_, rows in sorted(found)] for name, found in dated.items()}


def _individual(encounter: AtomicGroup) -> str:
    """Whose encounter it is: of several individuals that of most images."""
    return max(encounter.classes, key=lambda one: one[1])[0]


def describe_time_leaks(index: Index) -> list[str]:
    """How many individuals have a test or validation image before their last training image."""
    if not index.dates:
        return []
    leaking: list[str] = []
    for name, images in index.table.groupby("label"):
        days: dict[str, list[str]] = {}
        for path, part in zip(images["path"], images["split"], strict=True):
            days.setdefault(str(part), []).append(index.dates[path])
        judged = [day for part in ("val", "cal", "test") for day in days.get(part, [])]
        if judged and days.get("train") and min(judged) < max(days["train"]):
            leaking.append(str(name))
    if not leaking:
        return []
    have = "class has" if len(leaking) == 1 else "classes have"
    return [
        f"{len(leaking)} {have} test or validation images from before the last training image "
        f"(such as {leaking[0]!r}): in service a search only ever looks back."
    ]
