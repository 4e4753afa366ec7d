"""Copies that something was drawn over: a frame along the border, or a text in one small box.

What is covered is left out, by another fit each: for a frame the borders are painted over before
anything is smoothed, for a text a robust fit gives little weight to what differs much. What then
remains is judged like any other pair, but more strictly (see `are_near_duplicates`), and the
contrast that
counts is that of the rest: two dark margins around different objects are no evidence.

Shape suffixes: N pairs, R rows and K columns of pixels.
"""

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.candidates import Candidates
from holotype.dataset.near_duplicates.copy_transforms import INNER, MIN_SIDES, UPPER, WHOLE
from holotype.dataset.near_duplicates.downscale import Floats
from holotype.dataset.near_duplicates.registration import (
    difference_quantile,
    max_difference,
    smoothed_difference,
)
from holotype.dataset.near_duplicates.verification import (
    CLOSE_LIMIT,
    MIN_REGISTRATION_SIDE,
    UNCONDITIONAL_LIMIT,
    PairMeasurements,
    colour_difference,
    register_pairs,
    run_in_batches,
)

_FRAME_WIDTH = 0.075  # of the side
_MAX_TEXT_AREA = 0.15  # of the area, the largest that a text may take
# Of 335 covered wholes (seeds 7, 11 and 13) eight lie further off, nearly all of them looked alike
# as they are, and those are looked at in any case.
_MAX_ALIGNED_SHIFT, _MAX_ALIGNED_SCALE = 0.03, 0.06
_MIN_TEXT_DIFFERENCE = 5.0  # grey levels by which a text stands out at least
# At a glance 70 % of the places within differ by less, in contrasts: of 725 pairs with frames or
# texts that were found without it (seeds 7 and 11) two are above.
_PREFILTER_SIDE, _PREFILTER_QUANTILE, _PREFILTER_LIMIT = 16, 0.7, 0.25
_INSIDE_FRAME_LIMIT = 4.0  # grey levels within the frame at half the resolution; more is hopeless


def measure_without_overlays(
    records: NDArray[np.void], candidates: Candidates, plain: PairMeasurements
) -> PairMeasurements:
    """The same for pairs that are no copies as they are, without what may have been drawn over.

    Only pairs that are not turned are looked at: for a frame, and for a text on larger images.
    """
    measured = PairMeasurements.unmeasured(candidates)
    sides = np.minimum(records["rows"], records["columns"]).astype(np.int64)
    side_N = np.minimum(sides[candidates.fixed], sides[candidates.moving])
    is_eligible_N = (plain.difference_N > UNCONDITIONAL_LIMIT) & (side_N >= MIN_SIDES[INNER])
    is_eligible_N &= candidates.is_upright & (
        (candidates.region != WHOLE) | _are_aligned(candidates)
    )
    may_be_framed_N = is_eligible_N & np.isin(candidates.region, (WHOLE, INNER))
    run_in_batches(
        _measure_inside_frame,
        records,
        candidates,
        measured,
        np.flatnonzero(may_be_framed_N),
        side_N,
    )
    may_have_text_N = is_eligible_N & (side_N >= MIN_SIDES[UPPER])
    run_in_batches(
        _measure_outside_text,
        records,
        candidates,
        measured,
        np.flatnonzero(may_have_text_N),
        side_N,
    )
    return measured


