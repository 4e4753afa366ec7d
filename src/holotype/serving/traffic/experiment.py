"""One comparison of a champion and a challenger in service: shares, counts, and the test.

Shape suffixes: see `sequential_test`.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from holotype.serving.deployment import AnsweredImage, ModelVersion, Route
from holotype.serving.request_log.feedback_store import FeedbackRow
from holotype.serving.traffic.arm_assignment import place_of
from holotype.serving.traffic.arm_counts import ArmCounts
from holotype.serving.traffic.rollout import Rollout, RolloutPlan
from holotype.serving.traffic.sample_ratio import is_mismatch, log_sample_ratio_evidence
from holotype.serving.traffic.sequential_test import MeanTest, PairedTest, SplitTest, Winner

Mode = Literal["split", "shadow"]

MAX_KEYS = 100_000  # that the sample ratio tells apart; of more, it counts no further ones


@dataclass(frozen=True)
class ExperimentPlan:
    """How two versions are compared.

    Attributes:
        mode: `split`: each answers its share; `shadow`: the champion answers, both predict.
        share: of the requests that the challenger answers in a split, in [0, 1].
        rollout: shares that grow instead; None for one that stays.
    """

    mode: Mode = "split"
    share: float = 0.1
    rollout: RolloutPlan | None = None


class Experiment:
    """A champion, a challenger, and what is known of their difference."""

    def __init__(
        self, plan: ExperimentPlan, champion: ModelVersion, challenger: ModelVersion
    ) -> None:
        self.plan, self.champion, self.challenger = plan, champion, challenger
        self.id = f"{plan.mode}-{champion.digest[:12]}-{challenger.digest[:12]}"
        self.rollout = Rollout(plan.rollout) if plan.rollout else None
        self.arms = {"champion": ArmCounts(), self._other_arm: ArmCounts()}
        self.test: MeanTest = PairedTest() if plan.mode == "shadow" else SplitTest()
        self.is_mismatch = False  # once the sample ratio was wrong it is not trusted again
        self._sample_ratio: dict[float, list[int]] = {}
        self._keys: set[str] = set()
        self._labelled: set[str] = set()
        self._labelled_images: set[tuple[str, int]] = set()
        self._agreement: Counter[bool] = Counter()

    @property
    def share(self) -> float:
        """Of the requests that the challenger answers now."""
        if self.plan.mode == "shadow":
            return 0.0
        return self.rollout.share if self.rollout else self.plan.share

    def route(self, key: str) -> Route:
        """Who answers a request of this key."""
        if self.plan.mode == "shadow":
            return Route(self.champion, "champion", self.challenger, 0.0, self.id)
        share = self.share
        if place_of(key, self.id) < share:
            return Route(self.challenger, "challenger", None, share, self.id)
        return Route(self.champion, "champion", None, share, self.id)

    def count_answer(self, answered: AnsweredImage, arm: str) -> None:
        """Count one image; `arm` is champion, challenger or shadow."""
        counts = self.arms[arm]
        counts.count_image(answered.outcome, answered.total_ms)
        if answered.image > 0:
            return
        counts.requests += 1
        if arm == "challenger" and self.rollout is not None and answered.outcome == "answered":
            self.rollout.requests += 1
        share = answered.route.share
        if self.plan.mode == "split" and 0 < share < 1 and self._is_new(answered):
            self._sample_ratio.setdefault(share, [0, 0])[arm == "challenger"] += 1

    def count_agreement(self, agree: bool) -> None:
        """Whether champion and shadow named one class for an image."""
        self._agreement[agree] += 1

    def count_label(self, row: FeedbackRow) -> None:
        """Take the truth of an image; of what shares a key only the first counts for the test.

        A correction of a truth that was taken before counts nowhere.

        Args:
            row: of this experiment.
        """
        image = (row.request_id, row.image)
        if image in self._labelled_images:
            return
        self._labelled_images.add(image)
        is_right = row.label == row.predicted
        if self.plan.mode == "shadow":
            self._count_pair(row, is_right)
            return
        is_first = row.key not in self._labelled
        self._labelled.add(row.key)
        self.arms[row.arm].count_label(is_right)
        if is_first and 0 < row.share < 1:
            assert isinstance(self.test, SplitTest)
            is_challenger = row.arm == "challenger"
            self.test.add(np.array([is_right]), np.array([is_challenger]), row.share)

    def decide(self) -> bool:
        """Look at the sample ratio, and let the rollout stop, hold or go on; True at a change."""
        is_new = not self.is_mismatch and is_mismatch(self._ratio_evidence)
        self.is_mismatch |= is_new
        if self.rollout is None:
            return is_new
        is_worse = bool(self.test.below_E[0])
        return self.rollout.decide(is_worse=is_worse, is_mismatch=self.is_mismatch) or is_new

    def state(self) -> dict[str, Any]:
        """What a new process goes on with, beside the feedback."""
        rollout = self.rollout and self.rollout.to_json()
        return {"experiment": self.id, "rollout": rollout, "mismatch": self.is_mismatch}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a `state`; that of another comparison is passed over.

        Raises:
            ValueError, TypeError, KeyError: the fields are not those of `state`.
        """
        if saved["experiment"] != self.id:
            return
        if self.rollout is not None and saved["rollout"] is not None:
            self.rollout.restore(saved["rollout"])
        self.is_mismatch = bool(saved.get("mismatch", False))

    @property
    def winner(self) -> Winner | None:
        """Who is surely better; None where it cannot be told yet."""
        if self.test.above_E[0]:
            return "challenger"
        return "champion" if self.test.below_E[0] else None

    def to_json(self) -> dict[str, Any]:
        evidence = self.test.log_evidence_E2[0]
        both = sum(self._agreement.values())
        ratio = {share: tuple(pair) for share, pair in sorted(self._sample_ratio.items())}
        return {
            "id": self.id,
            "mode": self.plan.mode,
            "share": self.share,
            "champion": _identity(self.champion),
            "challenger": _identity(self.challenger),
            "arms": {name: counts.to_json() for name, counts in self.arms.items()},
            "agreement": self._agreement[True] / both if both else None,
            "answered_by_both": both,
            "sample_ratio": {
                "requests": [
                    {"share": share, "champion": pair[0], "challenger": pair[1]}
                    for share, pair in ratio.items()
                ],
                "log_e_value": self._ratio_evidence,
                "mismatch": self.is_mismatch or is_mismatch(self._ratio_evidence),
            },
            "test": {
                "difference_low": max(-1.0, float(self.test.lower_E[0])),
                "difference_high": min(1.0, float(self.test.upper_E[0])),
                "log_e_value_better": float(evidence[0]),
                "log_e_value_worse": float(evidence[1]),
                "winner": self.winner,
            },
            "rollout": self.rollout and self.rollout.to_json(),
        }

    @property
    def _other_arm(self) -> str:
        return "shadow" if self.plan.mode == "shadow" else "challenger"

    @property
    def _ratio_evidence(self) -> float:
        pairs = {share: (pair[0], pair[1]) for share, pair in self._sample_ratio.items()}
        return log_sample_ratio_evidence(pairs) if pairs else 0.0

    def _is_new(self, answered: AnsweredImage) -> bool:
        """Whether this is the first request of its key; a request without one is."""
        if answered.key == answered.request_id:
            return True
        if answered.key in self._keys or len(self._keys) >= MAX_KEYS:
            return False
        self._keys.add(answered.key)
        return True

    def _count_pair(self, row: FeedbackRow, champion_right: bool) -> None:
        self.arms["champion"].count_label(champion_right)
        if not row.shadow_predicted:  # the challenger was shed
            return
        shadow_right = row.label == row.shadow_predicted
        self.arms["shadow"].count_label(shadow_right)
        if row.key not in self._labelled:
            self._labelled.add(row.key)
            assert isinstance(self.test, PairedTest)
            self.test.add(np.array([shadow_right]), np.array([champion_right]))


def _identity(version: ModelVersion) -> dict[str, str]:
    return {"version": version.version, "digest": version.digest}
