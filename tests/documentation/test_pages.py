"""Every command and every Python fence of the documentation runs, each page in a scratch folder.

A page finds what it names (`named_by_pages`). Trainings are made small, and what cannot run here is
named with the reason (`commands`).
"""

import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
import timm
from safetensors.torch import save_file

import holotype
from holotype.dataset.sources import fetch as fetch_module
from tests.conftest import Cli
from tests.dataset.test_fetch_archives import Hub, install
from tests.dataset.test_published_layouts import cats_and_dogs, minc_archive
from tests.documentation.commands import (
    NOT_HERE,
    PAGES_HERE,
    SERVER,
    commands,
    elsewhere,
    fences,
    page_id,
    smaller_python,
)
from tests.documentation.named_by_pages import label_as_in, make_what_pages_name, write_log
from tests.documentation.shell import Shell
from tests.executors.slurm_node import slurm_node, why_not
from tests.registry.postgresql_server import postgresql_server, programs
from tests.test_docs import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.documentation, pytest.mark.timeout(1800)]

# What a page makes itself, of what is there for others.
MAKES = {
    "README.md": ("shapes", "runs", "known"),
    "docs/people/teacher.md": ("shapes", "turtles"),
    "docs/identification.md": ("turtles",),
}
# What a reader has done before a page, or with another one beside it.
CELLS = (
    "holotype registry add runs/cells-1 --name cells",
    "holotype registry promote cells 1",
)
BOTH_CELLS = (*CELLS, "holotype registry add runs/cells-2 --name cells")
BEFORE = {
    "docs/serving.md": BOTH_CELLS,
    "docs/dashboard.md": (*CELLS, "holotype audit photos --quick --output audit"),
    "docs/watching.md": CELLS,
    "docs/guides/watch.md": CELLS,
    "docs/retraining.md": (*CELLS, "holotype watch registry://cells@champion --log log"),
}
# Pages whose fences go on from what their commands left.
TOLD_AS_ONE = ("docs/start.md", "docs/guides/serve.md", "docs/guides/ship.md", "docs/serving.md")

DRAWN = ("docs/identification.md",)  # figures for which there are no stand-ins


@pytest.fixture(scope="module")
def named_by_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    make_what_pages_name(folder)
    return folder


