"""`holotype audit`: the exit code says whether there is something to look at."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from holotype.cli.app import run


@pytest.fixture
def clean(synthetic: Path, tmp_path: Path) -> Path:
    """Class folders with nothing else beside them."""
    folder = tmp_path / "my pictures"
    shutil.copytree(synthetic, folder, ignore=shutil.ignore_patterns(".*", "*.csv"))
    return folder


@pytest.fixture
def doubled(clean: Path) -> Path:
    """The same, one picture twice under another name, and an empty file."""
    first = min(clean.glob("*/*.png"))
    shutil.copy(first, first.with_name("copy.png"))
    first.with_name("empty.png").touch()
    return clean


def test_clean_data_ends_with_exit_code_0(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(clean)]) == 0
    page = capsys.readouterr().out
    assert "120 pictures of 3 classes" in page
    assert page.splitlines()[-1] == "nothing found"


def test_findings_end_with_exit_code_1_and_the_next_command(
    doubled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", str(doubled)]) == 1
    assert f"holotype audit '{doubled}' --output audit" in capsys.readouterr().err


def test_json_is_all_that_standard_output_gets(
    doubled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", str(doubled), "--json", "--output", str(tmp_path / "audit")]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "audit" / "audit.json").read_text("utf-8")) == printed


def test_issues_name_the_pictures_with_a_problem_and_only_those(
    doubled: Path, tmp_path: Path
) -> None:
    before = sorted(path.name for path in doubled.rglob("*"))
    assert run(["audit", str(doubled), "--output", str(tmp_path / "audit")]) == 1
    with (tmp_path / "audit" / "issues.csv").open(newline="", encoding="utf-8") as file:
        issues = {Path(row["path"]).name: row for row in csv.DictReader(file)}
    assert "empty.png" in issues
    assert {"copy.png", "0000.png"} & set(issues)
    assert len(issues) <= 3
    assert sorted(path.name for path in doubled.rglob("*")) == before
