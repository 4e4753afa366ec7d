"""Where the content of an image lies, and that preprocessing crops to it."""

import io
import json
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFilter
from skimage import data as sample

from holotype.errors import CorruptBundle
from holotype.imaging.decode import Image, decode
from holotype.imaging.foreground_box import Box, foreground_box
from holotype.imaging.preprocessing import Preprocessing

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
WHOLE = Preprocessing(64, 64, "squash", "bilinear", *IMAGENET)
CROP = replace(WHOLE, content="crop")
TRUE_BOX = (300, 200, 700, 400)  # of the specimen that `_specimen` draws


def _specimen(
    ground: tuple[int, int, int],
    colour: tuple[int, int, int],
    *,
    noise: float = 0,
    size: tuple[int, int] = (1000, 800),
) -> PillowImage.Image:
    image = PillowImage.new("RGB", size, ground)
    left, top, right, bottom = TRUE_BOX
    ImageDraw.Draw(image).ellipse((left, top, right - 1, bottom - 1), fill=colour)
    levels = np.asarray(image, float)
    levels = levels + np.random.default_rng(0).normal(0, noise, levels.shape)
    return PillowImage.fromarray(levels.round().clip(0, 255).astype(np.uint8))


def _tight(box: Box, truth: Box = TRUE_BOX, *, slack: int = 30) -> bool:
    """Holds all of it, and no more than a margin."""
    outwards = np.subtract(truth[:2], box[:2]).tolist() + np.subtract(box[2:], truth[2:]).tolist()
    return min(outwards) >= 0 and max(outwards) <= slack


@pytest.mark.parametrize(
    ("ground", "colour"),
    [
        ((0, 0, 0), (150, 140, 120)),
        ((255, 255, 255), (90, 60, 30)),
        ((128, 128, 128), (40, 90, 40)),
    ],
)
@pytest.mark.parametrize("noise", [0, 12])
@pytest.mark.parametrize("grey", [False, True])
def test_a_specimen_is_found_on_dark_and_light_ground_with_and_without_noise(
    ground: tuple[int, int, int], colour: tuple[int, int, int], noise: float, grey: bool
) -> None:
    image = _specimen(ground, colour, noise=noise)
    assert _tight(foreground_box(image.convert("L") if grey else image))


def test_colour_alone_stands_out() -> None:
    image = _specimen((100, 100, 100), (160, 78, 70))  # the same luma
    assert _tight(foreground_box(image))


def test_jpeg_artefacts_and_dust_move_nothing() -> None:
    image = _specimen((0, 0, 0), (150, 140, 120))
    pen = ImageDraw.Draw(image)
    for x, y in ((10, 10), (950, 30), (40, 760), (980, 780)):
        pen.rectangle((x, y, x + 4, y + 4), fill=(255, 255, 255))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    assert _tight(foreground_box(decode(file.getvalue()).pixels))


def test_a_specimen_may_touch_the_border() -> None:
    image = _specimen((0, 0, 0), (200, 200, 200)).crop((300, 0, 1000, 800))
    assert _tight(foreground_box(image), (0, 200, 400, 400))


@pytest.mark.parametrize("noise", [0, 4, 25])
def test_a_blank_image_stays_whole(noise: float) -> None:
    levels = np.random.default_rng(1).normal(120, noise, (300, 400)).clip(0, 255).astype(np.uint8)
    assert foreground_box(PillowImage.fromarray(levels)) == (0, 0, 400, 300)


@pytest.mark.parametrize("name", ["chelsea", "astronaut", "grass"])
def test_a_photograph_without_plain_ground_stays_whole(name: str) -> None:
    image = PillowImage.fromarray(getattr(sample, name)())
    box = foreground_box(image)
    assert (box[2] - box[0]) * (box[3] - box[1]) > 0.9 * image.width * image.height


def test_alpha_decides_where_it_cuts_something_out() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (800, 1000, 3), dtype=np.uint8)
    mask = PillowImage.new("L", (1000, 800), 0)
    ImageDraw.Draw(mask).ellipse((300, 200, 699, 399), fill=255)
    assert _tight(foreground_box(PillowImage.fromarray(noise), mask))
    opaque = PillowImage.new("L", (1000, 800), 255)
    assert _tight(foreground_box(_specimen((0, 0, 0), (150, 140, 120)), opaque))


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 40), (12, 12), (5000, 3)])
def test_the_smallest_and_thinnest_images_have_a_box(size: tuple[int, int]) -> None:
    for seed in range(3):
        levels = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
        left, top, right, bottom = foreground_box(PillowImage.fromarray(levels))
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]


