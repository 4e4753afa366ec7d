"""Views of an image."""

import numpy as np
import pytest
from PIL import Image as PillowImage

from holotype.imaging.foreground_box import foreground_box
from holotype.training.config.augmentation_config import Augmentation
from holotype.training.data.augmentations import (
    CropWindow,
    ErasedRectangle,
    ViewTransform,
    apply_view,
    crop_box,
    sample_view,
)

SHA = "ab" * 32
NOISE = ErasedRectangle(0.25, 0.5, 0.75, 1.0, seed=5)


@pytest.fixture
def framed() -> PillowImage.Image:
    rng = np.random.default_rng(0)
    return PillowImage.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))


def test_the_first_view_is_the_image_itself(framed: PillowImage.Image) -> None:
    view = sample_view(Augmentation(symmetry="dihedral"), seed=3, sha256=SHA, number=0)
    assert np.array_equal(apply_view(framed, view), framed)


def test_a_view_is_decided_by_seed_image_and_number_alone() -> None:
    augmentation = Augmentation()

    def draw(seed: int, sha256: str, number: int) -> ViewTransform:
        return sample_view(augmentation, seed=seed, sha256=sha256, number=number)

    assert draw(1, SHA, 2) == draw(1, SHA, 2)
    others = {draw(1, SHA, 3), draw(2, SHA, 2), draw(1, "cd" * 32, 2)}
    assert len(others | {draw(1, SHA, 2)}) == 4


def test_values_stay_within_what_the_recipe_says() -> None:
    augmentation = Augmentation(rotation_degrees=15, zoom=0.2, shift=0.1, brightness=0.3)
    views = [sample_view(augmentation, seed=0, sha256=SHA, number=n) for n in range(1, 400)]
    assert max(abs(v.degrees) for v in views) == pytest.approx(15, rel=0.05)
    assert {round(min(v.scale for v in views), 1), round(max(v.scale for v in views), 1)} == {
        0.8,
        1.2,
    }
    assert max(abs(v.shift[0]) for v in views) <= 0.1
    assert 0.35 < np.mean([v.flip_horizontal for v in views]) < 0.65


def test_four_dihedral_views_turn_through_all_quarters() -> None:
    augmentation = Augmentation(symmetry="dihedral")
    views = [sample_view(augmentation, seed=0, sha256=SHA, number=n) for n in range(4)]
    assert [v.quarter_turns for v in views] == [0, 1, 2, 3]


def test_no_symmetry_never_mirrors_or_turns() -> None:
    augmentation = Augmentation(symmetry="none")
    views = [sample_view(augmentation, seed=0, sha256=SHA, number=n) for n in range(50)]
    assert not any(v.flip_horizontal or v.quarter_turns for v in views)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turns_and_mirrors_move_pixels_as_numpy_does(framed: PillowImage.Image, turns: int) -> None:
    turned = apply_view(framed, ViewTransform(flip_horizontal=True, quarter_turns=turns))
    assert np.array_equal(turned, np.rot90(np.asarray(framed)[:, ::-1], turns))


def test_a_shift_uncovers_the_mirror_image(framed: PillowImage.Image) -> None:
    shifted = np.asarray(apply_view(framed, ViewTransform(shift=(0.25, -0.125))))
    levels = np.asarray(framed)
    expected = np.pad(levels, ((0, 4), (8, 0), (0, 0)), mode="symmetric")[4:, :32]
    assert np.array_equal(shifted, expected)