def _measure_inside_frame(
    records: NDArray[np.void],
    candidates: Candidates,
    measured: PairMeasurements,
    pairs: NDArray[np.int64],
    side: int,
) -> None:
    window_N4 = np.empty((len(candidates.fixed), 4), np.float32)  # only those of `pairs` are filled
    window_N4[pairs] = _initial_windows(candidates.select(pairs))
    pairs = _prefilter(records, candidates, window_N4, pairs, border=_frame_width(_PREFILTER_SIDE))
    if len(pairs) and side // 2 >= MIN_REGISTRATION_SIDE:
        half = register_pairs(
            records,
            candidates,
            window_N4,
            pairs,
            side // 2,
            steps=1,
            border=_frame_width(side // 2),
        )
        window_N4[pairs] = half.window_N4
        pairs = pairs[max_difference(smoothed_difference(half)) < _INSIDE_FRAME_LIMIT]
    if not len(pairs):
        return
    width = _frame_width(side)
    fit = register_pairs(records, candidates, window_N4, pairs, side, steps=2, border=width)
    contrast_N = fit.fixed_NRK[:, width:-width, width:-width].std((1, 2))
    measured.store(pairs, fit, max_difference(smoothed_difference(fit)), contrast_N, overlay=1)
    overlay_RK = np.ones((side, side), bool)
    overlay_RK[width:-width, width:-width] = False
    overlay_NRK = np.broadcast_to(overlay_RK, fit.fixed_NRK.shape)
    measured.colour_N[pairs] = colour_difference(records, candidates, measured, pairs, overlay_NRK)


def _initial_windows(candidates: Candidates) -> Floats:
    """Where to begin: what looks alike within its borders begins there, anything else in place."""
    is_inner_N = candidates.region == INNER
    return np.where(is_inner_N[:, None], candidates.window_P4, _identity_windows(candidates))


def _frame_width(side: int) -> int:
    return int(np.ceil(_FRAME_WIDTH * side))


def _are_aligned(candidates: Candidates) -> NDArray[np.bool_]:
    """Whether one image lies upon the whole of the other, as far as a first look can tell."""
    start_2N, extent_2N = candidates.window_P4[:, 0::2].T, candidates.window_P4[:, 1::2].T
    is_shifted_N = (np.abs(start_2N + extent_2N / 2 - 0.5) > _MAX_ALIGNED_SHIFT).any(0)
    is_scaled_N = (np.abs(extent_2N - 1) > _MAX_ALIGNED_SCALE).any(0)
    return np.asarray((candidates.transform == 0) | ~(is_shifted_N | is_scaled_N))


def _identity_windows(candidates: Candidates) -> Floats:
    return np.broadcast_to(np.array([0, 1, 0, 1], np.float32), (len(candidates.fixed), 4))


def _measure_outside_text(
    records: NDArray[np.void],
    candidates: Candidates,
    measured: PairMeasurements,
    pairs: NDArray[np.int64],
    side: int,
) -> None:
    identity_N4 = _identity_windows(candidates)
    pairs = _prefilter(records, candidates, identity_N4, pairs, robust=True)
    if not len(pairs):
        return
    half = register_pairs(records, candidates, identity_N4, pairs, side // 2, steps=1, robust=True)
    half_NRK = smoothed_difference(half)
    share_N = np.array([_difference_box(difference_RK).mean() for difference_RK in half_NRK])
    pairs = pairs[
        (max_difference(half_NRK) >= _MIN_TEXT_DIFFERENCE / 4) & (share_N <= 3 * _MAX_TEXT_AREA)
    ]
    if not len(pairs):
        return
    fit = register_pairs(records, candidates, identity_N4, pairs, side, steps=2, robust=True)
    difference_NRK = smoothed_difference(fit)
    overlay_NRK = np.stack([_difference_box(difference_RK) for difference_RK in difference_NRK])
    outside_difference_N = max_difference(np.where(overlay_NRK, 0, difference_NRK))
    is_text_N = (max_difference(difference_NRK) >= _MIN_TEXT_DIFFERENCE) & (
        overlay_NRK.mean((1, 2)) <= _MAX_TEXT_AREA
    )
    better = is_text_N & (outside_difference_N < measured.difference_N[pairs])
    if better.any():
        contrast_N = _masked_std(fit.fixed_NRK, ~overlay_NRK)
        pairs, overlay_NRK = pairs[better], overlay_NRK[better]
        measured.store(
            pairs, fit, outside_difference_N[better], contrast_N[better], overlay=2, where=better
        )
        measured.colour_N[pairs] = colour_difference(
            records, candidates, measured, pairs, overlay_NRK
        )


def _prefilter(
    records: NDArray[np.void],
    candidates: Candidates,
    window_N4: Floats,
    pairs: NDArray[np.int64],
    *,
    border: int = 0,
    robust: bool = False,
) -> NDArray[np.int64]:
    """The pairs of which most places are alike where they are, at very few pixels."""
    fit = register_pairs(
        records,
        candidates,
        window_N4,
        pairs,
        _PREFILTER_SIDE,
        steps=0,
        border=border,
        robust=robust,
    )
    prefilter_difference_N = difference_quantile(
        np.abs(fit.residual_NRK), _PREFILTER_QUANTILE, margin=max(border, 1)
    )
    return pairs[prefilter_difference_N < _PREFILTER_LIMIT * np.maximum(fit.contrast_N, 1)]


def _difference_box(difference_RK: Floats) -> NDArray[np.bool_]:
    """The smallest box around all that differs too much for a copy, and two pixels more."""
    rows, columns = np.nonzero(difference_RK > CLOSE_LIMIT)
    box_RK = np.zeros(difference_RK.shape, bool)
    if len(rows):
        box_RK[
            max(0, rows.min() - 2) : rows.max() + 3, max(0, columns.min() - 2) : columns.max() + 3
        ] = True
    return box_RK


def _masked_std(images_NRK: Floats, where_NRK: NDArray[np.bool_]) -> Floats:
    count_N = np.maximum(where_NRK.sum((1, 2)), 1)
    mean_N = (images_NRK * where_NRK).sum((1, 2)) / count_N
    squares_N = ((images_NRK - mean_N[:, None, None]) ** 2 * where_NRK).sum((1, 2)) / count_N
    return np.asarray(np.sqrt(squares_N))
