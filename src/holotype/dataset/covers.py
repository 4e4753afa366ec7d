"""Copies that something was drawn over: a frame along the border, or a text in one small box.

What is covered is left out, by another fit each: for a frame the borders are painted over before
anything is smoothed, for a text a robust fit gives little weight to what differs much. What then
remains is judged like any other pair, but more strictly (see `are_copies`), and the contrast that
counts is that of the rest: two dark margins around different objects are no evidence.

Shape suffixes: N pairs, R rows and K columns of pixels.
"""

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.candidates import INNER, LEAST_SIDES, UPPER, WHOLE, Candidates
from holotype.dataset.registration import judged, largest, stays_below
from holotype.dataset.thumbnails import Floats
from holotype.dataset.verification import (
    CLOSE,
    MOVABLE_SIDE,
    SURE,
    Measured,
    colour_difference,
    in_batches,
    registered,
)

_FRAME = 0.075  # of the side
_BOX = 0.15  # of the area, the largest that a text may take
# Of 335 covered wholes (seeds 7, 11 and 13) eight lie further off, nearly all of them looked alike
# as they are, and those are looked at in any case.
_SHIFT, _SCALE = 0.03, 0.06
_SHARP = 5.0  # grey levels by which a text stands out at least
# At a glance 70 % of the places within differ by less, in contrasts: of 725 pairs with frames or
# texts that were found without it (seeds 7 and 11) two are above.
_GLANCED_SIDE, _GLANCED_SHARE, _GLANCED = 16, 0.7, 0.25
_FRAMED = 4.0  # grey levels within the frame at half the resolution; more is hopeless


def uncover(records: NDArray[np.void], found: Candidates, plain: Measured) -> Measured:
    """The same for pairs that are no copies as they are, without what may have been drawn over.

    Only pairs that are not turned are looked at: for a frame, and for a text on larger pictures.
    """
    measured = Measured.nothing(found)
    sides = np.minimum(records["rows"], records["columns"]).astype(np.int64)
    side_N = np.minimum(sides[found.still], sides[found.moving])
    is_worth_it_N = (plain.difference_N > SURE) & (side_N >= LEAST_SIDES[INNER])
    is_worth_it_N &= found.is_upright & ((found.part != WHOLE) | _lie_in_place(found))
    is_framed_N = is_worth_it_N & np.isin(found.part, (WHOLE, INNER))
    in_batches(_unframe, records, found, measured, np.flatnonzero(is_framed_N), side_N)
    is_written_N = is_worth_it_N & (side_N >= LEAST_SIDES[UPPER])
    in_batches(_unwrite, records, found, measured, np.flatnonzero(is_written_N), side_N)
    return measured


def _unframe(
    records: NDArray[np.void],
    found: Candidates,
    measured: Measured,
    pairs: NDArray[np.int64],
    side: int,
) -> None:
    window_N4 = np.empty((len(found.still), 4), np.float32)  # only those of `pairs` are filled
    window_N4[pairs] = _within_frames(found.where(pairs))
    pairs = _promising(records, found, window_N4, pairs, border=_frame(_GLANCED_SIDE))
    if len(pairs) and side // 2 >= MOVABLE_SIDE:
        half = registered(
            records, found, window_N4, pairs, side // 2, steps=1, border=_frame(side // 2)
        )
        window_N4[pairs] = half.window_N4
        pairs = pairs[largest(judged(half)) < _FRAMED]
    if not len(pairs):
        return
    width = _frame(side)
    fit = registered(records, found, window_N4, pairs, side, steps=2, border=width)
    contrast_N = fit.still_NRK[:, width:-width, width:-width].std((1, 2))
    measured.note(pairs, fit, largest(judged(fit)), contrast_N, cover=1)
    covered_RK = np.ones((side, side), bool)
    covered_RK[width:-width, width:-width] = False
    covered_NRK = np.broadcast_to(covered_RK, fit.still_NRK.shape)
    measured.colour_N[pairs] = colour_difference(records, found, measured, pairs, covered_NRK)


