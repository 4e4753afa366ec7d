"""`clean` removes what nothing refers to, says before what that would be, and nothing else."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import holotype
from holotype.cache import ArrayCache, read_cached, write_cached
from holotype.errors import RegistryError
from holotype.files import TEMPORARY_PREFIX, temporary_directory, write_json
from holotype.pipeline.cleaning.written_files import files_of_others
from holotype.pipeline.run import Run
from holotype.registry.registry import Registry
from holotype.run_directory import RunDirectory
from tests.conftest import Cli
from tests.registry.made import write_run

OLD = time.time() - 8 * 86400


@pytest.fixture(autouse=True)
def no_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLOTYPE_REGISTRY", raising=False)
    monkeypatch.delenv("HOLOTYPE_REGISTRY_FILES", raising=False)


def aged(path: Path, seconds: float = OLD) -> Path:
    """The directory with all its files as they would be if they were that old."""
    for each in (path, *path.rglob("*")):
        if not each.is_symlink():
            os.utime(each, (seconds, seconds))
    return path


def failed(path: Path, name: str = "failed") -> Path:
    """A run whose process was killed before its report, long ago."""
    write_run(path, name)
    (path / "report" / "metrics.json").unlink()
    return aged(path)


def names(cleaning: holotype.Cleaning) -> list[str]:
    return sorted(removal.path.name for removal in cleaning.removals)


def reasons(cleaning: holotype.Cleaning) -> dict[str, str]:
    return {kept.path.name: kept.reason for kept in cleaning.kept}


def test_everything_that_a_run_directory_names_is_known_to_be_ours(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    properties = [k for k, v in vars(RunDirectory).items() if isinstance(v, property)]
    paths = [found for name in properties if isinstance(found := getattr(run, name), Path)]
    named = [path for path in paths if path.suffix]
    within = [run.checkpoints / "a.safetensors", run.refit_checkpoints / "a.safetensors"]
    for file in (*named, *within, run.predictions / "val.parquet"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert run.unseen in named
    assert list(files_of_others(run.path)) == []


def test_failed_runs_go(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "good")
    failed(tmp_path / "runs" / "bad")
    failed(tmp_path / "runs" / "deep" / "bad-too", "another")
    planned = holotype.clean("runs", failed=True)
    assert names(planned) == ["bad", "bad-too"]
    assert (tmp_path / "runs" / "bad").is_dir()
    done = holotype.clean("runs", failed=True, yes=True)
    assert names(done) == names(planned)
    assert done.num_bytes == planned.num_bytes > 1000
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["deep", "good"]


def test_the_newest_runs_of_each_data_set_stay(tmp_path: Path) -> None:
    for number in range(5):
        for data in ("cells", "shells"):
            run = aged(write_run(tmp_path / "runs" / f"{data}-{number}", data), OLD + number)
            (run / "recipe.yaml").write_text(f"name: {number}\n")
    assert names(holotype.clean("runs", keep=3)) == ["cells-0", "cells-1", "shells-0", "shells-1"]
    assert len(holotype.clean("runs", keep=0).removals) == 10


def test_what_a_process_writes_stays(tmp_path: Path) -> None:
    held = failed(tmp_path / "runs" / "held")
    parent = failed(tmp_path / "runs" / "parent", "p")
    fold = write_run(parent / "folds" / "0", "fold")
    aged(parent)
    write_run(tmp_path / "runs" / "recent", "r")
    (tmp_path / "runs" / "recent" / "report" / "metrics.json").unlink()
    with RunDirectory(held).lock(), RunDirectory(fold).lock():
        found = holotype.clean("runs", failed=True, yes=True)
    assert names(found) == []
    assert reasons(found) == {
        "held": "a process is writing it",
        "parent": "a process is writing it",
        "recent": "it changed less than an hour ago, and may go on",
    }
    aged(tmp_path / "runs" / "held")
    aged(parent)
    assert names(holotype.clean("runs", failed=True)) == ["held", "parent"]


@pytest.mark.parametrize("file", ["notes.txt", "report/mine.docx", "bundle/head (copy).onnx"])
def test_a_run_with_a_file_of_the_user_stays(file: str, tmp_path: Path) -> None:
    run = failed(tmp_path / "runs" / "mine")
    (run / file).write_text("mine")
    aged(run)
    found = holotype.clean("runs", failed=True, keep=0, yes=True)
    assert (run / file).read_text() == "mine"
    assert reasons(found) == {"mine": f"it holds {file}, which Holotype did not write"}


def test_a_linked_folder_is_not_followed(tmp_path: Path) -> None:
    elsewhere = write_run(tmp_path / "elsewhere" / "run")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(elsewhere.parent)
    run = failed(tmp_path / "runs" / "bad")
    (run / "audit").symlink_to(elsewhere)
    found = holotype.clean("runs", failed=True, keep=0, yes=True)
    assert names(found) == []
    assert "audit" in reasons(found)["bad"]
    assert (elsewhere / "recipe.yaml").is_file()


def test_every_file_of_a_real_run_is_known(finetuned: Run, tmp_path: Path) -> None:
    shutil.copytree(finetuned.path, tmp_path / "runs" / "shapes")
    assert names(holotype.clean("runs", keep=0)) == ["shapes"]


def test_what_the_registry_refers_to_stays(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    for name in ("past", "champion", "other", "removed"):
        registry.add(write_run(tmp_path / "runs" / name, name), name="cells")
    write_run(tmp_path / "runs" / "unknown", "unknown")
    registry.promote("cells", 1)
    registry.promote("cells", 2)
    registry.remove("cells", 4)
    found = holotype.clean("runs", keep=0, yes=True)
    assert names(found) == sorted(
        ["removed", "unknown", *(removal.path.name for removal in found.removals[2:])]
    )
    assert reasons(found)["past"] == "it is cells/1 of the registry"
    assert sorted(reasons(found)) == ["champion", "other", "past"]
    assert len(list((tmp_path / "registry" / "bundles").iterdir())) == 3
    assert len(list((tmp_path / "registry" / "runs").iterdir())) == 3
    assert registry.verify().is_intact
    assert registry.rollback("cells").version == 1
    assert holotype.load("registry://cells@champion").digest


def test_a_registry_within_the_folder_is_no_folder_of_runs(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "runs" / "models")
    registry.add(write_run(tmp_path / "runs" / "one"), name="cells")
    found = holotype.clean("runs", keep=0, yes=True)
    assert names(found) == []
    assert reasons(found) == {"one": "it is cells/1 of the registry"}
    assert registry.verify().is_intact


def test_a_registry_that_cannot_be_read_stops_the_clean_up(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one")
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "registry.db").write_bytes(b"no database" * 100)
    with pytest.raises(RegistryError, match="cannot be used"):
        holotype.clean("runs", keep=0, yes=True)
    assert (tmp_path / "runs" / "one").is_dir()


def test_what_other_runs_refer_to_stays(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name in ("member", "selected", "start", "teacher", "absolute", "free"):
        aged(write_run(runs / name, name))
    ensemble = write_run(runs / "ensemble", "ensemble")
    digest = holotype.load(runs / "member").digest
    (ensemble / "recipe.yaml").write_text(
        f"kind: ensemble\nmembers:\n- {{run: a, bundle: {digest}, model: tiny, weights: {{}}}}\n"
    )
    (runs / "start" / "checkpoints").mkdir(exist_ok=True)
    (runs / "start" / "checkpoints" / "full.safetensors").touch()
    started = write_run(runs / "started", "started")
    (started / "recipe.yaml").write_text(
        "weights: ../start/checkpoints/full.safetensors\nteacher: {run: ../teacher}\n"
    )
    other = write_run(runs / "other", "other")
    (other / "recipe.yaml").write_text(f"teacher: {{run: {runs}/absolute}}\n")
    os.utime(other / "report" / "metrics.json", (OLD, OLD))
    selected = {"bundle_sha256": holotype.load(runs / "selected").digest}
    write_json(runs / "_comparison" / "selection.json", {"selections": [selected]})
    os.utime(ensemble / "report" / "metrics.json", (OLD, OLD))
    os.utime(started / "report" / "metrics.json", (OLD, OLD))
    found = holotype.clean("runs", keep=0)
    assert names(found) == ["ensemble", "free", "other", "started"]
    assert reasons(found) == {
        "member": "it is a member of the ensemble runs/ensemble",
        "selected": "it is selected in runs/_comparison/selection.json",
        "start": "runs/started was trained from it",
        "teacher": "runs/started was trained from it",
        "absolute": "runs/other was trained from it",
    }


def test_trials_of_old_searches_go_and_their_tables_stay(tmp_path: Path) -> None:
    for name, moment in (("old", OLD), ("young", time.time()), ("unfinished", OLD)):
        search = tmp_path / "runs" / name
        trial = write_run(search / "trials" / "0000", f"{name} 0")
        write_json(trial / "trial.json", {})
        write_run(search / "best", f"{name} best")
        write_json(search / "search.json", {})
        (search / "trials.csv").write_text("trial\n0\n")
        if name != "unfinished":
            write_json(search / "report" / "index.html", {})
        aged(search, moment)
    found = holotype.clean("runs", search_older="7d", failed=True, keep=0, yes=True)
    assert [str(removal.path) for removal in found.removals] == ["runs/old/trials"]
    assert (tmp_path / "runs" / "old" / "best" / "bundle").is_dir()
    assert (tmp_path / "runs" / "old" / "trials.csv").is_file()


def test_a_registered_trial_keeps_its_search(tmp_path: Path) -> None:
    search = tmp_path / "runs" / "search"
    trial = write_run(search / "trials" / "0000", "trial")
    write_json(search / "search.json", {})
    write_json(search / "report" / "index.html", {})
    Registry(tmp_path / "registry").add(trial, name="cells")
    aged(search)
    found = holotype.clean("runs", search_older="7d")
    assert names(found) == []
    assert reasons(found) == {"trials": "it is cells/1 of the registry"}


def test_leftovers_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "one")
    dead = run / f"{TEMPORARY_PREFIX}dead"
    dead.mkdir()
    (dead / "half").write_text("x" * 100)
    with temporary_directory(tmp_path / "runs") as alive:
        found = holotype.clean("runs", yes=True)
        assert alive.is_dir()
    assert [removal.path.name for removal in found.removals] == [dead.name]
    assert not dead.exists()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of four shards of 10 kB, a graph and a file of the user's, used one after another."""
    place = tmp_path / "cache"
    monkeypatch.setenv("HOLOTYPE_CACHE", str(place))
    for number in range(4):
        values = np.full((10, 125), number, np.float64)
        shard = ArrayCache("features", f"{number}")
        shard.add([f"{number * 16 + row:064x}" for row in range(10)], values)
        aged(shard.directory, OLD + number)
    write_cached("graphs/key/embedding.onnx", b"g" * 5000)
    aged(place / "graphs", OLD + 10)
    (place / "mine.txt").write_text("mine")
    return place


