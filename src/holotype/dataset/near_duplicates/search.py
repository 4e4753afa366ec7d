"""Verified copies of one image: resized, recompressed, brightened, cropped, mirrored, turned,
framed or with a line of text on it.

The way of an image: its fingerprint is looked up among all others through many transforms
(`candidates`, `cells`), the nearest are roughly laid upon it (`shortlist`), then exactly
(`registration`), and judged by what still differs (`verification`, `verdicts`), without what was
drawn over it (`covers`); small ones are resized or recompressed again (`repeats`).

Measured on the 2,624 ELPV solar cells, MNIST, slices of fossils and photographs;
benchmarks/planted.py plants copies and benchmarks/RESULTS.md has the figures. Not found: crops of
more than about 10 %, crops of turned images, texts on turned or cropped ones or over an eighth
and more of a small one, turns by other angles, another aspect ratio, colour taken away, more than
twice or less than half the contrast, images below 12 pixels a side. Heavy JPEG compression of
very dark images leaves too little to tell a copy by.
"""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.cache import cache_directory, hash_strings
from holotype.dataset.fingerprints import Fingerprints
from holotype.dataset.index import Index
from holotype.dataset.near_duplicates.candidates import Candidates, find_candidates
from holotype.dataset.near_duplicates.coarse_alignment import coarse_match
from holotype.dataset.near_duplicates.copy_transforms import TRANSFORMS, CopyTransform
from holotype.dataset.near_duplicates.duplicate_clusters import resolve_clusters
from holotype.dataset.near_duplicates.duplicate_decision import DuplicateEvidence
from holotype.dataset.near_duplicates.verification import PairMeasurements
from holotype.files import write_json

_CACHE_VERSION = "9"  # to be raised whenever something below changes what is found
_MIN_SIDE = 12  # pixels; below it an image says too little


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that are copies of one.

    Attributes:
        first: the path of the larger one, or of the first by name.
        second: the path of the other.
        kind: what was done to one of them, the most telling: `text` or `framed`, `turned`,
            `mirrored`, `cropped`, `resized`, `brightness`, `recompressed`, or `same pixels`.
        evidence: what was measured, for people.
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
    files: dict[str, list[int]] = {}
    for row, path in enumerate(fingerprints.paths):
        files.setdefault(sha256[path], []).append(row)
    min_sides = np.minimum(fingerprints.records["rows"], fingerprints.records["columns"])
    # Sorted by hash, so that neither names nor the order of files affect the result.
    keys = sorted(key for key, rows in files.items() if min_sides[rows[0]] >= _MIN_SIDE)
    first_rows = [files[key][0] for key in keys]
    cached = cache_directory() / "near_duplicates" / f"{hash_strings(_CACHE_VERSION, *keys)}.json"
    if not cached.is_file():
        write_json(cached, _search(fingerprints.records[first_rows]))
    pairs = []
    for one, other, *description in json.loads(cached.read_text("utf-8")):
        first, second = sorted(
            (first_rows[one], first_rows[other]),
            key=lambda row: (-_pixels(fingerprints.records[row]), row),
        )
        pairs.append(
            NearDuplicate(fingerprints.paths[first], fingerprints.paths[second], *description)
        )
    pairs.sort(key=lambda pair: (pair.first, pair.second))
    equal = [frozenset(fingerprints.paths[r] for r in f) for f in files.values() if len(f) > 1]
    clusters, oversized = resolve_clusters(
        ((pair.first, pair.second) for pair in pairs), equal, len(fingerprints.paths)
    )
    return NearDuplicates(tuple(pairs), clusters, oversized)


_NearDuplicateRow = tuple[int, int, str, str, float]  # two rows, then kind, evidence and similarity


def _search(records: NDArray[np.void]) -> list[_NearDuplicateRow]:
    candidates, pruned = coarse_match(records, find_candidates(records))
    if not len(candidates.fixed):
        return []
    lower_bound = pruned.lower_bounds(len(records))
    evidence = DuplicateEvidence.measure(records, candidates).with_reproductions(
        records, lower_bound
    )
    is_copy, measured = evidence.fit_decision(lower_bound)
    # Where only a guess of what was left out stands against a pair, that is measured too.
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
    fixed, moving = int(candidates.fixed[pair]), int(candidates.moving[pair])
    first, second = sorted((fixed, moving), key=lambda row: (-_pixels(records[row]), row))
    size = " and ".join(f"{records[r]['width']}×{records[r]['height']}" for r in (first, second))
    kind, how = _describe_registration(records, candidates, measured, pair)
    if measured.reproduced_by_N[pair]:
        kind = ("resized", "recompressed")[measured.reproduced_by_N[pair] - 1]
        how = f"if one is {kind} like the other, no place"
    evidence = (
        f"{how} differs by more than {measured.difference_N[pair]:.1f} of 255 grey levels; "
        f"{size} pixels"
    )
    return first, second, kind, evidence, float(measured.similarity_N[pair])


def _describe_registration(
    records: NDArray[np.void], candidates: Candidates, measured: PairMeasurements, pair: int
) -> tuple[str, str]:
    """What was done to one image of a pair, and how they were laid upon each other."""
    two = [records[row[pair]] for row in (candidates.fixed, candidates.moving)]
    gain, offset = float(measured.gain_N[pair]), float(measured.offset_N[pair])
    window, transform = measured.window_N4[pair], TRANSFORMS[candidates.transform[pair]]
    difference, overlay = float(measured.difference_N[pair]), int(measured.overlay_N[pair])
    shift = max(abs(window[0] + window[1] / 2 - 0.5), abs(window[2] + window[3] / 2 - 0.5))
    scale = max(abs(window[1] - 1), abs(window[3] - 1))
    side = min(int(record[name]) for record in two for name in ("rows", "columns"))
    sizes = [sorted((int(record["width"]), int(record["height"]))) for record in two]
    kind = _transformation_kind(
        difference=difference,
        overlay=overlay,
        transform=transform,
        is_moved=bool(shift * side > 0.25 or scale * side > 0.4),
        is_resized=sizes[0] != sizes[1],
        is_brightened=abs(gain - 1) > 0.015 or abs(offset) > 1.5,
    )
    place = ("no place", "no place within the frame", "no place beside the text")[overlay]
    turned = f"turned by {90 * transform.quarter_turns}°, " if transform.quarter_turns else ""
    how = (
        f"after registration ({turned}shift {shift:.1%}, scale {scale:.1%}, contrast ×{gain:.2f}, "
        f"brightness {offset:+.1f}) {place}"
    )
    return kind, how


def _pixels(record: NDArray[np.void]) -> int:
    return int(record["width"]) * int(record["height"])


def _transformation_kind(
    *,
    difference: float,
    overlay: int,
    transform: CopyTransform,
    is_moved: bool,
    is_resized: bool,
    is_brightened: bool,
) -> str:
    """The most telling of what was done; a crop is also resized, and more may be brightened."""
    if overlay:
        return ("framed", "text")[overlay - 1]
    if transform.quarter_turns:
        return "turned"
    if transform.mirrored:
        return "mirrored"
    if is_moved:
        return "cropped"
    if is_resized:
        return "resized"
    if is_brightened:
        return "brightness"
    return "recompressed" if difference > 0.05 else "same pixels"
