"""A process that is killed at any write leaves the old state of the registry or the new one."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

import holotype
from holotype.registry.registry import Registry
from tests.registry.made import write_run

WRITES = {"os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "shutil.copyfile"}
# System calls that write.
CALLS = (
    *("write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename"),
    *("unlink", "unlinkat", "mkdir", "rmdir", "symlink"),
)

Action = Callable[[Registry, Path], object]


def add(registry: Registry, folder: Path) -> object:
    return registry.add(folder / "run-3", name="cells")


def promote(registry: Registry, folder: Path) -> object:
    return registry.promote("cells", 2, if_champion=1)


ACTIONS = {"add": add, "promote": promote}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry of two versions, the first of which is champion, and a run that is not in it."""
    registry = Registry(tmp_path / "original")
    for number in (1, 2, 3):
        run = write_run(tmp_path / f"run-{number}", f"number {number}")
        if number < 3:
            registry.add(run, name="cells")
    registry.promote("cells", 1)
    registry.close()
    return tmp_path


def state(place: Path) -> tuple[int, int | None, int]:
    """How many versions, which champion, how many events; everything fits together."""
    registry = Registry(place)
    found = registry.verify()
    assert found.is_intact, found.problems
    history = registry.history("cells").events
    versions = registry.show("cells").versions
    for version in versions:
        assert holotype.load(version.path).digest == version.bundle_sha256
    champion = registry.current_version("cells")
    registry.close()
    return len(versions), champion, len(history)


def require_old_or_new(name: str, folder: Path, place: Path) -> bool:
    """Whether the action was done; it can be done now if it was not."""
    old = 2, 1, 3
    new = (3, 1, 4) if name == "add" else (2, 2, 4)
    found = state(place)
    assert found in (old, new)
    if found == old:
        registry = Registry(place)
        ACTIONS[name](registry, folder)
        registry.close()
        assert state(place) == new
    return found == new


def killed_at(number: int, action: Action, folder: Path, place: Path) -> bool:
    """Do it in a process that is killed before its write of this number; whether it was."""
    child = os.fork()
    if child == 0:
        left = [number]

        def count() -> None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            writes = (
                event == "open" and str(place) in str(arguments[0]) and "b" in str(arguments[1])
            )
            if writes or event in WRITES:
                count()

        sys.addaudithook(hook)
        registry = Registry(place)
        for event in ("before_cursor_execute", "commit"):
            sa.event.listen(sa.Engine, event, lambda *_: count())
        try:
            action(registry, folder)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("name", ACTIONS)
def test_killed_before_any_write(name: str, folder: Path) -> None:
    number, done = 0, False
    while True:
        number += 1
        place = folder / f"copy-{number}"
        shutil.copytree(folder / "original", place, symlinks=True)
        if not killed_at(number, ACTIONS[name], folder, place):
            break
        done = require_old_or_new(name, folder, place)
        shutil.rmtree(place)
    assert state(place)[2] == 4
    assert number > {"add": 15, "promote": 6}[name]
    assert not done  # the last of them is before the commit


SCRIPT = """
import sys
from pathlib import Path
from holotype.registry.registry import Registry
from tests.registry.test_killed import ACTIONS
name, folder, place = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
ACTIONS[name](Registry(place), folder)
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ACTIONS)
def test_killed_at_any_system_call_that_writes(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    kills, done = 0, 0
    for call in CALLS:  # strace counts each call by itself
        for number in itertools.count(1):
            place = folder / "copy"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(folder / "original", place, symlinks=True)
            inject = f"inject={call}:signal=SIGKILL:when={number}"
            command = ["strace", "-f", "-o", os.devnull, "-e", f"trace={call}", "-e", inject]
            command += [sys.executable, "-c", SCRIPT, name, str(folder), str(place)]
            code = subprocess.run(command, capture_output=True, check=False).returncode
            if code == 0:
                break
            assert code in (-signal.SIGKILL, 128 + signal.SIGKILL)
            kills += 1
            done += require_old_or_new(name, folder, place)
        assert state(place)[2] == 4
    with capsys.disabled():
        print(f"\n{name}: killed at {kills} system calls, {done} times after it was done")
    assert kills > {"add": 40, "promote": 12}[name]
