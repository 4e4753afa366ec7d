"""Whether two images are one: laid upon each other, and judged by what then still differs.

A likeness is not enough: two cells of one solar module, or two handwritten ones, are as like as
an image and its JPEG. Candidates are first laid upon each other roughly, at 16 by 16 pixels, and
of every image only the nearest few go on; these are registered at up to 64 by 64 (shift, scale,
brightness, contrast and sharpness are fitted), and three things are asked of what still differs:

1. Is it small *everywhere*? A copy differs by noise, another specimen differs somewhere: what
   counts is the largest smoothed difference, not the mean. Where the image is steep, more is
   forgiven, for resampling errs there.
2. Is it far smaller than what the next other images of this data set show? Nearest images
   that differ gradually, one a little more than the other, are an oversized cluster and not copies.
3. Is it small beside the contrast of the image itself? Two dark frames are no evidence.

Heavy compression of a small image leaves noise that is as large as what tells two specimens
apart. At half the resolution it is smoothed away, and two specimens still differ, so the same
three are asked there as well.

What was drawn over an image is left out: a frame along the border, or a text within one small
box. Then the fit is a robust one, and the same is asked of the rest, more strictly.

Shape suffixes: N pairs, R rows and K columns of pixels.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.fingerprints import COLOUR_SIZE
from holotype.dataset.near_duplicates.candidates import Candidates, orient_moving
from holotype.dataset.near_duplicates.copy_transforms import TRANSFORMS, WHOLE
from holotype.dataset.near_duplicates.downscale import (
    Floats,
    downscaling_matrix,
    gaussian_matrix,
    resize_grey,
)
from holotype.dataset.near_duplicates.registration import (
    Registration,
    max_difference,
    register,
    smoothed_difference,
)

MIN_REGISTRATION_SIDE = (
    20  # pixels; smaller images are compared in place, or digits slide onto digits
)

# The limits below are differences in grey levels of 255, as `smoothed_difference` measures them;
# `verdicts` has the others.
UNCONDITIONAL_LIMIT = 0.75  # copies, whatever the other images look like
CLOSE_LIMIT = 1.4  # copies if the next other image differs twice as much; other cells begin at 1.45
LOOSE_LIMIT = 4.5  # copies if the next other image differs four times as much
# At half the resolution: the first are looked at again, the second if they stand beside a copy.
_HALF_RESOLUTION_LIMIT, _HALF_RESOLUTION_LIMIT_INNER, SKIP_LIMIT = (
    3.5,
    7.0,
    12.0,
)  # inside: a frame may still be seen
_COARSE_LIMIT = (
    8.0  # at a first look at 16 pixels; of 6,000 copies with nothing drawn over the worst had 5.7
)
_BATCH = 32


@dataclass(eq=False)
class PairMeasurements:
    """What was measured of N candidate pairs.

    Attributes:
        difference_N: the largest one, in grey levels; infinite where nobody looked twice.
        half_resolution_difference_N: the same at half the resolution; infinite of images too small
            for that.
        contrast_N: standard deviation of the fixed image, without what is covered.
        similarity_N: correlation after registration.
        gain_N, offset_N, window_N4: as `Registration` has them.
        colour_N: the largest difference of chroma.
        overlay_N: 0 where nothing is left out, 1 for a frame, 2 for a text.
        reproduced_by_N: 0, or what was done again to get the one from the other (see `repeats`).
    """

    difference_N: Floats
    half_resolution_difference_N: Floats
    contrast_N: Floats
    similarity_N: Floats
    gain_N: Floats
    offset_N: Floats
    window_N4: Floats
    colour_N: Floats
    overlay_N: NDArray[np.int8]
    reproduced_by_N: NDArray[np.int8]

    @classmethod
    def unmeasured(cls, candidates: Candidates) -> "PairMeasurements":
        count = len(candidates.fixed)
        return cls(
            difference_N=np.full(count, np.inf, np.float32),
            half_resolution_difference_N=np.full(count, np.inf, np.float32),
            contrast_N=np.zeros(count, np.float32),
            similarity_N=np.zeros(count, np.float32),
            gain_N=np.ones(count, np.float32),
            offset_N=np.zeros(count, np.float32),
            window_N4=candidates.window_P4.copy(),
            colour_N=np.zeros(count, np.float32),
            overlay_N=np.zeros(count, np.int8),
            reproduced_by_N=np.zeros(count, np.int8),
        )

    def store(
        self,
        pairs: NDArray[np.int64],
        fit: Registration,
        difference_N: Floats,
        contrast_N: Floats | None = None,
        *,
        overlay: int = 0,
        where: NDArray[Any] | slice = slice(None),
    ) -> None:
        """Write down a fit for some pairs; `where` says which of the fit they are."""
        self.difference_N[pairs] = difference_N
        self.contrast_N[pairs] = fit.contrast_N[where] if contrast_N is None else contrast_N
        explained_N = fit.residual_N**2 / np.maximum(fit.contrast_N, 1e-3) ** 2
        self.similarity_N[pairs] = np.sqrt(np.maximum(0, 1 - explained_N[where]))
        self.gain_N[pairs], self.offset_N[pairs] = fit.gain_N[where], fit.offset_N[where]
        self.window_N4[pairs] = fit.window_N4[where]
        self.overlay_N[pairs] = overlay

    def select(self, chosen: NDArray[Any] | slice) -> "PairMeasurements":
        """Some of the pairs, copied."""
        return PairMeasurements(**{name: mine[chosen].copy() for name, mine in vars(self).items()})

    def concat(self, other: "PairMeasurements") -> "PairMeasurements":
        """These pairs and then the others."""
        columns = vars(self)
        return PairMeasurements(
            **{n: np.concatenate([columns[n], getattr(other, n)]) for n in columns}
        )

    def merge_where(
        self, other: "PairMeasurements", where: NDArray[np.bool_]
    ) -> "PairMeasurements":
        """What another way of measuring says, where that is the better one."""
        merged = {
            name: np.where(where.reshape(-1, *[1] * (mine.ndim - 1)), getattr(other, name), mine)
            for name, mine in vars(self).items()
        }
        return PairMeasurements(**merged)


def measure_pairs(
    records: NDArray[np.void], candidates: Candidates, *, full_resolution: bool = False
) -> PairMeasurements:
    """Lay every pair of candidates upon each other, and say what differs.

    Args:
        full_resolution: at the full resolution also where half of it says that there is no copy.
    """
    measured = PairMeasurements.unmeasured(candidates)
    sides = np.minimum(records["rows"], records["columns"]).astype(np.int64)
    side_N = np.minimum(sides[candidates.fixed], sides[candidates.moving])
    measured.window_N4[side_N < MIN_REGISTRATION_SIDE] = (0, 1, 0, 1)
    is_far_N = (candidates.coarse_difference_P > _COARSE_LIMIT) & (not full_resolution)
    measured.difference_N[is_far_N] = candidates.coarse_difference_P[is_far_N]
    is_large_N = (side_N // 2 >= MIN_REGISTRATION_SIDE) & ~is_far_N
    run_in_batches(
        _measure_half_resolution, records, candidates, measured, np.flatnonzero(is_large_N), side_N
    )
    near_N = np.where(
        candidates.region == WHOLE, _HALF_RESOLUTION_LIMIT, _HALF_RESOLUTION_LIMIT_INNER
    )
    is_near_N = full_resolution | (~is_large_N & ~is_far_N) | (measured.difference_N < near_N)
    run_in_batches(
        _measure_full_resolution, records, candidates, measured, np.flatnonzero(is_near_N), side_N
    )
    # What stands beside a possible copy decides about it, so that is measured as well.
    alike_N = is_near_N & (measured.difference_N <= LOOSE_LIMIT)
    alike = np.concatenate([candidates.fixed[alike_N], candidates.moving[alike_N]])
    is_competitor_N = np.isin(candidates.fixed, alike) | np.isin(candidates.moving, alike)
    is_competitor_N &= ~is_near_N & (measured.difference_N < SKIP_LIMIT)
    run_in_batches(
        _measure_full_resolution,
        records,
        candidates,
        measured,
        np.flatnonzero(is_competitor_N),
        side_N,
    )
    return measured


def run_in_batches(
    work: Callable[..., None],
    records: NDArray[np.void],
    candidates: Candidates,
    measured: PairMeasurements,
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
        list(threads.map(lambda batch: work(records, candidates, measured, *batch), batches))


def _measure_half_resolution(
    records: NDArray[np.void],
    candidates: Candidates,
    measured: PairMeasurements,
    pairs: NDArray[np.int64],
    side: int,
) -> None:
    """Measure some pairs at half the resolution."""
    half = register_pairs(records, candidates, measured.window_N4, pairs, side // 2, steps=2)
    measured.difference_N[pairs] = measured.half_resolution_difference_N[pairs] = max_difference(
        smoothed_difference(half)
    )
    measured.window_N4[pairs] = half.window_N4


def _measure_full_resolution(
    records: NDArray[np.void],
    candidates: Candidates,
    measured: PairMeasurements,
    pairs: NDArray[np.int64],
    side: int,
) -> None:
    """Measure some pairs at `side` by `side` pixels."""
    fit = register_pairs(records, candidates, measured.window_N4, pairs, side, steps=2)
    measured.store(pairs, fit, max_difference(smoothed_difference(fit)))
    measured.colour_N[pairs] = colour_difference(records, candidates, measured, pairs)


def register_pairs(
    records: NDArray[np.void],
    candidates: Candidates,
    window_N4: Floats,
    pairs: NDArray[np.int64],
    side: int,
    *,
    steps: int,
    robust: bool = False,
    border: int = 0,
) -> Registration:
    movable = side >= MIN_REGISTRATION_SIDE
    # Smoothed by about a pixel, so that what lies between pixels is known when they move. A
    # border that is left out shall not be smeared into the rest, so it is painted over.
    inside = np.clip(np.arange(side), border - 1, side - border) if border else np.arange(side)
    smooth = gaussian_matrix(side, 1.0 if movable else 0.5)
    smooth = smooth @ np.eye(side, dtype=np.float32)[inside]
    fixed_NRK = smooth @ resize_grey(records[candidates.fixed[pairs]], side) @ smooth.T
    moving_NRK = resize_grey(records[candidates.moving[pairs]], side)
    moving_NRK = smooth @ orient_moving(moving_NRK, candidates.select(pairs)) @ smooth.T
    return register(
        fixed_NRK,
        moving_NRK,
        window_N4[pairs],
        steps=steps if movable else 0,
        # At the border a crop lacks what lay outside.
        margin=max(2, border) / side if movable else border / side,
        robust=robust,
    )


def colour_difference(
    records: NDArray[np.void],
    candidates: Candidates,
    measured: PairMeasurements,
    pairs: NDArray[np.int64],
    overlay_NRK: NDArray[np.bool_] | None = None,
) -> Floats:
    """The largest difference of chroma at low resolution, through the windows that were found.

    Colours follow the contrast that was found, or do not. At edges of colour a quarter of the
    slope is forgiven, for there a quarter of a pixel is all that it takes; of an image that
    moved between the pixels, half of it.
    """
    largest_N = np.empty(len(pairs), np.float32)
    blur = gaussian_matrix(COLOUR_SIZE, 0.7)
    for number, pair in enumerate(pairs):
        fixed = records["colour"][candidates.fixed[pair]].astype(np.float32) - 128
        moving = records["colour"][candidates.moving[pair]].astype(np.float32) - 128
        moving = TRANSFORMS[candidates.transform[pair]].orient(moving)
        top, height, left, width = (float(v) for v in measured.window_N4[pair])
        down = downscaling_matrix(COLOUR_SIZE, COLOUR_SIZE, top, top + height)
        across = downscaling_matrix(COLOUR_SIZE, COLOUR_SIZE, left, left + width)
        is_moved = max(abs(top), abs(left), abs(height - 1), abs(width - 1)) > 0.01
        fixed, moved = (blur @ c @ blur.T for c in (fixed, down @ moving @ across.T))
        slope = np.hypot(*np.gradient(fixed, axis=(1, 2))) * (2 if is_moved else 1)
        apart = np.minimum(abs(moved - fixed), abs(moved * measured.gain_N[pair] - fixed))
        apart = apart - slope / 4
        if overlay_NRK is not None:
            side = overlay_NRK.shape[1]
            shrink = downscaling_matrix(side, COLOUR_SIZE)
            apart *= (shrink @ overlay_NRK[number].astype(np.float32) @ shrink.T) < 0.01
        largest_N[number] = apart[:, 1:-1, 1:-1].max()
    return largest_N
