"""Images on which every setting of a recipe matters."""

import numpy as np
import pytest
from PIL import Image as PillowImage

from holotype.dataset.index import Index, read_index


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Coloured, oblong, half transparent, with a margin, and more of one class than of others."""
    folder = tmp_path_factory.mktemp("keys") / "images"
    rng = np.random.default_rng(0)
    for label, count in enumerate((30, 15, 10)):
        (folder / f"class{label}").mkdir(parents=True)
        for number in range(count):
            pixels = np.zeros((30, 44, 4), np.uint8)
            pixels[6:24, 9:38, :3] = rng.integers(0, 160, (18, 29, 3))
            pixels[8:16, 10 + label : 20, label] += 60
            pixels[6:24, 9:38, 3] = 255
            PillowImage.fromarray(pixels).save(folder / f"class{label}" / f"{number}.png")
    return read_index(folder)
