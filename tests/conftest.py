"""What every test starts from: no network, no screen, and a cache of its own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holotype.cli.app import run as command
from holotype.dataset.sources.synthetic import make_synthetic

Cli = Callable[..., tuple[int, str, str]]

# Before anything imports matplotlib or a hub client.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for all processes of the session: what one test computed the next one finds.

    Of session scope, since fixtures of that scope use the cache too.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    directory = base / "holotype-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLOTYPE_CACHE", str(directory))
        patch.delenv("HOLOTYPE_WEIGHTS", raising=False)
        yield directory


@pytest.fixture(scope="session", autouse=True)
def quick_plots() -> Iterator[None]:
    """Plots are grey squares, in this process; see `plot_stand_ins`."""
    from tests.plot_stand_ins import stand_ins

    with stand_ins():
        yield


@pytest.fixture
def real_plots() -> Iterator[None]:
    """Plots are drawn, for a test that looks at them."""
    from tests.plot_stand_ins import drawing

    with drawing():
        yield


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        code = command([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, for a test that counts what is computed."""
    directory = tmp_path / "fresh-cache"
    monkeypatch.setenv("HOLOTYPE_CACHE", str(directory))
    return directory


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of three shapes, 40 images each; not to be written to."""
    folder = tmp_path_factory.mktemp("synthetic") / "shapes"
    return make_synthetic(folder, classes=3, images=120, image_size=48)
