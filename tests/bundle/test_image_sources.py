"""What a caller may call an image becomes the same pixels as its file."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holotype.bundle.image_sources import ImageFile, ImageInMemory, ImageLike, image_sources
from holotype.errors import ImageError
from holotype.imaging.decode import DecodeOptions


def pixels(image: ImageLike, minimum_size: tuple[int, int] | None = None) -> np.ndarray:
    (source,) = image_sources(image)
    decode_at, _ = source.open()
    return np.asarray(decode_at(minimum_size, DecodeOptions()).pixels)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    coarse = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((1200, 800), Image.Resampling.BICUBIC)
    image.save(tmp_path / "photo.jpg", quality=90)
    return tmp_path / "photo.jpg"


def test_an_opened_jpeg_is_decoded_at_the_fraction_of_its_size_that_its_path_is(
    photo: Path,
) -> None:
    expected = pixels(photo, (64, 64))
    assert expected.shape == (100, 150, 3)
    np.testing.assert_array_equal(pixels(Image.open(photo), (64, 64)), expected)
    np.testing.assert_array_equal(pixels(photo.read_bytes(), (64, 64)), expected)
    in_memory = Image.open(io.BytesIO(photo.read_bytes()))
    np.testing.assert_array_equal(pixels(in_memory, (64, 64)), expected)


def test_a_loaded_image_has_the_pixels_that_it_has(photo: Path) -> None:
    with Image.open(photo) as image:
        image.load()
    assert pixels(image, (64, 64)).shape == (800, 1200, 3)


def test_an_image_can_still_be_used_after_it_was_read(photo: Path) -> None:
    image = Image.open(photo)
    pixels(image)
    assert image.convert("L").size == (1200, 800)


def test_the_frame_that_is_open_is_the_image(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    frames[0].save(tmp_path / "two.png", save_all=True, append_images=frames[1:])
    image = Image.open(tmp_path / "two.png")
    image.seek(1)
    assert pixels(image)[0, 0].tolist() == [0, 255, 0]


def test_pixels_of_unknown_range_are_refused_by_their_place() -> None:
    sources = image_sources([Image.new("L", (8, 8)), Image.new("F", (8, 8))])
    with pytest.raises(ImageError, match=r"<image 1>.*32-bit floats"):
        sources[1].open()


def test_equal_pixels_have_equal_hashes_and_others_have_others() -> None:
    grey = np.zeros((8, 9), np.uint8)
    hashes = [image_sources(array)[0].open()[1] for array in (grey, grey.copy(), grey.T)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_sources_pass_and_know_what_a_file_about_them_may_be_called(photo: Path) -> None:
    sources = image_sources([photo, b"bytes"])
    assert image_sources(sources) == sources
    assert [type(source) for source in sources] == [ImageFile, ImageInMemory]
    assert [source.stem for source in sources] == ["photo", "image-1"]
