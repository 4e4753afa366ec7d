"""Compare pairs outside of an overlay: a frame along the border, or a text in one small box.

A frame is replaced by what it borders on before images are smoothed; a text gets little weight in
a robust fit. The rest is judged like any other pair, but more strictly (see
`duplicate_decision.are_near_duplicates`), and by its own contrast: two dark margins around
different objects are no evidence.

Shape suffixes: N pairs, R rows and K columns of pixels.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.candidates import Candidates
from holotype.dataset.near_duplicates.copy_transforms import INNER, UPPER, WHOLE
from holotype.dataset.near_duplicates.pair_measurements import (
    PairBatch,
    PairMeasurements,
    RegistrationOptions,
    colour_difference,
    register_pairs,
    run_in_batches,
    smaller_sides,
)
from holotype.dataset.near_duplicates.registration import (
    difference_quantile,
    smoothed_difference,
)
from holotype.dataset.near_duplicates.resize_blur_dct import Floats
from holotype.dataset.near_duplicates.thresholds import DEFAULT

_OVERLAYS = DEFAULT.overlays
FRAME, TEXT = 1, 2  # as `PairMeasurements.overlay_N` has them


def measure_without_overlays(
    records: NDArray[np.void], candidates: Candidates, plain: PairMeasurements
) -> PairMeasurements:
    """Measure upright pairs that are no sure copies without a frame, and large ones without text.

    Args:
        plain: the same pairs, measured as they are.
    """
    measured = PairMeasurements.unmeasured(candidates)
    side_N = smaller_sides(records, candidates)
    min_sides_px = DEFAULT.transforms.region_min_sides_px
    is_eligible_N = plain.difference_N > DEFAULT.decision.unconditional_limit
    is_eligible_N &= (side_N >= min_sides_px[INNER]) & candidates.is_upright
    is_eligible_N &= (candidates.region != WHOLE) | _are_aligned(candidates)
    may_be_framed_N = is_eligible_N & np.isin(candidates.region, (WHOLE, INNER))
    run_in_batches(partial(_measure_inside_frame, measured), records, candidates, may_be_framed_N)
    may_have_text_N = is_eligible_N & (side_N >= min_sides_px[UPPER])
    run_in_batches(partial(_measure_outside_text, measured), records, candidates, may_have_text_N)
    return measured


def _are_aligned(candidates: Candidates) -> NDArray[np.bool_]:
    """Whether the images lie in place, as far as coarse registration tells."""
    start_2N, extent_2N = candidates.window_P4[:, 0::2].T, candidates.window_P4[:, 1::2].T
    is_shifted_N = (np.abs(start_2N + extent_2N / 2 - 0.5) > _OVERLAYS.max_aligned_shift).any(0)
    is_scaled_N = (np.abs(extent_2N - 1) > _OVERLAYS.max_aligned_scale).any(0)
    return np.asarray((candidates.transform == 0) | ~(is_shifted_N | is_scaled_N))


def _measure_inside_frame(measured: PairMeasurements, batch: PairBatch) -> None:
    window_N4 = _initial_windows(batch)
    options = RegistrationOptions(steps=0, border_px=_frame_width(_OVERLAYS.prefilter_side_px))
    is_similar_N = _are_similar(batch, window_N4, options)
    batch, window_N4 = batch.select(is_similar_N), window_N4[is_similar_N]
    half_side, width = batch.side_px // 2, _frame_width(batch.side_px)
    if len(batch) and half_side >= DEFAULT.verification.min_registration_side_px:
        half_width = _frame_width(half_side)
        options = RegistrationOptions(_OVERLAYS.half_resolution_steps, border_px=half_width)
        half = register_pairs(batch.at(half_side), window_N4, options)
        is_near_N = smoothed_difference(half).max((1, 2)) < _OVERLAYS.inside_frame_limit
        batch, window_N4 = batch.select(is_near_N), half.window_N4[is_near_N]
    if not len(batch):
        return
    fit = register_pairs(batch, window_N4, RegistrationOptions(_OVERLAYS.steps, border_px=width))
    contrast_N = fit.fixed_NRK[:, width:-width, width:-width].std((1, 2))
    difference_N = smoothed_difference(fit).max((1, 2))
    measured.store(batch.pairs, fit, difference_N, contrast_N, overlay=FRAME)
    overlay_NRK = np.ones(fit.fixed_NRK.shape, bool)
    overlay_NRK[:, width:-width, width:-width] = False
    measured.colour_N[batch.pairs] = colour_difference(batch, measured, overlay_NRK)


def _initial_windows(batch: PairBatch) -> Floats:
    """The windows of pairs through the inner region; of others the whole image in place."""
    chosen = batch.candidates.select(batch.pairs)
    return np.where((chosen.region == INNER)[:, None], chosen.window_P4, _in_place(batch))


def _in_place(batch: PairBatch) -> Floats:
    return np.tile(np.array([0, 1, 0, 1], np.float32), (len(batch), 1))


def _frame_width(side_px: int) -> int:
    return int(np.ceil(_OVERLAYS.frame_width * side_px))


def _measure_outside_text(measured: PairMeasurements, batch: PairBatch) -> None:
    options = RegistrationOptions(steps=0, robust=True)
    batch = batch.select(_are_similar(batch, _in_place(batch), options))
    if len(batch):
        batch = batch.select(_may_have_text(batch))
    if not len(batch):
        return
    options = RegistrationOptions(_OVERLAYS.steps, robust=True)
    fit = register_pairs(batch, _in_place(batch), options)
    difference_NRK = smoothed_difference(fit)
    overlay_NRK = _difference_boxes(difference_NRK)
    outside_difference_N = np.where(overlay_NRK, 0, difference_NRK).max((1, 2))
    is_text_N = difference_NRK.max((1, 2)) >= _OVERLAYS.min_text_difference
    is_text_N &= overlay_NRK.mean((1, 2)) <= _OVERLAYS.max_text_area
    is_better_N = is_text_N & (outside_difference_N < measured.difference_N[batch.pairs])
    if is_better_N.any():
        contrast_N = _masked_std(fit.fixed_NRK, ~overlay_NRK)[is_better_N]
        difference_N, overlay_NRK = outside_difference_N[is_better_N], overlay_NRK[is_better_N]
        batch, fit = batch.select(is_better_N), fit.select(is_better_N)
        measured.store(batch.pairs, fit, difference_N, contrast_N, overlay=TEXT)
        measured.colour_N[batch.pairs] = colour_difference(batch, measured, overlay_NRK)


def _may_have_text(batch: PairBatch) -> NDArray[np.bool_]:
    """Whether at half resolution the pairs differ clearly, within a box that is not large."""
    options = RegistrationOptions(_OVERLAYS.half_resolution_steps, robust=True)
    half = register_pairs(batch.at(batch.side_px // 2), _in_place(batch), options)
    difference_NRK = smoothed_difference(half)
    min_difference = _OVERLAYS.min_text_difference * _OVERLAYS.half_resolution_text_share
    max_area = _OVERLAYS.half_resolution_area_factor * _OVERLAYS.max_text_area
    return np.asarray(
        (difference_NRK.max((1, 2)) >= min_difference)
        & (_difference_boxes(difference_NRK).mean((1, 2)) <= max_area)
    )


def _are_similar(
    batch: PairBatch, window_N4: Floats, options: RegistrationOptions
) -> NDArray[np.bool_]:
    """Whether most pixels are similar at low resolution, without registration."""
    fit = register_pairs(batch.at(_OVERLAYS.prefilter_side_px), window_N4, options)
    difference_N = difference_quantile(
        np.abs(fit.residual_NRK),
        _OVERLAYS.prefilter_quantile,
        margin_px=max(options.border_px, 1),
    )
    contrast_N = np.maximum(fit.contrast_N, _OVERLAYS.prefilter_min_contrast)
    return np.asarray(difference_N < _OVERLAYS.prefilter_limit * contrast_N)


def _difference_boxes(difference_NRK: Floats) -> NDArray[np.bool_]:
    """Masks of the smallest padded box around all that differs too much for a copy."""
    padding = _OVERLAYS.text_box_padding_px
    box_NRK = np.zeros(difference_NRK.shape, bool)
    for box_RK, difference_RK in zip(box_NRK, difference_NRK, strict=True):
        rows, columns = np.nonzero(difference_RK > DEFAULT.decision.close_limit)
        if len(rows):
            top, left = max(0, rows.min() - padding), max(0, columns.min() - padding)
            box_RK[top : rows.max() + padding + 1, left : columns.max() + padding + 1] = True
    return box_NRK


def _masked_std(images_NRK: Floats, where_NRK: NDArray[np.bool_]) -> Floats:
    count_N = np.maximum(where_NRK.sum((1, 2)), 1)
    mean_N = (images_NRK * where_NRK).sum((1, 2)) / count_N
    squares_N = ((images_NRK - mean_N[:, None, None]) ** 2 * where_NRK).sum((1, 2)) / count_N
    return np.asarray(np.sqrt(squares_N))
