"""Ten thousand versions: the command answers in less than a second."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holotype.registry.alias_moves import insert_version
from holotype.registry.database import Database
from holotype.registry.registry import Registry
from tests.registry.made import write_run

VERSIONS = 10_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of 10,000 versions of one name, each with the columns of a real one."""
    folder = tmp_path_factory.mktemp("large")
    place = folder / "registry"
    registry = Registry(place)
    registry.add(write_run(folder / "run"), name="cells")
    registry.promote("cells", 1)
    registry.close()
    with Database(str(place)).writing() as connection:
        row = connection.row("SELECT * FROM holotype_versions")
        assert row is not None
        given = {"name", "version", "at", "who", "reason"}
        columns = {key: value for key, value in row.items() if key not in given}
        for _ in range(VERSIONS - 1):
            insert_version(connection, "cells", columns, who="ana", reason="")
    return place


@pytest.mark.parametrize("words", [["list"], ["show", "cells"], ["show", "cells/5000"]])
def test_the_command_answers_in_less_than_a_second(
    words: list[str], large: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "from holotype.cli.app import main; main()"
    command = [sys.executable, "-c", script, "registry", *words, "--registry", large]
    # With compiled modules, as any installation has them after its first call.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(large.parent / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    seconds = []
    for _ in range(3):
        before = _processor_seconds()
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        seconds.append(_processor_seconds() - before)
    with capsys.disabled():
        print(f"\nregistry {' '.join(words)} of {VERSIONS:,} versions: {min(seconds):.2f} s")
    assert "cells" in done.stdout
    assert min(seconds) < 1.0


def _processor_seconds() -> float:
    """Of all processes that have ended; on a machine of its own, a command takes as long."""
    times = os.times()
    return times.children_user + times.children_system
