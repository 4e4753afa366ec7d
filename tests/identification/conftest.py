"""A tiny classifier, and galleries of made individuals."""

from pathlib import Path

import pytest

import holotype
from holotype.bundle.bundle import Bundle
from tests.bundle.tiny import write_tiny
from tests.identification.individuals import sightings, write_table


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a classifier that embeds images of 32 pixels."""
    bundle: Bundle = write_tiny(tmp_path_factory.mktemp("tiny") / "bundle")
    return bundle.without_decision().path


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen individuals, three encounters of each, one image of either side."""
    folder = tmp_path_factory.mktemp("turtles")
    return write_table(folder / "table.csv", sightings(15, 3, 1, ("left", "right")))


@pytest.fixture(scope="session")
def known(tiny: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> holotype.Gallery:
    """A gallery of all of them; not to be written to."""
    gallery = holotype.Gallery(tmp_path_factory.mktemp("known") / "gallery", tiny)
    gallery.add(table, attributes={"side": None})
    return gallery
