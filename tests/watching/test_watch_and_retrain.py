"""The example of a drift and its successor runs, with a server under load."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_drift_is_found_labelled_retrained_and_all_clear_without_a_lost_request(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "watch_and_retrain.py", tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for told in ("promote 1 → 2", "tag challenger none → 2", "digits: all clear."):
        assert told in done.stdout
