"""What the projects look at, in small: slices of specimens, encounters, names that tell a class."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holotype.dataset.sources.synthetic import make_synthetic
from holotype.dataset.sources.synthetic_micro_ct import make_micro_ct
from holotype.pipeline.training_run.training_options import ReadingOptions

Images = Callable[[str], tuple[Path, dict[str, Any]]]
IN_ONE_ENCOUNTER = 4


@pytest.fixture(scope="session")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slices of three species, six specimens each."""
    folder = tmp_path_factory.mktemp("fossils") / "slices"
    return make_micro_ct(folder, species=3, specimens=6, slices=8, size=48)


@pytest.fixture(scope="session")
def encounters(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with four images of each encounter."""
    table = tmp_path_factory.mktemp("turtles") / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group"])
        for folder in sorted(synthetic.glob("[a-z]*")):
            for number, image in enumerate(sorted(folder.glob("*.png"))):
                encounter = f"{folder.name}-{number // IN_ONE_ENCOUNTER}"
                writer.writerow([image, folder.name, encounter])
    return table


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with cat.0.png, dog.0.png and so on."""
    return flat_pets(tmp_path_factory.mktemp("pets"), images=80, image_size=48)


def flat_pets(folder: Path, *, images: int, image_size: int) -> Path:
    drawn = make_synthetic(folder / "drawn", classes=2, images=images, image_size=image_size)
    flat = folder / "pets"
    flat.mkdir()
    for name, shapes in zip(("cat", "dog"), sorted(drawn.glob("[a-z]*/")), strict=True):
        for number, image in enumerate(sorted(shapes.glob("*.png"))):
            shutil.copyfile(image, flat / f"{name}.{number}.png")
    return flat


PETS_PATTERN = r"(cat|dog)\.\d+"


@pytest.fixture
def images(synthetic: Path, specimens: Path, encounters: Path, pets: Path) -> Images:
    """The name of an example -> its images, and what else `train` is told of them."""

    def of(name: str) -> tuple[Path, dict[str, Any]]:
        if name == "cats_and_dogs":
            return pets, {"reading": ReadingOptions(label_pattern=PETS_PATTERN)}
        return {"fossils": specimens, "turtles": encounters}.get(name, synthetic), {}

    return of
