"""Measure how much candidate pairs differ after registration.

Similarity is not enough: two cells of one solar module, or two handwritten ones, are as similar as
an image and its JPEG. So pairs are registered at up to 64 by 64 pixels, and what counts is the
largest smoothed difference, not the mean: a copy differs by noise, another specimen differs
somewhere. `duplicate_decision` compares that difference with absolute limits, with the contrast of
the image, and with the next nearest images of the data set.

Compression of a small image leaves noise as large as what tells two specimens apart. At half the
resolution the noise is smoothed away and two specimens still differ, so pairs are measured at both.

Shape suffixes: N pairs, R rows and K columns of pixels.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.audit_fingerprints import COLOUR_SIZE
from holotype.dataset.near_duplicates.candidates import Candidates
from holotype.dataset.near_duplicates.copy_transforms import TRANSFORMS, WHOLE
from holotype.dataset.near_duplicates.pair_arrays import PairColumns
from holotype.dataset.near_duplicates.registration import (
    Registration,
    register,
    smoothed_difference,
)
from holotype.dataset.near_duplicates.resize_blur_dct import (
    Floats,
    downscaling_matrix,
    gaussian_matrix,
    resize_grey,
)
from holotype.dataset.near_duplicates.thresholds import DEFAULT

_VERIFICATION = DEFAULT.verification


@dataclass(frozen=True, eq=False)
class PairMeasurements(PairColumns):
    """What was measured of N candidate pairs; the arrays are filled batch by batch.

    Attributes:
        difference_N: largest difference, in grey levels; infinite where it was not measured.
        half_resolution_difference_N: the same at half resolution; infinite of small images.
        contrast_N: standard deviation of the fixed image in grey levels, without overlays.
        similarity_N: correlation after registration.
        gain_N, offset_N, window_N4: as `Registration` has them.
        colour_N: largest difference of chroma, in levels of 255.
        overlay_N: 0 where the whole image is compared, or what is left out, as `overlays` numbers
            it.
        reproduced_by_N: 0, or the operation that reproduces one image from the other, as
            `resize_recompress` numbers them.
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
        count = len(candidates)
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
        contrast_N: Floats,
        *,
        overlay: int = 0,
    ) -> None:
        """Fill in a registration of some pairs."""
        self.difference_N[pairs], self.contrast_N[pairs] = difference_N, contrast_N
        unexplained_N = fit.residual_N**2 / np.maximum(fit.contrast_N, 1e-3) ** 2
        self.similarity_N[pairs] = np.sqrt(np.maximum(0, 1 - unexplained_N))
        self.gain_N[pairs], self.offset_N[pairs] = fit.gain_N, fit.offset_N
        self.window_N4[pairs], self.overlay_N[pairs] = fit.window_N4, overlay


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Some candidate pairs, compared at one resolution.

    Attributes:
        records: fingerprints of all images.
        candidates: all candidates.
        pairs: rows of the batch in `candidates`.
        side_px: side of the images that are compared.
    """

    records: NDArray[np.void]
    candidates: Candidates
    pairs: NDArray[np.int64]
    side_px: int

    def __len__(self) -> int:
        return len(self.pairs)

    def select(self, rows: NDArray[Any]) -> "PairBatch":
        return replace(self, pairs=self.pairs[rows])

    def at(self, side_px: int) -> "PairBatch":
        return replace(self, side_px=side_px)


@dataclass(frozen=True)
class RegistrationOptions:
    """How a batch is registered.

    Attributes:
        steps: Gauss-Newton steps; none for images that are too small.
        robust: as `register` has it.
        border_px: border that may be a frame and is not compared.
    """

    steps: int
    robust: bool = False
    border_px: int = 0


_UNCOVERED = RegistrationOptions(_VERIFICATION.steps)


def measure_pairs(
    records: NDArray[np.void], candidates: Candidates, *, full_resolution: bool = False
) -> PairMeasurements:
    """Register all candidate pairs and measure their differences.

    Args:
        full_resolution: measure at full resolution also what half resolution rules out.
    """
    measured = PairMeasurements.unmeasured(candidates)
    side_N, limits = smaller_sides(records, candidates), _VERIFICATION
    measured.window_N4[side_N < limits.min_registration_side_px] = (0, 1, 0, 1)
    is_far_N = (candidates.coarse_difference_P > limits.coarse_limit) & (not full_resolution)
    measured.difference_N[is_far_N] = candidates.coarse_difference_P[is_far_N]
    is_large_N = (side_N // 2 >= limits.min_registration_side_px) & ~is_far_N
    at_half, at_full = (
        partial(work, measured) for work in (_measure_half_resolution, _measure_full_resolution)
    )
    run_in_batches(at_half, records, candidates, is_large_N)
    half_limits = limits.half_resolution_limit, limits.half_resolution_limit_region
    near_N = np.where(candidates.region == WHOLE, *half_limits)
    is_near_N = full_resolution | (~is_large_N & ~is_far_N) | (measured.difference_N < near_N)
    run_in_batches(at_full, records, candidates, is_near_N)
    # Other pairs of the images of a possible copy decide about it, so they are measured too.
    is_similar_N = is_near_N & (measured.difference_N <= DEFAULT.decision.loose_limit)
    similar = np.concatenate([candidates.fixed[is_similar_N], candidates.moving[is_similar_N]])
    is_competitor_N = np.isin(candidates.fixed, similar) | np.isin(candidates.moving, similar)
    is_competitor_N &= ~is_near_N & (measured.difference_N < limits.skip_limit)
    run_in_batches(at_full, records, candidates, is_competitor_N)
    return measured


def smaller_sides(records: NDArray[np.void], candidates: Candidates) -> NDArray[np.int64]:
    """The least side of each pair's stored grey images, in pixels."""
    sides = np.minimum(records["rows"], records["columns"]).astype(np.int64)
    return np.asarray(np.minimum(sides[candidates.fixed], sides[candidates.moving]))


