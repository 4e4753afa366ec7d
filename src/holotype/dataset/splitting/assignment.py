"""Assignment of atomic groups to parts: greedy, then local search by moves and swaps.

An *atomic group* must not be split: a group, a cluster of copies, or both joined where
they overlap; most images are an atomic group of their own. To assign them evenly, class by class,
is a number problem that nobody solves exactly; what is promised here is a local optimum: no single
move of an atomic group and (where there are few kinds of them) no swap of two improves the
split.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


# Totals weigh less than classes. With equal weights a class that has one too many in train and
# another that has one too few hold each other in place: either move alone would tilt the total.
_TOTAL_SIZE_WEIGHT = 0.1
# Swaps are tried between kinds of atomic groups (the same classes, in the same part), every kind
# with every other: a second's work at this many kinds, and the gain fades with more.
_MAX_KINDS_TO_SWAP = 250

MissingClassPenalty = Callable[[int], list[int]]


@dataclass(frozen=True)
class AtomicGroup:
    """Rows that stay together, with how many images of each class they hold."""

    rows: list[int]
    classes: tuple[tuple[str, int], ...]
    size: int


def find_atomic_groups(
    table: "pd.DataFrame", keep_together: Sequence[frozenset[str]], seed: int
) -> list[AtomicGroup]:
    """Atomic groups in the order in which they are assigned: large before small, else as the seed
    says.

    The order comes from a hash of seed and path, so that no library's random generator and
    no other image of the data set has a say in it.

    Args:
        table: the columns path, label and group; sorted by path, so that the order of rows
            says nothing either.
        keep_together: sets of paths that are one atomic group; paths that the table lacks are
            passed over.
    """
    paths = list(table["path"])
    labels = list(table["label"])
    atomic_groups = []
    for rows in _connected_rows(paths, list(table["group"]), keep_together):
        counts: dict[str, int] = {}
        for row in rows:
            counts[labels[row]] = counts.get(labels[row], 0) + 1
        atomic_groups.append(AtomicGroup(rows, tuple(sorted(counts.items())), len(rows)))

    def place(atomic_group: AtomicGroup) -> tuple[int, bytes]:
        return -atomic_group.size, hashlib.sha256(
            f"{seed}:{paths[atomic_group.rows[0]]}".encode()
        ).digest()

    return sorted(atomic_groups, key=place)


def atomic_group_names(table: "pd.DataFrame", keep_together: Sequence[frozenset[str]]) -> list[str]:
    """For each row the name of its atomic group; "" where it is alone."""
    names = [""] * len(table)
    for number, atomic_group in enumerate(find_atomic_groups(table, keep_together, seed=0)):
        for row in atomic_group.rows if len(atomic_group.rows) > 1 else ():
            names[row] = f"group_index {number}"
    return names


def _connected_rows(
    paths: list[str], group_labels: list[str], keep_together: Sequence[frozenset[str]]
) -> list[list[int]]:
    """Rows joined where they share a group or a set of `keep_together`, by union-find."""
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
    for row, group in enumerate(group_labels):
        if group:
            join(first_of_group.setdefault(group, row), row)
    row_of_path = {path: row for row, path in enumerate(paths)}
    for copies in keep_together:
        rows = [row_of_path[path] for path in copies if path in row_of_path]
        for row in rows[1:]:
            join(rows[0], row)
    members: dict[int, list[int]] = {}
    for row in range(len(paths)):
        members.setdefault(root(row), []).append(row)
    return list(members.values())


def assign_parts(
    atomic_groups: list[AtomicGroup],
    shares: Sequence[float],
    missing_class_penalty: MissingClassPenalty,
) -> list[int]:
    """The number of the part of each atomic group.

    Args:
        shares: of the parts; they sum to 1.
        missing_class_penalty: for a class of so many atomic groups, what it costs, part by part,
            that the part has none of them. Absences are weighed before distances from the shares.
    """
    assignment = _Assignment(atomic_groups, shares, missing_class_penalty)
    for group_index in range(len(atomic_groups)):
        assignment.assign(group_index, assignment.most_underfilled(group_index))
    while assignment.improve_by_moves() or assignment.improve_by_swaps():
        pass
    return assignment.part_of_group


class _Assignment:
    """Who has what, and what a move would change.

    What is made small: first the cost of parts in which a class is missing though it has
    atomic groups enough, then the squared distance of the counts from their targets, summed over
    parts and classes, and of the totals from theirs.
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
        """The part that should get the atomic group, judged by what was assigned so far."""
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
        """By how much a move makes the whole better: absences first, then distances."""
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
        """How much the squared distances from the targets shrink when `moved` images move."""
        surplus = counts[before] - self.shares[before] * whole
        deficit = self.shares[part] * whole - counts[part]
        return 2.0 * moved * (surplus + deficit - moved)

    def improve_by_moves(self) -> bool:
        """One pass over all atomic groups; each takes the move that helps most. Whether any
        moved."""
        moved = False
        for group_index in range(len(self.atomic_groups)):
            others = (p for p in range(len(self.shares)) if p != self.part_of_group[group_index])
            best = max(others, key=lambda part: self.improvement(group_index, part), default=None)
            if best is not None and self.improvement(group_index, best) > (0, 1e-6):
                self.assign(group_index, best)
                moved = True
        return moved

    def improve_by_swaps(self) -> bool:
        """One pass over all pairs; whether any two were swapped.

        Atomic groups of one kind are interchangeable, so one of each kind is tried for all.
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
