"""SIGKILL of a server under load: what it had answered 200 ms before is in the log, once."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from holotype.bundle.bundle import Bundle
from holotype.serving.request_log.read_log import LogQuery, read_log
from tests.serving.clients import clients
from tests.serving.running import running

MUST_SURVIVE_S = 0.2


@pytest.mark.parametrize(
    "kills", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_every_row_older_than_200_ms_survives_and_none_is_there_twice(
    tiny_bundle: Bundle, images: list[Path], tmp_path: Path, kills: int
) -> None:
    random = np.random.default_rng(0)
    must: list[str] = []
    for _ in range(kills):
        with running(tiny_bundle.path, "--workers", 2, "--log", tmp_path) as server:
            with clients(server, images) as found:
                found.wait_for(20)
                time.sleep(random.uniform(0.3, 1.3))
                killed_s = time.time()
                os.kill(server.process.pid, signal.SIGKILL)
                server.process.wait()
            must += [
                reply.request_id
                for reply in found.replies
                if reply.status == 200 and reply.received_s < killed_s - MUST_SURVIVE_S
            ]
    rows = read_log(tmp_path, 0, time.time() + 1, LogQuery(columns=("request_id", "arm")))
    logged = list(rows["request_id"])
    print(f"{kills} kills, {len(must)} answers that must be there, {len(logged)} rows")
    assert len(must) > 20 * kills
    assert set(must) <= set(logged)
    assert len(logged) == len(set(logged))
