"""Image -> model input, against torchvision and plain arithmetic."""

import io
import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.errors import CorruptBundle, TooManyPixels
from holotype.imaging.decode import Image, ImagePolicy, decode
from holotype.imaging.preprocessing import Preprocessing

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SQUASH = Preprocessing(24, 32, "squash", "bilinear", *IMAGENET)
SHAPES = [(60, 90), (90, 60), (24, 32), (7, 5), (1, 300), (24, 33), (101, 67)]


def make_image(shape: tuple[int, ...], alpha: bool = False) -> Image:
    rng = np.random.default_rng(0)
    coarse = PillowImage.fromarray(rng.integers(0, 256, (6, 6, *shape[2:]), dtype=np.uint8))
    pixels = coarse.resize((shape[1], shape[0]), PillowImage.Resampling.BICUBIC)
    mask = PillowImage.fromarray(rng.integers(0, 256, shape[:2], dtype=np.uint8))
    return Image(pixels, mask if alpha else None, "PNG", pixels.mode, pixels.size)


def normalised(framed: PillowImage.Image, preprocessing: Preprocessing) -> NDArray[np.float64]:
    scaled = np.asarray(framed.convert("RGB"), np.float64) / 255
    return ((scaled - preprocessing.mean) / preprocessing.std).transpose(2, 0, 1)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("shape", SHAPES)
def test_squash_is_pillows_resize_and_a_normalisation(
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"], shape: tuple[int, int]
) -> None:
    preprocessing = replace(SQUASH, interpolation=interpolation)
    image = make_image((*shape, 3))
    resized = image.pixels.resize((32, 24), PillowImage.Resampling[interpolation.upper()])
    tensor = preprocessing(image)
    assert tensor.shape == (3, 24, 32)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_allclose(tensor, normalised(resized, preprocessing), atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [24, 25])
def test_crop_agrees_with_torchvision(shape: tuple[int, int], side: int) -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2", reason="it is the oracle")
    import torch

    image = make_image((*shape, 3))
    preprocessing = replace(SQUASH, height=side, width=side, fit="crop")
    expected = transforms.Compose(
        [
            transforms.Resize(side),
            transforms.CenterCrop(side),
            transforms.ToImage(),
            transforms.ToDtype(torch.float32, scale=True),
            transforms.Normalize(*IMAGENET),
        ]
    )(image.pixels)
    # Only what is seen is resized, so a few values round to the neighbouring level.
    one_level = 1 / 255 / np.array(IMAGENET[1])[:, None, None]
    difference = np.abs(preprocessing(image) - expected.numpy()) / one_level
    assert difference.max() < 1.01
    assert (difference > 0.01).mean() < 0.03


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("frame", [(24, 32), (32, 24), (30, 30)])
def test_crop_keeps_the_shape_and_the_centre(
    shape: tuple[int, int], frame: tuple[int, int]
) -> None:
    """A ramp along each axis stays a ramp of the same slope on both, centred on the middle."""
    height, width = frame
    y, x = np.mgrid[: shape[0], : shape[1]]
    scale = max(height / shape[0], width / shape[1])
    for ramp, length, axis in ((x, shape[1], 1), (y, shape[0], 0)):
        levels = (ramp * (200 / max(length - 1, 1)) + 20).round().astype(np.uint8)
        image = Image(PillowImage.fromarray(levels), None, "PNG", "L", shape[::-1])
        cropped = replace(SQUASH, height=height, width=width, fit="crop").frame(image)
        assert cropped.size == (width, height)
        found = np.asarray(cropped, float).mean(1 - axis)
        if length > 20 and scale < 2:
            assert found.mean() == pytest.approx(120, abs=4)
            slope = np.polyfit(np.arange(len(found)), found, 1)[0]
            assert slope == pytest.approx(200 / (length - 1) / scale, rel=0.1)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("shape", [(60_000, 1), (1, 60_000)])
