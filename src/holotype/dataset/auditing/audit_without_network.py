"""Audit a data set from the fingerprints of its images.

The checks that need embeddings (label errors, outliers, neighbours) are added by `pipeline.audit`.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from holotype.dataset.audit_fingerprints import Fingerprints, compute_fingerprints
from holotype.dataset.auditing.findings import ExactDuplicates, Findings, Leak, UnusableImage
from holotype.dataset.auditing.quality import find_quality_issues, unused_range
from holotype.dataset.index import Index
from holotype.dataset.near_duplicates.search import NearDuplicate, find_near_duplicates
from holotype.dataset.reading.sample_records import ALL_PARTS, PARTS, Part
from holotype.dataset.splitting.splitter import atomic_group_counts, missing_classes
from holotype.progress import ProgressCallback


def audit(
    index: Index,
    *,
    bits: int | None = None,
    tolerate_truncated: bool = False,
    on_progress: ProgressCallback | None = None,
) -> Findings:
    """Find unusable images, duplicates, leakage, small classes and poor image quality.

    Args:
        index: all images; unreadable ones become findings.
        bits: how many are significant in images of 16 bits; None: as all of them together tell.
        tolerate_truncated: read files that are cut off as far as they go: a warning, no finding.
        on_progress: called with (images done, all images) while they are decoded.
    """
    fingerprints = compute_fingerprints(
        index, bits=bits, tolerate_truncated=tolerate_truncated, on_progress=on_progress
    )
    usable = index.without(set(fingerprints.refusals))
    duplicates = _duplicates(usable)
    found = find_near_duplicates(fingerprints, index)
    near_duplicates, copies = found.trusted_pairs, found.clusters
    counts = Counter(usable.table["label"])
    return Findings(
        num_images=len(index) + len(index.undecodable_names),
        unusable=_unusable_images(index, fingerprints),
        exact_duplicates=duplicates,
        near_duplicates=near_duplicates,
        label_of=_labels_of(usable, near_duplicates),
        duplicate_clusters=copies,
        class_counts={name: counts[name] for name in index.classes},
        given_parts=_counts_in_given_parts(usable),
        small_classes=_small_classes(usable, copies),
        oversized_clusters=found.oversized_clusters,
        quality_issues=tuple(find_quality_issues(fingerprints)),
        leaks=(*_leaking_copies(usable, copies), *_leaking_groups(usable)),
        missing_in_parts=_missing_in_given_parts(usable),
        warnings=dict(sorted(fingerprints.warnings.items())),
        significant_bits=fingerprints.bits,
        tolerate_truncated=tolerate_truncated,
        unused_range=unused_range(fingerprints),
        ignored=tuple(index.ignored),
        sizes=_sizes(fingerprints),
        modes=_value_counts(mode.decode() for mode in fingerprints.records["mode"].tolist()),
        formats=_value_counts(usable.table["format"]),
    )


def _unusable_images(index: Index, fingerprints: Fingerprints) -> tuple[UnusableImage, ...]:
    unnamed = [
        UnusableImage(path, "undecodable_name", "its name is not valid UTF-8", "rename the file")
        for path in index.undecodable_names
    ]
    refused = [
        UnusableImage(path, refusal.problem, refusal.reason, refusal.advice)
        for path, refusal in fingerprints.refusals.items()
    ]
    return tuple(sorted(unnamed + refused, key=lambda refusal: refusal.path))


def _duplicates(usable: Index) -> tuple[ExactDuplicates, ...]:
    same_bytes: dict[str, list[tuple[str, str]]] = {}
    columns = (usable.table[name] for name in ("sha256", "path", "label"))
    for sha256, path, label in zip(*columns, strict=True):
        same_bytes.setdefault(sha256, []).append((path, label))
    several = [sorted(files) for files in same_bytes.values() if len(files) > 1]
    return tuple(
        ExactDuplicates(tuple(path for path, _ in files), tuple(label for _, label in files))
        for files in sorted(several)
    )


def _labels_of(usable: Index, near_duplicates: Iterable[NearDuplicate]) -> dict[str, str]:
    named = {path for pair in near_duplicates for path in (pair.first, pair.second)}
    labels = zip(usable.table["path"], usable.table["label"], strict=True)
    return {path: label for path, label in labels if path in named}


def _small_classes(usable: Index, copies: list[frozenset[str]]) -> dict[str, int]:
    """Classes with fewer atomic groups than parts, unless there is a complete split already."""
    if set(usable.table["split"]) >= set(PARTS):
        return {}
    separate = atomic_group_counts(usable, keep_together=copies)
    return {name: count for name, count in separate.items() if count < len(PARTS)}


def _leaking_copies(usable: Index, copies: list[frozenset[str]]) -> list[Leak]:
    part_of = dict(zip(usable.table["path"], usable.table["split"], strict=True))
    leaks = []
    for cluster in copies:
        paths = sorted(path for path in cluster if part_of[path])
        parts = tuple(part_of[path] for path in paths)
        if len(set(parts)) > 1:
            leaks.append(Leak("duplicates", paths[0], tuple(paths), parts, len(paths)))
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


def _counts_in_given_parts(usable: Index) -> dict[str, dict[str, int]]:
    """Images of each class in each part; nothing where no split came with the data."""
    given = set(usable.table["split"]) - {""}
    if not given:
        return {}
    rows = Counter(zip(usable.table["split"], usable.table["label"], strict=True))
    parts = [part for part in (*ALL_PARTS, "") if any(split == part for split, _ in rows)]
    return {
        part or "unassigned": {name: rows[part, name] for name in usable.classes} for part in parts
    }


def _missing_in_given_parts(usable: Index) -> dict[Part, list[str]]:
    given = set(usable.table["split"])
    missing = missing_classes(usable)
    return {part: names for part, names in missing.items() if part in given and names}


def _sizes(fingerprints: Fingerprints) -> tuple[tuple[int, int], ...]:
    """The smallest, the median and the largest (width, height) by area."""
    if not fingerprints.paths:
        return ()
    widths, heights = (fingerprints.records[name].astype(np.int64) for name in ("width", "height"))
    order = np.argsort(widths * heights, kind="stable")
    chosen = (order[0], order[len(order) // 2], order[-1])
    return tuple((int(widths[row]), int(heights[row])) for row in chosen)


def _value_counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
