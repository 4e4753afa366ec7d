"""What the network will see, on one sheet."""

import numpy as np
import pytest
from PIL import Image as PillowImage

from holotype.training.config.augmentation_config import Augmentation, MixRecipe
from holotype.training.data.augmentations import apply_view, sample_view
from holotype.training.data.contact_sheet import (
    Column,
    SheetImage,
    Tile,
    contact_sheet,
    mixed_columns,
    view_columns,
)
from holotype.training.data.mixup import BatchMixing

CLASSES = ("crack", "intact")


@pytest.fixture
def images() -> list[SheetImage]:
    levels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    return [
        SheetImage(f"{n}.png", f"{n}" * 64, PillowImage.fromarray(levels[n]), n % 2)
        for n in range(4)
    ]


def test_a_column_holds_the_views_that_training_draws(images: list[SheetImage]) -> None:
    augmentation = Augmentation(rotation_degrees=30)
    columns = view_columns(images, augmentation, views=3, seed=5)
    assert [column.heading for column in columns] == ["view 0: as it is", "view 1", "view 2"]
    assert np.array_equal(columns[0].tiles[3].image, images[3].framed)
    view = sample_view(augmentation, seed=5, sha256=images[3].sha256, number=2)
    assert np.array_equal(columns[2].tiles[3].image, apply_view(images[3].framed, view))
    assert columns[2].tiles[3].shares == {1: 1.0}


def test_mixes_and_their_labels_belong_together() -> None:
    """Class 0 is black, class 1 is white: the mean level is the share of class 1."""
    tiles = [Tile(PillowImage.new("L", (32, 32), 255 * (n % 2)), {n % 2: 1.0}) for n in range(6)]
    mixing = BatchMixing(
        MixRecipe(probability=0.5, alpha=0.6), MixRecipe(probability=0.5, alpha=1.0), 2
    )
    columns = mixed_columns(Column("", tiles), mixing, seed=0)
    assert [column.heading for column in columns] == ["MixUp", "CutMix"]
    for column in columns:
        for tile in column.tiles:
            level = np.asarray(tile.image, float).mean() / 255
            assert tile.shares.get(1, 0.0) == pytest.approx(level, abs=0.003)
            assert sum(tile.shares.values()) == pytest.approx(1)
        assert any(len(tile.shares) == 2 for tile in column.tiles)


def test_a_bar_shows_the_shares_of_the_labels(images: list[SheetImage]) -> None:
    tile = Tile(images[0].framed, {1: 0.75, 0: 0.25})
    sheet = np.asarray(contact_sheet(images[:1], [Column("MixUp", [tile])], CLASSES, "title"))
    blue, orange = (0, 114, 178), (230, 159, 0)  # of the classes 0 and 1
    counts = [int((sheet == colour).all(axis=2).sum()) for colour in (blue, orange)]
    assert counts[1] == pytest.approx(3 * counts[0], rel=0.05)
    assert counts[0] > 100
