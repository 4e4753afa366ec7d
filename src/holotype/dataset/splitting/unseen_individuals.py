"""Hold out individuals: a share of the classes of which no image is seen in training.

They are for a search: can images of somebody the network never saw find each other, and are they
called new by those who do not know them? A classifier has no class for them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from holotype.dataset.index import Index
from holotype.dataset.splitting.assignment import find_atomic_groups
from holotype.errors import InvalidRatios


def hold_out_individuals(
    index: Index, share: float, seed: int, *, keep_together: Sequence[frozenset[str]] = ()
) -> tuple[Index, Index]:
    """The images of the classes that are seen, and those of the others, which have no part.

    Classes that share a group or copies of an image stay on one side. The result depends on the
    names of the classes, what they share, and the seed.

    Args:
        share: of the classes that is held out, in [0, 1).
        seed: of the choice.
        keep_together: sets of paths, such as verified copies.

    Raises:
        InvalidRatios: fewer than two classes would be left to train on, or none is held out.
    """
    from scipy.cluster.hierarchy import DisjointSet

    if share == 0:
        return index, replace(index, table=index.table.iloc[:0], classes=())
    table = index.table.sort_values("path", ignore_index=True)
    joined = DisjointSet(index.classes)
    for atomic_group in find_atomic_groups(table, keep_together, seed):
        first = atomic_group.classes[0][0]
        for name, _ in atomic_group.classes[1:]:
            joined.merge(first, name)

    def order(names: set[str]) -> bytes:
        return hashlib.sha256(f"{seed}:{min(names)}".encode()).digest()

    wanted = max(1, round(share * len(index.classes)))
    unseen: set[str] = set()
    for names in sorted(joined.subsets(), key=order):
        if len(unseen) + len(names) <= wanted:
            unseen |= names
    seen = tuple(name for name in index.classes if name not in unseen)
    if not unseen or len(seen) < 2:
        raise InvalidRatios(
            f"unseen {share:g} of {len(index.classes)} classes would hold out {len(unseen)} and "
            f"leave {len(seen)} to train on; expected at least one and at least two. Classes that "
            "share a group or copies of an image are held out together."
        )
    is_unseen = index.table["label"].isin(unseen)
    held_out = index.table[is_unseen].reset_index(drop=True)
    held_out["split"] = ""
    return (
        replace(index, table=index.table[~is_unseen].reset_index(drop=True), classes=seen),
        replace(index, table=held_out, classes=tuple(sorted(unseen))),
    )
