"""The request log: nothing is lost that is older than 200 ms, nothing is there twice, and no
answer waits for it."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import Path

import duckdb
import numpy as np
import pytest

from holotype.errors import DatasetError, UsageError
from holotype.serving.request_log import log_writer, segment_file
from holotype.serving.request_log.feedback_store import (
    FEEDBACK,
    FEEDBACK_COLUMNS,
    FeedbackRow,
    FeedbackStore,
)
from holotype.serving.request_log.kept_images import KeptImages
from holotype.serving.request_log.log_row import LOG_COLUMNS, embeddings_ND
from holotype.serving.request_log.log_writer import LogSettings, LogWriter, roll_arguments
from holotype.serving.request_log.read_log import LogQuery, read_feedback, read_log
from holotype.serving.request_log.roll_segments import main as roll_main
from holotype.serving.request_log.roll_segments import open_database, remove_old_images, roll
from holotype.serving.request_log.segment_file import (
    SegmentFile,
    complete_abandoned,
    segments_between,
)
from tests.serving.log_rows import row

DAY = 86_400.0


def everything(folder: Path, **query: object) -> dict[str, np.ndarray]:
    return read_log(folder, time.time() - DAY, time.time() + DAY, LogQuery(**query))


PAGE = (Path(__file__).parents[2] / "docs" / "files.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("title", "columns"), [("request log", LOG_COLUMNS), ("feedback", FEEDBACK_COLUMNS)]
)
def test_the_page_names_every_column(title: str, columns: dict[str, str]) -> None:
    section = PAGE.partition(f"\n### {title}\n")[2].partition("\n#")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall("`([^`]+)`", row)} == set(columns)


def ids(folder: Path) -> list[str]:
    return list(everything(folder, columns=("request_id",))["request_id"])


def write(folder: Path, count: int, **settings: object) -> None:
    writer = LogWriter(folder, LogSettings(**settings))
    for number in range(count):
        writer.append(row(number))
    writer.close()


def wait_until(happened: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("rolled", [False, True])
def test_what_is_read_is_what_was_logged(tmp_path: Path, rolled: bool) -> None:
    write(tmp_path, 5)
    if rolled:
        roll(tmp_path, LOG_COLUMNS)
        assert len(list(tmp_path.glob("*.parquet"))) == 1
    found = everything(tmp_path)
    assert list(found["request_id"]) == [f"r{number:06d}" for number in range(5)]
    assert list(found["top_classes"][0]) == ["crack", "dark"]
    assert np.array(list(found["probabilities"])) == pytest.approx(
        np.tile((0.25, 0.7, 0.05), (5, 1))
    )
    expected_ND = np.array([np.linspace(-1, number, 8) for number in range(5)])
    assert embeddings_ND(list(found["embedding"])) == pytest.approx(expected_ND, abs=2e-3)
    assert found["image_width"][0] == 40
    assert found["image_sharpness"][0] == pytest.approx(0.2)
    assert found["total_ms"][0] == pytest.approx(12.5)
    assert found["unknown"].tolist() == [False] * 5
    assert abs(found["time"][0].astype("datetime64[us]").astype(int) / 1e6 - time.time()) < 60
    assert found["label"].tolist() == [None] * 5
    assert found["key"][0] == found["key"][0].lower()
    assert "client" not in found["key"][0]  # only the hash of a key is kept
    assert found["key"][0] != found["key"][1]


def test_a_refused_image_has_no_answer_but_a_row(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    writer.append(
        row(0, outcome="truncated_image", top_classes=(), probabilities=(), unknown=None,
            embedding_D=None, facts=None)
    )  # fmt: skip
    writer.close()
    found = everything(tmp_path)
    assert found["outcome"].tolist() == ["truncated_image"]
    assert np.isnan(found["unknown"][0])
    assert np.isnan(found["image_width"][0])


def test_only_rows_of_the_span_and_wanted_columns_are_read(tmp_path: Path) -> None:
    now = time.time()
    writer = LogWriter(tmp_path)
    for number in range(10):
        writer.append(row(number, time_s=now - 10 + number, digest="ab"[number % 2]))
    writer.close()
    half = read_log(tmp_path, now - 10, now - 5, LogQuery(columns=("request_id",)))
    assert list(half) == ["request_id"]
    assert half["request_id"].tolist() == [f"r{number:06d}" for number in range(5)]
    query = LogQuery(columns=("digest",), equal={"digest": "b"})
    assert read_log(tmp_path, now - 10, now, query)["digest"].tolist() == ["b"] * 5
    sample = LogQuery(columns=("request_id",), max_rows=4, seed=1)
    assert len(set(read_log(tmp_path, now - 10, now, sample)["request_id"])) == 4
    assert len(read_log(tmp_path, now + 1, now + 2)["request_id"]) == 0
    with pytest.raises(UsageError, match="did you mean 'digest'"):
        LogQuery(columns=("digets",))
    with pytest.raises(DatasetError, match="there is no request log"):
        read_log(tmp_path / "elsewhere", now, now)


def test_a_torn_line_is_skipped_and_so_are_lines_of_something_else(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (segment,) = tmp_path.glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    torn = [lines[0], lines[1][:57] + b"\n", b"[1, 2]\n", b'{"time": 3}\n', b"\xff\xfe\n"]
    segment.write_bytes(b"".join([*torn, lines[2], lines[1][:100]]))
    assert ids(tmp_path) == ["r000000", "r000002"]
    roll(tmp_path, LOG_COLUMNS)
    assert ids(tmp_path) == ["r000000", "r000002"]


def test_a_segment_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (segment,) = tmp_path.glob("*.jsonl")
    content = segment.read_bytes()
    roll(tmp_path, LOG_COLUMNS)
    assert not segment.exists()
    segment.write_bytes(content)  # as if the process had died before it was removed
    assert ids(tmp_path) == ["r000000", "r000001", "r000002"]
    roll(tmp_path, LOG_COLUMNS)
    assert not segment.exists()


def test_segments_end_by_size_and_are_rolled_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_file, "MAX_SEGMENT_BYTES", 2_000)
    writer = LogWriter(tmp_path)
    for number in range(40):
        writer.append(row(number))
        time.sleep(0.005)
    wait_until(lambda: list(tmp_path.glob("*.parquet")))
    writer.close()
    assert ids(tmp_path) == [f"r{number:06d}" for number in range(40)]
    assert writer.status().written == 40
    assert writer.status().failures == 0


def test_a_second_server_is_refused_the_folder(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    with pytest.raises(UsageError, match="another server writes its request log"):
        LogWriter(tmp_path)
    writer.close()
    LogWriter(tmp_path).close()


def test_a_full_disk_costs_rows_and_says_so_and_ends_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LogWriter(tmp_path)
    writer.append(row(0))
    wait_until(lambda: writer.status().written == 1)
    os_write = os.write

    def half_then_full(descriptor: int, content: memoryview) -> int:
        if len(content) < 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os_write(descriptor, content[: len(content) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half_then_full)
        writer.append(row(1))
        wait_until(lambda: writer.status().dropped == 1)
    assert "No space left" in writer.status().last_failure
    assert writer.status().alive
    writer.append(row(2))
    writer.close()
    assert ids(tmp_path) == ["r000000", "r000002"]


def test_a_real_full_device_never_reaches_the_caller(tmp_path: Path) -> None:
    """/dev/full refuses every byte, as a full disk does."""
    writer = LogWriter(tmp_path)
    segment = SegmentFile(tmp_path)
    os.dup2(os.open("/dev/full", os.O_WRONLY), segment._descriptor)
    with pytest.raises(OSError, match="No space left"):
        segment.write([b"line\n"])
    writer.append(row(0))
    writer.close()


def test_a_dead_thread_is_counted_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "RESTART_S", 0.05)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    writer = LogWriter(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(LogWriter, "_line", lambda *_: 1 / 0)
        writer.append(row(0))
        wait_until(lambda: not writer.status().alive)
    time.sleep(0.1)
    writer.append(row(1))
    wait_until(lambda: writer.status().written == 1)
    assert writer.status().alive
    assert writer.status().dropped == 1
    writer.close()


def test_a_full_queue_drops_rows_and_never_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "MAX_WAITING_ROWS", 3)
    monkeypatch.setattr(log_writer, "GROUP_S", 0.5)
    writer = LogWriter(tmp_path)
    started = time.monotonic()
    for number in range(10):
        writer.append(row(number))
    assert time.monotonic() - started < 0.4
    writer.close()
    assert writer.status().dropped_full == 7
    assert len(ids(tmp_path)) == 3


def test_retention_removes_the_oldest_by_age_and_by_size(tmp_path: Path) -> None:
    for _ in range(4):
        write(tmp_path, 20)
    kept = sorted(tmp_path.glob("*.jsonl"))
    old = kept[0].with_name("20200101T000000.000Z-00000000.jsonl")
    kept[0].rename(old)
    limit = sum(path.stat().st_size for path in kept[2:]) + 10
    roll_main(roll_arguments(tmp_path, LogSettings(max_days=1, max_bytes=limit)))
    assert not old.exists()
    assert len(list(tmp_path.glob("*Z-*.parquet"))) == 2
    assert len(ids(tmp_path)) == 40


def test_images_are_kept_only_where_asked_for_and_not_for_ever(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "without")
    writer.append(row(0), image=b"pixels")
    writer.close()
    assert everything(tmp_path / "without")["image_file"].tolist() == [""]
    assert not (tmp_path / "without" / "images").exists()

    writer = LogWriter(tmp_path / "with", LogSettings(images=KeptImages(max_bytes=8)))
    writer.append(row(0), image=b"pixels")
    writer.close()
    (name,) = everything(tmp_path / "with")["image_file"]
    assert (tmp_path / "with" / name).read_bytes() == b"pixels"
    remove_old_images(tmp_path / "with" / "images", 1, 8)
    assert (tmp_path / "with" / name).exists()
    remove_old_images(tmp_path / "with" / "images", 1, 5)
    assert not list((tmp_path / "with" / "images").iterdir())


def test_feedback_is_joined_by_id_and_the_latest_counts(tmp_path: Path) -> None:
    write(tmp_path, 3)
    store = FeedbackStore(tmp_path)
    store.add([FeedbackRow("r000001", 0, "dark", predicted="crack", answered_s=time.time())])
    store.add([FeedbackRow("r000001", 0, "fine"), FeedbackRow("r000009", 0, "fine")])
    for _ in range(2):
        found = everything(tmp_path, columns=("request_id", "label", "label_time"))
        assert found["label"].tolist() == [None, "fine", None]
        assert np.isnat(found["label_time"]).tolist() == [True, False, True]
        feedback = read_feedback(tmp_path)
        assert feedback["label"].tolist() == ["dark", "fine", "fine"]
        assert feedback["predicted"].tolist() == ["crack", "", ""]
        store.close()
        roll_main(roll_arguments(tmp_path, LogSettings()))


def test_feedback_that_comes_hours_after_the_last_is_found_by_its_own_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeedbackStore(tmp_path)
    monkeypatch.setattr(segment_file, "MAX_SEGMENT_S", 0.05)
    monkeypatch.setattr(segment_file, "TIME_SLACK_S", 0.0)
    store.add([FeedbackRow("r000001", 0, "dark")])
    time.sleep(0.2)
    late_s = time.time()
    store.add([FeedbackRow("r000002", 0, "fine")])
    store.close()
    (late,) = segments_between(tmp_path / FEEDBACK, late_s, float("inf"))
    assert b"r000002" in late.read_bytes()
    assert read_feedback(tmp_path)["label"].tolist() == ["dark", "fine"]


def test_the_house_is_kept_once_and_not_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []

    class Roller(subprocess.Popen[bytes]):
        def __init__(self, *args: object, **kwargs: object) -> None:
            started.append(args)
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr("holotype.serving.request_log.log_writer.subprocess.Popen", Roller)
    writer = LogWriter(tmp_path)
    for number in range(100):
        writer.append(row(number))
        time.sleep(0.02)
    assert len(started) == 1
    writer.close()


def test_a_full_disk_leaves_no_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeedbackStore(tmp_path)
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("holotype.serving.request_log.segment_file.os.write", full)
    for _ in range(20):
        with pytest.raises(OSError, match="No space"):
            store.add([FeedbackRow("r000001", 0, "dark")])
    monkeypatch.setattr("holotype.serving.request_log.segment_file.os.write", write)
    assert len(os.listdir("/proc/self/fd")) == before
    store.add([FeedbackRow("r000002", 0, "fine")])
    store.close()
    assert read_feedback(tmp_path)["label"].tolist() == ["fine"]


def test_rows_after_the_machine_has_slept_are_found_by_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monotonic clock stands still meanwhile."""
    writer = LogWriter(tmp_path)
    writer.append(row(0))
    wait_until(lambda: writer.status().written == 1)
    woke_s = time.time() + 7200
    monkeypatch.setattr("holotype.serving.request_log.segment_file.time.time", lambda: woke_s)
    monkeypatch.setattr(segment_file, "datetime", Woken)
    writer.append(row(1, time_s=woke_s))
    writer.close()
    found = read_log(tmp_path, woke_s - 60, woke_s + 60, LogQuery(columns=("request_id",)))
    assert found["request_id"].tolist() == ["r000001"]


