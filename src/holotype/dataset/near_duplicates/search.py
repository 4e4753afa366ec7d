"""Find near-duplicates: the one function that other packages call, and its result types.

Copies of one image are found that were resized, recompressed, brightened, cropped, mirrored,
turned, framed, given a line of text, or flattened from transparency onto white or black. Steps:

1. `candidates` looks each fingerprint up among all others through many transforms;
2. `coarse_filter` registers candidates at 16 by 16 pixels and keeps the nearest;
3. `pair_measurements` registers these at up to 64 by 64 and measures the largest difference,
   `overlays` the same outside of frames and texts, `resize_recompress` after the same operation on
   small images;
4. `duplicate_decision` decides by limits and a ratio test;
5. `duplicate_clusters` joins pairs to clusters.

Not found: crops of more than about 10 %, crops of turned images, texts on turned or cropped images
or over an eighth or more of a small one, turns by other angles, another aspect ratio, colour
removed, more than twice or less than half the contrast, images below 12 pixels a side, and heavily
compressed very dark images. benchmarks/planted.py measures recall and precision;
benchmarks/RESULTS.md has the figures, and docs/log.md says where each threshold comes from.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from holotype.cache import hash_strings, read_cached, write_cached
from holotype.dataset.audit_fingerprints import Fingerprints
from holotype.dataset.index import Index
from holotype.dataset.near_duplicates.candidates import Candidates, find_candidates
from holotype.dataset.near_duplicates.coarse_filter import coarse_match
from holotype.dataset.near_duplicates.copy_transforms import TRANSFORMS
from holotype.dataset.near_duplicates.duplicate_clusters import resolve_clusters
from holotype.dataset.near_duplicates.duplicate_decision import DuplicateEvidence
from holotype.dataset.near_duplicates.overlays import FRAME, TEXT
from holotype.dataset.near_duplicates.pair_measurements import PairMeasurements
from holotype.dataset.near_duplicates.resize_recompress import REPRODUCED_KINDS
from holotype.dataset.near_duplicates.thresholds import DEFAULT

_CACHE_VERSION = "11"  # to be raised whenever a change affects what is found


@dataclass(frozen=True)
class NearDuplicate:
    """Two files that are copies of one image and differ in their bytes.

    Attributes:
        first: path of the larger image, or of the first by name.
        second: path of the other.
        kind: the most telling change: `text`, `framed`, `turned`, `mirrored`, `cropped`, `resized`,
            `brightness`, `recompressed` or `same pixels`.
        evidence: what was measured, as a sentence.
        similarity: correlation after registration, at most 1.
    """

    first: str
    second: str
    kind: str
    evidence: str
    similarity: float


@dataclass(frozen=True)
class NearDuplicates:
    """What a search found.

    Attributes:
        pairs: all verified near-duplicates of different bytes, sorted by their paths; of files of
            equal bytes only the first takes part.
        clusters: near-duplicates and files of equal bytes that are joined by copies, directly or
            through one another: a split has to keep each together.
        oversized_clusters: clusters too large to be believed; not among `clusters`.
    """

    pairs: tuple[NearDuplicate, ...]
    clusters: list[frozenset[str]]
    oversized_clusters: list[frozenset[str]]

    @property
    def trusted_pairs(self) -> tuple[NearDuplicate, ...]:
        """The pairs that are not in an oversized cluster."""
        in_oversized = {path for cluster in self.oversized_clusters for path in cluster}
        return tuple(pair for pair in self.pairs if pair.first not in in_oversized)


def find_near_duplicates(fingerprints: Fingerprints, index: Index) -> NearDuplicates:
    """Find all verified near-duplicates among the readable images of an index.

    The result is cached under the hashes of all images, since each decision depends on all.

    Args:
        fingerprints: of the images of `index`, from `compute_fingerprints`.
        index: the data set.
    """
    sha256 = dict(zip(index.table["path"], index.table["sha256"], strict=True))
    paths, files = fingerprints.paths, defaultdict[str, list[int]](list)
    for row, path in enumerate(paths):
        files[sha256[path]].append(row)
    row_of_hash = {key: rows[0] for key, rows in files.items()}
    pairs = _verified_pairs(fingerprints, row_of_hash)
    if fingerprints.on_black is not None:
        on_black = replace(fingerprints, records=fingerprints.on_black)
        pairs = _with_transparent(pairs, _verified_pairs(on_black, row_of_hash), fingerprints)
    equal_files = [frozenset(paths[r] for r in rows) for rows in files.values() if len(rows) > 1]
    clusters, oversized = resolve_clusters(
        ((pair.first, pair.second) for pair in pairs), equal_files, len(paths)
    )
    return NearDuplicates(pairs, clusters, oversized)


def _with_transparent(
    pairs: tuple[NearDuplicate, ...],
    pairs_on_black: tuple[NearDuplicate, ...],
    fingerprints: Fingerprints,
) -> tuple[NearDuplicate, ...]:
    """The pairs found on white, and those with a transparent image that are found on black only."""
    transparent = set(compress(fingerprints.paths, fingerprints.records["is_transparent"]))
    known = {(pair.first, pair.second) for pair in pairs}
    added = [
        pair
        for pair in pairs_on_black
        if {pair.first, pair.second} & transparent and (pair.first, pair.second) not in known
    ]
    return tuple(sorted([*pairs, *added], key=lambda pair: (pair.first, pair.second)))


def _verified_pairs(
    fingerprints: Fingerprints, row_of_hash: dict[str, int]
) -> tuple[NearDuplicate, ...]:
    """The pairs from the cache, or from a search among the images that are large enough."""
    records, paths = fingerprints.records, fingerprints.paths
    is_large = np.minimum(records["rows"], records["columns"]) >= DEFAULT.search.min_side_px
    # Sorted by hash, so that neither names nor the order of files affect the result.
    keys = sorted(key for key, row in row_of_hash.items() if is_large[row])
    rows = [row_of_hash[key] for key in keys]
    is_on_black = fingerprints.on_black is records
    read_as = f"{fingerprints.bits} bits{', on black' if is_on_black else ''}"
    name = f"near_duplicates/{hash_strings(_CACHE_VERSION, read_as, *keys)}.json"
    cached = read_cached(name)
    found = _search(records[rows]) if cached is None else json.loads(cached)
    if cached is None:
        write_cached(name, json.dumps(found).encode())
    pairs = []
    for one, other, *description in found:
        first, second = _larger_first(records, rows[one], rows[other])
        pairs.append(NearDuplicate(paths[first], paths[second], *description))
    return tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second)))


def _larger_first(records: NDArray[np.void], *rows: int) -> list[int]:
    """Rows sorted by falling number of pixels, then as they stand."""
    return sorted(
        rows, key=lambda row: (-int(records[row]["width"]) * int(records[row]["height"]), row)
    )


_NearDuplicateRow = tuple[int, int, str, str, float]  # two rows, kind, evidence and similarity


def _search(records: NDArray[np.void]) -> list[_NearDuplicateRow]:
    candidates, pruned = coarse_match(records, find_candidates(records))
    if not len(candidates):
        return []
    lower_bound = pruned.lower_bounds(len(records))
    evidence = DuplicateEvidence.measure(records, candidates)
    evidence = evidence.with_reproductions(records, lower_bound)
    is_copy, measured = evidence.fit_decision(lower_bound)
    # Where only the estimated bound of pruned pairs rules a pair out, these are measured too.
    is_doubtful = evidence.fit_decision(np.full_like(lower_bound, np.inf))[0] & ~is_copy
    if is_doubtful.any():
        doubtful = np.union1d(candidates.fixed[is_doubtful], candidates.moving[is_doubtful])
        evidence = evidence.with_pairs(records, pruned.involving(doubtful))
        lower_bound[doubtful] = np.inf
        is_copy, measured = evidence.fit_decision(lower_bound)
    return [
        _describe_pair(records, evidence.candidates, measured, int(pair))
        for pair in np.flatnonzero(is_copy)
    ]


def _describe_pair(
    records: NDArray[np.void], candidates: Candidates, measured: PairMeasurements, pair: int
) -> _NearDuplicateRow:
    rows = int(candidates.fixed[pair]), int(candidates.moving[pair])
    first, second = _larger_first(records, *rows)
    size = " and ".join(f"{records[r]['width']}×{records[r]['height']}" for r in (first, second))
    if reproduced_by := int(measured.reproduced_by_N[pair]):
        kind = REPRODUCED_KINDS[reproduced_by]
        how = f"if one is {kind} like the other, no place"
    else:
        kind = _change_kind(records[[*rows]], candidates, measured, pair)
        how = _describe_registration(candidates, measured, pair)
    evidence = (
        f"{how} differs by more than {measured.difference_N[pair]:.1f} of 255 grey levels; "
        f"{size} pixels"
    )
    return first, second, kind, evidence, float(measured.similarity_N[pair])


def _shift_and_scale(measured: PairMeasurements, pair: int) -> tuple[float, float]:
    """Largest shift of the window's centre and change of its extent, as fractions of a side."""
    top, height, left, width = measured.window_N4[pair]
    shift = max(abs(top + height / 2 - 0.5), abs(left + width / 2 - 0.5))
    return shift, max(abs(height - 1), abs(width - 1))


