"""What lies below a folder: runs, searches, sweeps and audits, and what a table says of each.

A folder of 10,000 runs takes seconds to read and a fraction of one to look over: what was read of a
directory is kept, in memory and in the cache of the user, until one of its files changes. A page
waits a moment for the folder to be looked over, where that takes no longer; else it shows what is
known, and the next page what has changed.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from holotype.dashboard_pages.file_cache import file_signature
from holotype.dashboard_pages.runs.run_tags import TAGS, read_tags
from holotype.dataset.atomic_directory import TABLE_FILENAME
from holotype.errors import HolotypeError
from holotype.files import cache_directory, read_json, write_text
from holotype.identification.storage.gallery_files import GALLERY
from holotype.training.config.yaml_files import read_mapping
from holotype.watching.labelling.label_sheet import SELECTION
from holotype.watching.retraining.retraining_directory import RETRAINING
from holotype.watching.watch_status import WATCH_JSON

Kind = Literal["run", "search", "sweep", "audit"]
FORMAT = 1  # of the kept file
WAIT_S = 0.15  # that a page waits for the folder to be looked over
PAUSE_S = 1.0  # between two looks
PAUSE_OF_LOOKS = 5.0  # or so many times what the last one took
MAX_PAUSE_S = 10.0
MAX_DEPTH = 12

# What makes a directory one of these, and the files that its row is made from.
_MARKS: tuple[tuple[Kind, str, tuple[str, ...]], ...] = (
    (
        "run",
        "recipe.yaml",
        ("recipe.yaml", "report/metrics.json", "environment.json", "bundle/manifest.json", TAGS),
    ),
    ("search", "search.json", ("search.json", "report/report.json", TAGS)),
    ("sweep", "sweep.json", ("sweep.json", TAGS)),
    ("audit", "audit.json", ("audit.json", "index.parquet", TAGS)),
)
MARK_OF: dict[str, str] = {kind: mark for kind, mark, _ in _MARKS}

# What makes a directory one of slices, a gallery of individuals, the output of a watch, or one of
# images to label.
PLACES = (TABLE_FILENAME, GALLERY, WATCH_JSON, SELECTION)


@dataclass(frozen=True)
class FolderEntry:
    """One directory below the folder.

    Attributes:
        path: relative to the folder, with forward slashes.
        kind: what it is.
        changed: seconds since the epoch, of its newest file among those that it is judged by.
        is_finished: whether a run or a search has its report.
        model, recipe, data: what it was trained with; empty where that is not known yet.
        part: what the accuracy was measured on.
        num_images: of that part; for an audit, all.
        accuracy, low, high: with the ends of the 95 % interval; None before the end.
        seconds: that training took.
        tags: words that people gave it.
    """

    path: str
    kind: Kind
    changed: float
    is_finished: bool = False
    model: str = ""
    recipe: str = ""
    data: str = ""
    part: str = ""
    num_images: int | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    seconds: float | None = None
    tags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


class FolderIndex:
    """All entries below a folder, looked over again when a page asks.

    Args:
        folder: it exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[str, FolderEntry]] = {}
        self._entries: list[FolderEntry] = []
        self._places: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self._looked = threading.Event()
        self._looked_at, self._took_s = -PAUSE_S, 0.0
        self._is_looking = False
        self._has_looked = False

    @property
    def is_complete(self) -> bool:
        """Whether the folder was looked over once, so that nothing is missing."""
        return self._has_looked

    def entries(self, *, now: bool = False) -> list[FolderEntry]:
        """What is known, sorted by path.

        Args:
            now: wait until the folder was looked over again, such as after a change.
        """
        if now and self._is_looking:
            self._looked.wait()  # it may have passed what has changed
        self._look_soon(force=now)
        is_quick = self._took_s <= WAIT_S or not self._has_looked
        self._looked.wait(None if now else WAIT_S if is_quick else 0)
        return self._entries

    def places(self, file: str) -> list[str]:
        """The directories that have a file of `PLACES`, by their paths, sorted."""
        self.entries()
        return sorted(self._places.get(file, ()))

    def _look_soon(self, *, force: bool) -> None:
        with self._lock:
            pause = min(max(PAUSE_S, PAUSE_OF_LOOKS * self._took_s), MAX_PAUSE_S)
            is_recent = time.monotonic() - self._looked_at < pause
            if self._is_looking or (is_recent and not force):
                return
            self._is_looking = True
            self._looked.clear()
        threading.Thread(target=self._look, name="folder-index", daemon=True).start()

    def _look(self) -> None:
        began = time.monotonic()
        try:
            if not self._known:
                self._known = _read_kept(self.folder)
            seen: dict[str, tuple[str, FolderEntry]] = {}
            places: dict[str, list[str]] = {file: [] for file in PLACES}
            self._places = self._places or places  # as they are found, the first time
            before = dict(self._known)
            for kind, path, files in _walk(self.folder, places):
                relative = _relative(path, self.folder)
                signature = f"{kind} {file_signature([f'{path}/{file}' for file in files])}"
                known = before.get(relative)
                if known is None or known[0] != signature:
                    known = (signature, _read_entry(kind, relative, Path(path)))
                seen[relative] = known
                if not self._has_looked and len(seen) % 200 == 0:
                    self._entries = [entry for _, entry in seen.values()]
            self._entries = sorted((entry for _, entry in seen.values()), key=lambda e: e.path)
            self._places, self._has_looked = places, True
            if seen != self._known:
                self._known = seen
                _keep(self.folder, seen)
        finally:
            with self._lock:
                self._looked_at = time.monotonic()
                self._took_s = self._looked_at - began
                self._is_looking = False
                self._looked.set()


