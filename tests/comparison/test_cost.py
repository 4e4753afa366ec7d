"""What a classifier costs, against sums by hand and the process that predicts."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from holotype.comparison.cost import (
    RunCost,
    count_parameters,
    measure_cost,
    pareto_front,
    size_on_disk,
    training_seconds,
)
from holotype.run_directory import RunDirectory
from tests.bundle.tiny import EMBEDDING, write_images, write_tiny


def test_parameters_are_the_numbers_in_the_graphs(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    convolution, head = EMBEDDING * 3 * 4 * 4, 3 * EMBEDDING + 3
    assert count_parameters(bundle) == convolution + head  # and not the axes of its mean


def test_support_vectors_are_numbers_too() -> None:
    from holotype.comparison.cost import _numbers_in

    vectors = [float(n) for n in range(30)]
    node = helper.make_node("SVMRegressor", ["x"], ["y"], support_vectors=vectors, n_supports=3)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 10])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    assert _numbers_in(helper.make_graph([node], "svm", [x], [y])) == 30


def test_the_size_is_that_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "members").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 70)
    (tmp_path / "members" / "b").write_bytes(b"x" * 30)
    assert size_on_disk(tmp_path) == 100


@pytest.mark.parametrize(
    ("recorded", "seconds"),
    [
        ({"training_seconds": 12.5, "training_resumed": False}, 12.5),
        ({"training_seconds": 12.5, "training_resumed": True}, None),
        ({"training_seconds": None}, None),
        ({"python": "3.11"}, None),
        ([], None),
    ],
)
def test_training_time_is_what_the_run_recorded(
    tmp_path: Path, recorded: object, seconds: float | None
) -> None:
    run = RunDirectory(tmp_path)
    run.environment.write_text(json.dumps(recorded))
    assert training_seconds(run) == seconds


def test_speed_latency_and_memory_come_from_a_process_of_its_own(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    images = write_images(tmp_path / "images", 8)
    cost, why = measure_cost(RunCost(parameters=7), tmp_path / "bundle", images)
    assert why == ""
    assert cost.parameters == 7
    assert (cost.images_per_second or 0) > 1
    assert 0 < (cost.latency_seconds or 0) < 5
    # A Python with NumPy, Pillow and ONNX Runtime: not nothing, and not this process with pytest.
    assert 20e6 < (cost.memory_bytes or 0) < 400e6


def test_a_bundle_that_cannot_be_measured_says_why(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 1)
    cost, why = measure_cost(RunCost(), tmp_path / "nothing", images)
    assert cost == RunCost()
    assert "does not exist" in why


def test_none_beats_those_on_the_front_in_both() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        quality = dict(enumerate(rng.integers(0, 6, 8).astype(float)))
        price = dict(enumerate(rng.integers(0, 6, 8).astype(float)))
        front = pareto_front(quality, price)
        for one in quality:
            better = [
                n
                for n in quality
                if quality[n] >= quality[one] and price[n] <= price[one]
                and (quality[n] > quality[one] or price[n] < price[one])
            ]  # fmt: skip
            assert (one in front) == (not better)
    assert pareto_front({0: 1.0, 1: 2.0}, {0: 3.0}) == [0]  # what has no price is not on it


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing comes from the parent")
def test_the_peak_of_a_process_is_its_own_and_not_that_of_the_process_that_started_it() -> None:
    ask = "from holotype.comparison.cost import peak_memory_bytes; print(peak_memory_bytes())"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ask!r}], check=True)"
    peaks = [
        int(subprocess.check_output([sys.executable, "-c", f"x = bytes(1) * {size}; {start}"]))
        for size in (1, 800 << 20)
    ]
    assert peaks[1] == pytest.approx(peaks[0], rel=0.3)