@pytest.mark.parametrize(
    "view",
    [
        ViewTransform(degrees=25.0),
        ViewTransform(degrees=-170.0, scale=0.6),
        ViewTransform(degrees=8.0, scale=1.4, shift=(0.2, -0.1)),
        ViewTransform(scale=0.25, shift=(-0.5, 0.5)),
    ],
)
@pytest.mark.parametrize("size", [(48, 48), (60, 33)])
def test_moves_are_those_of_torchvision_on_an_image_with_mirrored_margins(
    view: ViewTransform, size: tuple[int, int]
) -> None:
    from torchvision.transforms import InterpolationMode, functional

    width, height = size
    rng = np.random.default_rng(1)
    coarse = PillowImage.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    image = coarse.resize(size, PillowImage.Resampling.BICUBIC)
    margins = ((5 * height, 5 * height), (5 * width, 5 * width), (0, 0))
    wide = PillowImage.fromarray(np.pad(np.asarray(image), margins, mode="symmetric"))
    moved = functional.affine(
        wide, angle=view.degrees, scale=view.scale, shear=[0.0],
        translate=[round(view.shift[0] * width), round(view.shift[1] * height)],
        interpolation=InterpolationMode.BILINEAR,
    )  # fmt: skip
    box = (5 * width, 5 * height, 6 * width, 6 * height)
    difference = np.asarray(apply_view(image, view), int) - np.asarray(moved.crop(box), int)
    assert np.abs(difference).max() <= 2


def test_grey_images_stay_grey(framed: PillowImage.Image) -> None:
    view = ViewTransform(None, True, True, 1, 12.0, 1.1, (0.1, 0.1), 1.2, 0.8, 1.1, 0.1, NOISE)
    looked = apply_view(framed.convert("L"), view)
    assert (looked.mode, looked.size) == ("L", framed.size)