def _within_frames(found: Candidates) -> Floats:
    """Where to begin: what looks alike within its borders begins there, anything else in place."""
    is_inner_N = found.part == INNER
    return np.where(is_inner_N[:, None], found.window_P4, _in_place(found))


def _frame(side: int) -> int:
    return int(np.ceil(_FRAME * side))


def _lie_in_place(found: Candidates) -> NDArray[np.bool_]:
    """Whether one picture lies upon the whole of the other, as far as a first look can tell."""
    start_2N, extent_2N = found.window_P4[:, 0::2].T, found.window_P4[:, 1::2].T
    is_shifted_N = (np.abs(start_2N + extent_2N / 2 - 0.5) > _SHIFT).any(0)
    is_scaled_N = (np.abs(extent_2N - 1) > _SCALE).any(0)
    return np.asarray((found.view == 0) | ~(is_shifted_N | is_scaled_N))


def _in_place(found: Candidates) -> Floats:
    return np.broadcast_to(np.array([0, 1, 0, 1], np.float32), (len(found.still), 4))


def _unwrite(
    records: NDArray[np.void],
    found: Candidates,
    measured: Measured,
    pairs: NDArray[np.int64],
    side: int,
) -> None:
    in_place_N4 = _in_place(found)
    pairs = _promising(records, found, in_place_N4, pairs, robust=True)
    if not len(pairs):
        return
    half = registered(records, found, in_place_N4, pairs, side // 2, steps=1, robust=True)
    half_NRK = judged(half)
    share_N = np.array([_box(judged_RK).mean() for judged_RK in half_NRK])
    pairs = pairs[(largest(half_NRK) >= _SHARP / 4) & (share_N <= 3 * _BOX)]
    if not len(pairs):
        return
    fit = registered(records, found, in_place_N4, pairs, side, steps=2, robust=True)
    judged_NRK = judged(fit)
    covered_NRK = np.stack([_box(judged_RK) for judged_RK in judged_NRK])
    rest_N = largest(np.where(covered_NRK, 0, judged_NRK))
    is_text_N = (largest(judged_NRK) >= _SHARP) & (covered_NRK.mean((1, 2)) <= _BOX)
    better = is_text_N & (rest_N < measured.difference_N[pairs])
    if better.any():
        contrast_N = _deviation(fit.still_NRK, ~covered_NRK)
        pairs, covered_NRK = pairs[better], covered_NRK[better]
        measured.note(pairs, fit, rest_N[better], contrast_N[better], cover=2, where=better)
        measured.colour_N[pairs] = colour_difference(records, found, measured, pairs, covered_NRK)


def _promising(
    records: NDArray[np.void],
    found: Candidates,
    window_N4: Floats,
    pairs: NDArray[np.int64],
    *,
    border: int = 0,
    robust: bool = False,
) -> NDArray[np.int64]:
    """The pairs of which most places are alike where they are, at very few pixels."""
    fit = registered(
        records, found, window_N4, pairs, _GLANCED_SIDE, steps=0, border=border, robust=robust
    )
    apart_N = stays_below(np.abs(fit.remainder_NRK), _GLANCED_SHARE, margin=max(border, 1))
    return pairs[apart_N < _GLANCED * np.maximum(fit.contrast_N, 1)]


def _box(judged_RK: Floats) -> NDArray[np.bool_]:
    """The smallest box around all that differs too much for a copy, and two pixels more."""
    rows, columns = np.nonzero(judged_RK > CLOSE)
    box_RK = np.zeros(judged_RK.shape, bool)
    if len(rows):
        box_RK[
            max(0, rows.min() - 2) : rows.max() + 3, max(0, columns.min() - 2) : columns.max() + 3
        ] = True
    return box_RK


def _deviation(pictures_NRK: Floats, where_NRK: NDArray[np.bool_]) -> Floats:
    count_N = np.maximum(where_NRK.sum((1, 2)), 1)
    mean_N = (pictures_NRK * where_NRK).sum((1, 2)) / count_N
    squares_N = ((pictures_NRK - mean_N[:, None, None]) ** 2 * where_NRK).sum((1, 2)) / count_N
    return np.asarray(np.sqrt(squares_N))