def test_the_cache_loses_what_was_used_longest_ago(cache: Path) -> None:
    found = holotype.clean(cache="30kB", yes=True)
    assert sorted({removal.path.parent.name for removal in found.removals}) == ["0", "1"]
    kept = ArrayCache("features", "2")
    assert kept[f"{2 * 16:064x}"][0] == 2
    assert f"{0:064x}" not in ArrayCache("features", "0")
    assert read_cached("graphs/key/embedding.onnx") == b"g" * 5000
    assert (cache / "mine.txt").read_text() == "mine"
    assert names(holotype.clean(cache="0")) != []


def test_what_was_used_within_the_hour_stays_in_the_cache(cache: Path) -> None:
    aged(cache / "features", time.time())
    found = holotype.clean(cache="0", yes=True)
    assert names(found) == ["embedding.onnx"]


def test_doctor_says_what_the_cache_holds(cache: Path) -> None:
    (check,) = (check for check in holotype.doctor().checks if check.name == "cache")
    assert "(features 0.0, graphs 0.0)" in check.found


def test_the_command_says_first_and_removes_with_yes(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(tmp_path / "runs" / "bad")
    write_run(tmp_path / "runs" / "good")
    words = ["clean", "runs", "--failed"]
    monkeypatch.setattr(sys, "argv", ["holotype", *words])
    code, out, err = cli(*words)
    assert code == 0
    assert out.startswith("would remove 1 thing, ")
    assert "failed run  runs/bad" in out
    assert err == "Next: holotype clean runs --failed --yes\n"
    found = json.loads(cli(*words, "--yes", "--json")[1])
    assert (found["done"], found["removals"][0]["path"]) == (True, "runs/bad")
    assert cli(*words)[1] == "nothing to remove\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing was named to clean"),
        (["nowhere"], "is no folder"),
        (["runs", "--keep", "-1"], "expected a number of runs"),
        (["runs", "--search-older", "week"], "is no duration"),
        (["--cache", "much"], "is no size"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    words: list[str], message: str, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "runs").mkdir()
    code, out, err = cli("clean", *words)
    assert (code, out) == (2, "")
    assert message in err


