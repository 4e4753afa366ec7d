"""How much disk kept activations may take."""

import shutil
from pathlib import Path

import pytest

from holotype.errors import UsageError
from holotype.files import cache_directory
from holotype.training.features.disk_budget import DiskBudget, disk_budget, format_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1234", 1234), ("500MB", 5e8), ("1.5 GB", 1.5e9), ("2t", 2e12), ("10kB", 1e4)],
)
def test_a_size_is_read_as_people_write_it(text: str, size: float) -> None:
    assert disk_budget(text).total_bytes == size


@pytest.mark.parametrize("text", ["much", "-1GB", "5 PB", "1,5GB", "GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="500MB"):
        disk_budget(text)


def test_what_is_said_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOLOTYPE_DISK_BUDGET", raising=False)
    assert disk_budget().total_bytes == 20e9
    monkeypatch.setenv("HOLOTYPE_DISK_BUDGET", "3GB")
    assert disk_budget().total_bytes == 3e9
    assert disk_budget("1GB").total_bytes == 1e9


def test_what_others_have_kept_counts(fresh_cache: Path) -> None:
    file = cache_directory() / "features" / "space" / "x.values.npy"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(600))
    assert DiskBudget(1000).why_too_large(400) == ""
    assert "of which 600 bytes are used" in DiskBudget(1000).why_too_large(401)


def test_a_tenth_of_the_disk_stays_free(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(Path.cwd())._replace(total=1000, free=150)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert DiskBudget().why_too_large(50) == ""
    assert "10 % of the disk" in DiskBudget().why_too_large(51)


def test_sizes_are_shown_as_people_read_them() -> None:
    assert [format_bytes(n) for n in (12, 4600, 460e6, 20e9)] == [
        "12 bytes",
        "4.6 kB",
        "460 MB",
        "20 GB",
    ]
