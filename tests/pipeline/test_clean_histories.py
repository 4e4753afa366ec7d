"""Whatever happened before: a clean-up takes what nothing refers to, and exactly what it said."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

import holotype
from holotype.registry.registry import Registry
from holotype.run_directory import RunDirectory
from tests.registry.made import copy_with_name, write_run

OLD = time.time() - 30 * 86400


@dataclass
class Made:
    """What the history knows of a run: the oracle, which never looks at the disk.

    Attributes:
        age: the order in which runs ended.
        members: the runs that an ensemble was made of.
        parts: its folds, as runs of their own.
    """

    name: str
    data: str
    age: int
    finished: bool = True
    has_notes: bool = False
    locked: bool = False
    members: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    versions: set[int] = field(default_factory=set)


class Histories(RuleBasedStateMachine):
    """Runs, folds, ensembles, versions, locks and notes come and go; then somebody cleans."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=self.template.parent))
        self.runs = self.root / "runs"
        self.runs.mkdir()
        self.registry = Registry(self.root / "registry")
        self.made: dict[str, Made] = {}
        self.count = 0
        self.champions: list[int] = []
        self.removed_versions: set[int] = set()
        self.held: dict[str, ExitStack] = {}

    def teardown(self) -> None:
        for held in self.held.values():
            held.close()
        self.registry.close()
        shutil.rmtree(self.root)

    def _new(self, data: str, **known: object) -> Made:
        self.count += 1
        made = Made(f"run-{self.count}", data, self.count, **known)
        copy_with_name(self.template, self.runs / made.name, data)
        self._distinguish(made.name)
        self.made[made.name] = made
        return made

    def _distinguish(self, name: str) -> None:
        """Give a bundle a manifest of its own: the same data, another digest."""
        manifest = self.runs / name / "bundle" / "manifest.json"
        value = json.loads(manifest.read_text())
        value["versions"] = {"number": name}
        manifest.write_text(json.dumps(value))

    def _digest(self, name: str) -> str:
        manifest = self.runs / name / "bundle" / "manifest.json"
        return hashlib.sha256(manifest.read_bytes()).hexdigest()

    def _age(self) -> None:
        for name, made in self.made.items():
            for path in (self.runs / name, *(self.runs / name).rglob("*")):
                os.utime(path, (OLD + made.age, OLD + made.age))

    def _some(self, number: int) -> Made:
        return list(self.made.values())[number % len(self.made)]

    @rule(data=st.sampled_from(["cells", "shells"]))
    def train(self, data: str) -> None:
        self._new(data)

    @rule(data=st.sampled_from(["cells", "shells"]))
    def be_killed(self, data: str) -> None:
        made = self._new(data, finished=False)
        (self.runs / made.name / "report" / "metrics.json").unlink()

    @rule()
    def cross_validate(self) -> None:
        made = self._new("cells", parts=("folds/0", "folds/1"))
        for part in made.parts:
            shutil.copytree(self.template, self.runs / made.name / part)
            self._distinguish(f"{made.name}/{part}")

    @precondition(lambda self: len(self.made) > 1)
    @rule(one=st.integers(0, 99), other=st.integers(0, 99))
    def ensemble(self, one: int, other: int) -> None:
        members = sorted({self._some(one).name, self._some(other).name})
        made = self._new("both", members=tuple(members))
        lines = ["kind: ensemble", "members:"]
        lines += [f"- {{run: {name}, bundle: {self._digest(name)}}}" for name in members]
        (self.runs / made.name / "recipe.yaml").write_text("\n".join(lines) + "\n")

    @precondition(lambda self: self.made)
    @rule(which=st.integers(0, 99), part=st.booleans())
    def register(self, which: int, part: bool) -> None:
        made = self._some(which)
        if not made.finished:
            return
        run = self.runs / made.name / (made.parts[0] if part and made.parts else "")
        made.versions.add(self.registry.add(run, name="cells").version)

    @precondition(lambda self: any(made.versions for made in self.made.values()))
    @rule(which=st.integers(0, 99))
    def promote(self, which: int) -> None:
        there = sorted({v for m in self.made.values() for v in m.versions} - self.removed_versions)
        if there and there[which % len(there)] != self.registry.current_version("cells"):
            version = there[which % len(there)]
            self.registry.promote("cells", version, force=True, reason="test")
            self.champions.append(version)

    @precondition(lambda self: any(made.versions for made in self.made.values()))
    @rule(which=st.integers(0, 99))
    def remove_version(self, which: int) -> None:
        every = {v for m in self.made.values() for v in m.versions} - self.removed_versions
        there = sorted(every - set(self.champions))
        if there:
            version = there[which % len(there)]
            self.registry.remove("cells", version)
            self.removed_versions.add(version)

    @precondition(lambda self: self.made)
    @rule(which=st.integers(0, 99))
    def lock_or_let_go(self, which: int) -> None:
        made = self._some(which)
        if made.locked:
            self.held.pop(made.name).close()
        else:
            held = self.held[made.name] = ExitStack()
            place = self.runs / made.name / (made.parts[0] if made.parts else "")
            held.enter_context(RunDirectory(place).lock())
        made.locked = not made.locked

    @precondition(lambda self: self.made)
    @rule(which=st.integers(0, 99))
    def take_notes(self, which: int) -> None:
        made = self._some(which)
        (self.runs / made.name / "notes.txt").write_text("mine")
        made.has_notes = True

    @rule(failed=st.booleans(), keep=st.none() | st.integers(0, 3))
    def clean(self, failed: bool, keep: int | None) -> None:
        self._age()
        expected = self._expected(failed, keep)
        before = self._snapshot()
        planned = holotype.clean(
            self.runs, failed=failed, keep=keep, registry=str(self.root / "registry")
        )
        assert self._snapshot() == before
        done = holotype.clean(
            self.runs, failed=failed, keep=keep, registry=str(self.root / "registry"), yes=True
        )
        assert done.removals == planned.removals
        assert done.kept == planned.kept
        gone = {r.path.name for r in done.removals if r.path.parent == self.runs}
        assert gone == expected
        for name in gone:
            del self.made[name]
        places = [removal.path.relative_to(self.root) for removal in done.removals]
        left = {
            file: digest
            for file, digest in before.items()
            if not any(file.is_relative_to(place) for place in places)
        }
        assert self._snapshot() == left
        for version in {v for m in self.made.values() for v in m.versions} - self.removed_versions:
            assert holotype.load(self.registry.version(f"cells/{version}").path)
        if (self.root / "registry").exists():
            assert self.registry.verify().is_intact

    def _expected(self, failed: bool, keep: int | None) -> set[str]:
        referred = {name for made in self.made.values() for name in made.members}
        asked = {made.name for made in self.made.values() if failed and not made.finished}
        if keep is not None:
            for data in ("cells", "shells", "both"):
                runs = [m for m in self.made.values() if m.data == data and m.finished]
                runs.sort(key=lambda made: -made.age)
                asked |= {made.name for made in runs[keep:]}
        return {
            name
            for name in asked
            if name not in referred
            and not self.made[name].has_notes
            and not self.made[name].locked
            and not self.made[name].versions - self.removed_versions
        }

    def _snapshot(self) -> dict[Path, str]:
        """Every file with a hash; locks and the journal are no content."""
        return {
            path.relative_to(self.root): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.root.rglob("*")
            if path.is_file() and path.name not in (".lock", "registry.db", "registry.db-journal")
        }


def _run(tmp_path: Path, examples: int, steps: int) -> None:
    template = write_run(tmp_path / "template")

    class Here(Histories):
        pass

    Here.template = template
    Here.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    case = Here.TestCase()
    case.runTest()


def test_histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOLOTYPE_REGISTRY_FILES", raising=False)
    _run(tmp_path, 5, 14)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOLOTYPE_REGISTRY_FILES", raising=False)
    _run(tmp_path, 150, 40)
