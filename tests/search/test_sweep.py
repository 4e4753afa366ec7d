"""A sweep runs each with each, goes on after a kill, and recommends a run for every data set."""

import io
import json
import shutil
from pathlib import Path

import pytest
import yaml

from holotype.errors import HolotypeError, RunMismatch, UsageError
from holotype.executors.job_sheet import JobResult
from holotype.files import write_json
from holotype.search.sweeping import sweep as sweep_module
from holotype.search.sweeping.run_table import RunRow, _Board
from holotype.search.sweeping.sweep import SweepRequest, estimate_sweep, sweep
from holotype.search.sweeping.sweep_plan import combine_plan, make_plan, only, planned_runs
from tests.conftest import Cli

QUICK = {"image_size": 32}


def test_runs_are_named_after_what_sets_them_apart(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("stages: []\nvariants: {small: {}, large: {}}")
    plan = make_plan(
        {
            "data": ["a/pets", "b/pets"],
            "recipes": [f"{file}#small", "linear"],
            "models": ["timm:x/y"],
            "seeds": [0, 1],
        }
    )
    runs = planned_runs(plan)
    assert [run.full_name for run in runs[:3]] == [
        "a-pets/small-timm-x-y-seed0", "a-pets/small-timm-x-y-seed1", "a-pets/linear-timm-x-y-seed0"
    ]  # fmt: skip
    assert len({run.full_name for run in runs}) == 8
    assert [run.name for run in only(runs, "b-*linear*")] == [
        "linear-timm-x-y-seed0", "linear-timm-x-y-seed1"
    ]  # fmt: skip
    with pytest.raises(UsageError, match="fits none of 8"):
        only(runs, "cats")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data": []}, "data"),
        ({"data": ["a"], "recipe": ["linear"]}, "did you mean 'recipes'"),
        ({"data": ["a"], "seeds": ["one"]}, "seeds.0"),
        ({"data": ["a", "a"]}, "named twice"),
    ],
)
def test_a_wrong_plan_is_one_clear_line(fields: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        planned_runs(make_plan(fields))


def test_what_is_said_replaces_or_completes_what_a_file_says(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("models: [lbp]\nseeds: [1]\n")
    found = combine_plan(file, {"data": ["pets"], "models": ["hog"], "recipes": ()})
    assert (found.data, found.models, found.seeds) == (("pets",), ("hog",), (1,))
    with pytest.raises(UsageError, match="no data was named"):
        combine_plan(file, {"data": ()})
    file.write_text("data: [pets]\nmodel: hog\n")
    with pytest.raises(UsageError, match=r"plan\.yaml: model: unknown key"):
        combine_plan(file, {})


def test_what_cannot_be_trained_is_refused_before_anything_is(
    two_sets: list[Path], tmp_path: Path
) -> None:
    for fields, said in (
        ({"data": [str(two_sets[0]), "nowhere"], "models": ["lbp"]}, "'nowhere' does not exist"),
        ({"data": [str(two_sets[0])], "recipes": ["linear", "lineer"]}, "did you mean 'linear'"),
        ({"data": [str(two_sets[0])], "models": ["lbp"], "recipes": ["finetune"]}, "descriptors"),
    ):
        with pytest.raises(HolotypeError, match=said):
            sweep(fields, output=tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


def test_one_failure_stops_nothing_and_only_the_missing_is_run_again(
    two_sets: list[Path], tmp_path: Path, cli: Cli
) -> None:
    """A data set of one class fails; once it is mended, only its run is trained."""
    broken = shutil.copytree(two_sets[1], tmp_path / "broken")
    hidden = min(path for path in broken.glob("[!.]*") if path.is_dir())
    hidden.rename(tmp_path / hidden.name)
    plan = {"data": [str(two_sets[0]), str(broken)], "recipes": ["linear"], "models": ["lbp"],
            "settings": QUICK}  # fmt: skip
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    assert combine_plan(tmp_path / "plan.yaml", {}).data == tuple(plan["data"])
    words = ["sweep", tmp_path / "plan.yaml", "--output", tmp_path / "out", "--jobs", 2]
    code, out, err = cli(*words)
    assert code == 1
    assert "one class only" in out
    assert "1 of 2 runs failed" in err
    log = tmp_path / "out" / "_logs" / "broken-linear-lbp.log"
    assert "one class only" in log.read_text()
    first = tmp_path / "out" / "circles" / "linear-lbp"
    before = (first / "report" / "index.html").stat().st_mtime_ns
    (tmp_path / hidden.name).rename(hidden)
    code, out, err = cli(*words, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert {row["state"] for row in found["runs"]} == {"done"}
    assert (first / "report" / "index.html").stat().st_mtime_ns == before
    selections = json.loads((tmp_path / "out" / "selection.json").read_text())["selections"]
    assert [one["bundle"] for one in selections] == [
        "circles/linear-lbp/bundle", "broken/linear-lbp/bundle"
    ]  # fmt: skip
    assert set(found["recommended"]) == {"circles", "broken"}
    code, out, _ = cli(*words, "--dry-run")
    assert "every run is finished already" in out


def test_a_finished_run_of_something_else_is_not_taken_for_what_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "is_finished", lambda run: run.recipe.is_file())
    for name in ("a/pets", "b/pets"):
        (tmp_path / name).mkdir(parents=True)
    out = tmp_path / "out"
    plan = make_plan({"data": [str(tmp_path / "a" / "pets")], "models": ["lbp"],
                      "recipes": ["linear"], "settings": QUICK})  # fmt: skip
    (run,) = planned_runs(plan)
    run.directory(out).path.mkdir(parents=True)
    recipe = run.request(plan.settings).resolve_recipe()
    run.directory(out).write_recipe(recipe.with_bits(8).to_yaml())
    write_json(out / "sweep.json", plan.model_dump(mode="json"))
    fields = plan.model_dump()
    for changes, said in (
        ({"settings": {"image_size": 64}}, "image_size: 32 then, 64 now"),
        ({"data": [str(tmp_path / "b" / "pets")]}, "was trained on .*a/pets"),
        ({"tune": 3}, "trained with --tune 0, not 3"),
    ):
        with pytest.raises(RunMismatch, match=said):
            sweep({**fields, **changes}, output=out)
    assert estimate_sweep(SweepRequest(plan=plan, output=out)).seconds == {}


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    from rich.console import Console

    rows = [RunRow(f"data/{'long-name-' * 6}{n}", "waiting") for n in range(30)]
    board = _Board(rows, [row.name for row in rows])
    lines = board.take(
        [JobResult("running"), JobResult("done", 61), JobResult("failed", 3, "no \x1b[31m luck")]
        + [JobResult()] * 27
    )
    assert len(lines) == 3
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(board.table(80))
    text = console.export_text().splitlines()
    assert max(map(len, text)) <= 80
    assert any("1 min 1 s" in line for line in text)
    assert any("10 more" in line for line in text)
    assert not any("\x1b" in line for line in text)
