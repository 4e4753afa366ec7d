"""Which of the pairs that were measured are copies.

Shape suffixes: N pairs, P pictures, A those that are asked for.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.candidates import WHOLE, Candidates
from holotype.dataset.covers import uncover
from holotype.dataset.repeats import are_resized, repeated
from holotype.dataset.thumbnails import Floats
from holotype.dataset.verification import CLOSE, LOOSE, SURE, Measured, measure

# Differences in grey levels of 255, as in `verification`.
_CLOSE_GAP, _FINE_GAP, _LOOSE_GAP = 2.0, 3.0, 4.0  # fine: small beside the contrast, too
_SURE_CONTRAST, _CONTRAST = 0.05, 0.15  # limits again, as fractions of the picture's contrast
# At half the resolution noise, as of compression, is smoothed away, and another picture is not.
_COARSE, _COARSE_GAP = (1.5, 2.0), 4.0  # the second for pictures of high contrast
_COARSE_CONTRAST = (0.1, 0.04)  # the first bounds both limits
_NOISY = 5.5  # the largest difference that noise may make
_COLOUR_LIMIT = 10.0  # levels of chroma
_REPEATABLE = 8.0  # what the nearest pixels of a resized digit make is within it
_REPEATABLE_GAP = (1.1, 1.3)  # of a pair of different sizes, which is soon looked at; of others


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was measured of N pairs: as they are, and without what may be drawn over them."""

    found: Candidates
    plain: Measured
    rest: Measured

    @classmethod
    def of(cls, records: NDArray[np.void], found: Candidates) -> "Evidence":
        plain = measure(records, found)
        return cls(found, plain, uncover(records, found, plain))

    def with_repeats(self, records: NDArray[np.void], beyond_P: Floats) -> "Evidence":
        """The same where what noise hides can be told by doing again what was done."""
        is_copy_N, _ = self.judged(beyond_P)
        context = _Context.of(self.found, self.plain.difference_N, beyond_P, _REPEATABLE)
        limit_2N = [context.limits(_REPEATABLE, gap) for gap in _REPEATABLE_GAP]
        limit_N = np.where(are_resized(records, self.found), *limit_2N)
        is_doubtful_N = ~is_copy_N & self.found.is_upright
        is_doubtful_N &= self.plain.difference_N <= limit_N
        doubtful = np.flatnonzero(is_doubtful_N)
        return replace(self, plain=repeated(records, self.found, self.plain, doubtful))

    def with_others(self, records: NDArray[np.void], others: Candidates) -> "Evidence":
        """The same with pairs that are measured as they are, all of them as exactly as can be."""
        plain = measure(records, others, all_exactly=True)
        return Evidence(
            self.found.joined(others),
            self.plain.joined(plain),
            self.rest.joined(Measured.nothing(others)),
        )

    def judged(self, beyond_P: Floats) -> tuple[NDArray[np.bool_], Measured]:
        """Which pairs are copies, and what was measured of each in the way that tells.

        Args:
            beyond_P: for every picture the least difference of those that it was not paired with.
        """
        is_copy_N = are_copies(self.plain, self.found, beyond_P)
        is_covered_N = ~is_copy_N & are_copies(self.rest, self.found, beyond_P, self.plain)
        return is_copy_N | is_covered_N, self.plain.replaced(self.rest, is_covered_N)


