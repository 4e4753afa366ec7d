"""Whether two pictures are one: laid upon each other, and judged by what then still differs.

A likeness is not enough: two cells of one solar module, or two handwritten ones, are as like as
a picture and its JPEG. Candidates are first laid upon each other roughly, at 16 by 16 pixels, and
of every picture only the nearest few go on; these are registered at up to 64 by 64 (shift, scale,
brightness, contrast and sharpness are fitted), and three things are asked of what still differs:

1. Is it small *everywhere*? A copy differs by noise, another specimen differs somewhere: what
   counts is the largest smoothed difference, not the mean. Where the picture is steep, more is
   forgiven, for resampling errs there.
2. Is it far smaller than what the next other pictures of this data set show? Nearest pictures
   that differ gradually, one a little more than the other, are a crowd and not copies.
3. Is it small beside the contrast of the picture itself? Two dark frames are no evidence.

Heavy compression of a small picture leaves noise that is as large as what tells two specimens
apart. At half the resolution it is smoothed away, and two specimens still differ, so the same
three are asked there as well.

What was drawn over a picture is left out: a frame along the border, or a text within one small
box. Then the fit is a robust one, and the same is asked of the rest, more strictly.

Shape suffixes: N pairs, R rows and K columns of pixels.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.candidates import VIEWS, WHOLE, Candidates, oriented
from holotype.dataset.fingerprints import COLOUR_SIZE
from holotype.dataset.registration import Registered, judged, largest, register
from holotype.dataset.thumbnails import Floats, grey_at, shrinking, smoothing

MOVABLE_SIDE = 20  # pixels; smaller pictures are compared in place, or digits slide onto digits

# The limits below are differences in grey levels of 255, as `judged` measures them; `verdicts` has
# the others.
SURE = 0.75  # copies, whatever the other pictures look like
CLOSE = 1.4  # copies if the next other picture differs twice as much; other cells begin at 1.45
LOOSE = 4.5  # copies if the next other picture differs four times as much
# At half the resolution: the first are looked at again, the second if they stand beside a copy.
_NEAR, _NEAR_INSIDE, HOPELESS = 3.5, 7.0, 12.0  # inside: a frame may still be seen
_FAR = (
    8.0  # at a first look at 16 pixels; of 6,000 copies with nothing drawn over the worst had 5.7
)
_BATCH = 32


@dataclass(eq=False)
class Measured:
    """What was measured of N candidate pairs.

    Attributes:
        difference_N: the largest one, in grey levels; infinite where nobody looked twice.
        coarse_N: the same at half the resolution; infinite of pictures too small for that.
        contrast_N: standard deviation of the still picture, without what is covered.
        similarity_N: correlation after registration.
        gain_N, offset_N, window_N4: as `Registered` has them.
        colour_N: the largest difference of chroma.
        cover_N: 0 where nothing is left out, 1 for a frame, 2 for a text.
        repeat_N: 0, or what was done again to get the one from the other (see `repeats`).
    """

    difference_N: Floats
    coarse_N: Floats
    contrast_N: Floats
    similarity_N: Floats
    gain_N: Floats
    offset_N: Floats
    window_N4: Floats
    colour_N: Floats
    cover_N: NDArray[np.int8]
    repeat_N: NDArray[np.int8]

    @classmethod
    def nothing(cls, found: Candidates) -> "Measured":
        count = len(found.still)
        return cls(
            difference_N=np.full(count, np.inf, np.float32),
            coarse_N=np.full(count, np.inf, np.float32),
            contrast_N=np.zeros(count, np.float32),
            similarity_N=np.zeros(count, np.float32),
            gain_N=np.ones(count, np.float32),
            offset_N=np.zeros(count, np.float32),
            window_N4=found.window_P4.copy(),
            colour_N=np.zeros(count, np.float32),
            cover_N=np.zeros(count, np.int8),
            repeat_N=np.zeros(count, np.int8),
        )

    def note(
        self,
        pairs: NDArray[np.int64],
        fit: Registered,
        difference_N: Floats,
        contrast_N: Floats | None = None,
        *,
        cover: int = 0,
        where: NDArray[Any] | slice = slice(None),
    ) -> None:
        """Write down a fit for some pairs; `where` says which of the fit they are."""
        self.difference_N[pairs] = difference_N
        self.contrast_N[pairs] = fit.contrast_N[where] if contrast_N is None else contrast_N
        explained_N = fit.remainder_N**2 / np.maximum(fit.contrast_N, 1e-3) ** 2
        self.similarity_N[pairs] = np.sqrt(np.maximum(0, 1 - explained_N[where]))
        self.gain_N[pairs], self.offset_N[pairs] = fit.gain_N[where], fit.offset_N[where]
        self.window_N4[pairs] = fit.window_N4[where]
        self.cover_N[pairs] = cover

    def where(self, chosen: NDArray[Any] | slice) -> "Measured":
        """Some of the pairs, copied."""
        return Measured(**{name: mine[chosen].copy() for name, mine in vars(self).items()})

    def joined(self, other: "Measured") -> "Measured":
        """These pairs and then the others."""
        columns = vars(self)
        return Measured(**{n: np.concatenate([columns[n], getattr(other, n)]) for n in columns})

    def replaced(self, other: "Measured", where: NDArray[np.bool_]) -> "Measured":
        """What another way of measuring says, where that is the better one."""
        merged = {
            name: np.where(where.reshape(-1, *[1] * (mine.ndim - 1)), getattr(other, name), mine)
            for name, mine in vars(self).items()
        }
        return Measured(**merged)


def measure(records: NDArray[np.void], found: Candidates, *, all_exactly: bool = False) -> Measured:
    """Lay every pair of candidates upon each other, and say what differs.

    Args:
        all_exactly: at the full resolution also where half of it says that there is no copy.
    """
    measured = Measured.nothing(found)
    sides = np.minimum(records["rows"], records["columns"]).astype(np.int64)
    side_N = np.minimum(sides[found.still], sides[found.moving])
    measured.window_N4[side_N < MOVABLE_SIDE] = (0, 1, 0, 1)
    is_far_N = (found.apart_P > _FAR) & (not all_exactly)
    measured.difference_N[is_far_N] = found.apart_P[is_far_N]
    is_large_N = (side_N // 2 >= MOVABLE_SIDE) & ~is_far_N
    in_batches(_roughly, records, found, measured, np.flatnonzero(is_large_N), side_N)
    near_N = np.where(found.part == WHOLE, _NEAR, _NEAR_INSIDE)
    is_near_N = all_exactly | (~is_large_N & ~is_far_N) | (measured.difference_N < near_N)
    in_batches(_exactly, records, found, measured, np.flatnonzero(is_near_N), side_N)
    # What stands beside a possible copy decides about it, so that is measured as well.
    alike_N = is_near_N & (measured.difference_N <= LOOSE)
    alike = np.concatenate([found.still[alike_N], found.moving[alike_N]])
    is_beside_N = np.isin(found.still, alike) | np.isin(found.moving, alike)
    is_beside_N &= ~is_near_N & (measured.difference_N < HOPELESS)
    in_batches(_exactly, records, found, measured, np.flatnonzero(is_beside_N), side_N)
    return measured


def in_batches(
    work: Callable[..., None],
    records: NDArray[np.void],
    found: Candidates,
    measured: Measured,
    pairs: NDArray[np.int64],
    side_N: NDArray[np.int64],
) -> None:
    """Two threads work on pairs of one size at a time; each writes to its own pairs."""
    batches = [
        (same_side[start : start + _BATCH], int(side))
        for side in np.unique(side_N[pairs])
        for same_side in [pairs[side_N[pairs] == side]]
        for start in range(0, len(same_side), _BATCH)
    ]
    with ThreadPoolExecutor(max_workers=2) as threads:
        list(threads.map(lambda batch: work(records, found, measured, *batch), batches))


def _roughly(
    records: NDArray[np.void],
    found: Candidates,
    measured: Measured,
    pairs: NDArray[np.int64],
    side: int,
) -> None:
    """Measure some pairs at half the resolution."""
    half = registered(records, found, measured.window_N4, pairs, side // 2, steps=2)
    measured.difference_N[pairs] = measured.coarse_N[pairs] = largest(judged(half))
    measured.window_N4[pairs] = half.window_N4


def _exactly(
    records: NDArray[np.void],
    found: Candidates,
    measured: Measured,
    pairs: NDArray[np.int64],
    side: int,
) -> None:
    """Measure some pairs at `side` by `side` pixels."""
    fit = registered(records, found, measured.window_N4, pairs, side, steps=2)
    measured.note(pairs, fit, largest(judged(fit)))
    measured.colour_N[pairs] = colour_difference(records, found, measured, pairs)


def registered(
    records: NDArray[np.void],
    found: Candidates,
    window_N4: Floats,
    pairs: NDArray[np.int64],
    side: int,
    *,
    steps: int,
    robust: bool = False,
    border: int = 0,
) -> Registered:
    movable = side >= MOVABLE_SIDE
    # Smoothed by about a pixel, so that what lies between pixels is known when they move. A
    # border that is left out shall not be smeared into the rest, so it is painted over.
    inside = np.clip(np.arange(side), border - 1, side - border) if border else np.arange(side)
    smooth = smoothing(side, 1.0 if movable else 0.5)
    smooth = smooth @ np.eye(side, dtype=np.float32)[inside]
    still_NRK = smooth @ grey_at(records[found.still[pairs]], side) @ smooth.T
    moving_NRK = grey_at(records[found.moving[pairs]], side)
    moving_NRK = smooth @ oriented(moving_NRK, found.where(pairs)) @ smooth.T
    return register(
        still_NRK,
        moving_NRK,
        window_N4[pairs],
        steps=steps if movable else 0,
        # At the border a crop lacks what lay outside.
        margin=max(2, border) / side if movable else border / side,
        robust=robust,
    )


def colour_difference(
    records: NDArray[np.void],
    found: Candidates,
    measured: Measured,
    pairs: NDArray[np.int64],
    covered_NRK: NDArray[np.bool_] | None = None,
) -> Floats:
    """The largest difference of chroma at low resolution, through the windows that were found.

    Colours follow the contrast that was found, or do not. At edges of colour a quarter of the
    slope is forgiven, for there a quarter of a pixel is all that it takes; of a picture that
    moved between the pixels, half of it.
    """
    largest_N = np.empty(len(pairs), np.float32)
    blur = smoothing(COLOUR_SIZE, 0.7)
    for number, pair in enumerate(pairs):
        still = records["colour"][found.still[pair]].astype(np.float32) - 128
        moving = records["colour"][found.moving[pair]].astype(np.float32) - 128
        moving = VIEWS[found.view[pair]].oriented(moving)
        top, height, left, width = (float(v) for v in measured.window_N4[pair])
        down = shrinking(COLOUR_SIZE, COLOUR_SIZE, top, top + height)
        across = shrinking(COLOUR_SIZE, COLOUR_SIZE, left, left + width)
        is_moved = max(abs(top), abs(left), abs(height - 1), abs(width - 1)) > 0.01
        still, moved = (blur @ c @ blur.T for c in (still, down @ moving @ across.T))
        slope = np.hypot(*np.gradient(still, axis=(1, 2))) * (2 if is_moved else 1)
        apart = np.minimum(abs(moved - still), abs(moved * measured.gain_N[pair] - still))
        apart = apart - slope / 4
        if covered_NRK is not None:
            side = covered_NRK.shape[1]
            shrink = shrinking(side, COLOUR_SIZE)
            apart *= (shrink @ covered_NRK[number].astype(np.float32) @ shrink.T) < 0.01
        largest_N[number] = apart[:, 1:-1, 1:-1].max()
    return largest_N
