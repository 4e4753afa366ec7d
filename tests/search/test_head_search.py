"""Heads are searched on kept features: quickly, without a look at an image, and none of test."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import yaml

import holotype.imaging.decode
from holotype.dataset.index import read_index_file
from holotype.elpv_demo import split_table
from holotype.errors import RunMismatch
from holotype.pipeline.run import Run
from holotype.pipeline.training_run.train import run_training
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.pipeline.training_run.training_options import ReadingOptions
from holotype.predictions import read_predictions
from holotype.run_directory import RunDirectory
from holotype.search.head_trials import HeadTrials
from holotype.search.running import Running
from holotype.search.search_result import Search
from holotype.search.trial_record import TrialRecord, read_record
from holotype.search.tune import SearchRequest, finish, run_search
from holotype.search_directory import SearchDirectory
from holotype.training.training_resources import Runtime
from tests.conftest import Cli
from tests.search.searches import (
    MODEL,
    hide_test_images,
    kill_and_call_again,
    loop_of,
    prepared,
    request,
)


@pytest.fixture(scope="module")
def search(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Search:
    """An undisturbed search of 8 trials."""
    return run_search(request(synthetic, tmp_path_factory.mktemp("heads") / "search"))


def test_the_best_recipe_trains_the_winner(search: Search, synthetic: Path, tmp_path: Path) -> None:
    """What NumPy scored is what the file that ships says."""
    winner = search.winner
    assert winner.accuracy is not None
    assert winner.accuracy >= search.records[0].accuracy
    run = run_training(
        TrainingRequest(data=synthetic, recipe=search.best_recipe, output=tmp_path / "run")
    )
    for trained in (run, search.run):
        shipped = trained.predictions("val")
        trial = read_predictions(search.files.trial(winner.number).run.predictions / "val.parquet")
        assert trial.ids == shipped.ids
        np.testing.assert_allclose(trial.logits_NC, shipped.logits_NC, atol=1e-3, rtol=1e-4)
        np.testing.assert_allclose(trial.probabilities_NC, shipped.probabilities_NC, atol=1e-3)
    assert run.report.part == "test"


def test_the_report_says_what_is_left_of_the_lead(search: Search) -> None:
    said = search.summary()
    assert search.corrected is not None
    assert f"{search.corrected.accuracy}" in said
    assert "On test, read once" in said
    page = (search.files.report / "index.html").read_text()
    assert "History" in page
    assert search.files.best_recipe.name in page
    assert json.loads((search.files.report / "report.json").read_text())["summary"] == said
    assert "Search " in repr(search)
    assert len(repr(search).splitlines()) <= 12
    assert len(search.to_frame()) == 9


def test_a_search_goes_on_where_more_trials_are_asked_for(
    search: Search, synthetic: Path, tmp_path: Path
) -> None:
    """And ends as one that asked for all of them at once."""
    asked = request(synthetic, tmp_path / "more")
    more, runtime = prepared(asked)
    assert len(loop_of(asked, more, runtime).run(3)) == 4
    assert len(loop_of(asked, more, runtime).run(8)) == 9
    assert more.table.read_bytes() == search.files.table.read_bytes()
    with pytest.raises(RunMismatch, match="another jobs"):
        run_search(request(synthetic, tmp_path / "more", jobs=3))
    otherwise = replace(asked.training, reading=ReadingOptions(group_pattern="parent-folder"))
    with pytest.raises(RunMismatch, match="another reading"):
        run_search(replace(asked, training=otherwise))


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """From when it is called, whoever decodes an image or runs a graph is noted and refused."""
    calls: list[str] = []

    def refuse(*args: object, **kwargs: object) -> None:
        calls.append("called")
        raise AssertionError("an image was decoded, or a graph was run")

    def start() -> list[str]:
        monkeypatch.setattr(holotype.imaging.decode, "decode", refuse)
        for user in ("imaging.preprocessing", "training.data.loader", "bundle.image_sources"):
            module = importlib.import_module(f"holotype.{user}")
            if hasattr(module, "decode"):
                monkeypatch.setattr(module, "decode", refuse)
        monkeypatch.setattr(onnxruntime.InferenceSession, "run", refuse)
        monkeypatch.setattr(onnxruntime.InferenceSession, "run_with_iobinding", refuse)
        return calls

    return start


def _search_unseeing(asked: SearchRequest, search: SearchDirectory, runtime: Runtime) -> float:
    """Run the trials with the images of test hidden; the seconds that they took."""
    loop = loop_of(asked, search, runtime)
    began = time.monotonic()
    records = loop.run(asked.trials)
    assert len(records) == asked.trials + 1
    assert all(record.state == "complete" for record in records)
    return time.monotonic() - began


def test_copies_share_a_fold_in_trials_as_they_do_in_trainings(
    synthetic: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(synthetic, tmp_path / "data")
    for file in sorted(data.glob("[a-z]*/*.png")):
        shutil.copy(file, file.with_stem(f"{file.stem}-copy"))
    asked = request(data, tmp_path / "search", trials=1)
    search, runtime = prepared(asked)
    trials = HeadTrials(search, read_index_file(search.train_val), runtime, 1)
    assert max(map(len, trials.copies)) > 1
    run = run_training(replace(asked.training, output=tmp_path / "run"))
    np.testing.assert_allclose(
        trials.predict(asked.base()).logits_NC, run.predictions("val").logits_NC, atol=1e-4
    )


def test_trials_decode_nothing_run_no_graph_and_open_no_test_image(
    synthetic: Path, tmp_path: Path, blind: Callable[[], list[str]]
) -> None:
    data = shutil.copytree(synthetic, tmp_path / "data")
    asked = request(data, tmp_path / "search", trials=6)
    search, runtime = prepared(asked)
    HeadTrials(search, read_index_file(search.train_val), runtime, 2).keep_features(asked.base())
    hide_test_images(search)
    calls = blind()
    _search_unseeing(asked, search, runtime)
    assert calls == []


def test_a_killed_search_leaves_the_table_of_an_undisturbed_one(
    search: Search, synthetic: Path, tmp_path: Path
) -> None:
    output = tmp_path / "killed"
    words = ["tune", synthetic, "--heads", "--model", MODEL, "--recipe", "linear", "--trials", 8,
             "--jobs", 2, "--output", output]  # fmt: skip
    kill_and_call_again(words, kills=1, longest_s=5.0)
    assert SearchDirectory(output).table.read_bytes() == search.files.table.read_bytes()


def test_threads_import_nothing_of_scikit_learn_for_the_first_time() -> None:
    """A search that goes on begins with threads, of which two would import at once."""
    code = """