def are_copies(
    measured: Measured,
    found: Candidates,
    beyond_P: Floats,
    beside: Measured | None = None,
) -> NDArray[np.bool_]:
    """Which pairs are small enough in difference, both by themselves and beside others.

    Args:
        beyond_P: for every picture the least difference of those that are not among the pairs.
        beside: what was measured before something was left out. Others may then be as near as
            either says, and larger differences are not allowed at all.
    """
    contrast_N, context_N, loose_limit = measured.contrast_N, measured.difference_N, LOOSE
    if beside is not None:
        context_N, loose_limit = np.minimum(context_N, beside.difference_N), 0.0
    context = _Context.of(found, context_N, beyond_P, LOOSE)
    fine_N = np.minimum(context.limits(loose_limit, _FINE_GAP), _SURE_CONTRAST * contrast_N)
    limit_N = np.maximum(context.limits(CLOSE, _CLOSE_GAP), context.limits(loose_limit, _LOOSE_GAP))
    limit_N = np.maximum(fine_N, np.minimum(limit_N, _CONTRAST * contrast_N))
    sure_N = np.minimum(SURE, _SURE_CONTRAST * contrast_N)
    # What was done again differs by nothing but rounding.
    sure_N = np.where(measured.repeat_N > 0, _SURE_CONTRAST * contrast_N, sure_N)
    is_alike_N = measured.difference_N <= np.maximum(limit_N, sure_N)
    if beside is None:
        coarse = _Context.of(found, measured.coarse_N, beyond_P, _COARSE[1])
        coarse_N = np.clip(_COARSE_CONTRAST[1] * contrast_N, *_COARSE)
        coarse_N = np.minimum(coarse_N, _COARSE_CONTRAST[0] * contrast_N)
        coarse_N = np.minimum(coarse_N, coarse.limits(_COARSE[1], _COARSE_GAP))
        is_noise_N = (measured.coarse_N <= coarse_N) & (measured.difference_N <= _NOISY)
        is_alike_N |= is_noise_N & (found.part == WHOLE)
    is_plausible_N = (measured.gain_N > 0.5) & (measured.gain_N < 2)
    return np.asarray(is_alike_N & is_plausible_N & (measured.colour_N <= _COLOUR_LIMIT))


@dataclass(frozen=True, eq=False)
class _Context:
    """What pictures differ from others by, and the least that they may from the rest."""

    pictures_2N: NDArray[np.int64]
    asked_A: NDArray[np.int64]  # the pictures of pairs that may be copies
    differences: list[list[float]]  # of each of them, the smallest first
    beyond_P: Floats

    @classmethod
    def of(
        cls, found: Candidates, difference_N: Floats, beyond_P: Floats, most: float
    ) -> "_Context":
        """For pairs that differ by at most so much; no other can be within a limit up to it."""
        pictures_2N = np.stack([found.still, found.moving])
        is_asked_P = np.zeros(len(beyond_P), bool)
        is_asked_P[pictures_2N[:, difference_N <= most]] = True
        rows = np.flatnonzero(is_asked_P[pictures_2N.ravel()])
        pictures, differences = pictures_2N.ravel()[rows], np.tile(difference_N, 2)[rows]
        order = np.lexsort((differences, pictures))
        asked_A = np.flatnonzero(is_asked_P)
        ends = np.searchsorted(pictures[order], asked_A[1:])
        by_picture = [part.tolist() for part in np.split(differences[order], ends)]
        return cls(pictures_2N, asked_A, by_picture, beyond_P)

    def limits(self, limit: float, gap: float) -> Floats:
        """For every pair the lower of the limits of its two pictures; 0 of what is not asked."""
        limit_P = np.zeros(len(self.beyond_P))
        limit_P[self.asked_A] = [
            _limit_with_gap(differences, limit, gap, beyond)
            for differences, beyond in zip(
                self.differences, self.beyond_P[self.asked_A].tolist(), strict=False
            )
        ]
        return np.asarray(limit_P[self.pictures_2N].min(0))


def _limit_with_gap(differences: list[float], limit: float, gap: float, beyond: float) -> float:
    """The largest difference up to `limit` after which the next one is `gap` times as large.

    What was not looked at is not the next one of a near pair only where it must differ more.
    """
    reached = 0.0
    for this, following in zip(differences, [*differences[1:], np.inf], strict=True):
        if this > limit:
            break
        if min(following, max(beyond, this)) >= gap * this:
            reached = this
    return reached
