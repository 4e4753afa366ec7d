"""Sixteen processes at once: no number is missing, no event is lost, and there is one champion."""

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holotype.errors import NotARegistry
from holotype.registry.registry import Registry
from tests.registry.made import write_run
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
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of its own on a socket, which ends with the test."""
    found = [shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    programs = [Path(each).resolve().parent for each in found if each]
    if not programs:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    folder = tmp_path_factory.mktemp("postgresql")
    # The server refuses to run as root; elsewhere it runs as whoever runs the tests.
    user = "postgres" if os.getuid() == 0 else None
    owner = user or getpass.getuser()
    for place in (folder, *folder.parents):
        if place == Path("/tmp"):
            break
        if user:
            place.chmod(place.stat().st_mode | 0o011)
    if user:
        shutil.chown(folder, user)

    def run(program: str, *words: str | Path) -> None:
        command = [programs[-1] / program, *words]
        subprocess.run(command, check=True, user=user, cwd=folder, capture_output=True, timeout=120)

    data = folder / "data"
    run("initdb", "-D", data, "-A", "trust", "-U", owner)
    settings = f"-c listen_addresses= -c unix_socket_directories={folder}"
    run("pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", settings, "start")
    try:
        yield f"postgresql://{owner}@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sixteen_processes_on_postgresql(postgresql: str, tmp_path: Path) -> None:
    with pytest.raises(NotARegistry, match="holotype registry add"):
        Registry(postgresql, files=tmp_path).list()
    files = tmp_path / "files"
    work_at_once(postgresql, files, write_run(tmp_path / "run"), tmp_path, ALL)
