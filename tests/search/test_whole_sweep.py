"""A whole sweep: killed in the middle, on a cluster that loses a node, and on SLURM."""

import os
import random
import subprocess
import threading
import time
from pathlib import Path

import pytest

from holotype.bundle.bundle import load_bundle
from holotype.executors.job_sheet import JobSheet
from holotype.progress import Progress
from holotype.search.running import Running
from holotype.search.sweeping.sweep import SweepRequest, run_sweep
from holotype.search.sweeping.sweep_plan import make_plan
from tests.executors.slurm_node import slurm_node, why_not
from tests.search.searches import kill_and_call_again, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# 3 models × 2 data sets × 2 seeds; one of the models is a network whose epochs are trained.
MODELS, SEEDS, SETTINGS = ["lbp", "hog", "cnn_baseline"], [0, 1], {"image_size": 32}


def _words(two_sets: list[Path], output: Path) -> list[object]:
    return ["sweep", "--data", *two_sets, "--model", *MODELS, "--seeds", *SEEDS,
            "--set", "image_size=32", "--output", output, "--jobs", 2]  # fmt: skip


def _request(two_sets: list[Path], output: Path, on: str) -> SweepRequest:
    fields = {"data": [str(each) for each in two_sets], "models": MODELS, "seeds": SEEDS,
              "settings": SETTINGS}  # fmt: skip
    running = Running(jobs=2, on=on)
    return SweepRequest(plan=make_plan(fields), output=output, running=running, progress=Progress())


def digests(output: Path) -> dict[str, str]:
    """The identity of every bundle, by the name of its run."""
    return {
        f"{path.parent.parent.name}/{path.parent.name}": load_bundle(path.parent).sha256
        for path in sorted(output.glob("[!_]*/[!_]*/bundle"))
    }


@pytest.fixture(scope="module")
def undisturbed(
    two_sets: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], float]:
    """The bundles of a sweep on this machine, and the seconds that it took."""
    output = tmp_path_factory.mktemp("undisturbed") / "sweep"
    began = time.monotonic()
    kill_and_call_again(_words(two_sets, output), kills=0, longest_s=1)
    found = digests(output)
    assert len(found) == 12
    return found, time.monotonic() - began


def test_a_sweep_that_is_killed_ends_with_the_same_bundles(
    two_sets: list[Path], tmp_path: Path, undisturbed: tuple[dict[str, str], float]
) -> None:
    """Killed in the middle, four times; every run is finished once."""
    bundles, seconds = undisturbed
    killed, moments = tmp_path / "killed", random.Random(1)
    for _ in range(4):
        process = start(*_words(two_sets, killed))
        time.sleep(moments.uniform(0.1, 0.4) * seconds)
        process.kill()
        process.wait()
    kill_and_call_again(_words(two_sets, killed), kills=0, longest_s=1)
    assert digests(killed) == bundles
    for run in bundles:
        log = (killed / run / "train.log").read_text()
        finished = log.count("finished already")
        assert finished == 0, "a finished run was called again"


def _first_running(sheet: JobSheet, count: int) -> None:
    """Wait until so many jobs run that write epochs."""
    for _ in range(1200):
        if sum(sheet.result(number).state == "running" for number in range(12)) >= count:
            return
        time.sleep(0.2)
    raise AssertionError("no job began")


def test_a_node_that_dies_costs_a_sweep_on_ray_nothing(
    two_sets: list[Path], tmp_path: Path, undisturbed: tuple[dict[str, str], float]
) -> None:
    """Two nodes of one core each on this machine; one is killed while it works."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8},
    )
    try:
        doomed = cluster.add_node(num_cpus=1, object_store_memory=10**8)
        ray.init(address=cluster.address, log_to_driver=False)
        output, nodes = tmp_path / "ray", []

        def kill_a_node() -> None:
            _first_running(JobSheet(output / "_jobs"), 2)
            time.sleep(3)
            cluster.remove_node(doomed, allow_graceful=False)
            while (alive := sum(node["Alive"] for node in ray.nodes())) > 1:  # until it is noticed
                time.sleep(0.2)
            nodes.append(alive)

        killer = threading.Thread(target=kill_a_node)
        killer.start()
        found = run_sweep(_request(two_sets, output, "ray"))
        killer.join()
        assert nodes == [1]
        assert found.is_complete, found.failed
        assert digests(output) == undisturbed[0]
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "SLURM")
def test_a_job_that_is_requeued_costs_a_sweep_on_slurm_nothing(
    two_sets: list[Path],
    tmp_path: Path,
    undisturbed: tuple[dict[str, str], float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "slurm").mkdir()
    with slurm_node(tmp_path / "slurm") as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        output, requeued = tmp_path / "sweep", []

        def requeue_a_job() -> None:
            _first_running(JobSheet(output / "_jobs"), 1)
            time.sleep(3)
            words = ["squeue", "--noheader", "--states=R", "--format=%A"]
            running = subprocess.run(words, capture_output=True, text=True, check=True)
            job = running.stdout.split()[0]
            done = subprocess.run(
                ["scontrol", "requeue", job], capture_output=True, text=True, check=False
            )
            requeued.append(done.returncode)

        requeuer = threading.Thread(target=requeue_a_job)
        requeuer.start()
        found = run_sweep(_request(two_sets, output, "slurm"))
        requeuer.join()
    assert requeued == [0]
    assert found.is_complete, found.failed
    assert digests(output) == undisturbed[0]
    script = (output / "_jobs" / "array.sbatch").read_text()
    assert "#SBATCH --array=0-11%2" in script
    assert os.access(output / "_jobs" / "array.sbatch", os.R_OK)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_jobs_on_two_cores_take_half_the_sum_of_their_times(
    two_sets: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with one thread; singly, then both at once, in one run: at most 1.15 times half."""
    monkeypatch.setenv("HOLOTYPE_THREADS", "1")
    times = {}
    for name, jobs, seeds in (("one", 1, [0]), ("other", 1, [1]), ("both", 2, [2, 3])):
        request = SweepRequest(
            plan=make_plan(
                {"data": [str(two_sets[0])], "models": ["cnn_baseline"], "seeds": seeds,
                 "settings": {"image_size": 64, "stages.0.patience": None, "stages.0.epochs": 30}}
            ),
            output=tmp_path / name, running=Running(jobs=jobs), progress=Progress(),
        )  # fmt: skip
        began = time.monotonic()
        assert run_sweep(request).is_complete
        times[name] = time.monotonic() - began
    half = (times["one"] + times["other"]) / 2
    print(f"singly {times['one']:.0f} and {times['other']:.0f} s, both at once {times['both']:.0f}")
    assert times["both"] <= 1.15 * half
