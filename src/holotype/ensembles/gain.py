"""Compare an ensemble with its best member: log loss, accuracy and speed.

The best member and whether to recommend the ensemble are decided on held-out validation images,
before test is read. Test gives one comparison, and nothing is chosen by it.

Shape suffixes: N images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from holotype.bundle.bundle import Bundle
from holotype.comparison.aligned_predictions import AlignedPredictions
from holotype.comparison.bootstrap import paired_scores
from holotype.comparison.cost import RunCost, evenly_spread, images_per_second_text, measure_cost
from holotype.comparison.significance import difference_interval
from holotype.evaluation.intervals import SamplingUnits
from holotype.evaluation.report_data import MAX_SCORE
from holotype.files import read_json, reading
from holotype.predictions import Predictions

TIMED_IMAGES = 24
BEST_MEMBER_COMPARISON = "best_member_comparison.json"  # in the report of an ensemble


@dataclass(frozen=True)
class DifferenceInterval:
    """Ensemble minus best member, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Gain:
    """The paired differences of an ensemble and its best member.

    Attributes:
        part: the name of the images.
        num_images: the number of scorable images.
        log_loss: in nats; below 0 is better.
        accuracy: a fraction; above 0 is better.
    """

    part: str
    num_images: int
    log_loss: DifferenceInterval
    accuracy: DifferenceInterval

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Gain":
        """What `asdict` made."""
        scores = {
            name: DifferenceInterval(*(float(value[name][end]) for end in ("value", "low", "high")))
            for name in ("log_loss", "accuracy")
        }
        return cls(part=str(value["part"]), num_images=int(value["num_images"]), **scores)

    @property
    def beats(self) -> bool:
        """Whether it is significantly better in one of the two and worse in neither."""
        better = self.log_loss.high < 0 or self.accuracy.low > 0
        worse = self.log_loss.low > 0 or self.accuracy.high < 0
        return better and not worse

    def in_words(self) -> str:
        loss, share = self.log_loss, self.accuracy
        return (
            f"log loss {loss.value:+z.4f} [{loss.low:+z.4f}, {loss.high:+z.4f}], accuracy "
            f"{100 * share.value:+z.2f} points [{100 * share.low:+z.2f}, {100 * share.high:+z.2f}] "
            f"on {self.num_images:,} images ({self.part})"
        )


@dataclass(frozen=True)
class BestMemberComparison:
    """An ensemble compared with its best member.

    Attributes:
        best_member: its name.
        reported: on test, or without one on held-out folds of the validation images.
        held_out: on held-out folds of the validation images.
        images_per_second, best_member_images_per_second: with decoding; None where they could not
            be measured.
        only_member: the one that has all the weight; "" where several have some.
    """

    best_member: str
    reported: Gain
    held_out: Gain
    images_per_second: float | None
    best_member_images_per_second: float | None
    only_member: str = ""

    @property
    def recommended(self) -> bool:
        """On held-out validation images; never where one member alone answers."""
        return not self.only_member and self.held_out.beats

    @property
    def advised_member(self) -> str:
        """What to use where the ensemble is not recommended."""
        return self.only_member or self.best_member

    def in_words(self) -> str:
        """One sentence for a reader."""
        cost = "Its speed could not be measured."
        if self.images_per_second is not None and self.best_member_images_per_second is not None:
            cost = (
                f"It predicts {images_per_second_text(self.images_per_second)} images a second, "
                f"{self.best_member} alone "
                f"{images_per_second_text(self.best_member_images_per_second)}."
            )
        if self.only_member:
            return (
                f"Not recommended: {self.only_member} has all the weight, so this ensemble is that "
                f"one member under another name; use {self.only_member} itself. {cost}"
            )
        if self.recommended:
            return (
                "Recommended: on held-out images it is significantly better than its best member, "
                f"{self.best_member}. {cost}"
            )
        return (
            "Not recommended: on held-out images it is not significantly better than its best "
            f"member, {self.best_member}. {cost}"
        )

    def to_json(self) -> dict[str, Any]:
        return {"recommended": self.recommended, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "BestMemberComparison":
        """What `to_json` made."""
        return cls(
            best_member=str(value["best_member"]),
            reported=Gain.from_json(value["reported"]),
            held_out=Gain.from_json(value["held_out"]),
            images_per_second=_number_or_none(value["images_per_second"]),
            best_member_images_per_second=_number_or_none(value["best_member_images_per_second"]),
            only_member=str(value.get("only_member", "")),  # absent before version 0.3
        )


def _number_or_none(value: Any) -> float | None:
    return None if value is None else float(value)


def read_best_member_comparison(file: Path) -> BestMemberComparison:
    """Read `best_member_comparison.json`.

    Raises:
        CorruptFile: it is damaged.
    """
    found = read_json(file)
    with reading(file):
        return BestMemberComparison.from_json(found)


def gain_over(whole: Predictions, alone: Predictions, part: str) -> Gain:
    """The differences of two classifiers on the same images, in the same order."""
    assert whole.sha256 == alone.sha256
    whole, alone = whole.scorable(), alone.scorable()
    units = SamplingUnits.of(whole)
    correct_N = (whole.predicted_N == whole.targets_N).astype(np.float64)
    gain_N = correct_N - (alone.predicted_N == alone.targets_N)
    return Gain(
        part=part,
        num_images=len(whole),
        log_loss=_log_loss(AlignedPredictions(("ensemble", "best member"), (whole, alone), units)),
        accuracy=DifferenceInterval(*difference_interval(gain_N, whole.weights_N, units)),
    )


def _log_loss(aligned: AlignedPredictions) -> DifferenceInterval:
    """The first minus the second; an unknown interval is as wide as the range of a log loss."""
    scores = paired_scores(aligned)["log_loss"]
    other = 0 if scores.best == 1 else 1
    found = scores.difference_to_best[other]
    assert found is not None
    low = -MAX_SCORE["log_loss"] if found.low is None else found.low
    high = MAX_SCORE["log_loss"] if found.high is None else found.high
    if other == 0:
        return DifferenceInterval(found.value, low, high)
    return DifferenceInterval(-found.value, -high, -low)


def measure_images_per_second(bundle: Bundle, files: Sequence[Path]) -> float | None:
    """The speed of a bundle on a few of these files, in a process of its own; None if it failed."""
    few = evenly_spread(files, TIMED_IMAGES)
    return measure_cost(RunCost(), bundle.path, few)[0].images_per_second
