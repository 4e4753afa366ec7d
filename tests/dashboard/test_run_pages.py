"""The pages of runs, read and used as a browser without scripts does."""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import holotype
from holotype.dashboard_pages.runs import one_run_pages, run_pages, start_pages
from holotype.dashboard_pages.runs.run_tags import read_tags
from holotype.dashboard_pages.runs.start_command import command_line, train_words
from holotype.errors import HolotypeError, UsageError
from holotype.evaluation.report_data import read_report
from holotype.files import sha256_of, write_json
from holotype.run_directory import RunDirectory
from holotype.search.trial_record import TrialRecord
from holotype.search_directory import SearchDirectory
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.finetuning.history import history_writer, write_history
from tests.dashboard.browsing import Visit, open_dashboard
from tests.dashboard.made_runs import make_index, make_run
from tests.registry.made import write_run

CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def folder(visit: Visit) -> Path:
    folder = Path(visit.app.state.dashboard.folder)
    index = make_index(folder / "images", CLASSES, 240)
    make_run(folder / "one", index, seed=1, wrong=0.1)
    make_run(folder / "two", index, seed=2, wrong=0.1)
    make_run(folder / "bad", index, seed=3, wrong=0.9)
    return folder


def test_the_table_has_the_numbers_of_the_files(visit: Visit, folder: Path) -> None:
    page = visit.get("/dashboard/runs/")
    assert "3 of 3" in page.text
    for name in ("one", "two", "bad"):
        accuracy = read_report(folder / name / "report" / "metrics.json")["accuracy"]
        row = re.search(rf"<tr><td>[^\n]*Compare {name}.*?</tr>", visit.answer.text, re.DOTALL)
        assert row is not None
        assert f">{accuracy.value:.3f}<" in row[0]
        assert f">{accuracy.low:.3f} – {accuracy.high:.3f}<" in row[0]
    page = visit.get("/dashboard/runs/?order=accuracy")
    order = re.findall(r'"Compare (\w+)"', visit.answer.text)
    assert order[-1] == "bad"
    assert "1 of 3" in visit.get("/dashboard/runs/?words=TWO").text


