"""Assign every image to train, validation and test, or to folds: stratified, without leakage.

Images that must not be separated (of one group, copies of one image) form an atomic group; see
`assignment`. Where groups do not allow the ratios in every class, the split is a local optimum: no
move of one atomic group improves it.

A class with few atomic groups fills train first, then test, then validation:
`describe_missing_classes` says what a part lacks.

A fourth ratio makes a fourth part, `cal`, the calibration set of prediction sets: its images are
used for nothing else, which their coverage guarantee requires.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from holotype.dataset.index import Index, Part
from holotype.dataset.reading.sample_records import ALL_PARTS, PARTS
from holotype.dataset.splitting.assignment import (
    MissingClassPenalty,
    assign_parts,
    find_atomic_groups,
)
from holotype.dataset.splitting.encounter_split import split_by_time
from holotype.errors import InvalidFolds, InvalidRatios, InvalidTable
from holotype.progress import pluralize

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_RATIOS = (0.70, 0.15, 0.15)
DEFAULT_SEED = 42
_NAMES_SHOWN = 20
_SMALL_CLASS = 10  # images, of which a part may get none
_FILL_ORDER: tuple[Part, ...] = ("train", "test", "val", "cal")  # for small classes


def split(
    index: Index,
    *,
    ratios: Sequence[float] = DEFAULT_RATIOS,
    seed: int = DEFAULT_SEED,
    keep_together: Sequence[frozenset[str]] = (),
) -> Index:
    """The index with its split column filled.

    The result depends on paths, labels, groups, `keep_together` and the seed, not on the order of
    rows or the machine. A split that came with the data is kept, leaks included (see
    `leakage.resolve_leaks`); if it lacks val, test or a requested cal, that part is taken from
    train, at its ratio of the training images. Where images have dates nothing is drawn, and the
    split is in time: see `encounter_split`.

    Args:
        ratios: of train, val and test, and optionally of cal; all but train may be 0.
        keep_together: sets of paths that must be in one part, such as verified copies.

    Raises:
        InvalidRatios: negative, not finite, no train, or a sum that is not 1.
        InvalidTable: the split that came with the data has gaps, or no train.
    """
    check_ratios(ratios)
    wanted = dict(zip(ALL_PARTS, ratios, strict=False))
    given = _predefined_parts(index.table.sort_values("path"))
    cut = {part: share for part, share in wanted.items() if part not in given and share > 0}
    if given <= {"train"}:
        shares = wanted
    elif not cut:
        return index
    else:
        shares = {"train": 1 - sum(cut.values()), **cut}
    parts = [part for part, share in shares.items() if share > 0]
    to_cut = index.table["split"].isin(["", "train"])
    if index.dates:
        dated = replace(index, table=index.table[to_cut])
        return _with_column(index, "split", split_by_time(dated, shares, keep_together))
    numbers = _assign_rows(
        index.table[to_cut],
        [shares[part] for part in parts],
        _missing_class_penalty(parts),
        seed,
        keep_together,
    )
    return _with_column(index, "split", {path: parts[n] for path, n in numbers.items()})


def folds(
    index: Index,
    num_folds: int,
    *,
    seed: int = DEFAULT_SEED,
    keep_together: Sequence[frozenset[str]] = (),
) -> Index:
    """The index with its fold column filled, for cross-validation.

    Images of the parts test and cal get fold -1, all others one of 0 to `num_folds` - 1. Folds are
    stratified and of nearly equal size. As with `split`, the result depends on the images,
    `keep_together` and the seed alone.

    Args:
        keep_together: sets of paths that must be in one fold, such as verified copies.

    Raises:
        InvalidFolds: fewer than two folds, or more folds than atomic groups.
    """
    if num_folds < 2:
        raise InvalidFolds(f"got {pluralize(num_folds, 'fold')}; expected at least 2, such as 5.")
    table = index.table[~index.table["split"].isin(["test", "cal"])]
    num_atomic_groups = len(find_atomic_groups(table, keep_together, seed))
    if num_atomic_groups < num_folds:
        raise InvalidFolds(
            f"{num_folds} folds need at least as many separate images or groups; there are "
            f"{num_atomic_groups} (all images of a group, or copies of one image, count once). "
            "Use fewer folds, or add images."
        )
    shares = [1 / num_folds] * num_folds
    numbers = _assign_rows(table, shares, lambda _: [1] * num_folds, seed, keep_together)
    fold_of = dict.fromkeys(index.table["path"], -1) | numbers
    return _with_column(index, "fold", fold_of)


def parts_of(index: Index) -> tuple[Part, ...]:
    """Train, val and test, and cal where the split has it."""
    present = set(index.table["split"])
    return tuple(part for part in ALL_PARTS if part in PARTS or part in present)


def missing_classes(index: Index) -> dict[Part, list[str]]:
    """For each part, the classes of which it has no image."""
    counts = class_counts_by_part(index)
    return {part: [str(c) for c in counts.index[counts[part] == 0]] for part in parts_of(index)}


def describe_missing_classes(index: Index, *, ratios: Sequence[float] = ()) -> list[str]:
    """The classes that parts lack, as sentences.

    Args:
        ratios: of the split; an empty part is mentioned only if its ratio is above 0.
    """
    present = set(index.table["split"])
    sizes = class_counts_by_part(index).sum(axis=1)
    asked = {part for part, share in zip(ALL_PARTS, ratios, strict=False) if share > 0}
    return [
        f"The {part} part has no image of: {abbreviated(names)}{_reason(sizes, names)}."
        if part in present
        else f"The {part} part is empty: too few separate images of each class (all images of a "
        "group, or copies of one image, count once)."
        for part, names in missing_classes(index).items()
        if names and part in present | asked
    ]


def _reason(sizes: "pd.Series", names: Sequence[str]) -> str:
    """Why, unless they are so large that only a split that was given can be to blame."""
    return " (too few images to divide)" if (sizes[list(names)] < _SMALL_CLASS).all() else ""


def abbreviated(names: Sequence[str]) -> str:
    """Names joined by commas: all, or the first twenty and how many more."""
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown + (f" and {len(names) - _NAMES_SHOWN:,} more" if names[_NAMES_SHOWN:] else "")


def class_counts_by_part(index: Index) -> "pd.DataFrame":
    """The number of images, by class (rows) and part (columns)."""
    import pandas as pd

    counts = pd.crosstab(index.table["label"], index.table["split"])
    return counts.reindex(index=list(index.classes), columns=list(parts_of(index)), fill_value=0)


def atomic_group_counts(
    index: Index, *, keep_together: Sequence[frozenset[str]] = ()
) -> dict[str, int]:
    """The number of atomic groups of each class."""
    counts = dict.fromkeys(index.classes, 0)
    for atomic_group in find_atomic_groups(index.table, keep_together, seed=0):
        for name, _ in atomic_group.classes:
            counts[name] += 1
    return counts


def check_ratios(ratios: Sequence[float]) -> None:
    """Refuse ratios that are no split into train, val and test, with or without cal.

    Raises:
        InvalidRatios: negative, not finite, no train, or a sum that is not 1.
    """
    shown = ", ".join(f"{ratio:g}" for ratio in ratios)
    expected = "expected three numbers for train, val and test, such as 0.7 0.15 0.15"
    if len(ratios) == len(ALL_PARTS):
        expected = "expected four numbers for train, val, test and cal, such as 0.6 0.15 0.15 0.1"
    if len(ratios) not in (len(PARTS), len(ALL_PARTS)):
        raise InvalidRatios(
            f"got {len(ratios)} ratios; {expected}, or a fourth for cal, such as 0.6 0.15 0.15 0.1."
        )
    if not all(math.isfinite(ratio) and ratio >= 0 for ratio in ratios):
        raise InvalidRatios(f"the ratios {shown} are not all at least 0; {expected}.")
    if abs(sum(ratios) - 1) > 1e-6:
        raise InvalidRatios(
            f"the ratios {shown} sum to {sum(ratios):g}; {expected}, that sum to 1."
        )
    if ratios[0] == 0:
        raise InvalidRatios(f"the ratios {shown} leave nothing to train on; {expected}.")


def _predefined_parts(table: "pd.DataFrame") -> set[str]:
    given = set(table["split"]) - {""}
    blank = table[table["split"] == ""]
    if given and len(blank):
        raise InvalidTable(
            f"the split column is filled for {len(table) - len(blank)} of {len(table)} images; "
            f"the first without one is {blank['path'].iloc[0]!r}. "
            "Expected train, val, test or cal in every row, or in none."
        )
    if given and "train" not in given:
        raise InvalidTable(
            f"the split that came with the data has no train, only {', '.join(sorted(given))}; "
            "expected images to train on."
        )
    return given


def _missing_class_penalty(parts: Sequence[Part]) -> MissingClassPenalty:
    """The cost of a class that is missing in a part, by its number of atomic groups.

    The costs are integers so far apart that one class missing in train outweighs any number of
    classes missing in test.
    """
    order = [part for part in _FILL_ORDER if part in parts]
    highest = max(2, len(order) - 1)

    def costs(num_atomic_groups: int) -> list[int]:
        cost = {
            part: 10 ** (9 * (highest - place))
            for place, part in enumerate(order[:num_atomic_groups])
        }
        return [cost.get(part, 0) for part in parts]

    return costs


def _assign_rows(
    table: "pd.DataFrame",
    shares: Sequence[float],
    missing_class_penalty: MissingClassPenalty,
    seed: int,
    keep_together: Sequence[frozenset[str]],
) -> dict[str, int]:
    """path -> its part, as a position in `shares`."""
    table = table.sort_values("path", ignore_index=True)
    atomic_groups = find_atomic_groups(table, keep_together, seed)
    numbers = assign_parts(atomic_groups, shares, missing_class_penalty)
    paths = list(table["path"])
    return {
        paths[row]: number
        for atomic_group, number in zip(atomic_groups, numbers, strict=True)
        for row in atomic_group.rows
    }


def _with_column(index: Index, column: str, values: Mapping[str, str] | Mapping[str, int]) -> Index:
    """The index with new values by path in a column; other paths keep theirs."""
    import pandas as pd

    table = index.table.copy()
    pairs = zip(table["path"], table[column], strict=True)
    table[column] = pd.Series(
        [values.get(path, old) for path, old in pairs], table.index, table[column].dtype
    )
    return replace(index, table=table)
