"""May the candidate take the champion's place? Two paired tests on images that trained neither.

- On the fixed test of the champion the candidate must not be worse by more than a margin: the lower
  end of the one-sided 95 % interval of the difference of accuracies lies above minus the margin.
- On fresh labels, a random sample of what is served now, it must be better: the lower end lies
  above 0, and an exact test (McNemar's, or by flipping groups) says the same.

Groups are one observation each. Where both hold it may be promoted. Where it is surely worse on
either, it is rejected. Anything else is left to a person: a shadow or a split of the traffic tells.

Shape suffixes: N images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from holotype.comparison.significance import SIGNIFICANCE_LEVEL, compare_pairs, gain_at_least
from holotype.evaluation.intervals import SamplingUnits

Judgement = Literal["promote", "keep", "reject"]
MARGIN = 0.02  # accuracy that may be lost on the fixed test


@dataclass(frozen=True)
class PairedAccuracy:
    """Champion and candidate on the same images.

    Attributes:
        num_images, num_units: independent units: groups, or images where there are none.
        champion, candidate: their accuracies, in [0, 1]; nan without images.
        low, high: ends of the two one-sided 95 % intervals of candidate minus champion.
        p_value: two-sided, of the exact test.
        method: its name.
    """

    num_images: int
    num_units: int
    champion: float
    candidate: float
    low: float
    high: float
    p_value: float
    method: str

    @property
    def difference(self) -> float:
        return self.candidate - self.champion

    @property
    def is_better(self) -> bool:
        """Surely: one-sided, at 5 %, by the interval and by the exact test."""
        return self.low > 0 and self.difference > 0 and self.p_value / 2 < SIGNIFICANCE_LEVEL

    def is_worse(self, margin: float = 0.0) -> bool:
        """Surely worse by more than the margin."""
        return self.num_images > 0 and self.high < -margin

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self)) if self.num_images else {"num_images": 0}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "PairedAccuracy":
        return cls(**found) if found["num_images"] else NOTHING

    def __str__(self) -> str:
        if not self.num_images:
            return "no images"
        units = "" if self.num_units == self.num_images else f" in {self.num_units:,} groups"
        return (
            f"{self.champion:.1%} → {self.candidate:.1%} on {self.num_images:,} images{units}: "
            f"{100 * self.difference:+.1f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        )


NOTHING = PairedAccuracy(0, 0, float("nan"), float("nan"), -1.0, 1.0, 1.0, "")


def paired_accuracy(
    champion_N: NDArray[np.bool_],
    candidate_N: NDArray[np.bool_],
    weights_N: NDArray[np.float64],
    groups: Sequence[str],
) -> PairedAccuracy:
    """Compare on the images whose weight is above 0.

    Args:
        champion_N, candidate_N: whether each is right.
        groups: of images that are not independent; "" of an image for itself.

    Example:
        >>> import numpy as np
        >>> right, wrong = np.ones(40, bool), np.zeros(40, bool)
        >>> paired_accuracy(wrong, right, np.ones(40), [""] * 40).is_better
        True
    """
    counted = np.flatnonzero(weights_N > 0)
    if not len(counted):
        return NOTHING
    champion_N, candidate_N = champion_N[counted], candidate_N[counted]
    weights_N = weights_N[counted]
    units = SamplingUnits.of_groups([groups[n] for n in counted.tolist()])
    gain_N = candidate_N.astype(np.float64) - champion_N
    _, low = gain_at_least(gain_N, weights_N, units)
    _, loss = gain_at_least(-gain_N, weights_N, units)
    (test,) = compare_pairs(np.stack([champion_N, candidate_N]), weights_N, units)
    return PairedAccuracy(
        num_images=len(counted),
        num_units=units.count,
        champion=float(np.average(champion_N, weights=weights_N)),
        candidate=float(np.average(candidate_N, weights=weights_N)),
        low=low,
        high=-loss,
        p_value=test.p_value,
        method=test.method,
    )


@dataclass(frozen=True)
class PromotionDecision:
    """What the two comparisons say.

    Attributes:
        judgement: `promote`: it may; `keep`: as a challenger; `reject`: it is surely worse.
        reasons: in sentences.
        old, fresh: the comparisons on the fixed test and on fresh labels.
        margin: of non-inferiority on the old.
    """

    judgement: Judgement
    reasons: tuple[str, ...]
    old: PairedAccuracy
    fresh: PairedAccuracy
    margin: float

    def to_json(self) -> dict[str, Any]:
        return {
            "judgement": self.judgement, "reasons": list(self.reasons),
            "old": self.old.to_json(), "fresh": self.fresh.to_json(), "margin": self.margin,
        }  # fmt: skip

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "PromotionDecision":
        return cls(
            found["judgement"], tuple(found["reasons"]), PairedAccuracy.from_json(found["old"]),
            PairedAccuracy.from_json(found["fresh"]), found["margin"],
        )  # fmt: skip


def decide(
    old: PairedAccuracy, fresh: PairedAccuracy, *, margin: float = MARGIN
) -> PromotionDecision:
    """Whether the candidate may be promoted, stays a challenger, or is rejected.

    Args:
        old: on the fixed test of the champion.
        fresh: on fresh labels that trained neither.
        margin: accuracy that may be lost on the old, a fraction at least 0.
    """
    points = 100 * margin
    worse = [
        name
        for name, is_worse in (
            (f"by more than {points:g} points on the old test", old.is_worse(margin)),
            ("on the fresh labels", fresh.is_worse()),
        )
        if is_worse
    ]
    not_shown = []
    if not old.low > -margin:
        not_shown.append(
            f"It may lose more than {points:g} points on the old test: the interval reaches "
            f"{100 * old.low:+.1f}."
        )
    if not fresh.is_better:
        not_shown.append(
            "It is not surely better on the fresh labels."
            if fresh.num_images
            else "There are no fresh labels to judge it by: label random images too."
        )
    if worse:
        reasons = tuple(f"It is surely worse {name}." for name in worse)
        return PromotionDecision("reject", reasons, old, fresh, margin)
    if not_shown:
        return PromotionDecision("keep", tuple(not_shown), old, fresh, margin)
    reasons = ("It is better on the fresh labels and no worse on the old test.",)
    return PromotionDecision("promote", reasons, old, fresh, margin)
