"""Two small data sets that sweeps share."""

from pathlib import Path

import pytest

from holotype.dataset.sources.synthetic import make_synthetic


@pytest.fixture(scope="session")
def two_sets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two data sets of 60 images."""
    folder = tmp_path_factory.mktemp("two-sets")
    return [
        make_synthetic(folder / name, classes=2, images=60, image_size=32, seed=seed)
        for seed, name in enumerate(("circles", "squares"))
    ]
