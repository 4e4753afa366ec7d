"""`holotype ensemble` on the command line: what it prints, and what it refuses in one line."""

import json
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.ensembles.runs import make_run, split_shapes, write_scores_only


@pytest.fixture(scope="module")
def runs(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, index = tmp_path_factory.mktemp("runs"), split_shapes(synthetic)
    return [
        make_run(folder / name, index, side=side, seed=side, learns=False).path
        for name, side in (("a", 32), ("b", 48))
    ]


def test_it_says_what_was_made_whether_it_is_worth_it_and_what_comes_next(
    cli: Cli, runs: list[Path], tmp_path: Path
) -> None:
    code, out, err = cli("ensemble", *runs, "--output", tmp_path / "both")
    assert code == 0, err
    said = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert said["run"] == str(tmp_path / "both")
    assert Path(said["report"]).is_file()
    assert said["comparison"].startswith(("Recommended", "Not recommended"))
    assert "log loss" in said["difference"]
    assert "points" in said["difference"]
    taken = runs if said["comparison"].startswith("Not") else [tmp_path / "both"]
    assert any(f"Next: holotype predict {path} IMAGE" in err for path in taken)


def test_json_is_one_object_and_nothing_else(
    cli: Cli, runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holotype.pipeline.ensemble_report._write_report", write_scores_only)
    words = ["ensemble", *runs, "--output", tmp_path / "both", "--method", "greedy", "--json"]
    code, out, _ = cli(*words)
    told = json.loads(out)
    assert code == 0
    assert told["recipe"]["method"] == "greedy"
    assert isinstance(told["comparison"]["recommended"], bool)
    assert Path(told["bundle"]).is_dir()


def test_mistakes_cost_one_line(cli: Cli, runs: list[Path], tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "something").write_text("here")
    cases: list[tuple[int, list[object]]] = [
        (2, []),
        (2, [runs[0]]),
        (2, [*runs, "--method", "magic"]),
        (1, [runs[0], tmp_path / "nothing"]),
        (1, [runs[0], f"{runs[0]}@frozen"]),
        (1, [*runs, "--output", full]),
    ]
    for expected, words in cases:
        if "--output" not in words:
            words = [*words, "--output", tmp_path / "none"]
        code, out, err = cli("ensemble", *words)
        assert (code, out, len(err.splitlines())) == (expected, "", 1), err
    assert not (tmp_path / "none").exists()
