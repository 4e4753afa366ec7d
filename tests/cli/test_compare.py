"""`holotype compare`: a leaderboard on the terminal, or one line that says what is wrong."""

import json
from pathlib import Path

import pytest

from holotype.cli.app import run
from tests.comparison.made import write_class_folders, write_run


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are drawn in tests/comparison/test_comparison_page.py, and take a second each time."""
    monkeypatch.setattr("holotype.comparison.comparison_figures.all_figures", lambda comparison: {})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    data = write_class_folders(tmp_path_factory.mktemp("data") / "noise")
    for seed in range(2):
        write_run(folder / f"noise-{seed}", data, seed=seed)
    return folder


QUICK = ["--speed-images", "0"]


def test_the_leaderboards_and_the_choice_are_printed(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", str(runs), "--output", str(tmp_path), "--select", "best, then smallest"]
    assert run([*words, *QUICK]) == 0
    said = capsys.readouterr().out
    assert said.index("Test, ") < said.index("Validation, ")
    assert said.count("noise-0") >= 2
    assert "Selected on validation by “best, then smallest”" in said
    assert str(tmp_path / "index.html") in said


def test_json_is_the_whole_comparison(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", str(runs), "--output", str(tmp_path), "--json", *QUICK]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads((tmp_path / "comparison.json").read_text())


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "RUNS"),
        (["nowhere", "--output", "x"], 1, "'nowhere' does not exist"),
        (["RUNS", "--select", "fastest"], 2, "within 1 point of the best, then fastest"),
        (["RUNS", "--recall-gap", "15"], 2, "--recall-gap is 15"),
        (["RUNS", "--speed-images", "-1"], 2, "--speed-images is -1"),
    ],
)
def test_a_mistake_costs_one_line(
    runs: Path, words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *(word.replace("RUNS", str(runs)) for word in words)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert says in captured.err
    assert not (runs / "_comparison").exists()
