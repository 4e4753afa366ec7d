"""Every picture knows its side: a stratified split in which groups and copies stay whole.

A *unit* is what must not be torn apart: a group, a cluster of copies, or both joined where
they overlap; most pictures are a unit of their own. Units are dealt out one by one to the
part that lies furthest behind, per class and in all, and then moved one by one for as long
as a move makes the split better.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from holotype.dataset.index import Index, Part
from holotype.dataset.listing import PARTS
from holotype.errors import InvalidRatios, InvalidTable

DEFAULT_RATIOS = (0.70, 0.15, 0.15)
DEFAULT_SEED = 42
# Totals weigh less than classes. With equal weights a class that has one too many in train and
# another that has one too few hold each other in place: either move alone would tilt the total.
_WEIGHT_OF_TOTAL = 0.1
_ORDER_OF_NEED: tuple[Part, ...] = ("train", "test", "val")  # what a small class fills first


def split(
    index: Index,
    *,
    ratios: tuple[float, float, float] = DEFAULT_RATIOS,
    seed: int = DEFAULT_SEED,
    together: Sequence[frozenset[str]] = (),
) -> Index:
    """The index with its split column filled.

    The result depends on the paths, labels, groups, `together` and the seed alone, not on
    the order of rows or the machine. A split that came with the data is kept; where it lacks
    val or test, that part is cut from train, at its ratio of the training part.

    Args:
        ratios: of train, val and test; val and test may be 0.
        together: sets of paths that must stand on one side, such as verified copies.

    Raises:
        InvalidRatios: negative, not finite, no train, or a sum that is not 1.
        InvalidTable: the split that came with the data has gaps, or no train.
    """
    check_ratios(ratios)
    wanted = dict(zip(PARTS, ratios, strict=True))
    table = index.table.sort_values("path", ignore_index=True)
    given = _given_parts(table)
    if given <= {"train"}:
        shares = wanted
    elif given == set(PARTS):
        return index
    else:
        (lacking,) = set(PARTS) - given
        shares = {"train": 1 - wanted[lacking], lacking: wanted[lacking]}
    to_cut = table["split"].isin(["", "train"])
    cut = table[to_cut]
    units = _units(cut, together, seed)
    parts = _dealt(units, {part: share for part, share in shares.items() if share > 0})
    part_of_row = [""] * len(cut)
    for unit, part in zip(units, parts, strict=True):
        for row in unit.rows:
            part_of_row[row] = part
    table.loc[to_cut, "split"] = part_of_row
    order = index.table["path"]
    return replace(index, table=table.set_index("path").loc[order].reset_index()[list(table)])


def missing_classes(index: Index) -> dict[Part, list[str]]:
    """The classes of which a part has no picture, for each part."""
    counts = proportions(index)
    return {part: [str(c) for c in counts.index[counts[part] == 0]] for part in PARTS}


def proportions(index: Index) -> pd.DataFrame:
    """How many pictures of each class (rows) each part (columns) holds."""
    counts = pd.crosstab(index.table["label"], index.table["split"])
    return counts.reindex(index=list(index.classes), columns=list(PARTS), fill_value=0)


def separate_counts(index: Index, *, together: Sequence[frozenset[str]] = ()) -> dict[str, int]:
    """How many pictures of each class may stand apart: groups and copies count once."""
    counts = dict.fromkeys(index.classes, 0)
    for unit in _units(index.table, together, seed=0):
        for name, _ in unit.classes:
            counts[name] += 1
    return counts


def check_ratios(ratios: Sequence[float]) -> None:
    """Refuse what is no division into train, val and test.

    Raises:
        InvalidRatios: negative, not finite, no train, or a sum that is not 1.
    """
    expected = "expected three numbers for train, val and test, such as 0.7 0.15 0.15"
    if len(ratios) != len(PARTS):
        raise InvalidRatios(f"{len(ratios)} ratios arrived; {expected}.")
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
            "Expected train, val or test in every row, or in none."
        )
    if given and "train" not in given:
        raise InvalidTable(
            f"the split that came with the data has no train, only {', '.join(sorted(given))}; "
            "expected pictures to train on."
        )
    return given


@dataclass(frozen=True)
class _Unit:
    """Rows that stay together, with how many pictures of each class they hold."""

    rows: list[int]
    classes: list[tuple[str, int]]
    size: int


def _units(table: pd.DataFrame, together: Sequence[frozenset[str]], seed: int) -> list[_Unit]:
    """Units in the order in which they are dealt: large before small, else as the seed says.

    The order comes from a hash of seed and path, so that no library's random generator and
    no other picture of the data set has a say in it.
    """
    paths = list(table["path"])
    labels = list(table["label"])
    units = []
    for rows in _joined(paths, list(table["group"]), together):
        counts: dict[str, int] = {}
        for row in rows:
            counts[labels[row]] = counts.get(labels[row], 0) + 1
        units.append(_Unit(rows, sorted(counts.items()), len(rows)))

    def place(unit: _Unit) -> tuple[int, bytes]:
        return -unit.size, hashlib.sha256(f"{seed}:{paths[unit.rows[0]]}".encode()).digest()

    return sorted(units, key=place)


def _joined(
    paths: list[str], groups: list[str], together: Sequence[frozenset[str]]
) -> list[list[int]]:
    """Rows joined where they share a group or a set of `together`, by union-find."""
    parent = list(range(len(paths)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(first: int, second: int) -> None:
        low, high = sorted((root(first), root(second)))
        parent[high] = low

    first_of_group: dict[str, int] = {}
    for row, group in enumerate(groups):
        if group:
            join(first_of_group.setdefault(group, row), row)
    row_of_path = {path: row for row, path in enumerate(paths)}
    for copies in together:
        rows = [row_of_path[path] for path in copies if path in row_of_path]
        for row in rows[1:]:
            join(rows[0], row)
    members: dict[int, list[int]] = {}
    for row in range(len(paths)):
        members.setdefault(root(row), []).append(row)
    return list(members.values())


def _dealt(units: list[_Unit], shares: dict[Part, float]) -> list[Part]:
    """The part of each unit."""
    deal = _Deal(units, shares)
    for unit in range(len(units)):
        deal.put(unit, deal.furthest_behind(unit))
    while deal.improve():
        pass
    return [deal.parts[number] for number in deal.part_of_unit]


class _Deal:
    """Who has what, and what a move would change.

    What is made small: first the cost of parts in which a class is missing though it has
    units enough (train before test before val), then the squared distance of the counts from
    their targets, summed over parts and classes, and of the totals from theirs.
    """

    def __init__(self, units: list[_Unit], shares: dict[Part, float]) -> None:
        self.units = units
        self.parts = list(shares)
        self.shares = list(shares.values())
        self.part_of_unit = [-1] * len(units)
        self.dealt_total = 0
        self.total = [0] * len(shares)
        self.dealt: dict[str, int] = {}
        self.counts: dict[str, list[int]] = {}
        self.presence: dict[str, list[int]] = {}  # units, not pictures
        units_of_class: dict[str, int] = {}
        for unit in units:
            for name, _ in unit.classes:
                self.dealt[name] = 0
                self.counts[name] = [0] * len(shares)
                self.presence[name] = [0] * len(shares)
                units_of_class[name] = units_of_class.get(name, 0) + 1
        self.needed = {name: self._needed(n) for name, n in units_of_class.items()}

    def _needed(self, units: int) -> list[int]:
        """What it costs that a class of so many units is missing in a part.

        Whole numbers so far apart that no number of classes missing in test outweighs one that
        is missing in train: what is not in test goes unmeasured, what is not in train, unlearnt.
        """
        order = [part for part in _ORDER_OF_NEED if part in self.parts]
        cost = {part: 10 ** (9 * (2 - place)) for place, part in enumerate(order[:units])}
        return [cost.get(part, 0) for part in self.parts]

    def furthest_behind(self, unit: int) -> int:
        """The part that should have the unit, judged by what was dealt so far."""
        one = self.units[unit]

        def lead(part: int) -> float:
            share = self.shares[part]
            behind = self.total[part] - share * (self.dealt_total + one.size)
            ahead = _WEIGHT_OF_TOTAL * one.size * behind
            for name, count in one.classes:
                behind = self.counts[name][part] - share * (self.dealt[name] + count)
                ahead += count * behind
            return ahead

        return min(range(len(self.parts)), key=lead)

    def put(self, unit: int, part: int) -> None:
        """Deal a unit to a part, or move it there."""
        one = self.units[unit]
        before = self.part_of_unit[unit]
        if before >= 0:
            self._count(one, before, -1)
        else:
            self.dealt_total += one.size
            for name, count in one.classes:
                self.dealt[name] += count
        self._count(one, part, 1)
        self.part_of_unit[unit] = part

    def _count(self, one: _Unit, part: int, sign: int) -> None:
        self.total[part] += sign * one.size
        for name, count in one.classes:
            self.counts[name][part] += sign * count
            self.presence[name][part] += sign

    def gain(self, unit: int, part: int) -> tuple[int, float]:
        """By how much a move makes the whole better: absences first, then distances."""
        one = self.units[unit]
        before = self.part_of_unit[unit]
        absences = 0
        distances = self._closer(self.total, one.size, before, part, self.dealt_total)
        distances *= _WEIGHT_OF_TOTAL
        for name, count in one.classes:
            distances += self._closer(self.counts[name], count, before, part, self.dealt[name])
            if self.presence[name][before] == 1:
                absences -= self.needed[name][before]
            if self.presence[name][part] == 0:
                absences += self.needed[name][part]
        return absences, distances

    def _closer(self, counts: list[int], moved: int, before: int, part: int, whole: int) -> float:
        """How much the squared distances from the targets shrink when `moved` pictures move."""
        surplus = counts[before] - self.shares[before] * whole
        deficit = self.shares[part] * whole - counts[part]
        return 2.0 * moved * (surplus + deficit - moved)

    def improve(self) -> bool:
        """One pass over all units; each takes the move that helps most. Whether any moved."""
        moved = False
        for unit in range(len(self.units)):
            others = (p for p in range(len(self.parts)) if p != self.part_of_unit[unit])
            best = max(others, key=lambda part: self.gain(unit, part), default=None)
            if best is not None and self.gain(unit, best) > (0, 1e-6):
                self.put(unit, best)
                moved = True
        return moved
