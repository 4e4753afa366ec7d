"""A directory of results stands in its place whole, or not at all."""

import os
from pathlib import Path

import pytest

from holotype.dataset.atomic_directory import staged_directory
from holotype.errors import UsageError


@pytest.mark.parametrize("replace", [False, True])
def test_a_link_to_a_folder_stays_and_leads_to_what_was_written(
    tmp_path: Path, replace: bool
) -> None:
    (tmp_path / "disk" / "empty").mkdir(parents=True)
    (tmp_path / "out").symlink_to("disk/empty")
    with staged_directory(tmp_path / "out", replace=replace) as directory:
        (directory / "x").write_text("1")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "empty" / "x").read_text() == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "out"]


def test_a_mounted_file_system_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path)
    with pytest.raises(UsageError, match="name a folder within it"), staged_directory(tmp_path):
        pytest.fail("the work began")
