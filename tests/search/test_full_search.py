"""Full trials: ordinary runs on train and validation, pruned at the ends of epochs."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from holotype.elpv_demo import split_table
from holotype.errors import Terminated
from holotype.executors.executor import executor
from holotype.executors.job_sheet import JobSheet, OnChange
from holotype.pipeline.run import Run
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.search.full_trials import FullTrials
from holotype.search.run_trial import EpochReports, TrialPruned
from holotype.search.running import Running
from holotype.search.trial_record import read_record
from holotype.search.trials import Asked
from holotype.search.tune import SearchRequest, _runner, finish, run_trials
from holotype.search_directory import SearchDirectory, TrialDirectory
from holotype.training.config.resolve import resolve_recipe
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.interruption import StopSignal
from tests.search.searches import hide_test_images, kill_and_call_again, prepared, request


def test_a_search_that_is_told_to_stop_does_not_wait_for_its_trials(tmp_path: Path) -> None:
    class Endless:
        def run(self, sheet: JobSheet, on_change: OnChange) -> None:
            while True:
                on_change(sheet.results())

    stop = StopSignal(stop_requested=True)
    trials = FullTrials(SearchDirectory(tmp_path), Endless(), 1, stop.raise_if_requested)
    with pytest.raises(Terminated, match="goes on"):
        trials.run([Asked(1, {}, resolve_recipe("linear", model="lbp"))])


def _epoch(stage: str, number: int, accuracy: float) -> EpochMetrics:
    return EpochMetrics(stage, number, 1.0, 1.0, accuracy, 0.1, 10)


def test_a_trial_below_the_median_ends_and_one_that_was_killed_remembers(tmp_path: Path) -> None:
    trial = TrialDirectory(tmp_path, 3)
    limits = [-1.0, -1.0, -1.0, 0.5]
    reports = EpochReports(trial, limits)
    for number in range(3):
        reports(_epoch("s", number, 0.4))
    again = EpochReports(trial, limits)  # another process, after a kill
    again(_epoch("s", 2, 0.9))  # told before: nothing is counted twice
    assert again.accuracies == (0.4, 0.4, 0.4)
    with pytest.raises(TrialPruned, match=r"below the median 0\.5"):
        again(_epoch("s", 3, 0.45))
    with pytest.raises(TrialPruned):
        EpochReports(trial, limits).check()
    assert json.loads(trial.epochs.read_text())[-1] == ["s", 3, 0.45]


@pytest.mark.slow
def test_trials_are_runs_that_never_open_a_test_image(synthetic: Path, tmp_path: Path) -> None:
    """In processes of their own; one that cannot be trained says why, and the others go on."""
    data = shutil.copytree(synthetic, tmp_path / "data")
    space = tmp_path / "space.yaml"
    space.write_text(yaml.safe_dump([{"key": "image_size", "choices": [32, 33]}]))
    asked = replace(
        request(data, tmp_path / "search", trials=3, heads=False), space=space
    )  # 33 is no multiple of 8
    search, runtime = prepared(asked)
    moved = hide_test_images(search)
    base = asked.base()
    found_space = asked.search_space(base)
    runner = _runner(search, asked, base, executor("local", slots=2), runtime)
    records = run_trials(search, asked, base, found_space, runner)
    states = {record.params.get("image_size"): record.state for record in records}
    assert states == {None: "complete", 32: "complete", 33: "failed"}
    assert any("33" in record.reason for record in records)
    trial = Run(search.trial(0).path)
    assert trial.report.part == "val"
    assert set(trial.index.table["split"]) == {"train", "val"}
    for file, hidden in moved.items():
        hidden.rename(file)
    found = finish(search, records, found_space, runtime)
    assert found.run.report.part == "test"
    assert found.winner.accuracy >= records[0].accuracy


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_eight_full_trials_on_solar_cells_end_no_worse_than_the_default(tmp_path: Path) -> None:
    """A network fine-tuned on a few hundred cells; a killed search ends in the same table."""
    table = _few_cells(tmp_path / "cells", count=300)
    training = TrainingRequest(
        data=table, output=tmp_path / "search", recipe="finetune", image_size=96,
        overrides={"epochs": 3, "stages.1.views": 2},
    )  # fmt: skip
    space = tmp_path / "space.yaml"
    space.write_text(
        "- {key: last.trainable, choices: [1, 2]}\n"
        "- {key: last.learning_rate, low: 0.00002, high: 0.02, log: true}\n"
        "- {key: class_weights, choices: [none, balanced]}\n"
    )
    asked = SearchRequest(training=training, trials=8, space=space, running=Running(jobs=2))
    search, runtime = prepared(asked)
    moved = hide_test_images(search)
    base = asked.base()
    found_space = asked.search_space(base)
    runner = _runner(search, asked, base, executor("local", slots=2), runtime)
    records = run_trials(search, asked, base, found_space, runner)
    assert [record.state for record in records].count("failed") == 0
    for file, hidden in moved.items():
        hidden.rename(file)
    found = finish(search, records, found_space, runtime)
    print(search.table.read_text())
    print(found.summary())
    assert found.winner.accuracy >= records[0].accuracy
    winner = Run(search.trial(found.winner.number).path)
    assert winner.classifier.bundle.sha256 == found.run.classifier.bundle.sha256


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_search_over_networks_ends_in_the_same_table(
    synthetic: Path, tmp_path: Path
) -> None:
    """With a rate at which training diverges, which is pruned with its reason."""
    space = tmp_path / "space.yaml"
    space.write_text("- {key: last.learning_rate, low: 0.0001, high: 1000000000, log: true}\n")
    words = ["tune", synthetic, "--model", "cnn_baseline", "--set", "image_size=32",
             "--set", "stages.0.epochs=4", "--set", "stages.0.views=1", "--trials", 8, "--jobs", 2,
             "--set", "stages.0.augmentation=null", "--space", space]  # fmt: skip
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    kill_and_call_again([*words, "--output", undisturbed], kills=0, longest_s=1)
    kill_and_call_again([*words, "--output", killed], kills=4, longest_s=60)
    assert (killed / "trials.csv").read_bytes() == (undisturbed / "trials.csv").read_bytes()
    records = [
        read_record(TrialDirectory(undisturbed / "trials" / f"{n:04d}", n)) for n in range(9)
    ]
    pruned = [record for record in records if record is not None and record.state == "pruned"]
    assert any("the loss is" in record.reason for record in pruned)


def _few_cells(directory: Path, *, count: int) -> Path:
    """Some of the ELPV cells, copied, so that those of test can be taken away."""
    table = split_table(directory, seed=0)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows = rows[:: len(rows) // count][:count]
    few = directory / "few"
    few.mkdir()
    with (few / "cells.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for number, row in enumerate(rows):
            source = Path(row["path"])
            source = source if source.is_absolute() else directory / source
            shutil.copy(source, few / f"{number}{source.suffix}")
            writer.writerow({**row, "path": f"{number}{source.suffix}"})
    return few / "cells.csv"