def run_in_batches(
    work: Callable[[PairBatch], None],
    records: NDArray[np.void],
    candidates: Candidates,
    is_chosen_N: NDArray[np.bool_],
) -> None:
    """Run work on batches of chosen pairs of one size, in threads; each fills its own pairs."""
    side_N, size = smaller_sides(records, candidates), DEFAULT.batches.registered_pairs
    batches = [
        PairBatch(records, candidates, same_side[start : start + size], int(side))
        for side in np.unique(side_N[is_chosen_N])
        for same_side in [np.flatnonzero(is_chosen_N & (side_N == side))]
        for start in range(0, len(same_side), size)
    ]
    with ThreadPoolExecutor(max_workers=DEFAULT.batches.num_threads) as threads:
        list(threads.map(work, batches))


def _measure_half_resolution(measured: PairMeasurements, batch: PairBatch) -> None:
    pairs, half = batch.pairs, batch.at(batch.side_px // 2)
    fit = register_pairs(half, measured.window_N4[pairs], _UNCOVERED)
    measured.window_N4[pairs] = fit.window_N4
    measured.difference_N[pairs] = smoothed_difference(fit).max((1, 2))
    measured.half_resolution_difference_N[pairs] = measured.difference_N[pairs]


def _measure_full_resolution(measured: PairMeasurements, batch: PairBatch) -> None:
    fit = register_pairs(batch, measured.window_N4[batch.pairs], _UNCOVERED)
    measured.store(batch.pairs, fit, smoothed_difference(fit).max((1, 2)), fit.contrast_N)
    measured.colour_N[batch.pairs] = colour_difference(batch, measured)


def register_pairs(
    batch: PairBatch, window_N4: Floats, options: RegistrationOptions
) -> Registration:
    """Smooth and register the images of a batch.

    Args:
        window_N4: initial windows of the batch's pairs.
    """
    side, border = batch.side_px, options.border_px
    is_movable = side >= _VERIFICATION.min_registration_side_px
    # Smoothing makes values between pixels known. A border that may be a frame is first replaced
    # by what it borders on, so that it is not smoothed into the rest.
    inside = np.clip(np.arange(side), border - 1, side - border) if border else np.arange(side)
    deviations_px = _VERIFICATION.unregistered_smoothing_px, _VERIFICATION.smoothing_px
    smooth = gaussian_matrix(side, deviations_px[is_movable])
    smooth = smooth @ np.eye(side, dtype=np.float32)[inside]
    chosen = batch.candidates.select(batch.pairs)
    moving_NRK = chosen.orient(resize_grey(batch.records[chosen.moving], side))
    return register(
        smooth @ resize_grey(batch.records[chosen.fixed], side) @ smooth.T,
        smooth @ moving_NRK @ smooth.T,
        window_N4,
        steps=options.steps if is_movable else 0,
        # A crop lacks what lay outside.
        margin=(max(_VERIFICATION.min_margin_px, border) if is_movable else border) / side,
        robust=options.robust,
    )


def colour_difference(
    batch: PairBatch, measured: PairMeasurements, overlay_NRK: NDArray[np.bool_] | None = None
) -> Floats:
    """Largest difference of chroma (N) through the windows that were measured, in levels of 255.

    Chroma may follow the gain of the grey image or not. At edges a misregistration of a quarter
    of a pixel of chroma is tolerated, and half a pixel of pairs that moved.
    """
    candidates, limits = batch.candidates, _VERIFICATION
    largest_N = np.empty(len(batch), np.float32)
    blur = gaussian_matrix(COLOUR_SIZE, limits.chroma_smoothing_px)
    for number, pair in enumerate(batch.pairs):
        fixed = batch.records["colour"][candidates.fixed[pair]].astype(np.float32) - 128
        moving = batch.records["colour"][candidates.moving[pair]].astype(np.float32) - 128
        moving = TRANSFORMS[candidates.transform[pair]].orient(moving)
        top, height, left, width = (float(v) for v in measured.window_N4[pair])
        down = downscaling_matrix(COLOUR_SIZE, COLOUR_SIZE, top, top + height)
        across = downscaling_matrix(COLOUR_SIZE, COLOUR_SIZE, left, left + width)
        fixed, moved = (blur @ c @ blur.T for c in (fixed, down @ moving @ across.T))
        difference = np.minimum(abs(moved - fixed), abs(moved * measured.gain_N[pair] - fixed))
        offset = max(abs(top), abs(left), abs(height - 1), abs(width - 1))
        tolerance_px = limits.chroma_slope_tolerance_px
        if offset > limits.chroma_moved_window:
            tolerance_px = limits.chroma_slope_tolerance_moved_px
        difference = difference - np.hypot(*np.gradient(fixed, axis=(1, 2))) * tolerance_px
        if overlay_NRK is not None:
            shrink = downscaling_matrix(overlay_NRK.shape[1], COLOUR_SIZE)
            overlay_share = shrink @ overlay_NRK[number].astype(np.float32) @ shrink.T
            difference *= overlay_share < limits.chroma_max_overlay
        largest_N[number] = difference[:, 1:-1, 1:-1].max()
    return largest_N