def test_runs_of_the_registry_are_called_by_name_and_version(
    visit: Visit, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLOTYPE_REGISTRY", str(folder / "registry"))
    registry = holotype.Registry()
    made = [write_run(tmp_path / name, name) for name in ("first", "second")]
    digests = [registry.add(run, name="cells").record_sha256 for run in made]
    registry.close()
    for address in ("runs/", "data/"):
        page = visit.get(f"/dashboard/{address}")
        assert "cells/1" in page.text
        assert "cells/2" in page.text
        assert not any(digest in page.text for digest in digests)
    visit.get(f"/dashboard/runs/run?run=registry/runs/{digests[1]}")
    assert "<h1>cells/2</h1>" in visit.answer.text
    style = (Path(run_pages.__file__).parents[1] / "static" / "data.css").read_text()
    rules = re.findall(r"\.runs td\.text {.*", style)
    assert "overflow-wrap: break-word" in rules[0]  # `anywhere` makes columns narrower than a word
    monkeypatch.setenv("HOLOTYPE_REGISTRY", str(tmp_path / "another"))
    assert f"registry/runs/{digests[0][:12]}… finished" in visit.get("/dashboard/runs/").text


def test_a_run_shows_the_scores_of_its_report(visit: Visit, folder: Path) -> None:
    page = visit.get("/dashboard/runs/run?run=one")
    report = read_report(folder / "one" / "report" / "metrics.json")
    for name, estimate in report.metrics.items():
        said = f"{name.replace('_', ' ')} {estimate.value:.3f} {estimate.low:.3f} – "
        assert said + f"{estimate.high:.3f}" in page.text
    assert "finished" in page.text
    assert f"{report.per_class[0].recall.value:.3f}" in page.text


def test_curves_are_those_of_the_history_and_stand_in_a_table(visit: Visit, folder: Path) -> None:
    rows = [EpochMetrics("finetune", n, 1 / (n + 1), 0.5, 0.25 * n, 1e-3, 9) for n in range(3)]
    write_history(rows, folder / "one" / "history.csv")
    page = visit.get("/dashboard/runs/run?run=one")
    (curves,) = [found for _, found in page.tags if "data-epochs" in found]
    assert '"val_accuracy": 0.5' in str(curves["data-epochs"])
    assert "finetune 2 0.333 0.500 – 0.500 0.001" in page.text


def test_tags_take_the_right_to_review(visit_with_keys: Callable[..., Visit]) -> None:
    visit = visit_with_keys()
    folder = Path(visit.app.state.dashboard.folder)
    run = make_run(folder / "one", make_index(folder, CLASSES, 24))
    visit.login("look", name="eve")
    visit.get("/dashboard/runs/run?run=one")
    visit.post("/dashboard/runs/tags?run=one", {"csrf": visit.token, "tags": "x"})
    assert (visit.status, read_tags(run)) == (403, ())
    visit.submit("logout")
    visit.login("review", name="ada")
    visit.get("/dashboard/runs/run?run=one")
    visit.submit("tags?run=one", tags="good, <b>bold</b>")
    assert read_tags(run) == ("<b>bold</b>", "good")
    visit.get("/dashboard/runs/?tag=good")
    assert "1 of 1" in visit.page.text
    assert "&lt;b&gt;bold" in visit.answer.text


def test_the_leaderboard_is_that_of_compare(
    visit: Visit, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_pages, "WAIT_S", 120)
    page = visit.get("/dashboard/runs/leaderboard?run=one&run=two&run=bad")
    runs = [folder / name for name in ("one", "two", "bad")]
    expected = holotype.compare(runs, speed_images=0)
    for board in expected.leaderboards.values():
        assert board.summary() in page.text
        for number, name in enumerate(board.names):
            accuracy = board.accuracies[number]
            assert (
                f"{board.rank_text(number)} {name} {accuracy.value:.3f} "
                f"{accuracy.low:.3f} – {accuracy.high:.3f}"
            ) in page.text
    assert {file.name for file in folder.iterdir()} == {"one", "two", "bad"}  # nothing is written


def test_runs_that_cannot_be_compared_say_why(
    visit: Visit, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_pages, "WAIT_S", 120)
    make_run(folder / "other", make_index(folder / "images", ("x", "y"), 80))
    page = visit.get("/dashboard/runs/leaderboard?run=one&run=other")
    assert visit.status == 200
    assert any("class" in str(found) and "error" in str(found) for _, found in page.tags)
    visit.get("/dashboard/runs/leaderboard")
    assert visit.status == 422


@pytest.mark.parametrize("page", ["run", "search", "sweep", "leaderboard"])
@pytest.mark.parametrize("run", ["..", "../..", "/etc", "nothing", "one/../../x", "%00", "x" * 999])
def test_nothing_outside_of_the_folder_is_shown(
    visit: Visit, folder: Path, page: str, run: str
) -> None:
    (folder.parent / "recipe.yaml").write_text("name: x\n")
    visit.get(f"/dashboard/runs/{page}?run={run}")
    assert visit.status == 422


def test_a_search_shows_its_trials(visit: Visit, folder: Path) -> None:
    search = SearchDirectory(folder / "search")
    write_json(search.settings, {"name": "photos", "base": {"model": "hog"}})
    records = [
        TrialRecord(0, "complete", {}, 0.8, 0.5, seconds=2.0),
        TrialRecord(1, "complete", {"stages.0.l2": 0.01}, 0.9, 0.4, seconds=2.0),
        TrialRecord(2, "pruned", {"stages.0.l2": 10.0}, reason="worse than the median"),
    ]
    for record in records:
        search.trial(record.number).path.mkdir(parents=True)
        record.write(search.trial(record.number))
    search.trial(3).path.mkdir()
    page = visit.get("/dashboard/runs/search?run=search")
    assert "4 trials: 2 complete, 1 pruned, 1 stopped" in page.text
    assert "trial 1, accuracy 0.900" in page.text
    assert "stages.0.l2 0.01" in page.text
    assert "worse than the median" in page.text


def test_a_new_search_shows_no_trial_of_a_removed_one(visit: Visit, folder: Path) -> None:
    search = SearchDirectory(folder / "search")
    for expected in (" 0 complete 0.800 ", " 0 stopped "):
        write_json(search.settings, {"name": "photos", "base": {"model": "hog"}})
        search.trial(0).path.mkdir(parents=True)
        if "complete" in expected:
            TrialRecord(0, "complete", {}, 0.8, 0.5).write(search.trial(0))
        assert expected in visit.get("/dashboard/runs/search?run=search").text
        shutil.rmtree(search.path)


def test_a_sweep_shows_what_waits_and_what_is_done(visit: Visit, folder: Path) -> None:
    plan = {"data": ["x"], "recipes": ["linear"], "models": ["hog", "lbp"], "seeds": [0]}
    write_json(folder / "sweep" / "sweep.json", plan)
    page = visit.get("/dashboard/runs/sweep?run=sweep")
    assert "2 runs: 2 waiting" in page.text
    (name,) = [word for word in page.text.split() if word.startswith("x/") and "hog" in word]
    run = make_run(folder / "sweep" / name, make_index(folder / "images", CLASSES, 24))
    page = visit.get("/dashboard/runs/sweep?run=sweep")
    accuracy = read_report(run / "report" / "metrics.json")["accuracy"]
    assert "1 finished, 1 waiting" in page.text
    assert f"{accuracy.value:.3f} {accuracy.low:.3f} – {accuracy.high:.3f} test" in page.text


HOLD = """
import signal, sys
from pathlib import Path
from holotype.run_directory import RunDirectory
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
with RunDirectory(Path(sys.argv[1])).lock():
    print("held", flush=True)
    signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/locks")
def test_the_stop_button_stops_the_training_and_takes_the_right(
    visit_with_keys: Callable[..., Visit],
) -> None:
    visit = visit_with_keys()
    folder = Path(visit.app.state.dashboard.folder)
    run = make_run(folder / "one", make_index(folder, CLASSES, 24))
    process = subprocess.Popen([sys.executable, "-c", HOLD, run], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"held\n"
        visit.login("review", name="eve")
        page = visit.get("/dashboard/runs/run?run=one")
        assert f"training by process {process.pid}" in page.text
        visit.post("/dashboard/runs/stop?run=one", {"csrf": visit.token})
        assert (visit.status, process.poll()) == (403, None)
        visit.submit("logout")
        visit.login("promote", name="ada")
        visit.get("/dashboard/runs/run?run=one")
        visit.submit("stop?run=one&kind=run")
        assert process.wait(timeout=20) == 7
        assert "training by process" not in visit.get("/dashboard/runs/run?run=one").text
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/locks")
def test_a_training_tells_of_every_epoch_and_of_its_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_run_pages, "LOOK_S", 0.01)
    run = folder / "one"
    add = history_writer(run / "history.csv")

    async def watch() -> list[str]:
        told = []
        changes = one_run_pages.changes(run, "run")
        with RunDirectory(run).lock():
            for epoch in range(3):
                coming = asyncio.ensure_future(anext(changes))
                await asyncio.sleep(0.1)
                assert not coming.done()  # nothing has moved
                add(EpochMetrics("finetune", epoch, 1.0, 1.0, 0.5, 0.001, 10))
                told.append((await coming)[0])
        return [*told, *[name async for name, _ in changes]]

    assert asyncio.run(asyncio.wait_for(watch(), 60)) == ["changed"] * 3


def test_changes_end_where_nobody_trains(visit: Visit, folder: Path) -> None:
    answer = visit.client.get("/dashboard/runs/changes?run=one&kind=run")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "event: end" in answer.text


def test_the_form_writes_the_command_line(synthetic: Path, tmp_path: Path) -> None:
    fields = {
        "data": str(synthetic), "name": "mine", "recipe": "linear", "model": "hog", "seed": "3",
        "image_size": "32", "settings": "split_seed=7\n\n bits=8 ",
    }  # fmt: skip
    words = train_words(fields, tmp_path)
    assert command_line(words) == (
        f"holotype train {synthetic} --output {tmp_path}/mine --recipe linear --model hog "
        "--seed 3 --image-size 32 --set split_seed=7 --set bits=8"
    )
    assert shlex.split(command_line(words))[1:] == words


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": ""}, "the data is ''"),
        ({"data": "--help"}, "the data is '--help'"),
        ({"name": "../x"}, "cannot be the name"),
        ({"name": "--resume"}, "cannot be the name"),
        ({"recipe": "--help"}, "no recipe"),
        ({"recipe": "/etc/passwd"}, "no recipe"),
        ({"seed": "1; rm -rf /"}, "whole number"),
        ({"model": "evil.py:build"}, "runs that file|no such|cannot"),
        ({"settings": "model=evil.py:build"}, "runs that file|no such|cannot"),
        ({"settings": "--track mlflow=x"}, "no setting"),
        ({"settings": "nothing.at.all=1"}, "nothing"),
        ({"model": "no_such_network"}, "no_such_network"),
    ],
)
def test_what_cannot_be_meant_or_would_run_a_file_is_refused(
    synthetic: Path, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    fields = {"data": str(synthetic), "recipe": "linear", "model": "hog"}
    with pytest.raises(HolotypeError, match=said):
        train_words({**fields, **changes}, tmp_path)


@pytest.mark.parametrize("section", ["runs", "data"])
def test_a_name_that_is_no_unicode_takes_no_page_from_others(
    visit: Visit, folder: Path, section: str
) -> None:
    odd = folder / os.fsdecode(b"odd-\xff")
    write_json(odd / "audit.json", {"num_images": 1})
    page = visit.get(f"/dashboard/{section}/")
    assert visit.status == 200
    assert "odd-" in page.text
    assert "one" in page.text


def test_a_command_that_was_not_shown_is_not_started(
    visit: Visit, folder: Path, synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(start_pages, "start_training", lambda *args: started.append(args))
    visit.get(f"/dashboard/runs/start?data={synthetic}&model=hog&recipe=linear&name=new")
    form = next(one for one in visit.page.forms if one.get("method") == "post")
    assert f"holotype train {synthetic}" in visit.page.text
    visit.post("", {**form["fields"], "seed": "9"})
    assert visit.status == 422
    assert "another one than was shown" in visit.page.text
    assert started == []


@pytest.mark.parametrize("named", ["link", "other/../real"])
def test_the_command_that_was_shown_is_started_however_the_folder_is_named(
    named: str, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("real", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("real")
    visit = open_dashboard(tmp_path / named)
    started: list[object] = []
    monkeypatch.setattr(start_pages, "start_training", lambda *args: started.append(args))
    visit.get(f"/dashboard/runs/start?data={synthetic}&model=hog&recipe=linear&name=new")
    form = next(one for one in visit.page.forms if one.get("method") == "post")
    visit.post("", {**form["fields"], "settings": ""}, follow_redirects=False)
    assert (visit.status, len(started)) == (303, 1), visit.page.text


@pytest.mark.slow
def test_a_training_from_the_form_is_bit_for_bit_that_of_the_command(
    visit: Visit, synthetic: Path, tmp_path: Path
) -> None:
    folder = Path(visit.app.state.dashboard.folder)
    visit.get(
        f"/dashboard/runs/start?data={synthetic}&model=hog&recipe=linear&image_size=32&name=new"
    )
    command = re.search(r'<pre tabindex="0" id="command">(.*?)</pre>', visit.answer.text)
    assert command is not None
    form = next(one for one in visit.page.forms if one.get("method") == "post")
    visit.post("", {**form["fields"], "settings": ""})
    (started,) = visit.app.state.dashboard.kept["started"]
    assert started.process.wait(timeout=300) == 0, started.last_words()
    first = {path.relative_to(folder): sha256_of(path) for path in result_files(folder / "new")}
    RunDirectory(folder / "new").path.rename(tmp_path / "kept")
    words = [sys.executable, "-m", *shlex.split(command[1])]
    subprocess.run(words, check=True, capture_output=True)
    second = {path.relative_to(folder): sha256_of(path) for path in result_files(folder / "new")}
    assert first == second
    assert len(first) > 8


def result_files(run: Path) -> list[Path]:
    """Everything but times, and what says them."""
    names = ("environment.json", "train.log", ".lock", "MODEL_CARD.md")
    return [
        path
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in names and path.parent.name != "report"
    ] + [run / "report" / "metrics.json"]


def test_starting_takes_the_right(visit_with_keys: Callable[..., Visit], synthetic: Path) -> None:
    visit = visit_with_keys()
    visit.login("review", name="eve")
    page = visit.get(f"/dashboard/runs/start?data={synthetic}&model=hog&recipe=linear&name=new")
    assert "takes a key with the right" in page.text
    visit.post("/dashboard/runs/start", {"csrf": visit.token, "data": str(synthetic)})
    assert visit.status == 403


def test_a_folder_that_is_no_run_is_no_place(tmp_path: Path, synthetic: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(UsageError, match="there already"):
        train_words({"data": str(synthetic), "name": "taken"}, tmp_path)


def test_hostile_names_of_runs_are_shown_and_do_nothing(visit: Visit) -> None:
    folder = Path(visit.app.state.dashboard.folder)
    hostile = ('<script>alert(1)</script>'.replace("/", "_"), "\u202egnp", "a\x1b[31m", "' onx='",
               "{{7*7}}", '"><img src=x>')  # fmt: skip
    index = make_index(folder / "images", CLASSES, 24)
    for name in hostile:
        make_run(folder / name, index)
    page = visit.get("/dashboard/runs/")
    assert "6 of 6" in page.text
    assert "\\u202egnp" in page.text
    assert "\\x1b[31m" in page.text
    links = [link for link in page.links if "runs/run?" in link or link.startswith("run?")]
    assert len(links) == 6
    for link in links:
        visit.get("/dashboard/runs/")
        page = visit.get(link)
        assert visit.status == 200
        assert all("src" in found for tag, found in page.tags if tag == "script")
        assert not any(name.startswith("on") for _, found in page.tags for name in found)
        assert "\u202e" not in visit.answer.text
        assert "\x1b" not in visit.answer.text