def _describe_registration(candidates: Candidates, measured: PairMeasurements, pair: int) -> str:
    shift, scale = _shift_and_scale(measured, pair)
    gain, offset = float(measured.gain_N[pair]), float(measured.offset_N[pair])
    quarter_turns = TRANSFORMS[candidates.transform[pair]].quarter_turns
    turned = f"turned by {90 * quarter_turns}°, " if quarter_turns else ""
    where = {0: "", FRAME: " within the frame", TEXT: " beside the text"}
    overlay = int(measured.overlay_N[pair])
    return (
        f"after registration ({turned}shift {shift:.1%}, scale {scale:.1%}, contrast ×{gain:.2f}, "
        f"brightness {offset:+.1f}, sharpness matched) no place{where[overlay]}"
    )


def _change_kind(
    records: NDArray[np.void], candidates: Candidates, measured: PairMeasurements, pair: int
) -> str:
    """The most telling change; a crop is also resized, and others may be brightened as well.

    Args:
        records: of the two images.
    """
    limits, transform = DEFAULT.kinds, TRANSFORMS[candidates.transform[pair]]
    shift, scale = _shift_and_scale(measured, pair)
    side_px = min(int(record[name]) for record in records for name in ("rows", "columns"))
    sizes = {tuple(sorted((int(one["width"]), int(one["height"])))) for one in records}
    gain, offset = float(measured.gain_N[pair]), float(measured.offset_N[pair])
    is_moved = shift * side_px > limits.moved_shift_px or scale * side_px > limits.moved_scale_px
    is_brightened = abs(gain - 1) > limits.brightened_gain or abs(offset) > limits.brightened_offset
    kinds = {
        "framed": measured.overlay_N[pair] == FRAME,
        "text": measured.overlay_N[pair] == TEXT,
        "turned": transform.quarter_turns > 0,
        "mirrored": transform.mirrored,
        "cropped": is_moved,
        "resized": len(sizes) > 1,
        "brightness": is_brightened,
        "recompressed": float(measured.difference_N[pair]) > limits.recompressed_difference,
        "same pixels": True,
    }
    return next(kind for kind, applies in kinds.items() if applies)
