"""What ends an alarm: as much that is quiet as named it, also where the reference lacks facts."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from holotype.dataset.image_facts import FACTS
from holotype.watching.log_windows import LogWindow
from holotype.watching.monitoring.service_scores import ServiceLimits
from holotype.watching.take_windows import WindowTaker
from holotype.watching.watch_reference import WatchReference
from holotype.watching.watch_state import WatchState
from holotype.watching.watched_images import WatchedImages

DAY_S = 86_400.0


def images(rng: np.random.Generator, count: int, *, brighter: float = 0.0) -> WatchedImages:
    """Independent images of two classes, whose facts and probabilities are random."""
    share_N = 1 / (1 + np.exp(-rng.normal(size=count)))
    facts = {name: np.exp(rng.normal(5, 0.2, count)) for name in FACTS}
    facts["brightness"] = rng.normal(brighter, 1, count)
    return WatchedImages(
        probabilities_NC=np.column_stack([share_N, 1 - share_N]),
        embeddings_ND=None,
        unknown_N=np.full(count, np.nan),
        set_size_N=np.full(count, np.nan),
        facts=facts,
        format_N=np.full(count, "JPEG"),
        targets_N=(rng.random(count) > share_N).astype(np.int64),
        groups_N=np.array([f"{n}" for n in range(count)]),
        names_N=np.full(count, ""),
    )


def without_facts(reference: WatchedImages) -> WatchedImages:
    """What is known of a validation whose images are gone."""
    arrays = reference.to_arrays()
    unknown = {name: np.full(len(reference), np.nan) for name in FACTS}
    return WatchedImages.from_arrays(
        {**arrays, **unknown, "format": np.full(len(reference), "", dtype="<U4")}
    )


@dataclass
class Days:
    """A log with one window a day, and what was said after each."""

    reference: WatchedImages
    windows: dict[float, LogWindow] = field(default_factory=dict)
    kinds: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        bundle = SimpleNamespace(sha256="ab" * 32, classes=("x", "y"), members=(), references=None)
        self.taker = WindowTaker.of(
            cast(Any, bundle), cast(Any, self), ServiceLimits(),
            WatchReference("", "validation", self.reference),
        )  # fmt: skip
        self.state: WatchState = self.taker.new_state(None)

    def read(self, start_s: float, _: float) -> LogWindow:
        return self.windows[start_s]

    def take(self, found: WatchedImages, slow_share: float = 0.0) -> None:
        start_s, N = len(self.windows) * DAY_S, len(found)
        slow_N = np.arange(N) < slow_share * N
        rows = {
            "time": np.arange(N), "outcome": np.full(N, "answered", object),
            "total_ms": np.where(slow_N, 5000.0, 10.0),
        }  # fmt: skip
        end_s = start_s + DAY_S
        self.windows[start_s] = LogWindow(
            start_s, end_s, start_s, end_s - 1, found, rows, ["r"] * N, [0] * N, [""] * N, N
        )
        self.taker.take(self.state, self.windows[start_s])
        self.kinds.append(None if self.state.alarm is None else self.state.alarm.kind)


def test_a_lasting_change_is_one_alarm_where_only_probabilities_of_the_reference_are_known() -> (
    None
):
    rng = np.random.default_rng(1)
    days = Days(without_facts(images(rng, 200)))
    for day in range(30):
        days.take(images(rng, 200, brighter=3.0 if day >= 10 else 0.0))
    assert days.kinds == [None] * 10 + ["input"] * 20
    for _ in range(4):
        days.take(images(rng, 200))
    assert days.kinds[-1] is None


@pytest.mark.parametrize("seed", [1, 2])
def test_a_lasting_change_of_few_images_a_day_is_not_all_clear(seed: int) -> None:
    rng = np.random.default_rng(seed)
    days = Days(images(rng, 300))
    for day in range(100):
        days.take(images(rng, 10, brighter=1.0 if day >= 20 else 0.0))
    first = days.kinds.index("input")
    assert None not in days.kinds[first:]
    for _ in range(20):
        days.take(images(rng, 10))
    assert days.kinds[-1] is None


def test_images_are_learnt_from_while_only_the_service_is_slow() -> None:
    rng = np.random.default_rng(0)
    days = Days(images(rng, 200))
    for _ in range(4):
        days.take(images(rng, 100), slow_share=0.3)
    assert days.kinds[-1] == "service"
    assert len(days.state.monitors.each["brightness"].pool) == 100 + 400


def test_the_window_that_raises_an_alarm_is_not_taken_for_a_quiet_one() -> None:
    rng = np.random.default_rng(0)
    days = Days(images(rng, 100))
    days.take(images(rng, 200, brighter=3.0))
    assert days.kinds == ["input"]
    for _ in range(12):
        days.take(images(rng, 200))
    assert days.kinds[3:] == [None] * 10
