"""What stands on both sides of a split that came with the data, and what becomes of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from holotype.dataset.index import Index
from holotype.dataset.splitting.assignment import find_atomic_groups
from holotype.errors import SplitLeakage
from holotype.progress import pluralize

OnLeak = Literal["refuse", "repair", "keep"]


def find_leaks(index: Index, *, keep_together: Sequence[frozenset[str]] = ()) -> list[list[str]]:
    """Groups and copies, joined where they overlap, that stand in more than one part.

    Returns:
        Sorted lists of paths, themselves sorted; images without a part have no say.
    """
    table = index.table[index.table["split"] != ""].sort_values("path", ignore_index=True)
    paths, parts = list(table["path"]), list(table["split"])
    return sorted(
        [paths[row] for row in sorted(atomic_group.rows)]
        for atomic_group in find_atomic_groups(table, keep_together, seed=0)
        if len({parts[row] for row in atomic_group.rows}) > 1
    )


def move_leaks_to_train(index: Index, *, keep_together: Sequence[frozenset[str]] = ()) -> Index:
    """The same split with every leaking group or set of copies moved wholly to train.

    Train, because an image that was trained on can never again be a fair question, while one
    question less only widens an interval.
    """
    moved = {
        path
        for atomic_group in find_leaks(index, keep_together=keep_together)
        for path in atomic_group
    }
    table = index.table.copy()
    table.loc[table["path"].isin(moved), "split"] = "train"
    return replace(index, table=table)


def resolve_leaks(
    index: Index, *, on_leak: OnLeak, keep_together: Sequence[frozenset[str]] = ()
) -> tuple[Index, list[str]]:
    """The index after the user's choice about leaks, and what to say of it.

    Args:
        on_leak: `refuse` raises, `repair` moves to train, `keep` leaves the split as it came.

    Returns:
        The index, and sentences for the report; none where nothing leaks.

    Raises:
        SplitLeakage: something leaks, and it was to be refused.
    """
    leaking = find_leaks(index, keep_together=keep_together)
    if not leaking:
        return index, []
    part_of = dict(zip(index.table["path"], index.table["split"], strict=True))
    first = leaking[0]
    other = next(path for path in first if part_of[path] != part_of[first[0]])
    count = len(leaking)
    noun = "group or set of copies stands" if count == 1 else "groups or sets of copies stand"
    what = (
        f"{count} {noun} on both sides of the split that came with the data; the first: "
        f"{first[0]!r} in {part_of[first[0]]} and {other!r} in {part_of[other]}"
    )
    if on_leak == "refuse":
        raise SplitLeakage(
            f"{what}. Expected each of them on one side; repair moves them to train, keep "
            "leaves them where they are and says so beside the score."
        )
    if on_leak == "keep":
        return index, [f"{what}: the score flatters."]
    after = move_leaks_to_train(index, keep_together=keep_together)
    moved = int((after.table["split"] != index.table["split"]).sum())
    were = "was" if moved == 1 else "were"
    notes = [f"{what}. {pluralize(moved, 'image')} {were} moved to train."]
    if emptied := sorted(set(index.table["split"]) - set(after.table["split"])):
        parts = " and ".join(emptied)
        notes.append(f"Nothing that was given is left in {parts}; it is cut from train anew.")
    return after, notes
