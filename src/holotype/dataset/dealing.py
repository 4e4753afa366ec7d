"""Units are dealt out to parts, and then moved and exchanged for as long as that helps.

A *unit* is what must not be torn apart: a group, a cluster of copies, or both joined where
they overlap; most pictures are a unit of their own. To deal them out evenly, class by class, is
a number problem that nobody solves exactly; what is promised here is a local optimum: no unit
can go to another part, and (where kinds of units are few) no two units can change places, and
make the whole better.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

# Totals weigh less than classes. With equal weights a class that has one too many in train and
# another that has one too few hold each other in place: either move alone would tilt the total.
_WEIGHT_OF_TOTAL = 0.1
# Exchanges are tried between kinds of units (the same classes, in the same part), every kind with
# every other: a second's work at this many kinds, and the gain fades with more.
_MOST_KINDS_TO_EXCHANGE = 250

CostsOfAbsence = Callable[[int], list[int]]


@dataclass(frozen=True)
class Unit:
    """Rows that stay together, with how many pictures of each class they hold."""

    rows: list[int]
    classes: tuple[tuple[str, int], ...]
    size: int


def units_of(table: pd.DataFrame, together: Sequence[frozenset[str]], seed: int) -> list[Unit]:
    """Units in the order in which they are dealt: large before small, else as the seed says.

    The order comes from a hash of seed and path, so that no library's random generator and
    no other picture of the data set has a say in it.

    Args:
        table: the columns path, label and group; sorted by path, so that the order of rows
            says nothing either.
        together: sets of paths that are one unit; paths that the table lacks are passed over.
    """
    paths = list(table["path"])
    labels = list(table["label"])
    units = []
    for rows in _joined(paths, list(table["group"]), together):
        counts: dict[str, int] = {}
        for row in rows:
            counts[labels[row]] = counts.get(labels[row], 0) + 1
        units.append(Unit(rows, tuple(sorted(counts.items())), len(rows)))

    def place(unit: Unit) -> tuple[int, bytes]:
        return -unit.size, hashlib.sha256(f"{seed}:{paths[unit.rows[0]]}".encode()).digest()

    return sorted(units, key=place)


def unit_names(table: pd.DataFrame, together: Sequence[frozenset[str]]) -> list[str]:
    """For each row the name of the unit that must not be torn apart; "" where it is alone."""
    names = [""] * len(table)
    for number, unit in enumerate(units_of(table, together, seed=0)):
        for row in unit.rows if len(unit.rows) > 1 else ():
            names[row] = f"unit {number}"
    return names


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


def dealt(units: list[Unit], shares: Sequence[float], absence: CostsOfAbsence) -> list[int]:
    """The number of the part that each unit falls to.

    Args:
        shares: of the parts; they sum to 1.
        absence: for a class of so many units, what it costs, part by part, that the part has
            none of them. Absences are weighed before distances from the shares.
    """
    deal = _Deal(units, shares, absence)
    for unit in range(len(units)):
        deal.put(unit, deal.furthest_behind(unit))
    while deal.move() or deal.exchange():
        pass
    return deal.part_of_unit


class _Deal:
    """Who has what, and what a move would change.

    What is made small: first the cost of parts in which a class is missing though it has
    units enough, then the squared distance of the counts from their targets, summed over
    parts and classes, and of the totals from theirs.
    """

    def __init__(self, units: list[Unit], shares: Sequence[float], absence: CostsOfAbsence) -> None:
        self.units = units
        self.shares = list(shares)
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
        self.needed = {name: absence(n) for name, n in units_of_class.items()}

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

        return min(range(len(self.shares)), key=lead)

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

    def _count(self, one: Unit, part: int, sign: int) -> None:
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

    def move(self) -> bool:
        """One pass over all units; each takes the move that helps most. Whether any moved."""
        moved = False
        for unit in range(len(self.units)):
            others = (p for p in range(len(self.shares)) if p != self.part_of_unit[unit])
            best = max(others, key=lambda part: self.gain(unit, part), default=None)
            if best is not None and self.gain(unit, best) > (0, 1e-6):
                self.put(unit, best)
                moved = True
        return moved

    def exchange(self) -> bool:
        """One pass over all pairs of units; whether any two changed places.

        Units of one kind are interchangeable, so one of each kind is tried for all.
        """
        one_of_kind: dict[tuple[tuple[tuple[str, int], ...], int], int] = {}
        for unit, part in enumerate(self.part_of_unit):
            one_of_kind.setdefault((self.units[unit].classes, part), unit)
            if len(one_of_kind) > _MOST_KINDS_TO_EXCHANGE:
                return False
        helped = 0
        for first, second in combinations(one_of_kind.values(), 2):
            helped += self._exchanged(first, second)
        return helped > 0

    def _exchanged(self, first: int, second: int) -> bool:
        """Whether two units changed places, which they do if that helps."""
        here, there = self.part_of_unit[first], self.part_of_unit[second]
        if here == there or self.units[first].classes == self.units[second].classes:
            return False
        absences, distances = self.gain(first, there)
        self.put(first, there)
        more_absences, more_distances = self.gain(second, here)
        if (absences + more_absences, distances + more_distances) > (0, 1e-6):
            self.put(second, here)
            return True
        self.put(first, here)
        return False
