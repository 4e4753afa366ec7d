"""Takes windows of the log into the state: evidence, alarm, diagnosis, all clear.

Most alarms come after few images, from which one kind of change looks like another. So as long as
an alarm stands, its kind is asked again of all changed images, until there are enough of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from holotype.bundle.bundle import Bundle
from holotype.serving.request_log.log_row import iso_time
from holotype.watching.diagnosis.diagnose import (
    change_between,
    independent_images,
    kind_of_alarm,
    what_changed,
)
from holotype.watching.diagnosis.estimated_accuracy import estimated_accuracy
from holotype.watching.diagnosis.feedback_accuracy import feedback_accuracy
from holotype.watching.diagnosis.two_sample_tests import ks_test
from holotype.watching.log_windows import LogWindow, WatchedLog
from holotype.watching.monitoring.image_scores import ImageScores
from holotype.watching.monitoring.monitors import Monitors
from holotype.watching.monitoring.service_scores import ServiceLimits
from holotype.watching.watch_reference import WatchReference
from holotype.watching.watch_state import AlarmState, WatchState
from holotype.watching.watch_status import WindowRecord
from holotype.watching.watched_images import Floats, WatchedImages

QUIET_WINDOWS = 3  # one after the other, and all together, make all clear
MOST_QUIET_WINDOWS = 200  # of so many, fewer images must do
QUIET_IMAGES = 100  # independent ones, at least: fewer show no change but a large one
QUIET_CHANCE = 0.01  # that a quiet window is taken for a changed one
GROWING = 0.2  # of the evidence that an alarm needs: there the change has begun
MAX_CHANGED = 5  # windows that are looked at again
ENOUGH_IMAGES = 600  # independent ones; from so many a kind stands


@dataclass(frozen=True, eq=False)
class WindowTaker:
    """What windows of one bundle are held against.

    Attributes:
        bundle: that answered.
        log: its rows.
        limits: of the service.
        scores, reference: what is watched of images, and the images that it is compared with.
    """

    bundle: Bundle
    log: WatchedLog
    limits: ServiceLimits
    scores: ImageScores
    reference: WatchedImages

    @classmethod
    def of(
        cls, bundle: Bundle, log: WatchedLog, limits: ServiceLimits, reference: WatchReference
    ) -> "WindowTaker":
        return cls(bundle, log, limits, *reference.scores())

    def new_state(self, alarm: AlarmState | None) -> WatchState:
        """A state that has seen the reference only.

        Args:
            alarm: of the bundle that was watched before, which is not all clear yet.
        """
        watched = [*self.scores.watched(), *self.limits.watched()]
        seed = int(self.bundle.sha256[:8], 16)
        monitors = Monitors.new(watched, self._of_reference, seed)
        return WatchState(self.bundle.sha256, monitors, alarm=alarm)

    def take(self, state: WatchState, window: LogWindow) -> None:
        """Take one window."""
        monitors = state.monitors
        images = window.images.select(window.images.one_of_each_group(monitors.windows))
        elapsed_s = 0.0 if state.last_s is None else max(0.0, window.last_s - state.last_s)
        scores = self._scores(images)
        quiet = None if state.alarm is None else self._is_quiet(state, scores, window)
        learn = state.alarm is None or state.alarm.kind == "service"
        monitors.update(scores | self.limits.scores(window.rows), elapsed_s, learn=learn)
        state.next_s, state.last_s = window.end_s, window.last_s
        state.spans.append((window.start_s, window.end_s))
        state.records.append(
            WindowRecord(
                number=monitors.windows,
                start=iso_time(window.first_s),
                end=iso_time(window.last_s),
                images=len(window.images),
                groups=len(images),
                evidence=monitors.evidence,
                quiet=quiet,
            )
        )
        if state.alarm is None and monitors.alarm:
            state.alarm = self._alarm(state)
        elif state.alarm is not None and quiet is not None:
            state.alarm.quiet_windows = state.alarm.quiet_windows + 1 if quiet else 0
            if self._are_quiet_together(state, state.alarm):
                state.ended, state.alarm = state.alarm, None
                monitors.restart()
            elif not quiet:
                self._ask_again(state, state.alarm)

    def accuracy(self, state: WatchState) -> dict[str, Any]:
        """What is known of the accuracy now; from the newest windows."""
        found: dict[str, Any] = {"estimated": None, "feedback": None}
        count = QUIET_WINDOWS if state.alarm is None else _changed_windows(state)
        windows = self._with_images(state.spans[-count:])
        if windows:
            images = independent_images(windows)
            change = change_between(images, self.reference)
            if change is not None:
                named = None if state.alarm is None else state.alarm.kind
                estimate = estimated_accuracy(images, self.reference, change, named)
                found["estimated"] = estimate.to_json()
        found["feedback"] = feedback_accuracy(self.log.folder, self.bundle.sha256)
        return found

    def _with_images(self, spans: Sequence[tuple[float, float]]) -> list[LogWindow]:
        """The windows of these spans in which an image was answered."""
        windows = [self.log.read(*span) for span in spans]
        return [window for window in windows if len(window.images)]

    def _scores(self, images: WatchedImages) -> dict[str, Floats]:
        if len(images):
            return self.scores.of(images)
        return {watched.name: np.empty(0) for watched in self.scores.watched()}

    def _before(self, state: WatchState) -> dict[str, Floats]:
        """Scores of the reference; of a score that it does not have, those of earlier windows."""
        found = dict(self._of_reference)
        for name in found.keys() - self._compared:
            pool = state.monitors.each[name].pool
            found[name] = np.repeat(pool.values_V, pool.counts_V).astype(np.float64)
        return found

    @property
    def _compared(self) -> set[str]:
        """The scores that the reference has: of a validation without images hardly any."""
        found = self._of_reference.items()
        return {name for name, scores_R in found if np.isfinite(scores_R).any()}

    @cached_property
    def _of_reference(self) -> dict[str, Floats]:
        return self.scores.of(self.reference)

    def _is_quiet(self, state: WatchState, scores: Mapping[str, Floats], window: LogWindow) -> bool:
        """Whether a window by itself is like what came before, and the service in its limits."""
        service = self.limits.scores(window.rows)
        kept = all(
            service[watched.name].mean() <= watched.limit
            for watched in self.limits.watched()
            if watched.limit is not None and len(service[watched.name])
        )
        return kept and are_quiet(scores, self._before(state))

    def _are_quiet_together(self, state: WatchState, alarm: AlarmState) -> bool:
        """Whether the windows since the last changed one are together like what came before.

        One by one these may have too few images to show a change that goes on, and so may all of
        them as long as they have fewer than named the alarm. An alarm of the service is no matter
        of images.
        """
        if alarm.quiet_windows < QUIET_WINDOWS:
            return False
        groups = [record.groups for record in state.records[-alarm.quiet_windows :]]
        needed = min(max(QUIET_IMAGES, alarm.named_by), ENOUGH_IMAGES)
        is_long = len(groups) >= MOST_QUIET_WINDOWS
        if alarm.kind != "service" and sum(groups) < needed and not is_long:
            return False
        enough = int(np.searchsorted(np.cumsum(groups[::-1]), needed)) + 1
        count = min(max(QUIET_WINDOWS, enough), len(groups))
        windows = self._with_images(state.spans[-count:])
        if not windows:
            return True
        images = independent_images(windows)
        return are_quiet(self.scores.of(images), self._before(state))

    def _alarm(self, state: WatchState) -> AlarmState:
        """The alarm of the newest window, with what changed."""
        count = _changed_windows(state)
        alarm = AlarmState(
            kind="input",
            since=state.records[-1].end,
            change_since=state.records[-count].start,
            spans=state.spans[-count:],
        )
        self._name(state, alarm)
        return alarm

    def _ask_again(self, state: WatchState, alarm: AlarmState) -> None:
        """Name the change again with the newest window, where it was named by too little.

        An alarm of the service alone has named nothing of the images, whenever these change.
        """
        if alarm.kind == "service":
            raised = [each for each in state.monitors.ranked if each.alarm]
            if any(monitor.watched.about != "service" for monitor in raised):
                alarm.spans = state.spans[-1:]
                self._name(state, alarm)
        elif _is_asked_again(alarm):
            alarm.spans.append(state.spans[-1])
            self._name(state, alarm)

    def _name(self, state: WatchState, alarm: AlarmState) -> None:
        """Say which kind of change it is and what changed, by the images of its windows."""
        windows = self._with_images(alarm.spans)
        images = independent_images(windows) if windows else None
        change = None if images is None else change_between(images, self.reference)
        changes: dict[str, Any] = {}
        if images is not None:
            changes = what_changed(
                windows, images, self.reference, self.scores, self.bundle, change
            )
        changes["monitors"] = [
            monitor.watched.name for monitor in state.monitors.ranked if monitor.alarm
        ]
        alarm.kind = kind_of_alarm(state.monitors, change, self._compared)
        named = {
            "kind": alarm.kind,
            "windows": len(alarm.spans),
            "images": 0 if images is None else len(images),
        }
        changes["named"] = [*alarm.changes.get("named", ()), named]
        alarm.changes = changes
        changes["asked_again"] = _is_asked_again(alarm)


def _is_asked_again(alarm: AlarmState) -> bool:
    """Whether the next changed window may give an alarm another name."""
    return alarm.kind == "service" or (
        len(alarm.spans) > 0 and not is_enough(len(alarm.spans), alarm.named_by)
    )


def is_enough(windows: int, images: int) -> bool:
    """Whether a kind that was named by so many windows and independent images stands."""
    return windows >= MAX_CHANGED or images >= ENOUGH_IMAGES


def are_quiet(scores: Mapping[str, Floats], reference: Mapping[str, Floats]) -> bool:
    """Whether the scores of a window by itself are like those of the reference."""
    found = [ks_test(name, scores[name], reference[name]) for name in scores]
    p_values = [outcome.p_value for outcome in found if outcome is not None]
    return min(p_values, default=1.0) > QUIET_CHANCE / max(1, len(p_values))


def _changed_windows(state: WatchState) -> int:
    """How many of the newest windows the change is in: those in which the evidence grew."""
    count = 1
    before = [record.evidence for record in state.records[-MAX_CHANGED - 1 : -1]]
    while count < MAX_CHANGED and before and before[-1] >= GROWING:
        before.pop()
        count += 1
    return min(count, len(state.spans))


def take_windows(
    taker: WindowTaker, state: WatchState, folder: Path, now_s: float
) -> tuple[LogWindow | None, int]:
    """Take all windows that are complete by now; the state is written after each.

    Returns:
        The newest window, and how many there were.
    """
    newest, taken = None, 0
    start_s = state.next_s if state.next_s is not None else taker.log.beginning_s()
    if start_s is None:
        return newest, taken
    for window in taker.log.windows(start_s, now_s):
        taker.take(state, window)
        state.write(folder)
        newest, taken = window, taken + 1
    return newest, taken