class Woken(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Woken":
        return cls.fromtimestamp(time.time(), tz)


def test_a_damaged_segment_is_an_error_in_words_and_keeps_no_other_from_parquet(
    tmp_path: Path,
) -> None:
    write(tmp_path, 3)
    (good,) = tmp_path.glob("*.jsonl")
    bad = tmp_path / f"2026{good.name[4:]}".replace(good.stem[-8:], "00000000")
    bad.write_bytes(bytes(20 << 20))  # what a loss of power may leave
    with pytest.raises(duckdb.Error):
        roll(tmp_path, LOG_COLUMNS)
    assert good.with_suffix(".parquet").is_file()
    FeedbackStore(tmp_path).add([FeedbackRow("r000001", 0, "dark")])
    complete_abandoned(tmp_path / "feedback")
    with pytest.raises(duckdb.Error):
        roll_main(roll_arguments(tmp_path, LogSettings()))
    assert list((tmp_path / "feedback").glob("*.parquet"))
    bad.unlink()
    bad.with_suffix(".parquet").write_bytes(b"garbage")
    with pytest.raises(DatasetError, match="cannot be read"):
        everything(tmp_path)


# Writes a row a millisecond, and says which ones it has logged and when.
WRITES_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from holotype.serving.request_log import segment_file
from holotype.serving.request_log.log_writer import LogWriter
from tests.serving.log_rows import row
segment_file.MAX_SEGMENT_BYTES = 20_000
writer = LogWriter(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(int(sys.argv[2]), 1_000_000):
    logged = row(number)
    writer.append(logged)
    print(number, logged.time_s, flush=True)
    time.sleep(0.001)
"""


def test_rows_older_than_200_ms_survive_sigkill_and_none_is_there_twice(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    must: set[str] = set()
    may: set[str] = set()
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES_UNTIL_KILLED, str(tmp_path), str(len(may))],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3 + random.uniform(0, 0.5))
        killed_s = time.time()
        os.kill(process.pid, signal.SIGKILL)
        said = [line.split() for line in process.stdout.read().splitlines()]
        process.wait()
        for number, time_s in (words for words in said if len(words) == 2):
            may.add(f"r{int(number):06d}")
            if float(time_s) < killed_s - 0.2:
                must.add(f"r{int(number):06d}")
    complete_abandoned(tmp_path)
    found = ids(tmp_path)
    assert len(must) > 100
    assert must <= set(found)
    assert len(found) == len(set(found))


def make_large_log(folder: Path, segments: int, rows: int) -> None:
    """Segments of an hour each, with an embedding of 32 numbers a row."""
    folder.mkdir()
    with open_database() as database:
        for number in range(segments):
            hour = f"TIMESTAMP '2026-01-01' + INTERVAL {number} HOUR"
            day, clock = 1 + number // 24, number % 24
            path = folder / f"202601{day:02d}T{clock:02d}0000.000Z-{number:08x}.parquet"
            database.execute(
                f"COPY (SELECT {hour} + to_microseconds(range * 3600000000 // {rows}) AS time, "
                f"'q' || ({number} * {rows} + range) AS request_id, 0::INTEGER AS image, "
                "'champion' AS arm, 'd' AS digest, 'ok' AS outcome, "
                "[0.1::FLOAT, 0.2::FLOAT, 0.7::FLOAT] AS probabilities, "
                f"from_hex(repeat('3c00', 32)) AS embedding FROM range({rows})) "
                f"TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
            )


READS_A_WINDOW = """
import json, re, sys, time
from pathlib import Path
from holotype.serving.request_log.log_row import embeddings_ND
from holotype.serving.request_log.read_log import LogQuery, read_log
start = 1767225600 + 3600 * int(sys.argv[2])
columns = ("time", "request_id", "digest", "probabilities", "embedding", "label")
found = read_log(Path(sys.argv[1]), start, start + 3600, LogQuery(columns=columns))
embeddings = embeddings_ND(list(found["embedding"]))
seconds = time.process_time()  # what else runs here does not count
# ru_maxrss would count what the parent held when it forked.
held = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
print(json.dumps({"rows": len(embeddings), "seconds": seconds, "kilobytes": int(held[1])}))
"""


@pytest.mark.parametrize(
    ("segments", "rows"),
    [(5, 20_000), pytest.param(100, 100_000, marks=pytest.mark.slow)],
    ids=["100 thousand", "10 million"],
)
def test_a_window_of_a_large_log_is_read_in_5_s_and_1_gb(
    tmp_path: Path, segments: int, rows: int
) -> None:
    make_large_log(tmp_path / "log", segments, rows)
    answer = subprocess.run(
        [sys.executable, "-c", READS_A_WINDOW, str(tmp_path / "log"), str(segments // 2)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    measured = json.loads(answer.stdout)
    print(measured)
    assert measured["rows"] == rows
    assert measured["seconds"] < 5
    assert measured["kilobytes"] < 1_000_000