def test_brightness_multiplies(framed: PillowImage.Image) -> None:
    half = np.asarray(apply_view(framed, ViewTransform(brightness=0.5))).astype(int)
    assert np.abs(half - np.asarray(framed) // 2).max() <= 1


@pytest.mark.parametrize(
    ("symmetry", "flip_horizontal", "flip_vertical"),
    [
        ("none", False, False),
        ("horizontal", True, False),
        ("vertical", False, True),
        ("both", True, True),
        ("dihedral", True, False),
    ],
)
def test_each_symmetry_mirrors_its_own_axes(
    symmetry: str, flip_horizontal: bool, flip_vertical: bool
) -> None:
    augmentation = Augmentation.model_validate({"symmetry": symmetry})
    views = [sample_view(augmentation, seed=0, sha256=SHA, number=n) for n in range(60)]
    assert any(v.flip_horizontal for v in views) == flip_horizontal
    assert any(v.flip_vertical for v in views) == flip_vertical


def test_a_new_kind_of_change_leaves_the_numbers_of_the_others() -> None:
    plain = sample_view(Augmentation(), seed=1, sha256=SHA, number=3)
    more = Augmentation(crop=0.5, saturation=0.2, hue=0.1, erasing=1)
    full = sample_view(more, seed=1, sha256=SHA, number=3)
    assert full.crop
    assert full.erased
    assert (full.flip_horizontal, full.degrees, full.shift) == (
        plain.flip_horizontal,
        plain.degrees,
        plain.shift,
    )
    assert (full.scale, full.brightness) == (plain.scale, plain.brightness)


@pytest.mark.parametrize("change", [{"saturation": 0.5}, {"hue": 0.1}, {"erasing": 1.0}])
def test_every_change_of_colour_moves_pixels(
    framed: PillowImage.Image, change: dict[str, float]
) -> None:
    still = {
        "symmetry": "none", "rotation_degrees": 0, "zoom": 0, "shift": 0, "brightness": 0,
        "contrast": 0,
    }  # fmt: skip
    nothing, something = (Augmentation.model_validate(still | more) for more in ({}, change))
    assert not nothing.changes_anything
    assert something.changes_anything
    for augmentation, same in ((nothing, True), (something, False)):
        view = sample_view(augmentation, seed=0, sha256=SHA, number=1)
        assert np.array_equal(apply_view(framed, view), framed) == same


@pytest.mark.parametrize("hue", [0.2, -0.1])
def test_colour_changes_are_those_of_torchvision(framed: PillowImage.Image, hue: float) -> None:
    from torchvision.transforms import functional

    changed = apply_view(
        framed, ViewTransform(brightness=1.2, contrast=0.7, saturation=0.4, hue=hue)
    )
    expected = functional.adjust_contrast(functional.adjust_brightness(framed, 1.2), 0.7)
    expected = functional.adjust_hue(functional.adjust_saturation(expected, 0.4), hue)
    assert np.array_equal(changed, expected)


def test_erasing_replaces_one_rectangle_by_noise_and_nothing_else() -> None:
    flat = PillowImage.new("RGB", (40, 40), (7, 7, 7))
    erased = np.asarray(apply_view(flat, ViewTransform(erased=NOISE)))
    inside = np.zeros((40, 40), bool)
    inside[20:40, 10:30] = True
    assert (erased[~inside] == 7).all()
    assert 100 < erased[inside].mean() < 155
    assert np.array_equal(erased, apply_view(flat, ViewTransform(erased=NOISE)))


def test_erased_areas_are_those_of_the_paper() -> None:
    augmentation = Augmentation(erasing=0.5)
    views = [sample_view(augmentation, seed=0, sha256=SHA, number=n) for n in range(1, 500)]
    erased = [view.erased for view in views if view.erased]
    assert 0.4 < len(erased) / len(views) < 0.6
    areas = [(e.right - e.left) * (e.bottom - e.top) for e in erased]
    assert min(e.left for e in erased) >= 0
    assert max(e.bottom for e in erased) <= 1
    assert min(areas) >= 0.0199
    assert max(areas) <= 0.4001


def _specimen(left: int, top: int, width: int, height: int) -> PillowImage.Image:
    levels = np.zeros((96, 96), np.uint8)
    levels[top : top + height, left : left + width] = 200
    return PillowImage.fromarray(levels)


@pytest.mark.parametrize("where", [(0, 0, 30, 30), (40, 40, 50, 20), (10, 60, 80, 30)])
@pytest.mark.parametrize("least", [0.5, 0.8, 0.95])
def test_a_crop_keeps_its_share_of_the_content_wherever_that_lies(
    where: tuple[int, int, int, int], least: float
) -> None:
    image = _specimen(*where)
    box = foreground_box(image)
    shares, lefts = [], set()
    for number in range(1, 200):
        view = sample_view(Augmentation(crop=least), seed=0, sha256=SHA, number=number)
        assert view.crop
        left, top, right, bottom = crop_box(view.crop, image.size, box)
        assert min(left, top) >= 0
        assert max(right, bottom) <= 96
        width = min(right, box[2]) - max(left, box[0])
        height = min(bottom, box[3]) - max(top, box[1])
        shares.append(width * height / ((box[2] - box[0]) * (box[3] - box[1])))
        lefts.add(round(left))
    assert min(shares) >= least - 1e-9
    assert min(shares) < 0.999
    assert len(lefts) > 1


def test_a_crop_shows_its_window_at_full_size(framed: PillowImage.Image) -> None:
    looked = apply_view(framed, ViewTransform(crop=CropWindow(0.5, 0.5, 1.0, 0.0)))
    expected = framed.crop((16, 0, 32, 16)).resize((32, 32), PillowImage.Resampling.BILINEAR)
    # At the window's inner edges Pillow looks beyond it.
    difference = np.asarray(looked, int)[:-2, 2:] - np.asarray(expected, int)[:-2, 2:]
    assert np.abs(difference).max() <= 1


def test_a_crop_of_an_image_that_is_all_content_is_as_large_as_it_says() -> None:
    content = (0, 0, 96, 96)
    for number in range(1, 100):
        view = sample_view(Augmentation(crop=0.6), seed=0, sha256=SHA, number=number)
        assert view.crop
        left, top, right, bottom = crop_box(view.crop, (96, 96), content)
        area = (right - left) * (bottom - top) / 96**2
        assert area == pytest.approx(view.crop.width * view.crop.height)
        assert 0.6 <= area <= 1
        assert 0.74 < (right - left) / (bottom - top) < 1.34
