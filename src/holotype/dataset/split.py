"""Every picture knows its side: stratified parts and folds in which groups and copies stay whole.

What must not be torn apart is a unit (`dealing`). Where groups and the ratios of the classes are
at odds, the split is the best compromise within reach: no move of a single unit improves it.

Small classes follow one policy: training first, then test, then validation. A class of one unit
is learnt and not measured; of two, learnt and tested. `lacking` says what a part has to do without.

A fourth part, `cal`, is made where a fourth ratio asks for it: pictures that neither train, choose,
calibrate confidence nor test anything, so that sets of classes can keep a promise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from holotype.dataset.dealing import CostsOfAbsence, dealt, units_of
from holotype.dataset.index import Index, Part
from holotype.dataset.listing import ALL_PARTS, PARTS
from holotype.errors import InvalidFolds, InvalidRatios, InvalidTable
from holotype.narration import counted

DEFAULT_RATIOS = (0.70, 0.15, 0.15)
DEFAULT_SEED = 42
_NAMES_SHOWN = 20
_ORDER_OF_NEED: tuple[Part, ...] = ("train", "test", "val", "cal")  # what a small class fills first


def split(
    index: Index,
    *,
    ratios: Sequence[float] = DEFAULT_RATIOS,
    seed: int = DEFAULT_SEED,
    together: Sequence[frozenset[str]] = (),
) -> Index:
    """The index with its split column filled.

    The result depends on the paths, labels, groups, `together` and the seed alone, not on
    the order of rows or the machine. A split that came with the data is kept; where it lacks
    val, test or a cal that the ratios ask for, that part is cut from train, at its ratio of the
    training part. Leaks in it are kept too: see `leaks.settled`.

    Args:
        ratios: of train, val and test, and of cal if there is to be one; all but train may be 0.
        together: sets of paths that must stand on one side, such as verified copies.

    Raises:
        InvalidRatios: negative, not finite, no train, or a sum that is not 1.
        InvalidTable: the split that came with the data has gaps, or no train.
    """
    check_ratios(ratios)
    wanted = dict(zip(ALL_PARTS, ratios, strict=False))
    given = _given_parts(index.table.sort_values("path"))
    cut = {part: share for part, share in wanted.items() if part not in given and share > 0}
    if given <= {"train"}:
        shares = wanted
    elif not cut:
        return index
    else:
        shares = {"train": 1 - sum(cut.values()), **cut}
    parts = [part for part, share in shares.items() if share > 0]
    to_cut = index.table["split"].isin(["", "train"])
    numbers = _dealt_rows(
        index.table[to_cut], [shares[part] for part in parts], _by_need(parts), seed, together
    )
    return _with_column(index, "split", {path: parts[n] for path, n in numbers.items()})


def folds(
    index: Index,
    num_folds: int,
    *,
    seed: int = DEFAULT_SEED,
    together: Sequence[frozenset[str]] = (),
) -> Index:
    """The index with its fold column filled, for cross-validation: 0 to `num_folds` - 1.

    Every picture that is not in a test or cal part stands in exactly one fold, so without a split
    all of them do; those pictures have fold -1. Folds are of nearly equal size and stratified, and
    a class is spread over as many of them as it has units. Like `split`, this depends on nothing
    but the pictures, `together` and the seed.

    Args:
        together: sets of paths that must stand in one fold, such as verified copies.

    Raises:
        InvalidFolds: fewer than two folds, or more than there are units to fill them.
    """
    if num_folds < 2:
        were = "was" if num_folds == 1 else "were"
        raise InvalidFolds(
            f"{counted(num_folds, 'fold')} {were} asked for; expected at least 2, such as 5."
        )
    table = index.table[~index.table["split"].isin(["test", "cal"])]
    num_units = len(units_of(table, together, seed))
    if num_units < num_folds:
        units = "picture or group" if num_units == 1 else "pictures or groups"
        raise InvalidFolds(
            f"{num_folds} folds were asked for, but only {num_units} {units} may stand "
            "apart (groups and copies count once); ask for fewer folds, or add pictures."
        )
    shares = [1 / num_folds] * num_folds
    numbers = _dealt_rows(table, shares, lambda _: [1] * num_folds, seed, together)
    fold_of = dict.fromkeys(index.table["path"], -1) | numbers
    return _with_column(index, "fold", fold_of)


def parts_of(index: Index) -> tuple[Part, ...]:
    """Train, val and test, and cal where the split has it."""
    present = set(index.table["split"])
    return tuple(part for part in ALL_PARTS if part in PARTS or part in present)


def missing_classes(index: Index) -> dict[Part, list[str]]:
    """The classes of which a part has no picture, for each part."""
    counts = proportions(index)
    return {part: [str(c) for c in counts.index[counts[part] == 0]] for part in parts_of(index)}


def lacking(index: Index, *, ratios: Sequence[float] = ()) -> list[str]:
    """What each part has to do without, as sentences.

    Args:
        ratios: of the parts that were asked for; of others, those that are empty are silent.
    """
    present = set(index.table["split"])
    asked = {part for part, share in zip(ALL_PARTS, ratios, strict=False) if share > 0}
    return [
        f"The {part} part has no picture of: {some_of(names)} (too few pictures to divide)."
        if part in present
        else f"The {part} part is empty: too few pictures of each class can stand apart (those of "
        "one group go together, and so do copies of one picture)."
        for part, names in missing_classes(index).items()
        if names and part in present | asked
    ]


def some_of(names: Sequence[str]) -> str:
    """Names for a sentence, all of them or the first twenty."""
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown + (f" and {len(names) - _NAMES_SHOWN:,} more" if names[_NAMES_SHOWN:] else "")


def proportions(index: Index) -> pd.DataFrame:
    """How many pictures of each class (rows) each part (columns) holds."""
    counts = pd.crosstab(index.table["label"], index.table["split"])
    return counts.reindex(index=list(index.classes), columns=list(parts_of(index)), fill_value=0)


def separate_counts(index: Index, *, together: Sequence[frozenset[str]] = ()) -> dict[str, int]:
    """How many pictures of each class may stand apart: groups and copies count once."""
    counts = dict.fromkeys(index.classes, 0)
    for unit in units_of(index.table, together, seed=0):
        for name, _ in unit.classes:
            counts[name] += 1
    return counts


def check_ratios(ratios: Sequence[float]) -> None:
    """Refuse what is no division into train, val and test, with or without cal.

    Raises:
        InvalidRatios: negative, not finite, no train, or a sum that is not 1.
    """
    expected = "expected three numbers for train, val and test, such as 0.7 0.15 0.15"
    if len(ratios) == len(ALL_PARTS):
        expected = "expected four numbers for train, val, test and cal, such as 0.6 0.15 0.15 0.1"
    if len(ratios) not in (len(PARTS), len(ALL_PARTS)):
        raise InvalidRatios(
            f"{len(ratios)} ratios arrived; {expected}, or a fourth for cal, such as "
            "0.6 0.15 0.15 0.1."
        )
    if not all(math.isfinite(ratio) and ratio >= 0 for ratio in ratios):
        raise InvalidRatios(f"the ratios {_shown(ratios)} are not all at least 0; {expected}.")
    if abs(sum(ratios) - 1) > 1e-6:
        raise InvalidRatios(
            f"the ratios {_shown(ratios)} sum to {sum(ratios):g}; {expected}, that sum to 1."
        )
    if ratios[0] == 0:
        raise InvalidRatios(f"the ratios {_shown(ratios)} leave nothing to train on; {expected}.")


def _shown(ratios: Sequence[float]) -> str:
    return ", ".join(f"{ratio:g}" for ratio in ratios)


def _given_parts(table: pd.DataFrame) -> set[str]:
    given = set(table["split"]) - {""}
    blank = table[table["split"] == ""]
    if given and len(blank):
        raise InvalidTable(
            f"the split column is filled for {len(table) - len(blank)} of {len(table)} pictures; "
            f"the first without one is {blank['path'].iloc[0]!r}. "
            "Expected train, val, test or cal in every row, or in none."
        )
    if given and "train" not in given:
        raise InvalidTable(
            f"the split that came with the data has no train, only {', '.join(sorted(given))}; "
            "expected pictures to train on."
        )
    return given


def _by_need(parts: Sequence[Part]) -> CostsOfAbsence:
    """What it costs that a class of so many units is missing in a part.

    Whole numbers so far apart that no number of classes missing in test outweighs one that
    is missing in train: what is not in test goes unmeasured, what is not in train, unlearnt.
    """
    order = [part for part in _ORDER_OF_NEED if part in parts]
    highest = max(2, len(order) - 1)

    def costs(units: int) -> list[int]:
        cost = {part: 10 ** (9 * (highest - place)) for place, part in enumerate(order[:units])}
        return [cost.get(part, 0) for part in parts]

    return costs


def _dealt_rows(
    table: pd.DataFrame,
    shares: Sequence[float],
    absence: CostsOfAbsence,
    seed: int,
    together: Sequence[frozenset[str]],
) -> dict[str, int]:
    """The number of the part that each path falls to."""
    table = table.sort_values("path", ignore_index=True)
    paths = list(table["path"])
    units = units_of(table, together, seed)
    numbers = dealt(units, shares, absence)
    return {
        paths[row]: number for unit, number in zip(units, numbers, strict=True) for row in unit.rows
    }


def _with_column(index: Index, column: str, values: Mapping[str, str | int]) -> Index:
    """The index with new values in a column; paths without one keep theirs."""
    table = index.table.copy()
    pairs = zip(table["path"], table[column], strict=True)
    table[column] = pd.Series(
        [values.get(path, old) for path, old in pairs], table.index, table[column].dtype
    )
    return replace(index, table=table)
