"""Views of a picture."""

import numpy as np
import pytest
from PIL import Image as PillowImage

from holotype.training.augment import View, draw_view, look
from holotype.training.recipe import Augmentation

WHITE = (255, 255, 255)
SHA = "ab" * 32


@pytest.fixture
def framed() -> PillowImage.Image:
    rng = np.random.default_rng(0)
    return PillowImage.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))


def test_the_first_view_is_the_picture_itself(framed: PillowImage.Image) -> None:
    view = draw_view(Augmentation(symmetry="dihedral"), seed=3, sha256=SHA, number=0)
    assert np.array_equal(look(framed, view, WHITE), framed)


def test_a_view_is_decided_by_seed_picture_and_number_alone() -> None:
    augmentation = Augmentation()

    def draw(seed: int, sha256: str, number: int) -> View:
        return draw_view(augmentation, seed=seed, sha256=sha256, number=number)

    assert draw(1, SHA, 2) == draw(1, SHA, 2)
    others = {draw(1, SHA, 3), draw(2, SHA, 2), draw(1, "cd" * 32, 2)}
    assert len(others | {draw(1, SHA, 2)}) == 4


def test_values_stay_within_what_the_recipe_says() -> None:
    augmentation = Augmentation(rotation_degrees=15, zoom=0.2, shift=0.1, brightness=0.3)
    views = [draw_view(augmentation, seed=0, sha256=SHA, number=n) for n in range(1, 400)]
    assert max(abs(v.degrees) for v in views) == pytest.approx(15, rel=0.05)
    assert {round(min(v.scale for v in views), 1), round(max(v.scale for v in views), 1)} == {
        0.8,
        1.2,
    }
    assert max(abs(v.shift[0]) for v in views) <= 0.1
    assert 0.35 < np.mean([v.mirrored for v in views]) < 0.65


def test_four_dihedral_views_turn_through_all_quarters() -> None:
    augmentation = Augmentation(symmetry="dihedral")
    views = [draw_view(augmentation, seed=0, sha256=SHA, number=n) for n in range(4)]
    assert [v.quarter_turns for v in views] == [0, 1, 2, 3]


def test_no_symmetry_never_mirrors_or_turns() -> None:
    augmentation = Augmentation(symmetry="none")
    views = [draw_view(augmentation, seed=0, sha256=SHA, number=n) for n in range(50)]
    assert not any(v.mirrored or v.quarter_turns for v in views)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turns_and_mirrors_move_pixels_as_numpy_does(framed: PillowImage.Image, turns: int) -> None:
    turned = look(framed, View(mirrored=True, quarter_turns=turns), WHITE)
    assert np.array_equal(turned, np.rot90(np.asarray(framed)[:, ::-1], turns))


def test_a_shift_uncovers_the_background(framed: PillowImage.Image) -> None:
    shifted = np.asarray(look(framed, View(shift=(0.25, 0.0)), (10, 20, 30)))
    assert (shifted[:, :8] == (10, 20, 30)).all()
    assert np.array_equal(shifted[:, 8:], np.asarray(framed)[:, :24])


def test_grey_pictures_stay_grey(framed: PillowImage.Image) -> None:
    view = View(True, 1, 12.0, 1.1, (0.1, 0.1), 1.2, 0.8)
    looked = look(framed.convert("L"), view, WHITE)
    assert (looked.mode, looked.size) == ("L", framed.size)


def test_brightness_multiplies(framed: PillowImage.Image) -> None:
    half = np.asarray(look(framed, View(brightness=0.5), WHITE)).astype(int)
    assert np.abs(half - np.asarray(framed) // 2).max() <= 1
