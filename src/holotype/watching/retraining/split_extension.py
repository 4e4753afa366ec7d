"""Where new images stand in the split of the champion: old images keep their places exactly.

A new image that is a copy of an old one, or of one group with it, goes where that one stands. Of
the others, chosen ones train (and some validate, at the champion's ratio), and random ones are held
apart as the fresh test. Of a group that has both, nothing trains.
"""

from collections.abc import Sequence
from dataclasses import replace

from holotype.dataset.index import Index
from holotype.dataset.splitting.assignment import find_atomic_groups
from holotype.dataset.splitting.splitter import split

FRESH, UNUSED = "fresh", "unused"
# Of a group that stands in several old parts already: where the least is learnt from it.
_ORDER = ("test", "cal", "val", "train")


def extend_split(
    index: Index,
    random: frozenset[str],
    keep_together: Sequence[frozenset[str]],
    *,
    ratios: Sequence[float],
    seed: int,
) -> dict[str, str]:
    """Places for the images that have none.

    Args:
        index: old images with their parts, new ones with none.
        random: paths of new images that must not train.
        keep_together: sets of paths that are copies of one image.
        ratios: of train, val and test in the champion's recipe.
        seed: of its split.

    Returns:
        New path -> `train`, `val`, `test`, `cal`, `fresh` or `unused`.
    """
    table = index.table.sort_values("path", ignore_index=True)
    paths, parts = list(table["path"]), list(table["split"])
    place_of: dict[str, str] = {}
    for atomic_group in find_atomic_groups(table, keep_together, seed):
        new = [paths[row] for row in atomic_group.rows if not parts[row]]
        old = {parts[row] for row in atomic_group.rows} - {""}
        if old:
            place_of |= dict.fromkeys(new, next(part for part in _ORDER if part in old))
        elif not random.isdisjoint(new):
            place_of |= {path: FRESH if path in random else UNUSED for path in new}
    free = index.without({*place_of, *(p for p, part in zip(paths, parts, strict=True) if part)})
    if len(free):
        validation = _validation_share(ratios, len(free), parts.count("val"))
        found = split(
            replace(free, table=free.table.assign(split="")),
            ratios=(1 - validation, validation, 0.0), seed=seed, keep_together=keep_together,
        )  # fmt: skip
        place_of |= dict(zip(found.table["path"], found.table["split"], strict=True))
    return place_of


def _validation_share(ratios: Sequence[float], num_new: int, num_old: int) -> float:
    """The champion's, but never more new images than old ones.

    Two versions are compared on validation images that both have, which must be most of each.
    """
    train, val = ratios[0], ratios[1]
    return min(val / (train + val), 0.5 * num_old / num_new)
