"""`watch.json`: what watching found, for programs; the page says the same for people."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from holotype.errors import NotARun
from holotype.files import read_json, reading, write_json

WATCH_JSON = "watch.json"
FORMAT_VERSION = 1

ChangeKind = Literal["input", "label shift", "novelty", "service"]


@dataclass(frozen=True)
class WatchedModel:
    """Which classifier is watched.

    Attributes:
        name: as requests call it.
        version: in the registry; None where it is not from there.
        digest: the identity of its bundle.
        source: as it was named, such as `registry://cells@champion`.
    """

    name: str
    version: int | None
    digest: str
    source: str


@dataclass(frozen=True)
class WindowRecord:
    """One window of the request log.

    Attributes:
        number: from 1, of this model.
        start, end: the times of its first and last image, ISO 8601 in UTC.
        images: answered ones.
        groups: independent ones among them: images of one request key count once.
        evidence: the largest over all monitors, as a share of what an alarm needs, on the scale of
            logarithms: 1 and above is an alarm.
        quiet: whether the window by itself is like the reference; None where it was not asked.
    """

    number: int
    start: str
    end: str
    images: int
    groups: int
    evidence: float
    quiet: bool | None = None


@dataclass(frozen=True)
class MonitorRecord:
    """One monitor: something of every image that is watched.

    Attributes:
        name: such as `brightness` or `class crack`.
        about: `input`, `output` or `service`.
        evidence: its logarithm as a share of what an alarm needs; 1 and above is an alarm.
        e_value: the capital of a bet that gains nothing on average as long as nothing changes.
        needed: the e-value that is an alarm.
    """

    name: str
    about: str
    evidence: float
    e_value: float
    needed: float


@dataclass(frozen=True)
class WatchStatus:
    """What `watch.json` says.

    Attributes:
        model: which classifier.
        log: the folder of the request log.
        written_at: ISO 8601 in UTC, as all times.
        alarm: whether something has changed and was not all clear since.
        kind: of the change; None without an alarm.
        alarm_since: the end of the window that raised it.
        change_since: the start of the window from which on the evidence grew.
        chance, per: of a false alarm.
        monitors: the most evidence first.
        windows: the latest, the newest last; at most 400.
        accuracy: estimated and from feedback; see docs/files.md.
        changes: what changed, where there is an alarm; see docs/files.md.
        service: latency, errors and traffic of the newest window.
    """

    model: WatchedModel
    log: str
    written_at: str
    alarm: bool = False
    kind: ChangeKind | None = None
    alarm_since: str | None = None
    change_since: str | None = None
    chance: float = 0.05
    per: str = "year"
    monitors: Sequence[MonitorRecord] = ()
    windows: Sequence[WindowRecord] = ()
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    service: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    def write(self, folder: Path) -> None:
        """Write `watch.json` into a folder."""
        write_json(folder / WATCH_JSON, self.to_json())


def watch_folder(name: str) -> Path:
    """Where `holotype watch` writes what it found about a model, unless it is told a folder."""
    return Path(f"watch-{name}")


def read_watch(path: str | os.PathLike[str]) -> WatchStatus:
    """What a folder of `holotype watch` says, or a `watch.json` itself.

    Raises:
        NotARun: there is none.
        CorruptFile: it is damaged.
    """
    file = Path(path)
    file = file / WATCH_JSON if file.is_dir() else file
    if not file.is_file():
        raise NotARun(
            f"{os.fspath(path)!r} has no {WATCH_JSON}; expected the --output of `holotype watch`."
        )
    found = read_json(file)
    with reading(file):
        if found.pop("format_version") != FORMAT_VERSION:
            raise ValueError("it was written by another version of Holotype")
        if found["kind"] not in (None, *get_args(ChangeKind)):
            raise ValueError(f"kind is {found['kind']!r}")
        return WatchStatus(
            **{
                **found,
                "model": WatchedModel(**found["model"]),
                "monitors": tuple(MonitorRecord(**each) for each in found["monitors"]),
                "windows": tuple(WindowRecord(**each) for each in found["windows"]),
            }
        )
