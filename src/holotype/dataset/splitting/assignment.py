"""Assign atomic groups to parts: greedily, then by local search with moves and swaps.

An *atomic group* must not be split: the images of one group, the copies of one image, or both
joined where they overlap; most images are an atomic group of their own. An even assignment, class
by class, is a partition problem (NP-hard), so the result is a local optimum: no move of one atomic
group improves it, and where there are few kinds of atomic groups, no swap of two does.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


# Totals weigh less than classes: with equal weights, a class with one image too many in train and
# another with one too few block each other, since either move alone would unbalance the total.
_TOTAL_SIZE_WEIGHT = 0.1
# Swaps are tried between all pairs of kinds of atomic groups (same class counts, same part): about
# a second of work at this number, and with more kinds they gain little.
_MAX_KINDS_TO_SWAP = 250

# number of atomic groups of a class -> for each part, the cost of having none of them
MissingClassPenalty = Callable[[int], list[int]]


@dataclass(frozen=True)
class AtomicGroup:
    """Rows of a table that must stay together.

    Attributes:
        rows: ascending.
        classes: (class, number of rows), sorted by class.
    """

    rows: list[int]
    classes: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        return len(self.rows)


def find_atomic_groups(
    table: "pd.DataFrame", keep_together: Sequence[frozenset[str]], seed: int
) -> list[AtomicGroup]:
    """The atomic groups of a table, in the order of assignment: the largest first.

    Groups of equal size are ordered by a hash of the seed and a path, so the order depends on no
    random generator and on no other image.

    Args:
        table: the columns path, label and group; sorted by path.
        keep_together: sets of paths that belong to one atomic group; unknown paths are ignored.
    """
    from scipy.cluster.hierarchy import DisjointSet

    paths, labels = list(table["path"]), list(table["label"])
    row_of_path = {path: row for row, path in enumerate(paths)}
    rows_of_group: dict[str, list[int]] = {}
    for row, group in enumerate(table["group"]):
        if group:
            rows_of_group.setdefault(group, []).append(row)
    copies = [
        [row_of_path[path] for path in paths if path in row_of_path] for paths in keep_together
    ]
    joined = DisjointSet(range(len(paths)))
    for rows in (*rows_of_group.values(), *copies):
        for row in rows[1:]:
            joined.merge(rows[0], row)

    def order(atomic_group: AtomicGroup) -> tuple[int, bytes]:
        first = paths[atomic_group.rows[0]]
        return -atomic_group.size, hashlib.sha256(f"{seed}:{first}".encode()).digest()

    atomic_groups = [
        AtomicGroup(sorted(rows), tuple(sorted(Counter(labels[row] for row in rows).items())))
        for rows in joined.subsets()
    ]
    return sorted(atomic_groups, key=order)


def atomic_group_names(table: "pd.DataFrame", keep_together: Sequence[frozenset[str]]) -> list[str]:
    """For each row the name of its atomic group; "" where it is the only member."""
    names = [""] * len(table)
    for number, atomic_group in enumerate(find_atomic_groups(table, keep_together, seed=0)):
        for row in atomic_group.rows if len(atomic_group.rows) > 1 else ():
            names[row] = f"group {number}"
    return names


def assign_parts(
    atomic_groups: list[AtomicGroup],
    shares: Sequence[float],
    missing_class_penalty: MissingClassPenalty,
) -> list[int]:
    """The part of each atomic group, as a position in `shares`.

    Args:
        shares: of the parts; they sum to 1.
        missing_class_penalty: takes precedence over distances from the shares.
    """
    assignment = _Assignment(atomic_groups, shares, missing_class_penalty)
    for group_index in range(len(atomic_groups)):
        assignment.assign(group_index, assignment.most_underfilled(group_index))
    while assignment.improve_by_moves() or assignment.improve_by_swaps():
        pass
    return assignment.part_of_group


class _Assignment:
    """An assignment, and how moves change its cost.

    The cost is, lexicographically: the penalty for classes that are missing in a part, then the
    squared distance of the counts from their targets, summed over parts and classes, plus that of
    the totals, with a lower weight.
    """

    def __init__(
        self,
        atomic_groups: list[AtomicGroup],
        shares: Sequence[float],
        missing_class_penalty: MissingClassPenalty,
    ) -> None:
        self.atomic_groups = atomic_groups
        self.shares = list(shares)
        self.part_of_group = [-1] * len(atomic_groups)
        self.assigned_total = 0
        self.total = [0] * len(shares)
        self.assigned: dict[str, int] = {}
        self.counts: dict[str, list[int]] = {}
        self.groups_per_part: dict[str, list[int]] = {}  # atomic groups, not images
        groups_of_class: dict[str, int] = {}
        for atomic_group in atomic_groups:
            for name, _ in atomic_group.classes:
                self.assigned[name] = 0
                self.counts[name] = [0] * len(shares)
                self.groups_per_part[name] = [0] * len(shares)
                groups_of_class[name] = groups_of_class.get(name, 0) + 1
        self.missing_penalties = {
            name: missing_class_penalty(n) for name, n in groups_of_class.items()
        }

    def most_underfilled(self, group_index: int) -> int:
        """The part that lacks most of what the atomic group holds, by what is assigned so far."""
        atomic_group = self.atomic_groups[group_index]

        def surplus(part: int) -> float:
            share = self.shares[part]
            behind = self.total[part] - share * (self.assigned_total + atomic_group.size)
            ahead = _TOTAL_SIZE_WEIGHT * atomic_group.size * behind
            for name, count in atomic_group.classes:
                behind = self.counts[name][part] - share * (self.assigned[name] + count)
                ahead += count * behind
            return ahead

        return min(range(len(self.shares)), key=surplus)

    def assign(self, group_index: int, part: int) -> None:
        """Assign an atomic group to a part, or move it there."""
        atomic_group = self.atomic_groups[group_index]
        before = self.part_of_group[group_index]
        if before >= 0:
            self._count(atomic_group, before, -1)
        else:
            self.assigned_total += atomic_group.size
            for name, count in atomic_group.classes:
                self.assigned[name] += count
        self._count(atomic_group, part, 1)
        self.part_of_group[group_index] = part

    def _count(self, atomic_group: AtomicGroup, part: int, sign: int) -> None:
        self.total[part] += sign * atomic_group.size
        for name, count in atomic_group.classes:
            self.counts[name][part] += sign * count
            self.groups_per_part[name][part] += sign

    def improvement(self, group_index: int, part: int) -> tuple[int, float]:
        """By how much a move lowers the cost: (missing classes, distances)."""
        atomic_group = self.atomic_groups[group_index]
        before = self.part_of_group[group_index]
        penalty = 0
        distances = self._distance_reduction(
            self.total, atomic_group.size, before, part, self.assigned_total
        )
        distances *= _TOTAL_SIZE_WEIGHT
        for name, count in atomic_group.classes:
            distances += self._distance_reduction(
                self.counts[name], count, before, part, self.assigned[name]
            )
            if self.groups_per_part[name][before] == 1:
                penalty -= self.missing_penalties[name][before]
            if self.groups_per_part[name][part] == 0:
                penalty += self.missing_penalties[name][part]
        return penalty, distances

    def _distance_reduction(
        self, counts: list[int], moved: int, before: int, part: int, whole: int
    ) -> float:
        """How much the squared distances from the targets fall when `moved` images move."""
        surplus = counts[before] - self.shares[before] * whole
        deficit = self.shares[part] * whole - counts[part]
        return 2.0 * moved * (surplus + deficit - moved)

    def improve_by_moves(self) -> bool:
        """Move each atomic group where that helps most, in one pass; whether any moved."""
        moved = False
        for group_index in range(len(self.atomic_groups)):
            others = (p for p in range(len(self.shares)) if p != self.part_of_group[group_index])
            best = max(others, key=lambda part: self.improvement(group_index, part), default=None)
            if best is not None and self.improvement(group_index, best) > (0, 1e-6):
                self.assign(group_index, best)
                moved = True
        return moved

    def improve_by_swaps(self) -> bool:
        """Swap two atomic groups where that helps, in one pass; whether any were swapped.

        Those of one kind are interchangeable, so one of each kind is tried.
        """
        one_of_kind: dict[tuple[tuple[tuple[str, int], ...], int], int] = {}
        for group_index, part in enumerate(self.part_of_group):
            one_of_kind.setdefault((self.atomic_groups[group_index].classes, part), group_index)
            if len(one_of_kind) > _MAX_KINDS_TO_SWAP:
                return False
        helped = 0
        for first, second in combinations(one_of_kind.values(), 2):
            helped += self._try_swap(first, second)
        return helped > 0

    def _try_swap(self, first: int, second: int) -> bool:
        """Swap two atomic groups if that helps; whether it did."""
        here, there = self.part_of_group[first], self.part_of_group[second]
        if here == there or self.atomic_groups[first].classes == self.atomic_groups[second].classes:
            return False
        penalty, distances = self.improvement(first, there)
        self.assign(first, there)
        more_penalty, more_distances = self.improvement(second, here)
        if (penalty + more_penalty, distances + more_distances) > (0, 1e-6):
            self.assign(second, here)
            return True
        self.assign(first, here)
        return False
