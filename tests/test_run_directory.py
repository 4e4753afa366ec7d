"""The run directory: what is in the way of a new run, and what is not."""

from pathlib import Path

import pytest

from holotype.errors import RunExists, RunLocked
from holotype.run_directory import RunDirectory


def test_what_a_refusal_left_behind_is_free_again(tmp_path: Path) -> None:
    run = RunDirectory.new(tmp_path / "run")
    with pytest.raises(ZeroDivisionError), run.create():
        1 / 0  # noqa: B018
    assert run.path.is_dir()
    with RunDirectory.new(run.path).create():
        run.write_recipe("name: linear")
    with pytest.raises(RunExists, match="already holds something"):
        RunDirectory.new(run.path)


def test_what_another_process_has_just_begun_is_not_taken_from_it(tmp_path: Path) -> None:
    run = RunDirectory.new(tmp_path / "run")
    with run.create(), pytest.raises(RunLocked), RunDirectory.new(run.path).create():
        pass


def test_any_file_of_the_users_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".hidden").touch()
    with pytest.raises(RunExists):
        RunDirectory.new(tmp_path)
