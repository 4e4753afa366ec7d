"""The run directory: what is in the way of a new run, and what is not."""

from pathlib import Path

import pytest

from holotype.errors import RunExists, RunLocked, UsageError
from holotype.files import TEMPORARY_PREFIX
from holotype.run_directory import RunDirectory, claim_run


def test_a_refusal_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunDirectory.claim(tmp_path / "runs" / "one"):
        1 / 0  # noqa: B018
    assert not (tmp_path / "runs").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZeroDivisionError), RunDirectory.claim(tmp_path / "empty"):
        1 / 0  # noqa: B018
    assert list((tmp_path / "empty").iterdir()) == []


def test_what_was_begun_is_not_overwritten_but_gone_on_with(tmp_path: Path) -> None:
    with RunDirectory.claim(tmp_path / "run") as run:
        run.write_recipe("name: linear")
    with pytest.raises(RunExists, match="already holds something"), RunDirectory.claim(run.path):
        pass
    with RunDirectory.claim(run.path, lambda found: found.recipe.is_file()) as again:
        assert again.recipe.read_text() == "name: linear"


def test_what_another_process_has_just_begun_is_not_taken_from_it(tmp_path: Path) -> None:
    with (
        RunDirectory.claim(tmp_path / "run") as run,
        pytest.raises(RunLocked),
        RunDirectory.claim(run.path),
    ):
        pass


def test_a_run_that_was_killed_as_it_began_is_free(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    leftover = tmp_path / f"{TEMPORARY_PREFIX}0123.yaml"
    leftover.write_text("name: lin")
    with RunDirectory.claim(tmp_path):
        assert not leftover.exists()


def test_any_file_of_the_users_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    with pytest.raises(RunExists), RunDirectory.claim(tmp_path):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == [".hidden"]
    with pytest.raises(UsageError, match="is a file"), RunDirectory.claim(tmp_path / ".hidden"):
        pass


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match="lies below"),
        RunDirectory.claim(tmp_path / "file" / "run"),
    ):
        pass


def test_a_default_name_that_is_taken_meanwhile_becomes_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with claim_run(None, "photos") as first, claim_run(None, "photos") as second:
        assert [first.path.name, second.path.name] == ["photos-1", "photos-2"]
