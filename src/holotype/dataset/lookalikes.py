"""Verified copies of one picture: resized, recompressed, brightened, cropped a little, mirrored.

A likeness is not enough: two cells of one solar module, or two handwritten ones, are as like as
a picture and its JPEG. So every candidate is laid upon its partner (shift, scale, brightness,
contrast and sharpness are fitted) and three things are asked of what then still differs:

1. Is it small *everywhere*? A copy differs by noise, another specimen differs somewhere: what
   counts is the largest smoothed difference, not the mean. Where the picture is steep, more is
   forgiven, for resampling errs there.
2. Is it far smaller than what the next other pictures of this data set show? Nearest pictures
   that differ gradually, one a little more than the other, are a crowd and not copies.
3. Is it small beside the contrast of the picture itself? Two dark frames are no evidence.

Measured on the 2,624 ELPV solar cells, MNIST and photographs; docs/log.md has the figures.
Not found: turned pictures, crops of more than about 8 %, pictures below 12 pixels a side, and
of more than ten copies of one picture the worst few. Heavy JPEG compression of very small or very
dark pictures leaves too little to tell a copy by.

Shape suffixes: N pairs, R rows and K columns of pixels.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.candidates import WINDOWS, Candidates, candidates, shrinking
from holotype.dataset.fingerprints import COLOUR_SIZE, Fingerprints, fingerprints
from holotype.dataset.index import Index
from holotype.dataset.registration import Floats, Registered, register
from holotype.files import write_json
from holotype.kept import cache_directory, key_of

_METHOD = "1"  # to be raised whenever something below changes what is found
_LEAST_SIDE = 12  # pixels; below it a picture says too little
_MOVABLE_SIDE = 20  # pixels; smaller pictures are compared in place, or digits slide onto digits

# The limits below are differences in grey levels of 255, as `_difference` measures them.
_SURE = 0.75  # copies, whatever the other pictures look like
_CLOSE = 1.4  # copies if the next other picture differs twice as much; other cells begin at 1.45
_LOOSE = 4.5  # copies if the next other picture differs four times as much
_CLOSE_GAP, _LOOSE_GAP = 2.0, 4.0
_SURE_CONTRAST, _CONTRAST = 0.05, 0.15  # limits again, as fractions of the picture's contrast
_HOPELESS = 10.0  # at half the resolution; such pairs are not looked at again
_COLOUR_LIMIT = 10.0  # levels of chroma
_SLOPE_FORGIVEN = 0.1  # of a pixel
_BATCH = 128


@dataclass(frozen=True)
class Lookalike:
    """Two pictures that are copies of one.

    Attributes:
        first: the path of the larger one, or of the first by name.
        second: the path of the other.
        kind: what was done to one of them: `resized`, `cropped`, `brightness`, `mirrored`,
            `recompressed`, or `same pixels`.
        evidence: what was measured, for people.
        similarity: correlation after registration, at most 1.
    """

    first: str
    second: str
    kind: str
    evidence: str
    similarity: float


def find_lookalikes(index: Index) -> list[Lookalike]:
    """All verified copies among the readable pictures of an index; of equal files only one."""
    return lookalikes_among(fingerprints(index), index)


def lookalikes_among(seen: Fingerprints, index: Index) -> list[Lookalike]:
    """The same for pictures whose fingerprints are at hand.

    What was found is kept under the hashes of all pictures, for each verdict depends on all.
    """
    sha256 = dict(zip(index.table["path"], index.table["sha256"], strict=True))
    row_of: dict[str, int] = {}
    for row, path in enumerate(seen.paths):
        if min(seen.records[row]["rows"], seen.records[row]["columns"]) >= _LEAST_SIDE:
            row_of.setdefault(sha256[path], row)
    rows = list(row_of.values())
    kept = cache_directory() / "lookalikes" / f"{key_of(_METHOD, *row_of)}.json"
    if not kept.is_file():
        write_json(kept, _search(seen.records[rows]))
    return [
        Lookalike(seen.paths[rows[first]], seen.paths[rows[second]], *words)
        for first, second, *words in json.loads(kept.read_text("utf-8"))
    ]


_Found = tuple[int, int, str, str, float]  # two rows, then kind, evidence and similarity


def _search(records: NDArray[np.void]) -> list[_Found]:
    found = candidates(records)
    if not len(found.still):
        return []
    compared = _compare(records, found)
    copies = np.flatnonzero(_are_copies(compared, found))
    return [_described(records, found, compared, int(pair)) for pair in copies]


def clusters(copies: Iterable[Iterable[str]]) -> list[frozenset[str]]:
    """Pictures that are joined by copies, directly or through one another.

    The closure is taken over verified copies, never over likeness: if b is a copy of a and c is
    a copy of b, then all three show one picture, even where a and c have drifted too far apart
    to be verified, and none of the three may stand on another side of a split.

    Args:
        copies: sets of paths, such as the two of a lookalike or all files with the same bytes.
    """
    joined: dict[str, set[str]] = {}
    for paths in copies:
        merged = set(paths)
        for path in list(merged):
            merged |= joined.get(path, set())
        for path in merged:
            joined[path] = merged
    distinct = {id(members): frozenset(members) for members in joined.values()}
    return sorted(distinct.values(), key=min)


@dataclass(eq=False)
class _Compared:
    """What was measured of N candidate pairs."""

    difference_N: Floats  # the largest one, in grey levels; see _difference
    contrast_N: Floats  # standard deviation of the still picture
    similarity_N: Floats
    gain_N: Floats
    offset_N: Floats
    window_N4: Floats
    colour_N: Floats


def _compare(records: NDArray[np.void], found: Candidates) -> _Compared:
    count = len(found.still)
    starts = np.array([[w.top, w.bottom - w.top, w.left, w.right - w.left] for w in WINDOWS])
    compared = _Compared(
        difference_N=np.full(count, np.inf, np.float32),
        contrast_N=np.zeros(count, np.float32),
        similarity_N=np.zeros(count, np.float32),
        gain_N=np.ones(count, np.float32),
        offset_N=np.zeros(count, np.float32),
        window_N4=starts[found.window].astype(np.float32),
        colour_N=np.zeros(count, np.float32),
    )
    sides = np.minimum(records["rows"], records["columns"]).astype(np.int64)
    side_N = np.minimum(sides[found.still], sides[found.moving])
    compared.window_N4[side_N < _MOVABLE_SIDE] = (0, 1, 0, 1)
    batches = [
        (same_side[start : start + _BATCH], int(side))
        for side in np.unique(side_N)
        for same_side in [np.flatnonzero(side_N == side)]
        for start in range(0, len(same_side), _BATCH)
    ]
    with ThreadPoolExecutor(max_workers=2) as threads:  # each writes to its own pairs
        list(threads.map(lambda batch: _compare_batch(records, found, compared, *batch), batches))
    return compared


def _compare_batch(
    records: NDArray[np.void],
    found: Candidates,
    compared: _Compared,
    pairs: NDArray[np.int64],
    side: int,
) -> None:
    """Measure some pairs at `side` by `side` pixels; hopeless ones only at half of that."""
    if side // 2 >= _MOVABLE_SIDE:
        half = _registered(records, found, compared, pairs, side // 2, steps=3)
        compared.difference_N[pairs] = _difference(half)
        compared.window_N4[pairs] = half.window_N4
        pairs = pairs[compared.difference_N[pairs] < _HOPELESS]
        if not len(pairs):
            return
    fit = _registered(records, found, compared, pairs, side, steps=2)
    compared.difference_N[pairs] = _difference(fit)
    compared.contrast_N[pairs] = fit.contrast_N
    compared.similarity_N[pairs] = np.sqrt(
        np.maximum(0, 1 - fit.remainder_N**2 / np.maximum(fit.contrast_N, 1e-3) ** 2)
    )
    compared.gain_N[pairs], compared.offset_N[pairs] = fit.gain_N, fit.offset_N
    compared.window_N4[pairs] = fit.window_N4
    compared.colour_N[pairs] = _colour_difference(records, found, pairs, fit.window_N4)


def _registered(
    records: NDArray[np.void],
    found: Candidates,
    compared: _Compared,
    pairs: NDArray[np.int64],
    side: int,
    steps: int,
) -> Registered:
    movable = side >= _MOVABLE_SIDE
    # Smoothed by about a pixel, so that what lies between pixels is known when they move.
    smooth = _smoothing(side, 1.0 if movable else 0.5)
    still_NRK = smooth @ _grey(records[found.still[pairs]], side) @ smooth.T
    moving_NRK = _grey(records[found.moving[pairs]], side)
    mirrored = found.mirrored[pairs]
    moving_NRK[mirrored] = moving_NRK[mirrored, :, ::-1]
    moving_NRK = smooth @ moving_NRK @ smooth.T
    return register(
        still_NRK,
        moving_NRK,
        compared.window_N4[pairs],
        steps=steps if movable else 0,
        margin=2 / side if movable else 0.0,  # at the border a crop lacks what lay outside
    )


def _grey(records: NDArray[np.void], side: int) -> Floats:
    """Grey pictures at `side` by `side` pixels."""
    grey_NRK = np.empty((len(records), side, side), np.float32)
    sizes = np.stack([records["rows"], records["columns"]], 1).astype(np.int64)
    for rows, columns in np.unique(sizes, axis=0):
        some = np.flatnonzero((sizes == (rows, columns)).all(1))
        pixels = records["grey"][some, :rows, :columns].astype(np.float32)
        grey_NRK[some] = shrinking(int(rows), side) @ pixels @ shrinking(int(columns), side).T
    return grey_NRK


def _smoothing(side: int, deviation: float) -> Floats:
    """A matrix that smooths a line with a Gaussian of so many pixels."""
    distance = np.arange(side)[:, None] - np.arange(side)
    weights = np.exp(-(distance**2) / (2 * deviation**2))
    return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)


def _difference(fit: Registered) -> Floats:
    """The largest smoothed difference of each pair, in grey levels, steep places forgiven."""
    smooth = _smoothing(fit.shared_NRK.shape[1], 0.7)
    share_NRK = smooth @ fit.shared_NRK @ smooth.T + np.float32(1e-3)
    remainder_NRK = np.abs(smooth @ fit.remainder_NRK @ smooth.T) / share_NRK
    steep_NRK = np.sqrt((smooth @ (fit.slope_NRK**2 * fit.shared_NRK) @ smooth.T) / share_NRK)
    judged_NRK = remainder_NRK * fit.shared_NRK / (1 + np.float32(_SLOPE_FORGIVEN) * steep_NRK)
    return np.asarray(judged_NRK.max((1, 2)))


def _colour_difference(
    records: NDArray[np.void], found: Candidates, pairs: NDArray[np.int64], window_N4: Floats
) -> Floats:
    """The largest difference of chroma at low resolution, through the windows that were found.

    At edges of colour a quarter of the slope is forgiven, for there a quarter of a pixel is
    all that it takes.
    """
    largest_N = np.empty(len(pairs), np.float32)
    for number, pair in enumerate(pairs):
        still = records["colour"][found.still[pair]].astype(np.float32)
        moving = records["colour"][found.moving[pair]].astype(np.float32)
        if found.mirrored[pair]:
            moving = moving[:, :, ::-1]
        top, height, left, width = (float(v) for v in window_N4[number])
        down = shrinking(COLOUR_SIZE, COLOUR_SIZE, top, top + height)
        across = shrinking(COLOUR_SIZE, COLOUR_SIZE, left, left + width)
        slope = np.hypot(*np.gradient(still, axis=(1, 2)))
        apart = np.abs(down @ moving @ across.T - still) - slope / 4
        largest_N[number] = apart[:, 1:-1, 1:-1].max()
    return largest_N


def _are_copies(compared: _Compared, found: Candidates) -> NDArray[np.bool_]:
    """Which pairs are small enough in difference, both by themselves and beside others."""
    differences: defaultdict[int, list[float]] = defaultdict(list)
    pictures = list(zip(found.still.tolist(), found.moving.tolist(), strict=True))
    for (still, moving), difference in zip(pictures, compared.difference_N.tolist(), strict=True):
        differences[still].append(difference)
        differences[moving].append(difference)
    close, loose = (
        {
            picture: _limit_with_gap(sorted(values), limit, gap, picture in found.crowded)
            for picture, values in differences.items()
        }
        for limit, gap in ((_CLOSE, _CLOSE_GAP), (_LOOSE, _LOOSE_GAP))
    )
    limit_N = np.array(
        [
            max(min(close[still], close[moving]), min(loose[still], loose[moving]))
            for still, moving in pictures
        ]
    )
    limit_N = np.minimum(limit_N, _CONTRAST * compared.contrast_N)
    sure_N = np.minimum(_SURE, _SURE_CONTRAST * compared.contrast_N)
    is_alike_N = compared.difference_N <= np.maximum(limit_N, sure_N)
    is_plausible_N = (compared.gain_N > 0.8) & (compared.gain_N < 1.25)
    return np.asarray(is_alike_N & is_plausible_N & (compared.colour_N <= _COLOUR_LIMIT))


def _limit_with_gap(differences: list[float], limit: float, gap: float, crowded: bool) -> float:
    """The largest difference up to `limit` after which the next one is `gap` times as large.

    A crowded picture has more neighbours than were looked at; there what follows the last one
    is not known, so that it may not count as a gap.
    """
    reached = 0.0
    for this, following in zip(differences, [*differences[1:], np.inf], strict=True):
        if this > limit or (crowded and following == np.inf):
            break
        if following >= gap * this:
            reached = this
    return reached


def _described(
    records: NDArray[np.void], found: Candidates, compared: _Compared, pair: int
) -> _Found:
    still, moving = int(found.still[pair]), int(found.moving[pair])
    first, second = sorted((still, moving), key=lambda row: (-_pixels(records[row]), row))
    gain, offset = float(compared.gain_N[pair]), float(compared.offset_N[pair])
    window = compared.window_N4[pair]
    difference = float(compared.difference_N[pair])
    shift = max(abs(window[0] + window[1] / 2 - 0.5), abs(window[2] + window[3] / 2 - 0.5))
    scale = max(abs(window[1] - 1), abs(window[3] - 1))
    side = int(min(records[row][name] for row in (still, moving) for name in ("rows", "columns")))
    kind = _kind(
        difference=difference,
        is_mirrored=bool(found.mirrored[pair]),
        is_moved=bool(shift * side > 0.25 or scale * side > 0.4),
        is_resized=(records[still]["width"], records[still]["height"])
        != (records[moving]["width"], records[moving]["height"]),
        is_brightened=abs(gain - 1) > 0.015 or abs(offset) > 1.5,
    )
    size = " and ".join(f"{records[r]['width']}×{records[r]['height']}" for r in (first, second))
    evidence = (
        f"after registration (shift {shift:.1%}, scale {scale:.1%}, contrast ×{gain:.2f}, "
        f"brightness {offset:+.1f}) no place differs by more than {difference:.1f} of 255 grey "
        f"levels; {size} pixels"
    )
    return first, second, kind, evidence, float(compared.similarity_N[pair])


def _pixels(record: NDArray[np.void]) -> int:
    return int(record["width"]) * int(record["height"])


def _kind(
    *, difference: float, is_mirrored: bool, is_moved: bool, is_resized: bool, is_brightened: bool
) -> str:
    """The most telling of what was done; a crop is also resized, and more may be brightened."""
    if is_mirrored:
        return "mirrored"
    if is_moved:
        return "cropped"
    if is_resized:
        return "resized"
    if is_brightened:
        return "brightness"
    return "recompressed" if difference > 0.05 else "same pixels"
