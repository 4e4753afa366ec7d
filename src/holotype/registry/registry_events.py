"""Events of a registry: every change with when, who and why; and the test before a promotion."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from holotype.errors import UsageError
from holotype.notebook import data_frame, html_result, html_table, shorten
from holotype.registry.registered_name import CHAMPION
from holotype.text_tables import printable, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd

_LINE = 80


@dataclass(frozen=True)
class PromotionTest:
    """A version against the champion.

    Attributes:
        champion, candidate: the numbers of the versions.
        part: `val` or `oof`.
        num_images: on which both are tested.
        difference, low, high: accuracy of the candidate minus that of the champion, with its 95 %
            interval.
        p_value: two-sided.
        method: the name of the test.
    """

    champion: int
    candidate: int
    part: str
    num_images: int
    difference: float
    low: float
    high: float
    p_value: float
    method: str

    @property
    def is_surely_worse(self) -> bool:
        return self.difference < 0 and self.p_value < 0.05

    def __str__(self) -> str:
        return (
            f"version {self.candidate} against {self.champion} on {self.num_images:,} images of "
            f"{self.part}: accuracy {100 * self.difference:+.1f} points "
            f"[{100 * self.low:+.1f}, {100 * self.high:+.1f}], p = {self.p_value:.2g} "
            f"({self.method})"
        )


@dataclass(frozen=True)
class RegistryEvent:
    """One change; events are never changed or removed.

    Attributes:
        number: from 1, without gaps.
        at: UTC; later than that of the event before.
        action: `register`, `promote`, `rollback`, `tag`, `untag` or `remove`.
        alias: what moved; "" for `register` and `remove`.
        version, previous_version: where the alias points, and pointed; None: nowhere.
        forced: whether it was done against a test, or without one.
        test: of a promotion; None where there was none.
    """

    number: int
    at: str
    who: str
    reason: str
    action: str
    name: str
    alias: str = ""
    version: int | None = None
    previous_version: int | None = None
    forced: bool = False
    test: PromotionTest | None = None

    @property
    def change(self) -> str:
        """What changed, in a few words: `promote 6 → 7`."""
        forced = ", forced" if self.forced else ""
        if not self.alias:
            return f"{self.action} {self.version}{forced}"
        move = f"{_or_none(self.previous_version)} → {_or_none(self.version)}"
        alias = "" if self.alias == CHAMPION else f"{self.alias} "
        return f"{self.action} {alias}{move}{forced}"

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "test": None if self.test is None else asdict(self.test)}

    def __str__(self) -> str:
        return printable(f"{self.name}: {self.change}")


EVENT_HEADER = ("when (UTC)", "who", "change", "why")


@dataclass(frozen=True, repr=False)
class History:
    """The events of a name, the oldest first."""

    name: str
    events: Sequence[RegistryEvent] = field(default=())

    def to_frame(self) -> "pd.DataFrame":
        """One row per event."""
        found = [event.to_json() for event in self.events]
        return data_frame({key: [one[key] for one in found] for key in found[0]} if found else {})

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "events": [event.to_json() for event in self.events]}

    def __str__(self) -> str:
        told = [
            (short_time(event.at), shorten(event.who, 12), event.change) for event in self.events
        ]
        used = sum(max(len(row[i]) for row in [EVENT_HEADER, *told]) + 2 for i in range(3))
        rows: list[tuple[str, ...]] = []
        for row, event in zip(told, self.events, strict=True):
            first, *others = textwrap.wrap(event.reason, max(20, _LINE - used)) or [""]
            rows += [(*row, first), *(("", "", "", line) for line in others)]
        return f"{self.name}: {len(told):,} events\n{text_table(EVENT_HEADER, rows)}"

    def __repr__(self) -> str:
        return short_text(str(self))

    def _repr_html_(self) -> str:
        rows = [[short_time(e.at), e.who, e.change, e.reason] for e in self.events]
        return html_result(self.name, html_table(EVENT_HEADER, rows))


def short_time(at: str) -> str:
    """`2026-11-03T12:00:07.123456Z` to the minute."""
    return at[:16].replace("T", " ")


def time_text(moment: datetime) -> str:
    """UTC with microseconds, so that texts order as times do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str | datetime) -> str:
    """A time as `time_text` writes it; without an offset it is UTC, as the registry shows it.

    Raises:
        UsageError: it is no ISO 8601 time.
    """
    try:
        moment = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--at {text!r} is no time; expected one such as 2026-11-03T12:00, in UTC unless it "
            "says otherwise (2026-11-03T12:00+01:00)."
        ) from None
    try:
        return time_text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except OverflowError:
        raise UsageError(f"--at {text!r} is before the year 1 or after 9999 in UTC.") from None


def event_of(row: Mapping[str, Any]) -> RegistryEvent:
    """From a row of `holotype_events`."""
    test = PromotionTest(**json.loads(row["test"])) if row["test"] else None
    return RegistryEvent(**{**row, "forced": bool(row["forced"]), "test": test})


def _or_none(version: int | None) -> str:
    return "none" if version is None else str(version)
