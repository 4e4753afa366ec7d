"""Sixteen processes at once: no number is missing, no event is lost, and there is one champion."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from holotype.errors import NotARegistry
from holotype.registry.registry import Registry
from tests.registry.made import write_run
from tests.registry.postgresql_server import postgresql_server, programs
from tests.registry.promoters import work_at_once

ALL = (16, 25, 50)  # processes, registrations, promotions


def test_few_processes_on_sqlite(tmp_path: Path) -> None:
    place = tmp_path / "registry"
    work_at_once(str(place), place, write_run(tmp_path / "run"), tmp_path, (3, 3, 5))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sixteen_processes_on_sqlite(tmp_path: Path) -> None:
    place = tmp_path / "registry"
    work_at_once(str(place), place, write_run(tmp_path / "run"), tmp_path, ALL)


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The URL of a server of its own, which ends with the test."""
    if not programs():
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    with postgresql_server() as url:
        yield url


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sixteen_processes_on_postgresql(postgresql: str, tmp_path: Path) -> None:
    with pytest.raises(NotARegistry, match="holotype registry add"):
        Registry(postgresql, files=tmp_path).list()
    files = tmp_path / "files"
    work_at_once(postgresql, files, write_run(tmp_path / "run"), tmp_path, ALL)
