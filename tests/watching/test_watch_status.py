"""`watch.json` is read as it was written, and what is no such file is refused in words."""

from pathlib import Path

import pytest

from holotype.errors import CorruptFile, NotARun
from holotype.watching.watch_status import (
    MonitorRecord,
    WatchedModel,
    WatchStatus,
    WindowRecord,
    read_watch,
)

MODEL = WatchedModel("cells", 3, "d" * 64, "registry://cells@champion")
FOUND = WatchStatus(
    MODEL, "log", "2026-11-26T20:15:00Z", alarm=True, kind="label shift",
    monitors=(MonitorRecord("brightness", "input", 0.5, 3.0, 9.0),),
    windows=(WindowRecord(1, "2026-11-26T20:15:00Z", "2026-11-26T20:16:00Z", 200, 20, 0.5),),
    accuracy={"estimated": None},
)  # fmt: skip


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    FOUND.write(tmp_path)
    assert read_watch(tmp_path) == read_watch(tmp_path / "watch.json") == FOUND


def test_what_is_no_watch_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match="holotype watch"):
        read_watch(tmp_path)
    FOUND.write(tmp_path)
    file = tmp_path / "watch.json"
    file.write_text(file.read_text().replace('"label shift"', '"weather"'))
    with pytest.raises(CorruptFile, match="weather"):
        read_watch(tmp_path)
