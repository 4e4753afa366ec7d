"""Is one classifier better than another? A test that may be looked at after every answer.

A capital of 1 is bet on the next observation, which costs nothing on average where the difference
is not larger than a null value d. So a capital that has grown beyond 2 / alpha, at any time, is as
unlikely as alpha / 2, whenever one looks and whenever one stops. All d that are not refuted form a
confidence sequence: an interval that holds the difference at all times at once, with 1 - alpha.

- Paired, where both versions answered the same image: the observation is the difference of being
  right, -1, 0 or 1.
- Split, where one of two versions answered: (right - expected) / share of the requests that the
  arm gets, negative for the champion. Its mean is the difference whatever is expected; the
  accuracy of both together so far makes its variance small.

Sources: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting";
Howard et al. 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences"; for the
split, Waudby-Smith et al. 2024, "Anytime-valid off-policy inference for contextual bandits".

Shape suffixes: E experiments side by side (a server has one, simulations have thousands),
V null values, B bets.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Winner = Literal["challenger", "champion"]

ALPHA = 0.05
# What is bet, as a share of what may be lost at most; the capital is divided among them.
BETS_B = np.array([0.05, 0.1, 0.2, 0.4])
# Half a point apart where differences are likely, 5 points elsewhere.
NULLS_V = np.concatenate([np.arange(-20, -5) / 20, np.arange(-50, 51) / 200, np.arange(6, 21) / 20])
ONLY_ZERO_V = np.zeros(1)  # enough to know who wins, and quick


class MeanTest:
    """A confidence sequence for the mean of bounded observations, in each of E experiments.

    Args:
        experiments: E.
        nulls_V: the values that the mean is held against; 0 is one of them.
        alpha: chance that an interval ever misses the mean.
    """

    def __init__(
        self, experiments: int = 1, nulls_V: Floats = NULLS_V, alpha: float = ALPHA
    ) -> None:
        self._nulls_V = nulls_V
        self._zero = int(np.flatnonzero(nulls_V == 0)[0])
        self._threshold = float(np.log(2 / alpha))
        shape = (experiments, len(nulls_V), len(BETS_B))
        self._above_EVB = np.full(shape, -np.log(len(BETS_B)))  # log capital against mean <= d
        self._below_EVB = self._above_EVB.copy()  # against mean >= d
        self.lower_E = np.full(experiments, -np.inf)
        self.upper_E = np.full(experiments, np.inf)

    def update(self, observed_E: Floats, low_E: Floats, high_E: Floats) -> None:
        """Take the next observation of every experiment.

        Args:
            observed_E: within [low, high].
            low_E, high_E: bounds that were known before; below and above every null value that is
                to be refuted.
        """
        beyond_low_EV = np.maximum(self._nulls_V - low_E[:, None], 1e-9)
        beyond_high_EV = np.maximum(high_E[:, None] - self._nulls_V, 1e-9)
        gain_EV = observed_E[:, None] - self._nulls_V
        self._above_EVB += np.log1p((gain_EV / beyond_low_EV)[..., None] * BETS_B)
        self._below_EVB += np.log1p((-gain_EV / beyond_high_EV)[..., None] * BETS_B)
        refuted_EV = np.logaddexp.reduce(self._above_EVB, axis=-1) >= self._threshold
        self.lower_E = np.maximum(self.lower_E, np.where(refuted_EV, self._nulls_V, -np.inf).max(1))
        refuted_EV = np.logaddexp.reduce(self._below_EVB, axis=-1) >= self._threshold
        self.upper_E = np.minimum(self.upper_E, np.where(refuted_EV, self._nulls_V, np.inf).min(1))

    @property
    def above_E(self) -> Bools:
        """Whether the mean is surely above 0, or was at an earlier look."""
        return np.asarray(self.lower_E >= 0)

    @property
    def below_E(self) -> Bools:
        """Whether the mean is surely below 0, or was at an earlier look."""
        return np.asarray(self.upper_E <= 0)

    @property
    def log_evidence_E2(self) -> Floats:
        """The logarithms of the e-values (E, 2) for a mean above 0, and for one below."""
        sides_2EB = [side[:, self._zero] for side in (self._above_EVB, self._below_EVB)]
        return np.stack([np.logaddexp.reduce(side_EB, axis=-1) for side_EB in sides_2EB], axis=1)


class PairedTest(MeanTest):
    """Both versions answered each image; the mean is challenger minus champion."""

    def add(self, challenger_right_E: Bools, champion_right_E: Bools) -> None:
        """Take the next labelled image of every experiment."""
        ones_E = np.ones(len(self.lower_E))
        difference_E = challenger_right_E.astype(float) - champion_right_E.astype(float)
        self.update(difference_E, -ones_E, ones_E)


class SplitTest(MeanTest):
    """One of two versions answered each image; the mean is challenger minus champion.

    The arms must have been drawn independently of the images, one draw an image: what shares a
    request key counts once. Whether an image gets a label may depend on the image, and on whether
    the answer was right, but not on the arm otherwise.
    """

    def __init__(
        self, experiments: int = 1, nulls_V: Floats = NULLS_V, alpha: float = ALPHA
    ) -> None:
        super().__init__(experiments, nulls_V, alpha)
        self._right_E = np.zeros(experiments)
        self._count = 0

    def add(self, right_E: Bools, challenger_E: Bools, share: float) -> None:
        """Take the next labelled answer of every experiment.

        Args:
            right_E: whether it was right.
            challenger_E: whether the challenger answered.
            share: of the requests that the challenger got when it was answered, within (0, 1).
        """
        expected_E = (self._right_E + 1) / (self._count + 2)
        weight_E = np.where(challenger_E, 1 / share, -1 / (1 - share))
        wrong_E, rest_E = expected_E, 1 - expected_E
        low_E = -np.maximum(wrong_E / share, rest_E / (1 - share))
        high_E = np.maximum(rest_E / share, wrong_E / (1 - share))
        self.update((right_E - expected_E) * weight_E, low_E, high_E)
        self._right_E += right_E
        self._count += 1
