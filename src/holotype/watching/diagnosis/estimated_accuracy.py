"""How right the classifier still is, without labels; or why that cannot be known.

Where only the distribution of the images changed (covariate shift), what is right about an image
stays right. The mean confidence of the window is then an estimate (confidence-based performance
estimation), and what confidence is wrong by is corrected on validation images, each weighted by
how much more often such images come now. The interval is of the accuracy on these very images:
even where every confidence is true, chance decides how many of 200 answers are right.

Under label shift, novelty, or where hardly any validation image is like those of the window,
nothing in the log can tell, and where that is noticed, this says so. docs/watching.md has how often
the interval held the truth.

Shape suffixes: N images of the window, R of the reference.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from holotype.evaluation.intervals import Estimate, interval_from_variance, t_quantile
from holotype.watching.diagnosis.change_kind import EXPLAINED_Z, KindOfChange, density_ratio_R
from holotype.watching.watch_status import ChangeKind
from holotype.watching.watched_images import WatchedImages

MIN_EFFECTIVE = 30.0  # validation images, by their weights

UNKNOWABLE = {
    "label shift": "the mix of the classes has changed; how right answers are cannot be known "
    "from this without labels",
    "novelty": "a part of the images is unlike any that has a known class; how right answers are "
    "cannot be known from this without labels",
    "no labels": "no validation image with a known class is kept; how right answers are cannot be "
    "known from this without labels",
    "no overlap": "hardly any image with a known class is like those of the window; how right "
    "answers are cannot be known from this without labels",
}


@dataclass(frozen=True)
class EstimatedAccuracy:
    """An estimate, or the reason why there is none.

    Attributes:
        estimate: with a 95 % interval of the share of these images that were answered rightly;
            None where it cannot be known.
        reason: how it was made, or why there is none.
    """

    estimate: Estimate | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        if self.estimate is None:
            return {"value": None, "low": None, "high": None, "reason": self.reason}
        found = self.estimate.to_json()
        return {**{name: found[name] for name in ("value", "low", "high")}, "reason": self.reason}


def estimated_accuracy(
    window: WatchedImages,
    reference: WatchedImages,
    change: KindOfChange,
    named: ChangeKind | None = None,
) -> EstimatedAccuracy:
    """The accuracy on the window's independent images.

    Args:
        window, reference: as `kind_of_change` had them.
        change: what it found; whether there is an alarm or not.
        named: how an alarm that stands is called, perhaps by more images than these.

    Source:
        Garg et al. 2022, "Leveraging Unlabeled Data to Predict Out-of-Distribution Performance",
        on what cannot be known; Robins, Rotnitzky and Zhao 1994, for the correction by weights.
    """
    if (reference.targets_N < 0).any():
        return EstimatedAccuracy(None, UNKNOWABLE["no labels"])
    changed = change.plain.z > EXPLAINED_Z
    if named in ("novelty", "label shift"):
        return EstimatedAccuracy(None, UNKNOWABLE[named])
    if change.kind == "novelty" or (changed and change.kind == "label shift"):
        return EstimatedAccuracy(None, UNKNOWABLE[change.kind])
    if change.confidences.z > EXPLAINED_Z:
        return EstimatedAccuracy(None, UNKNOWABLE["no overlap"])
    weights_R = density_ratio_R(change.plain) if changed else np.ones(len(reference))
    effective = weights_R.sum() ** 2 / (weights_R**2).sum()
    if effective < MIN_EFFECTIVE:
        return EstimatedAccuracy(None, UNKNOWABLE["no overlap"])
    error_R = (reference.predicted_N == reference.targets_N) - reference.confidence_N
    correction = float(np.average(error_R, weights=weights_R))
    squared_R = (error_R - correction) ** 2
    variance = float(np.average(squared_R, weights=weights_R)) / len(window)
    variance += float((weights_R**2 * squared_R).sum() / weights_R.sum() ** 2)
    # The weights are estimates: all that they moved may be wrong.
    variance += (correction - float(error_R.mean())) ** 2
    value = float(np.clip(window.confidence_N.mean() + correction, 0, 1))
    estimate = interval_from_variance(
        value, variance, effective=min(effective, len(window)),
        quantile=t_quantile(max(1, int(effective) - 1)), method="importance weights",
    )  # fmt: skip
    return EstimatedAccuracy(
        estimate,
        f"if only the images changed and not what is right about them; from {len(window):,} "
        f"images and {effective:,.0f} validation images that are like them; the interval is of the "
        "answers to these images",
    )
