"""Pages and notebooks share one cache among the processes that run them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="package", autouse=True)
def shared_cache(session_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A network that one process exported, and features that it computed, the other one finds."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLOTYPE_CACHE", str(base / "cache-of-pages"))
        yield base / "cache-of-pages"