def _relative(path: str, folder: Path) -> str:
    return path[len(str(folder)) :].strip("/") or "."


def _walk(
    folder: Path, places: dict[str, list[str]]
) -> Iterator[tuple[Kind, str, tuple[str, ...]]]:
    """Every entry below a folder: nothing within runs, searches and audits, and no links.

    Args:
        places: name of a file -> the directories with it, which are added.
    """
    waiting = [(str(folder), 0)]
    while waiting:
        path, depth = waiting.pop()
        mark = next((m for m in _MARKS if os.path.isfile(f"{path}/{m[1]}")), None)
        if mark is not None and not os.path.isfile(f"{path}/{RETRAINING}"):  # its run/ is a run
            yield mark[0], path, mark[2]
            if mark[0] != "sweep":
                continue
        if depth == MAX_DEPTH:
            continue
        try:
            with os.scandir(path) as below:
                for entry in below:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name[0] != "." and entry.name not in ("_jobs", "_logs"):
                            waiting.append((entry.path, depth + 1))
                    elif entry.name in places:
                        places[entry.name].append(_relative(path, folder))
        except OSError:  # it is gone, or not ours to read
            continue


def _read_entry(kind: Kind, relative: str, path: Path) -> FolderEntry:
    """The row of one directory; what is damaged or missing in it stays empty."""
    files = next(files for name, _, files in _MARKS if name == kind)
    times = [found[2] / 1e9 for found in file_signature([path / file for file in files]) if found]
    tags = read_tags(path)
    found: dict[str, Any] = {}
    try:
        if kind == "run":
            found = _read_run(path)
        elif kind == "search":
            settings = read_json(path / "search.json")
            found = {
                "data": str(settings.get("name", "")),
                "model": str(settings.get("base", {}).get("model", "")),
                "is_finished": (path / "report/report.json").is_file(),
            }
        elif kind == "audit":
            found = {"num_images": int(read_json(path / "audit.json")["num_images"])}
    except (HolotypeError, LookupError, TypeError, ValueError, AttributeError):
        found = {}
    return FolderEntry(relative, kind, max(times, default=0.0), tags=tags, **found)


def _read_run(path: Path) -> dict[str, Any]:
    recipe = read_mapping(path / "recipe.yaml")
    found: dict[str, Any] = {
        "model": str(recipe.get("model", "ensemble" if "members" in recipe else "")),
        "recipe": str(recipe.get("method" if "members" in recipe else "name", "")),
    }
    if (path / "bundle/manifest.json").is_file():
        found["data"] = str(read_json(path / "bundle/manifest.json").get("name", ""))
    if (path / "environment.json").is_file():
        seconds = read_json(path / "environment.json").get("training_seconds")
        found["seconds"] = None if seconds is None else float(seconds)
    if (path / "report/metrics.json").is_file():
        scores = read_json(path / "report/metrics.json")
        accuracy = scores["accuracy"]
        found |= {
            "is_finished": True,
            "part": str(scores["part"]),
            "num_images": int(scores["num_images"]),
            "accuracy": accuracy["value"], "low": accuracy["low"], "high": accuracy["high"],
        }  # fmt: skip
    return found


def _kept_file(folder: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    return cache_directory() / "dashboard" / f"folder-{digest}.json"


def _read_kept(folder: Path) -> dict[str, tuple[str, FolderEntry]]:
    """What an earlier server read; nothing where that is missing or of another version."""
    file = _kept_file(folder)
    try:
        found = json.loads(file.read_bytes())
        if found["format"] != FORMAT:
            return {}
        return {
            row["path"]: (signature, FolderEntry(**{**row, "tags": tuple(row["tags"])}))
            for signature, row in found["entries"]
            if set(row) == {field.name for field in fields(FolderEntry)}
        }
    except (OSError, ValueError, TypeError, LookupError):
        return {}


def _keep(folder: Path, entries: dict[str, tuple[str, FolderEntry]]) -> None:
    rows = [(signature, asdict(entry)) for signature, entry in entries.values()]
    try:
        text = json.dumps({"format": FORMAT, "entries": rows}, ensure_ascii=True)
        write_text(_kept_file(folder), text)
    except OSError:  # a disk that is full costs the next start its speed and nothing else
        return
