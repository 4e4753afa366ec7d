"""Where watching goes on: one file, written after every window, so that a kill counts none twice.

The same windows give the same state: what is random is drawn by the number of the window.
"""

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.files import reading, write_bytes
from holotype.watching.monitoring.betting import Capital
from holotype.watching.monitoring.monitors import Monitor, Monitors, Watched
from holotype.watching.monitoring.score_pool import ScorePool
from holotype.watching.watch_reference import read_arrays
from holotype.watching.watch_status import ChangeKind, WindowRecord

STATE = "state.npz"
FORMAT_VERSION = 2
FIRST_VERSION = 1  # it had one `told` for all channels
MAX_RECORDS = 400


@dataclass
class AlarmState:
    """An alarm that is not all clear yet.

    Attributes:
        kind: of the change.
        since: the end of the window that raised it, ISO 8601 in UTC.
        change_since: the start of the window from which on the evidence grew.
        quiet_windows: one after the other, up to the newest.
        changes: what was found, when it was named last; see docs/files.md.
        spans: (start, end) of the windows that it is named by, in seconds; none of an alarm that is
            left from another bundle.
    """

    kind: ChangeKind
    since: str
    change_since: str
    quiet_windows: int = 0
    changes: dict[str, Any] = field(default_factory=dict)
    spans: list[tuple[float, float]] = field(default_factory=list)

    @property
    def named_by(self) -> int:
        """How many independent images it is named by."""
        return int(self.changes.get("images_looked_at", 0))


@dataclass
class ToldState:
    """What one channel was told last, and when.

    Attributes:
        alarm: whether it was an alarm.
        at_s: seconds since 1970.
        kind: of that alarm.
        ended: since when the last alarm stood that it knows to have ended.
    """

    alarm: bool = False
    at_s: float = 0.0
    kind: str = ""
    ended: str = ""


@dataclass(eq=False)
class WatchState:
    """All that is known after a window.

    Attributes:
        digest: of the bundle.
        next_s: the next window begins there, in seconds since 1970; None before the first.
        last_s: the end of the newest window.
        monitors: with what they have seen.
        records: the newest windows.
        spans: (start, end) of the newest windows, in seconds, to read them again.
        alarm: None where all is clear.
        told: what each channel was told; see `Telling.channels`.
        ended: the alarm that was all clear last, as long as some channel was not told that.
    """

    digest: str
    monitors: Monitors
    next_s: float | None = None
    last_s: float | None = None
    records: list[WindowRecord] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)
    alarm: AlarmState | None = None
    told: dict[str, ToldState] = field(default_factory=dict)
    ended: AlarmState | None = None

    def write(self, folder: Path) -> None:
        names = list(self.monitors.each)
        words = {
            "format_version": FORMAT_VERSION,
            "digest": self.digest,
            "next_s": self.next_s,
            "last_s": self.last_s,
            "records": [asdict(record) for record in self.records[-MAX_RECORDS:]],
            "spans": self.spans[-MAX_RECORDS:],
            "alarm": None if self.alarm is None else asdict(self.alarm),
            "told": {name: asdict(told) for name, told in self.told.items()},
            "ended": None if self.ended is None else asdict(self.ended),
            "seed": self.monitors.seed,
            "windows": self.monitors.windows,
            "year_s": self.monitors.year_s,
            "monitors": [
                {
                    "watched": asdict(monitor.watched),
                    "dealt": monitor.capital.dealt,
                    "windows": monitor.capital.windows,
                }
                for monitor in self.monitors.each.values()
            ],
        }
        arrays: dict[str, NDArray[Any]] = {"words": np.array(json.dumps(words))}
        for number, name in enumerate(names):
            monitor = self.monitors.each[name]
            arrays[f"values{number}"] = monitor.pool.values_V
            arrays[f"counts{number}"] = monitor.pool.counts_V
            arrays[f"capital{number}"] = monitor.capital.logs_B
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        write_bytes(folder / STATE, content.getvalue())


def read_state(folder: Path) -> WatchState | None:
    """The state in a folder; None where there is none.

    Raises:
        CorruptFile: it is damaged, or of another version.
    """
    file = folder / STATE
    if not file.is_file():
        return None
    arrays = read_arrays(file)
    with reading(file):
        words = json.loads(str(arrays["words"]))
        if words["format_version"] == FIRST_VERSION:
            words["told"] = dict.fromkeys(("caller", "webhook", "email"), words["told"])
        elif words["format_version"] != FORMAT_VERSION:
            raise ValueError("it was written by another version of Holotype")
        each = {}
        for number, found in enumerate(words["monitors"]):
            watched = Watched(**found["watched"])
            pool = ScorePool(
                arrays[f"values{number}"].astype(np.float32),
                arrays[f"counts{number}"].astype(np.int64),
            )
            capital = Capital(
                arrays[f"capital{number}"].astype(np.float64), found["dealt"], found["windows"]
            )
            each[watched.name] = Monitor(watched, pool, capital)
        return WatchState(
            digest=words["digest"],
            monitors=Monitors(each, words["seed"], words["windows"], words["year_s"]),
            next_s=words["next_s"],
            last_s=words["last_s"],
            records=[WindowRecord(**record) for record in words["records"]],
            spans=[(start_s, end_s) for start_s, end_s in words["spans"]],
            alarm=None if words["alarm"] is None else AlarmState(**words["alarm"]),
            told={name: ToldState(**told) for name, told in words["told"].items()},
            ended=AlarmState(**words["ended"]) if words.get("ended") else None,
        )
