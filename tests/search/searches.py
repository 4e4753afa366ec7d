"""Searches that take seconds: descriptors instead of networks, so that nothing imports torch."""

import random
import subprocess
import sys
import time
from pathlib import Path

from holotype.dataset.index import read_index_file
from holotype.pipeline.training_run.train import make_runtime
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.progress import Progress
from holotype.search.head_trials import HeadTrials
from holotype.search.running import Running
from holotype.search.trials import TrialLoop
from holotype.search.tune import SearchRequest, prepare
from holotype.search_directory import SearchDirectory
from holotype.training.interruption import StopSignal
from holotype.training.training_resources import Runtime

MODEL = "lbp"  # 59 numbers an image


def request(
    data: Path, output: Path, *, trials: int = 8, jobs: int = 2, heads: bool = True
) -> SearchRequest:
    training = TrainingRequest(
        data=data, output=output, model=MODEL, recipe="linear", progress=Progress()
    )
    return SearchRequest(training=training, trials=trials, heads=heads, running=Running(jobs=jobs))


def prepared(asked: SearchRequest) -> tuple[SearchDirectory, Runtime]:
    """A search before its first trial."""
    assert asked.training.output is not None
    search = SearchDirectory(Path(asked.training.output))
    base = asked.base()
    runtime = make_runtime(asked.training, base, search.path / "checkpoints", StopSignal())
    prepare(search, asked, base, asked.search_space(base), runtime)
    return search, runtime


def loop_of(asked: SearchRequest, search: SearchDirectory, runtime: Runtime) -> TrialLoop:
    """The loop over the trials of heads."""
    base, jobs = asked.base(), asked.running.jobs
    heads = HeadTrials(search, read_index_file(search.train_val), runtime, jobs)
    return TrialLoop(search, base, asked.search_space(base), base.seed, jobs, heads)


def hide_test_images(search: SearchDirectory) -> dict[Path, Path]:
    """Move the images of test away; where each was and where it is."""
    index = read_index_file(search.index)
    moved = {}
    for path in index.part("test").table["path"]:
        file = index.file(path)
        moved[file] = file.with_name(f".hidden-{file.name}")
        file.rename(moved[file])
    assert moved
    return moved


def start(*words: object) -> "subprocess.Popen[str]":
    """The command line as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "holotype", *map(str, words)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill_and_call_again(words: list[object], *, kills: int, longest_s: float) -> None:
    """Call a command, kill it at a random moment so many times, then let it end."""
    moments = random.Random(0)
    for _ in range(kills):
        process = start(*words)
        time.sleep(moments.uniform(0.5, longest_s))
        process.kill()
        process.wait()
    process = start(*words)
    _, said = process.communicate()
    assert process.returncode == 0, said