def test_the_longest_strip_fits_into_little_memory(
    fit: Literal["squash", "crop", "pad"], shape: tuple[int, int]
) -> None:
    preprocessing = replace(SQUASH, fit=fit, height=224, width=224)
    strip = PillowImage.new("L", shape, 200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    framed = preprocessing.frame(Image(strip, None, "PNG", "L", shape))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
    assert framed.getpixel((112, 112)) == 200


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("grey", [False, True])
def test_pad_puts_the_whole_image_on_the_background(shape: tuple[int, int], grey: bool) -> None:
    image = make_image(shape if grey else (*shape, 3))
    preprocessing = replace(SQUASH, fit="pad", background=(10, 20, 30))
    framed = np.asarray(preprocessing.frame(image))
    assert framed.shape == (24, 32, 3)
    pixels = image.pixels.convert("RGB")  # as ImageOps.contain, but never of no width or height
    scale = min(32 / pixels.width, 24 / pixels.height)
    size = [max(1, round(scale * length)) for length in pixels.size]
    expected = pixels.resize((size[0], size[1]), PillowImage.Resampling.BILINEAR)
    inside = np.any(framed != (10, 20, 30), axis=2)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    assert abs(len(rows) - expected.height) <= 1
    assert abs(len(columns) - expected.width) <= 1
    assert abs((rows[0] + rows[-1]) - 23) <= 1
    assert abs((columns[0] + columns[-1]) - 31) <= 1
    found = framed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if found.shape[:2] == expected.size[::-1]:
        assert np.abs(found.astype(int) - np.asarray(expected, int)).max() <= 1


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("alpha", [False, True])
def test_grey_gives_the_same_input_as_the_same_image_in_rgb(
    fit: Literal["squash", "crop", "pad"], alpha: bool
) -> None:
    image = make_image((61, 90), alpha)
    colour = replace(image, pixels=image.pixels.convert("RGB"))
    preprocessing = replace(SQUASH, fit=fit)
    assert preprocessing.frame(image).mode == "L"
    np.testing.assert_array_equal(preprocessing(image), preprocessing(colour))


def test_grey_on_a_coloured_background_becomes_rgb_only_where_it_must() -> None:
    preprocessing = replace(SQUASH, background=(255, 0, 0))
    assert preprocessing.frame(make_image((60, 90))).mode == "L"
    assert preprocessing.frame(make_image((60, 90), alpha=True)).mode == "RGB"
    assert replace(preprocessing, fit="pad").frame(make_image((60, 90))).mode == "RGB"


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("hidden", [(0, 0, 0), (0, 255, 0)])
def test_hidden_colours_leave_no_fringe(
    interpolation: Literal["bilinear", "bicubic", "lanczos"], hidden: tuple[int, int, int]
) -> None:
    """A white disc, transparent around it, on white: the frame is white wherever one looks."""
    y, x = np.mgrid[-50:50, -50:50]
    inside = x**2 + y**2 < 40**2
    levels = np.where(inside[:, :, None], 255, np.array(hidden)).astype(np.uint8)
    mask = PillowImage.fromarray(np.where(inside, 255, 0).astype(np.uint8))
    image = Image(PillowImage.fromarray(levels), mask, "PNG", "RGBA", (100, 100))
    framed = replace(SQUASH, interpolation=interpolation).frame(image)
    assert framed.getextrema() == ((255, 255),) * 3


def test_transparency_is_resized_as_premultiplied_colour() -> None:
    image = make_image((96, 128, 3), alpha=True)
    assert image.mask is not None
    background = np.array([200, 100, 50])
    alpha = np.asarray(image.mask, float)[:, :, None] / 255
    layers = np.dstack([np.asarray(image.pixels) * alpha, alpha])
    resized = np.dstack(
        [
            np.asarray(
                PillowImage.fromarray(layers[:, :, k].astype(np.float32)).resize(
                    (32, 24), PillowImage.Resampling.BILINEAR
                )
            )
            for k in range(4)
        ]
    )
    expected = resized[:, :, :3] + background * (1 - resized[:, :, 3:])
    framed = replace(SQUASH, background=(200, 100, 50)).frame(image)
    assert np.abs(np.asarray(framed) - expected).max() <= 1.5


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_the_mask_lies_where_the_image_lies(fit: Literal["squash", "crop", "pad"]) -> None:
    y, x = np.mgrid[:120, :80]
    inside = (abs(x - 50) < 20) & (abs(y - 60) < 12)
    mask = PillowImage.fromarray(np.where(inside, 255, 0).astype(np.uint8))
    black = Image(PillowImage.new("L", (80, 120)), mask, "PNG", "LA", (80, 120))
    preprocessing = replace(SQUASH, fit=fit)
    white = Image(mask, None, "PNG", "L", (80, 120))
    framed_mask = replace(preprocessing, background=(0, 0, 0)).frame(white)
    # Black where opaque, on white: the inverse of the mask.
    image_levels = np.asarray(preprocessing.frame(black), int)
    assert np.abs(image_levels - (255 - np.asarray(framed_mask, int))).max() <= 1


def test_only_a_frame_becomes_a_tensor() -> None:
    with pytest.raises(ValueError, match="32 x 24"):
        SQUASH.tensor(PillowImage.new("RGB", (24, 32)))
    with pytest.raises(ValueError, match="mode RGBA"):
        SQUASH.tensor(PillowImage.new("RGBA", (32, 24)))


def test_a_file_and_its_bytes_give_the_same_input(tmp_path: Path) -> None:
    path = tmp_path / "🦕.jpg"
    make_image((1500, 2000, 3)).pixels.save(path, quality=90)
    tensor = SQUASH.load(path)
    np.testing.assert_array_equal(tensor, SQUASH.load(path.read_bytes()))
    with pytest.raises(TooManyPixels, match="'the upload'"):
        SQUASH.load(path.read_bytes(), name="the upload", policy=ImagePolicy(("JPEG",), 100))


def test_decoding_a_large_jpeg_at_a_reduced_scale_hardly_changes_the_input() -> None:
    file = io.BytesIO()
    rng = np.random.default_rng(2)
    coarse = PillowImage.fromarray(rng.integers(0, 256, (150, 200, 3), dtype=np.uint8))
    coarse.resize((2000, 1500), PillowImage.Resampling.BICUBIC).save(file, "JPEG", quality=92)
    preprocessing = replace(SQUASH, height=96, width=128)
    reduced = decode(file.getvalue(), minimum_size=preprocessing.minimum_size)
    assert reduced.pixels.size == (500, 375)
    whole = preprocessing.frame(decode(file.getvalue()))
    difference = np.asarray(preprocessing.frame(reduced), float) - np.asarray(whole, float)
    assert np.abs(difference).mean() < 1
    assert np.abs(difference).max() < 12


@pytest.mark.parametrize(
    "preprocessing",
    [SQUASH, Preprocessing(1, 9, "pad", "nearest", (0, 0, 0), (1, 1, 1), (1, 2, 3))],
)
def test_json_and_back_is_the_same_preprocessing(preprocessing: Preprocessing) -> None:
    back = Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json())))
    assert back == preprocessing
    assert back.digest() == preprocessing.digest()
    image = make_image((50, 40, 3), alpha=True)
    np.testing.assert_array_equal(back(image), preprocessing(image))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 0),
        ("height", 10**9),
        ("height", 24.0),
        ("width", True),
        ("width", "32"),
        ("fit", "stretch"),
        ("fit", ["squash"]),
        ("interpolation", None),
        ("mean", [0.5, 0.5]),
        ("mean", [0.5, 0.5, float("nan")]),
        ("mean", 0.5),
        ("mean", ["a", "b", "c"]),
        ("std", [0.5, 0, 0.5]),
        ("std", [0.5, None, 0.5]),
        ("background", [0, 0, 256]),
        ("background", [0.0, 0.0, 0.0]),
    ],
)
def test_an_impossible_field_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(CorruptBundle, match=rf"preprocessing: {field} must be"):
        Preprocessing.from_json({**SQUASH.to_json(), field: value})