import sys
from holotype.search.head_trials import HeadTrials

before = set(sys.modules)
HeadTrials._run_one = lambda self, asked: before.update(sys.modules)
HeadTrials(None, None, None, 2).run([None])
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
print(sorted(name for name in set(sys.modules) - before if name.startswith("sklearn")))
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def _table_after_kills(asked: SearchRequest, kills: int, longest_s: float) -> bytes:
    """The table of a search whose coordinator is killed at random moments, and called again.

    Each coordinator is a fork of this process: no time passes before it begins.
    """
    moments = np.random.default_rng(0)
    for number in range(kills + 1):
        coordinator = os.fork()
        if not coordinator:
            run_search(asked)
            os._exit(0)
        if number < kills:
            time.sleep(moments.uniform(0, longest_s))
            os.kill(coordinator, signal.SIGKILL)
        os.waitpid(coordinator, 0)
    return SearchDirectory(Path(asked.training.output or "")).table.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")
def test_twenty_kills_leave_the_table_of_an_undisturbed_search(
    search: Search, synthetic: Path, tmp_path: Path
) -> None:
    """From the audit to the report, at twenty random moments."""
    assert search.test is not None  # by then all that a coordinator imports is there
    undisturbed, killed = (
        request(synthetic, tmp_path / name, trials=60) for name in ("undisturbed", "killed")
    )
    began = time.monotonic()
    table = _table_after_kills(undisturbed, kills=0, longest_s=0)
    seconds = time.monotonic() - began
    assert table.count(b"\n") == 62
    assert _table_after_kills(killed, kills=20, longest_s=seconds / 6) == table


def test_a_trial_that_cannot_be_trained_is_recorded_with_its_reason(
    synthetic: Path, tmp_path: Path
) -> None:
    space = tmp_path / "space.yaml"
    rows = [{"key": "recipe", "choices": ["linear", "two_phase", "forest"]}]
    space.write_text(yaml.safe_dump(rows))
    asked = replace(request(synthetic, tmp_path / "search", trials=6), space=space)
    found, runtime = prepared(asked)
    records = loop_of(asked, found, runtime).run(asked.trials)
    failed = [record for record in records if record.state == "failed"]
    assert failed
    assert "two_phase" in failed[0].reason
    assert "\n" not in failed[0].reason
    assert failed[0].reason in found.table.read_text()


def test_the_command_says_where_things_are(synthetic: Path, tmp_path: Path, cli: Cli) -> None:
    words = ["tune", synthetic, "--heads", "--model", MODEL, "--trials", 2, "--output"]
    code, out, err = cli(*words, tmp_path / "a", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["trials"] == {"complete": 3}
    assert Path(found["best_recipe"]).is_file()
    assert Run(found["run"]).report.part == "test"
    code, out, err = cli(*words, tmp_path / "a")
    assert code == 0
    assert "best.yaml" in out
    assert "finished already" in err


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_200_heads_on_the_solar_cells_take_three_minutes(
    tmp_path: Path, blind: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On two cores; the features are there from an earlier training."""
    table = split_table(tmp_path / "cells", seed=0)
    training = TrainingRequest(data=table, output=tmp_path / "search", recipe="linear")
    asked = SearchRequest(training=training, trials=200, heads=True, running=Running(jobs=2))
    search, runtime = prepared(asked)
    HeadTrials(search, read_index_file(search.train_val), runtime, 2).keep_features(asked.base())
    calls = blind()
    seconds = _search_unseeing(asked, search, runtime)
    assert calls == []
    print(f"200 trials on {len(read_index_file(search.train_val))} images: {seconds:.0f} s")
    base = asked.base()
    records = [_record(search, number) for number in range(201)]
    monkeypatch.undo()
    found = finish(search, records, asked.search_space(base), runtime)
    print(found.summary())
    assert seconds <= 180
    assert isinstance(found.files.best, RunDirectory)


def _record(search: SearchDirectory, number: int) -> TrialRecord:
    record = read_record(search.trial(number))
    assert record is not None
    return record