@pytest.fixture
def place(named_by_pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working directory."""
    copy = shutil.copytree(named_by_pages, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def shell(cli: Cli) -> Iterator[Shell]:
    with pytest.MonkeyPatch.context() as environment:
        shell = Shell(cli, environment)
        yield shell
        shell.stop()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with slurm_node(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """Of this machine; a command that finds itself connected uses that."""
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
        logging_level="error",
    )  # fmt: skip
    yield
    ray.shutdown()


@pytest.fixture
def postgresql() -> Iterator[str]:
    with postgresql_server() as url:
        yield url


@pytest.fixture
def before_a_command(
    named_by_pages: Path,
    place: Path,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Callable[[str], None]:
    """What a reader has, or does, before some commands."""

    def download_by_kaggle() -> None:
        (place / "downloaded").mkdir()
        for name, content in cats_and_dogs().items():
            (place / "downloaded" / name).write_bytes(content)
        install(monkeypatch, Hub(place / "downloaded"))

    def download_minc() -> None:
        archive = place / "minc-2500.tar.gz"
        minc_archive(archive)
        monkeypatch.setitem(fetch_module.REMOTE_DATASETS, "minc-2500", str(archive))

    def label() -> None:
        """The images of `to-label`, which a page without `label-next` takes for granted."""
        if not Path("to-label").exists():
            write_log(Path("log-of-shapes"), Path("runs/shapes-1"), Path("shapes"))
            holotype.label_next(
                "registry://shapes", log="log-of-shapes", budget=20, output="to-label"
            )
            label_as_in(Path("to-label/labels.csv"), Path("shapes"))
        else:
            label_as_in(Path("to-label/labels.csv"), Path("cells"))

    def register() -> None:
        holotype.Registry().add(named_by_pages / "runs" / "cells-1", name="cells")
        holotype.Registry().promote("cells", 1)

    def start_slurm() -> None:
        for name, value in request.getfixturevalue("slurm").items():
            monkeypatch.setenv(name, value)

    def start_ray() -> None:
        request.getfixturevalue("ray_cluster")

    def start_postgresql() -> None:
        shell.database = request.getfixturevalue("postgresql")

    def add_to_an_empty_registry() -> None:
        """The first `add` makes the tables, of the database that a page has named before."""
        if os.environ.get("HOLOTYPE_REGISTRY", "").startswith("postgresql:"):
            register()

    def write_weights() -> None:
        """In files named as `HOLOTYPE_WEIGHTS` asks for."""
        (place / "weights").mkdir(exist_ok=True)
        for name in ("test_convnext", "test_resnet"):
            network = timm.create_model(name, num_classes=0)
            save_file(network.state_dict(), place / "weights" / f"timm_{name}.safetensors")

    def name_the_weights() -> None:
        monkeypatch.setenv("HOLOTYPE_WEIGHTS", "weights")

    # By what a command on a page begins with or holds.
    doings = (
        (r"^holotype fetch dogs-vs-cats", download_by_kaggle),
        (r"^holotype fetch minc", download_minc),
        (r"^holotype retrain", label),
        (r"^holotype watch registry://cells --log", register),
        (r"--on slurm", start_slurm),
        (r"--on ray", start_ray),
        (r"^export HOLOTYPE_REGISTRY=", start_postgresql),
        (r"^holotype registry list", add_to_an_empty_registry),
        (
            r"--model (convnext_tiny|resnet50)|--recipe progressive|--output runs/fine",
            write_weights,
        ),
        (r"--model convnext_tiny|--recipe progressive|--output runs/fine", name_the_weights),
    )

    def before(command: str) -> None:
        for sign, do in doings:
            if re.search(sign, command):
                do()

    return before


@pytest.mark.parametrize("page", [page for page in PAGES_HERE if commands(page)], ids=page_id)
def test_the_commands_of_a_page_run(
    page: Path,
    place: Path,
    shell: Shell,
    before_a_command: Callable[[str], None],
    request: pytest.FixtureRequest,
) -> None:
    start_s, took = time.time(), list[str]()
    if page_id(page) in DRAWN:
        request.getfixturevalue("real_plots")
    remove_what_it_makes(page, place)
    for command in (*BEFORE.get(page_id(page), ()), *commands(page)):
        if elsewhere(command) or not_installed(command):
            continue
        before_a_command(command)
        began = sum(os.times()[:4]), time.perf_counter()  # of this process and those it waited for
        shell.run(command)
        spent = sum(os.times()[:4]) - began[0], time.perf_counter() - began[1]
        took.append(f"{spent[0]:6.1f} {spent[1]:6.1f} s  {command}")
    print("\n".join(took))  # at the end: what a command prints is read by those that follow it
    if page_id(page) in TOLD_AS_ONE:
        run_fences(page, shell.address, start_s)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES_HERE if fences(page, "python") and page_id(page) not in TOLD_AS_ONE],
    ids=page_id,
)
def test_the_python_of_a_page_runs(page: Path, place: Path) -> None:
    remove_what_it_makes(page, place)
    run_fences(page, SERVER, time.time())


def not_installed(command: str) -> bool:
    """Whether this takes a server that is not on every machine."""
    if "HOLOTYPE_REGISTRY" in command:
        return programs() is None
    return "--on slurm" in command and bool(why_not())


def remove_what_it_makes(page: Path, place: Path) -> None:
    for name in MAKES.get(page_id(page), ()):
        shutil.rmtree(place / name)


def run_fences(page: Path, address: str, start_s: float) -> None:
    names: dict[str, object] = {"start_s": start_s, "end_s": time.time()}
    for code in fences(page, "python"):
        code = smaller_python(code).replace(SERVER, address)
        exec(compile(code, page_id(page), "exec"), names)


def test_what_does_not_run_here_is_run_elsewhere() -> None:
    """All lines of Holotype run; of others it is said who runs them, and why not this file."""
    said = Counter[str]()
    for page in PAGES_HERE:
        for command in commands(page):
            if found := elsewhere(command):
                print(f"{page_id(page)}: {command}: {found.why}; see {found.held_by}")
                said[found.sign] += 1
                assert not command.startswith("holotype ")
    for each in NOT_HERE:
        assert said[each.sign], each.sign
        assert each.text in (ROOT / each.held_by).read_text("utf-8"), each
    assert said.total() < 0.12 * sum(len(commands(page)) for page in PAGES_HERE)


def test_the_scratch_folder_is_not_this_one(place: Path) -> None:
    assert Path.cwd() == place
    assert ROOT not in place.parents
    assert os.environ["HF_HUB_OFFLINE"] == "1"