def test_missing_and_unknown_fields_are_refused_by_name() -> None:
    value = SQUASH.to_json()
    del value["std"]
    with pytest.raises(CorruptBundle, match="'std' is missing"):
        Preprocessing.from_json(value)
    with pytest.raises(CorruptBundle, match="'gamma' is not known"):
        Preprocessing.from_json({**SQUASH.to_json(), "gamma": 2.2})
    with pytest.raises(CorruptBundle, match="not list"):
        Preprocessing.from_json([])


def test_the_digest_tells_every_field_apart_and_is_the_same_in_another_process() -> None:
    variants = [
        SQUASH,
        replace(SQUASH, height=25),
        replace(SQUASH, width=33),
        replace(SQUASH, fit="crop"),
        replace(SQUASH, interpolation="bicubic"),
        replace(SQUASH, mean=(0.485, 0.456, 0.407)),
        replace(SQUASH, std=(0.229, 0.224, 0.226)),
        replace(SQUASH, background=(255, 255, 254)),
    ]
    assert len({variant.digest() for variant in variants}) == len(variants)
    child = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json, sys; from holotype.imaging.preprocessing import Preprocessing; "
            "print(Preprocessing.from_json(json.load(sys.stdin)).digest()); "
            "print([m for m in ('torch', 'pandas', 'scipy', 'sklearn') if m in sys.modules])",
        ],
        input=json.dumps(SQUASH.to_json()),
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.splitlines() == [SQUASH.digest(), "[]"]
