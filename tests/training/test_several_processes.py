"""Several processes on one machine train as one does: gloo on the CPU, as a GPU does it by nccl."""

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.process_worker import IMAGES

ROOT = Path(__file__).parents[2]
SLOW = pytest.mark.slow
CASES: list[Any] = [
    # SGD: Adam divides the gradient of a bias below a batch norm, which is rounding, by itself.
    {
        "trainable": "all", "batch_norm": "train", "epochs": 2, "batch_size": 12, "l2": 1e-3,
        "optimiser": "sgd",
    },
    pytest.param({"epochs": 3, "batch_size": 16, "accumulation": 2, "clip_norm": 1.0}, marks=SLOW),
    pytest.param(
        {
            "trainable": "all", "epochs": 2, "batch_size": 12,
            "mixup": {"probability": 0.5, "alpha": 1.0},
            "cutmix": {"probability": 0.4, "alpha": 1.0},
        }, marks=SLOW,
    ),
]  # fmt: skip


def _train(folder: Path, sizes: tuple[int, ...], changes: dict[str, Any]) -> None:
    """Train with each of these numbers of processes, all at once."""
    processes = []
    for size in sizes:
        (folder / str(size)).mkdir()
        words = [
            sys.executable, "-m", "tests.training.process_worker", str(folder / str(size)),
            json.dumps(changes),
        ]  # fmt: skip
        own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        if size > 1:
            own |= {
                "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()
            }  # fmt: skip
        for rank in range(size):
            environment = {**os.environ, **own, **({"RANK": str(rank)} if size > 1 else {})}
            processes.append(subprocess.Popen(words, cwd=ROOT, env=environment))
    assert [process.wait(timeout=250) for process in processes] == [0] * len(processes)


def _free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.mark.parametrize("changes", CASES, ids=["norms", "above a cut", "mixed"])
@pytest.mark.parametrize("several", [2, pytest.param(3, marks=SLOW)])
def test_one_and_several_processes_see_the_same_images_and_end_with_the_same_weights(
    several: int, changes: dict[str, Any], tmp_path: Path
) -> None:
    _train(tmp_path, (1, several), changes)
    assert IMAGES % 2
    assert IMAGES % 3
    expected = np.load(tmp_path / "1" / "weights.npz")
    for size in (1, several):
        files = list((tmp_path / str(size)).glob("images-*.json"))
        assert len(files) == size
        asked = [image for file in files for image in json.loads(file.read_text())]
        if "mixup" not in changes:  # where images are mixed, partners are asked for too
            assert Counter(asked) == dict.fromkeys(range(IMAGES), changes["epochs"])
        found = np.load(tmp_path / str(size) / "weights.npz")
        for tensor in expected.files:
            assert np.abs(found[tensor] - expected[tensor]).max() <= 1e-5, (size, tensor)
        one, of_several = (
            json.loads((tmp_path / str(which) / "rows.json").read_text()) for which in (1, size)
        )
        assert np.allclose(one[1:], of_several[1:], atol=1e-5)
        assert np.allclose(one[0][:2], of_several[0][:2], atol=1e-6)
