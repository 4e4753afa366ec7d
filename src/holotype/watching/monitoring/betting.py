"""Bets against "nothing has changed", and the capital that they win.

Every bet is a density on [0, 1]: its mean over uniform ranks is 1, so that its product over images,
the capital, gains nothing on average as long as nothing changes, and by Ville's inequality ever
reaches 1/α with a chance of at most α. Several densities share a capital, since it is not known how
a score will change.

A change may begin late, when the capital of older bets is spent. So the first capital of 1 is dealt
out over the year, to bets that begin at each window (a mixture over the time of the change, as that
of Shiryaev and Roberts). What was not dealt out yet counts too, and the sum remains a martingale.

Sources: Vovk 2021, "Testing Randomness Online"; Ramdas et al. 2023, "Game-Theoretic Statistics and
Safe Anytime-Valid Inference"; Shin, Ramdas and Rinaldo 2023, "E-detectors".

Shape suffixes: N images, B bets.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Of scores: their mean moves by so many standard deviations, …
SHIFTS = (-2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0)
SCALES = (0.6, 1.5)  # … their spread is multiplied, …
TAIL, TAIL_SHARE = 0.05, 0.2  # … or a share of the images lies in the outermost 5 % of ranks.
# Of yes and no: the share of yes is multiplied.
RATIOS = (0.25, 0.5, 0.7, 1.4, 2.0, 4.0)

# Of a limit: so much of what can be lost is bet on more than it allows.
STAKES = (0.1, 0.3, 0.6)

RANK_BETS = len(SHIFTS) + len(SCALES) + 2
YEAR_S = 365.25 * 86_400


def log_rank_bets_B(ranks_N: Floats) -> Floats:
    """The logarithms of what each bet makes of 1 over a window, for scores on any scale."""
    from scipy.special import ndtri

    N = len(ranks_N)
    z_N = ndtri(np.clip(ranks_N, 1e-12, 1 - 1e-12))
    total, squares = float(z_N.sum()), float((z_N**2).sum())
    shifted = [shift * total - N * shift**2 / 2 for shift in SHIFTS]
    scaled = [squares / 2 * (1 - 1 / scale**2) - N * np.log(scale) for scale in SCALES]
    outer = np.log(1 - TAIL_SHARE + TAIL_SHARE / TAIL)
    inner = np.log(1 - TAIL_SHARE)
    in_tail = [int((ranks_N > 1 - TAIL).sum()), int((ranks_N < TAIL).sum())]
    return np.array([*shifted, *scaled, *(k * outer + (N - k) * inner for k in in_tail)])


def log_share_bets_B(ranks_N: Floats, share: float) -> Floats:
    """The same for scores that are 0 or 1.

    Args:
        share: of ones that is expected; known before any of these ranks.
    """
    ones = int((ranks_N > 1 - share).sum())
    bets = []
    for ratio in RATIOS:
        one = min(ratio, (1 + 1 / share) / 2)  # never all of the capital
        zero = (1 - share * one) / (1 - share)
        bets.append(ones * np.log(one) + (len(ranks_N) - ones) * np.log(zero))
    return np.array(bets)


def log_limit_bets_B(ones_N: Floats, limit: float) -> Floats:
    """Bets against "whatever happened before, the chance of a one is at most the limit".

    Unlike the others these need no independence, and the chance may vary below the limit.
    """
    ones = int(ones_N.sum())
    stakes = np.array(STAKES) / limit
    gains, losses = np.log1p(stakes * (1 - limit)), np.log1p(-stakes * limit)
    return np.asarray(ones * gains + (len(ones_N) - ones) * losses)


class Capital:
    """What the bets of one monitor have won in this year.

    Args:
        logs_B: the logarithms of the capital of each bet, of the part that was dealt out.
        dealt: the part of the first capital that was dealt out.
        windows: how often.
    """

    def __init__(self, logs_B: Floats, dealt: float = 0.0, windows: int = 0) -> None:
        self.logs_B = logs_B
        self.dealt = dealt
        self.windows = windows

    @classmethod
    def new(cls, bets: int) -> "Capital":
        return cls(np.full(bets, -np.inf))

    def update(self, log_bets_B: Floats, elapsed_s: float) -> None:
        """Take a window.

        Args:
            elapsed_s: since the window before it, known before this one was seen.
        """
        self.windows += 1
        part = self._part(elapsed_s)
        self.dealt += part
        fresh = np.log(max(part, 1e-300))
        self.logs_B = np.logaddexp(self.logs_B, fresh) + log_bets_B

    def _part(self, elapsed_s: float) -> float:
        """Half is dealt out as the year goes by, half over the first windows of it."""
        part = 0.5 * elapsed_s / YEAR_S + 0.5 / (self.windows * (self.windows + 1))
        return min(part, 1 - self.dealt)

    @property
    def log_value(self) -> float:
        """The logarithm of the e-value."""
        value = np.logaddexp.reduce(self.logs_B) - np.log(len(self.logs_B))
        return float(np.logaddexp(value, np.log(max(1 - self.dealt, 1e-300))))
