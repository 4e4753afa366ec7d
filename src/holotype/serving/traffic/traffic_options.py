"""What is asked for on the command line: a challenger, how it is compared, and what is logged."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holotype.errors import UsageError
from holotype.serving.request_log.kept_images import KeptImages
from holotype.serving.request_log.log_writer import LogSettings
from holotype.serving.traffic.experiment import ExperimentPlan, Mode
from holotype.serving.traffic.rollout import RolloutPlan


@dataclass(frozen=True)
class TrafficOptions:
    """Which versions are compared, and what is kept of the answers.

    Attributes:
        challenger: a run, bundle or `registry://NAME@ALIAS` that is compared with the classifier;
            `NAME=RUN` where several are served.
        share: percentage of the requests that the challenger answers.
        shadow: the challenger predicts too, and nobody sees its answers.
        rollout: rising percentages, such as `(5, 25, 100)`, instead of one share.
        rollout_hours: the shortest time at each of them.
        log: folder of the request log; without it neither requests nor feedback are kept.
        log_days, log_gib: what is older, and what is more, is removed.
        image_days, image_gib: how long and how much of the images themselves is kept; 0 days, by
            default, keeps none.

    Raises:
        UsageError: numbers out of range, or options that need another one.
    """

    challenger: str | os.PathLike[str] | None = None
    share: float = 10.0
    shadow: bool = False
    rollout: Sequence[float] = ()
    rollout_hours: float = 1.0
    log: str | os.PathLike[str] | None = None
    log_days: float = 90.0
    log_gib: float = 20.0
    image_days: float = 0.0
    image_gib: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.share < 100:
            raise UsageError(f"--share is {self.share:g}; expected a percentage within 0 and 100.")
        if self.shadow and self.rollout:
            raise UsageError("--shadow and --rollout exclude each other; choose one.")
        if self.challenger is None and (self.shadow or self.rollout):
            raise UsageError(
                "--shadow and --rollout compare a challenger: name it by --challenger."
            )
        if self.image_days and self.log is None:
            raise UsageError("--image-days keeps images beside the request log: give --log.")
        _ = self.plan, self.log_settings  # their ranges

    @property
    def plan(self) -> ExperimentPlan:
        rollout = None
        if self.rollout:
            rollout = RolloutPlan(tuple(map(float, self.rollout)), self.rollout_hours)
        mode: Mode = "shadow" if self.shadow else "split"
        return ExperimentPlan(mode, self.share / 100, rollout)

    @property
    def log_settings(self) -> LogSettings:
        images = None
        if self.image_days:
            images = KeptImages(self.image_days, int(self.image_gib * 2**30))
        return LogSettings(self.log_days, int(self.log_gib * 2**30), images=images)

    @property
    def log_folder(self) -> Path | None:
        return None if self.log is None else Path(self.log)
