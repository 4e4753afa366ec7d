"""May I trust this data? What is broken, doubled, poor, imbalanced or leaking.

Every picture is decoded once and remembered as a fingerprint; the files are only read. What needs
a network to see (labels that are wrong, pictures that do not belong) `road.audit` adds.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from holotype.dataset.findings import Duplicate, Findings, Leak, Refusal
from holotype.dataset.fingerprints import Fingerprints, Progress, fingerprints
from holotype.dataset.index import Index
from holotype.dataset.listing import PARTS, Part
from holotype.dataset.lookalikes import Lookalike, clusters, lookalikes_among
from holotype.dataset.lookalikes import crowds as crowds_among
from holotype.dataset.quality import poor_images
from holotype.dataset.split import missing_classes, separate_counts


def audit(index: Index, *, on_progress: Progress | None = None) -> Findings:
    """Look at every picture of an index; refuse none of the others for the sake of a bad one.

    Args:
        on_progress: called with (pictures done, pictures in all) while they are decoded.
    """
    seen = fingerprints(index, on_progress=on_progress)
    usable = index.without(set(seen.refusals))
    duplicates = _duplicates(usable)
    lookalikes, copies, crowds = _believed(lookalikes_among(seen, index), duplicates, len(usable))
    counts = Counter(usable.table["label"])
    return Findings(
        images=len(index) + len(index.undecodable),
        refusals=_refusals(index, seen),
        duplicates=duplicates,
        lookalikes=tuple(lookalikes),
        labels=_labels_of(usable, lookalikes),
        copies=copies,
        class_counts={name: counts[name] for name in index.classes},
        small_classes=_small_classes(usable, copies),
        crowds=crowds,
        poor=tuple(poor_images(seen)),
        leaks=(*_leaking_copies(usable, copies), *_leaking_groups(usable)),
        missing_in_parts=_missing_in_given_parts(usable),
        warnings=dict(sorted(seen.warnings.items())),
        ignored=index.ignored,
        sizes=_sizes(seen),
        modes=_counted(mode.decode() for mode in seen.records["mode"].tolist()),
        formats=_counted(usable.table["format"]),
    )


def _refusals(index: Index, seen: Fingerprints) -> tuple[Refusal, ...]:
    unnamed = [
        Refusal(path, "undecodable_name", "its name is not valid UTF-8", "rename the file")
        for path in index.undecodable
    ]
    refused = [
        Refusal(path, refusal.problem, refusal.reason, refusal.advice)
        for path, refusal in seen.refusals.items()
    ]
    return tuple(sorted(unnamed + refused, key=lambda refusal: refusal.path))


def _duplicates(usable: Index) -> tuple[Duplicate, ...]:
    same_bytes: dict[str, list[tuple[str, str]]] = {}
    columns = (usable.table[name] for name in ("sha256", "path", "label"))
    for sha256, path, label in zip(*columns, strict=True):
        same_bytes.setdefault(sha256, []).append((path, label))
    several = [sorted(files) for files in same_bytes.values() if len(files) > 1]
    return tuple(
        Duplicate(tuple(path for path, _ in files), tuple(label for _, label in files))
        for files in sorted(several)
    )


def _believed(
    pairs: Sequence[Lookalike], duplicates: Sequence[Duplicate], num_images: int
) -> tuple[list[Lookalike], list[frozenset[str]], list[frozenset[str]]]:
    """(pairs, clusters of copies, crowds): what is said of pairs inside a crowd is taken back.

    Files with the same bytes are copies however many they are.
    """
    equal = [frozenset(duplicate.paths) for duplicate in duplicates]
    joined = clusters([*equal, *((pair.first, pair.second) for pair in pairs)])
    copies, too_large = crowds_among(joined, num_images)
    crowds = [cluster for cluster in too_large if cluster not in set(equal)]
    crowded = {path for crowd in crowds for path in crowd}
    equal_too = [files for files in equal if not any(files <= cluster for cluster in copies)]
    believed = [pair for pair in pairs if pair.first not in crowded]
    return believed, sorted([*copies, *equal_too], key=min), crowds


def _labels_of(usable: Index, lookalikes: Iterable[Lookalike]) -> dict[str, str]:
    named = {path for pair in lookalikes for path in (pair.first, pair.second)}
    labels = zip(usable.table["path"], usable.table["label"], strict=True)
    return {path: label for path, label in labels if path in named}


def _small_classes(usable: Index, copies: list[frozenset[str]]) -> dict[str, int]:
    """Classes with too few separate pictures to reach every part of a split that is to be made."""
    if set(usable.table["split"]) >= set(PARTS):
        return {}
    separate = separate_counts(usable, together=copies)
    return {name: count for name, count in separate.items() if count < len(PARTS)}


def _leaking_copies(usable: Index, copies: list[frozenset[str]]) -> list[Leak]:
    part_of = dict(zip(usable.table["path"], usable.table["split"], strict=True))
    leaks = []
    for cluster in copies:
        paths = sorted(path for path in cluster if part_of[path])
        parts = tuple(part_of[path] for path in paths)
        if len(set(parts)) > 1:
            leaks.append(Leak("copies", paths[0], tuple(paths), parts, len(paths)))
    return leaks


def _leaking_groups(usable: Index) -> list[Leak]:
    grouped = usable.table[(usable.table["group"] != "") & (usable.table["split"] != "")]
    leaks = []
    for name, rows in grouped.groupby("group"):
        first_of_part = rows.drop_duplicates("split").sort_values("path")
        if len(first_of_part) > 1:
            paths, parts = tuple(first_of_part["path"]), tuple(first_of_part["split"])
            leaks.append(Leak("group", str(name), paths, parts, len(rows)))
    return leaks


def _missing_in_given_parts(usable: Index) -> dict[Part, list[str]]:
    given = set(usable.table["split"])
    missing = missing_classes(usable)
    return {part: names for part, names in missing.items() if part in given and names}


def _sizes(seen: Fingerprints) -> tuple[tuple[int, int], ...]:
    """The smallest, the median and the largest (width, height) by area."""
    if not seen.paths:
        return ()
    widths, heights = (seen.records[name].astype(np.int64) for name in ("width", "height"))
    order = np.argsort(widths * heights, kind="stable")
    chosen = (order[0], order[len(order) // 2], order[-1])
    return tuple((int(widths[row]), int(heights[row])) for row in chosen)


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
