"""A dashboard in this process, without workers; `open_dashboard` makes further ones."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dashboard.browsing import Visit, open_dashboard


@pytest.fixture
def visit(tmp_path: Path) -> Visit:
    """A visitor of a dashboard over an empty folder, on loopback without keys."""
    return open_dashboard(tmp_path / "runs")


@pytest.fixture
def visit_with_keys(tmp_path: Path) -> Callable[..., Visit]:
    """A visitor of a dashboard with keys, of which `visit.keys` is the file."""

    def opened(**changes: object) -> Visit:
        return open_dashboard(tmp_path / "runs", keys=tmp_path / "keys.json", **changes)

    return opened