def _everything(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.lstat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "registry.db-journal"
    }


def _killed_at(number: int) -> bool:
    """Clean in a process that is killed before it changes a file for this time; whether it was."""
    child = os.fork()
    if child == 0:
        left = [number]

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event in {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            holotype.clean("runs", failed=True, keep=1, cache="15kB", yes=True)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_killed_anywhere_the_next_call_completes(cache: Path, tmp_path: Path) -> None:
    original = tmp_path / "original"
    failed(original / "bad", "bad")
    for name in ("older", "newest"):
        write_run(original / name, "data")
    aged(original / "older")
    outcomes: list[dict[str, int]] = []
    number = 0
    shutil.copytree(cache, tmp_path / "cache-copy")
    while not outcomes or number % 1000:
        number += 1
        for place, source in ((tmp_path / "runs", original), (cache, tmp_path / "cache-copy")):
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(source, place)
        aged(tmp_path / "runs")
        aged(tmp_path / "runs" / "newest", OLD + 1)
        for number_of_shard, shard in enumerate(sorted((cache / "features").iterdir())):
            aged(shard, OLD + number_of_shard)
        aged(cache / "graphs")
        was_killed = _killed_at(number)
        holotype.clean("runs", failed=True, keep=1, cache="15kB", yes=True)
        outcomes.append({**_everything(tmp_path / "runs"), **_everything(cache)})
        if not was_killed:
            break
    assert number > 20
    assert all(outcome == outcomes[-1] for outcome in outcomes)
    assert not any("bad" in name or "older" in name for name in outcomes[-1])
    assert any("newest" in name for name in outcomes[-1])
