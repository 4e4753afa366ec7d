"""Leakage in a given split: groups and copies of one image that are in several parts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from holotype.dataset.index import Index
from holotype.dataset.splitting.assignment import find_atomic_groups
from holotype.errors import SplitLeakage
from holotype.progress import pluralize

OnLeak = Literal["refuse", "repair", "keep"]


def find_leaks(index: Index, *, keep_together: Sequence[frozenset[str]] = ()) -> list[list[str]]:
    """Atomic groups (groups and copies, joined where they overlap) that are in several parts.

    Returns:
        The paths of each, all sorted; images without a part are ignored.
    """
    table = index.table[index.table["split"] != ""].sort_values("path", ignore_index=True)
    paths, parts = list(table["path"]), list(table["split"])
    return sorted(
        [paths[row] for row in sorted(atomic_group.rows)]
        for atomic_group in find_atomic_groups(table, keep_together, seed=0)
        if len({parts[row] for row in atomic_group.rows}) > 1
    )


def resolve_leaks(
    index: Index, *, on_leak: OnLeak, keep_together: Sequence[frozenset[str]] = ()
) -> tuple[Index, list[str]]:
    """Refuse, repair or keep leaks in a given split.

    A repair moves them to train, since a test image that was trained on biases the score, while a
    smaller test part only widens its interval.

    Args:
        on_leak: `refuse` raises, `repair` moves leaks to train, `keep` leaves the split as it is.

    Returns:
        The index, and notes for the report; none where nothing leaks.

    Raises:
        SplitLeakage: there is a leak and `on_leak` is `refuse`.
    """
    leaking = find_leaks(index, keep_together=keep_together)
    if not leaking:
        return index, []
    part_of = dict(zip(index.table["path"], index.table["split"], strict=True))
    first = leaking[0]
    other = next(path for path in first if part_of[path] != part_of[first[0]])
    count = len(leaking)
    noun = "group or set of copies is" if count == 1 else "groups or sets of copies are"
    what = (
        f"{count} {noun} in several parts of the split that came with the data; the first: "
        f"{first[0]!r} in {part_of[first[0]]} and {other!r} in {part_of[other]}"
    )
    if on_leak == "refuse":
        raise SplitLeakage(
            f"{what}. Expected each in one part; repair moves them to train, keep leaves them "
            "where they are and says so beside the score."
        )
    if on_leak == "keep":
        return index, [f"{what}: the score is too optimistic."]
    table = index.table.copy()
    table.loc[table["path"].isin({path for leak in leaking for path in leak}), "split"] = "train"
    moved = int((table["split"] != index.table["split"]).sum())
    were = "was" if moved == 1 else "were"
    notes = [f"{what}. {pluralize(moved, 'image')} {were} moved to train."]
    if emptied := sorted(set(index.table["split"]) - set(table["split"])):
        parts = " and ".join(emptied)
        notes.append(f"No image is left in {parts}; images are assigned to it from train.")
    return replace(index, table=table), notes