def _image(pixels: PillowImage.Image, mask: PillowImage.Image | None = None) -> Image:
    return Image(pixels, mask, "PNG", pixels.mode, pixels.size)


def test_the_box_has_the_shape_of_the_frame_where_the_image_has_room() -> None:
    image = _image(_specimen((0, 0, 0), (150, 140, 120)))
    for height, width in ((64, 64), (32, 96), (90, 60)):
        left, top, right, bottom = replace(CROP, height=height, width=width).box(image)
        assert left <= 300
        assert top <= 200
        assert right >= 700
        assert bottom >= 400
        assert (right - left) / (bottom - top) == pytest.approx(width / height, rel=0.02)
    assert WHOLE.box(image) == (0, 0, 1000, 800)


def test_a_round_specimen_stays_round() -> None:
    wide = PillowImage.new("L", (1200, 500), 0)
    ImageDraw.Draw(wide).ellipse((800, 50, 1000, 250), fill=220)
    framed = np.asarray(CROP.frame(_image(wide))) > 110
    rows, columns = framed.any(axis=1).sum(), framed.any(axis=0).sum()
    assert abs(int(rows) - int(columns)) <= 1
    assert rows > 0.85 * 64
    squashed = np.asarray(WHOLE.frame(_image(wide))) > 110
    assert squashed.any(axis=1).sum() > 2 * squashed.any(axis=0).sum()


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_cropping_is_the_same_as_framing_an_image_that_was_cropped_by_hand(
    fit: Literal["squash", "crop", "pad"],
) -> None:
    image = _image(_specimen((255, 255, 255), (90, 60, 30)))
    by_hand = _image(image.pixels.crop(CROP.box(image)))
    found, expected = replace(CROP, fit=fit)(image), replace(WHOLE, fit=fit)(by_hand)
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, replace(WHOLE, fit=fit)(image))


def test_a_blank_image_is_framed_as_without_the_crop() -> None:
    blank = _image(PillowImage.new("L", (300, 200), 130))
    assert np.array_equal(CROP(blank), WHOLE(blank))


def test_image_and_mask_are_cropped_alike() -> None:
    mask = PillowImage.new("L", (1000, 800), 0)
    ImageDraw.Draw(mask).ellipse((300, 200, 699, 399), fill=255)
    black = _image(PillowImage.new("L", (1000, 800), 0), mask)
    framed_mask = replace(CROP, background=(0, 0, 0)).frame(_image(mask))
    # Black where opaque, on white: the inverse of the mask.
    difference = np.asarray(CROP.frame(black), int) - (255 - np.asarray(framed_mask, int))
    assert np.abs(difference).max() <= 1
    assert np.asarray(framed_mask, float).mean() > 2 * np.asarray(mask, float).mean()


def test_a_jpeg_is_not_decoded_small_where_its_content_may_be_small() -> None:
    file = io.BytesIO()
    rng = np.random.default_rng(3)
    stripes: NDArray[np.uint8] = rng.integers(60, 256, (120, 120), dtype=np.uint8)
    image = PillowImage.new("L", (2000, 1600), 0)
    image.paste(PillowImage.fromarray(stripes).filter(ImageFilter.SMOOTH), (900, 800))
    image.save(file, "JPEG", quality=95)
    assert CROP.minimum_size is None
    framed = CROP.frame(decode(file.getvalue(), minimum_size=CROP.minimum_size))
    assert np.asarray(framed, float).std() > 15  # what is fine is still there


def test_the_crop_is_part_of_the_digest_and_an_old_bundle_has_none() -> None:
    assert CROP.digest() != WHOLE.digest()
    assert Preprocessing.from_json(json.loads(json.dumps(CROP.to_json()))) == CROP
    old = WHOLE.to_json()
    del old["content"]
    assert Preprocessing.from_json(old) == WHOLE
    with pytest.raises(CorruptBundle, match="content must be one of whole, crop"):
        Preprocessing.from_json({**WHOLE.to_json(), "content": "tight"})
