"""One server with a tiny classifier for the tests that do not end it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from holotype.bundle.bundle import Bundle
from tests.bundle.tiny import write_images, write_tiny
from tests.serving.running import Running, running


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_images(tmp_path_factory.mktemp("served-images") / "images", 12)


@pytest.fixture(scope="session")
def server(tiny_bundle: Bundle) -> Iterator[Running]:
    with running(tiny_bundle.path, "--workers", "2") as found:
        yield found
