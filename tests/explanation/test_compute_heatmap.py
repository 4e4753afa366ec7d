"""A heatmap points at what the classifier was built to look for, wherever it lies."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from holotype.bundle.building.ensemble_bundle import write_members
from holotype.bundle.bundle import Bundle, write_bundle
from holotype.bundle.image_sources import image_sources
from holotype.bundle.manifest import CamSupport, Decision
from holotype.errors import ImageError, UnknownClass
from holotype.explanation.attribution import cell_logits
from holotype.explanation.compute_heatmap import Heatmap, heatmap, input_frame_size
from holotype.explanation.explainer import Explainer
from holotype.explanation.explanation_figures import caption_of
from holotype.explanation.heatmap_drawing import inferno, overlay, scaled_rgb
from holotype.imaging.decode import Image as Upright
from holotype.imaging.decode import decode
from holotype.imaging.preprocessing import Content, Fit, Preprocessing
from tests.bundle.tiny import (
    CELLS,
    CLASSES,
    EMBEDDING,
    PREPROCESSING,
    SIDE,
    backbone_model,
    head_model,
    manifest,
    predicted,
    write_images,
    write_tiny,
)

BACKGROUND = (0, 0, 0)
FROM_0_TO_1 = replace(PREPROCESSING, mean=(0.0,) * 3, std=(1.0,) * 3, background=BACKGROUND)


def explain(bundle: Bundle, path: Path, sheet: Path, class_name: str | None = None) -> Heatmap:
    """The heatmap of an image whose sheet is written."""
    return Explainer(bundle, class_name).explain(image_sources(path)[0], sheet).class_heatmap


def write_bright_detector(
    directory: Path,
    fit: Fit = "squash",
    cam: CamSupport = "exact",
    offset_D: NDArray[np.float32] | None = None,
    content: Content = "whole",
) -> Bundle:
    """Class 0 ("crack") wants brightness; the others do not care."""
    backbone = backbone_model()
    kernel = np.zeros((EMBEDDING, 3, 4, 4), np.float32)
    kernel[0] = 1 / 48
    kernel[1:] = np.random.default_rng(1).normal(0, 0.1, kernel[1:].shape)
    backbone.graph.initializer[0].CopyFrom(numpy_helper.from_array(kernel, "kernel"))
    weight_CD = np.zeros((len(CLASSES), EMBEDDING), np.float32)
    weight_CD[0, 0] = 20
    if offset_D is not None:
        weight_CD += offset_D
    return write_bundle(
        directory,
        backbone=backbone.SerializeToString(),
        head=head_model(weight_CD=weight_CD).SerializeToString(),
        manifest=manifest(cam=cam, preprocessing=replace(FROM_0_TO_1, fit=fit, content=content)),
    )


def write_spot(path: Path, size: tuple[int, int], centre: tuple[int, int], reach: int = 12) -> Path:
    x, y = centre
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[y - reach : y + reach, x - reach : x + reach] = 255
    Image.fromarray(pixels).save(path)
    return path


def centre_of(heatmap_HW: NDArray[np.float32]) -> tuple[float, float]:
    """x and y of the middle of the hot half."""
    ys, xs = np.nonzero(heatmap_HW > 0.5)
    return float(xs.mean()), float(ys.mean())


def test_the_mean_of_the_cells_logits_is_the_logits_of_the_image(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    for path in write_images(tmp_path / "images", 3):
        input_NCHW = PREPROCESSING.load(path)[None]
        (feature_map,) = bundle.backbone.run(["feature_map"], {"image": input_NCHW})
        logits_hwC = cell_logits(bundle, feature_map[0].transpose(1, 2, 0))
        assert logits_hwC.shape == (CELLS, CELLS, len(CLASSES))
        expected_C = predicted(bundle, [path]).logits_NC[0]
        np.testing.assert_allclose(logits_hwC.mean(axis=(0, 1)), expected_C, atol=1e-5)


@pytest.mark.parametrize("cam", ["exact", "approximate", "none"])
@pytest.mark.parametrize(
    ("fit", "size", "centre"),
    [
        ("squash", (64, 64), (16, 40)),
        ("squash", (200, 60), (150, 20)),
        ("crop", (200, 80), (130, 30)),
        ("crop", (80, 200), (50, 70)),
        ("pad", (200, 80), (170, 60)),
        ("pad", (80, 200), (20, 30)),
    ],
)
def test_the_heat_lies_where_the_object_lies_however_the_image_was_framed(
    tmp_path: Path, cam: CamSupport, fit: Fit, size: tuple[int, int], centre: tuple[int, int]
) -> None:
    bundle = write_bright_detector(tmp_path / "bundle", fit, cam)
    found = heatmap(bundle, write_spot(tmp_path / "spot.png", size, centre), class_index=0)
    assert found.class_name == "crack"
    for scale in (1, 0.5):
        shape = round(size[0] * scale), round(size[1] * scale)
        heatmap_HW = found.resized_to(shape)
        assert heatmap_HW.shape == shape[::-1]
        assert heatmap_HW.min() >= 0
        assert heatmap_HW.max() <= 1
        frame_width, frame_height = input_frame_size(shape, bundle.preprocessing)
        x, y = centre_of(heatmap_HW)
        assert abs(x - centre[0] * scale) < frame_width / CELLS
        assert abs(y - centre[1] * scale) < frame_height / CELLS


def test_what_was_cropped_away_is_cold(tmp_path: Path) -> None:
    bundle = write_bright_detector(tmp_path / "bundle", "crop")
    path = tmp_path / "white.png"
    Image.new("RGB", (120, 40), "white").save(path)
    heatmap_HW = heatmap(bundle, path, 0).resized_to((120, 40))
    assert (heatmap_HW[:, :40] == 0).all()
    assert (heatmap_HW[:, 80:] == 0).all()
    assert heatmap_HW[:, 41:79].min() > 0.9


def test_a_turned_photo_is_explained_upright(tmp_path: Path) -> None:
    bundle = write_bright_detector(tmp_path / "bundle")
    upright = Image.open(write_spot(tmp_path / "spot.png", (80, 120), (20, 90)))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying; 90 degrees clockwise make it upright
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    image = decode(tmp_path / "turned.png")
    assert image.pixels.size == (80, 120)
    x, y = centre_of(heatmap(bundle, image, 0).resized_to(image.pixels.size))
    assert abs(x - 20) < 80 / CELLS
    assert abs(y - 90) < 120 / CELLS


def test_what_speaks_for_all_classes_alike_is_not_shown(tmp_path: Path) -> None:
    """The softmax does not see it, so the heatmap must not either."""
    offset_D = np.random.default_rng(5).normal(0, 5, EMBEDDING).astype(np.float32)
    path = write_spot(tmp_path / "spot.png", (64, 64), (40, 20))
    plain, shifted = (
        heatmap(write_bright_detector(tmp_path / f"{n}", offset_D=offset), path, 0)
        for n, offset in enumerate((None, offset_D))
    )
    np.testing.assert_allclose(plain.values_hw, shifted.values_hw, atol=1e-4)
    assert plain.probability == pytest.approx(shifted.probability, abs=1e-5)


def test_probability_and_class_are_those_of_predict(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    for path in write_images(tmp_path / "images", 4):
        predictions = predicted(bundle, [path])
        assert heatmap(bundle, path).class_index == predictions.predicted_N[0]
        for number in range(len(CLASSES)):
            found = heatmap(bundle, path, number)
            expected = predictions.probabilities_NC[0, number]
            assert found.probability == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("cam", "method"),
    [
        ("exact", "class activation map"),
        ("approximate", "class activation map, approximate"),
        ("none", "occlusion map"),
    ],
)
def test_the_method_is_named(tmp_path: Path, cam: CamSupport, method: str) -> None:
    bundle = write_bright_detector(tmp_path / "bundle", cam=cam)
    assert heatmap(bundle, write_spot(tmp_path / "s.png", (64, 64), (32, 32))).method == method


def test_colours_are_those_of_matplotlibs_inferno() -> None:
    from matplotlib import colormaps

    values = np.linspace(0, 1, 256, dtype=np.float32)[None]
    expected = colormaps["inferno"](values)[0, :, :3] * 255
    assert np.abs(inferno(values)[0] - expected).max() < 8


def test_where_nothing_is_hot_the_image_shows_in_grey() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    heat = np.zeros((6, 5), np.float32)
    heat[2, 3] = 1
    laid_over = overlay(image, heat)
    expected = np.asarray(Image.fromarray(image).convert("L"), np.int16)
    cold = heat == 0
    for c in range(3):
        assert np.abs(laid_over[..., c].astype(np.int16) - expected)[cold].max() <= 1
    hot = 0.8 * np.array([252, 255, 164]) + 0.2 * expected[2, 3]
    assert np.abs(laid_over[2, 3] - hot).max() <= 1
    with pytest.raises(ValueError, match="does not fit"):
        overlay(image, heat.T)


@pytest.mark.parametrize("size", [(8, 8), (300, 200), (2000, 30)])
def test_explain_writes_the_image_beside_its_overlay(tmp_path: Path, size: tuple[int, int]) -> None:
    bundle = write_bright_detector(tmp_path / "bundle")
    path = tmp_path / "p.png"
    Image.effect_noise(size, 60).save(path)
    explain(bundle, path, tmp_path / "out" / "why.png", class_name="crack")
    page = np.asarray(Image.open(tmp_path / "out" / "why.png"))
    image = decode(path)
    rgb_HWC = np.asarray(scaled_rgb(image, BACKGROUND, longest=480, shortest=240))
    height, width = rgb_HWC.shape[:2]
    assert 240 <= max(width, height) <= 480
    np.testing.assert_array_equal(page[12 : 12 + height, 12 : 12 + width], rgb_HWC)
    right = page[12 : 12 + height, 24 + width : 24 + 2 * width]
    np.testing.assert_array_equal(
        right, overlay(rgb_HWC, heatmap(bundle, image, 0).resized_to((width, height)))
    )
    assert (page[-40:] < 128).any(), "the caption is drawn"


def test_the_same_explanation_is_the_same_file(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    (path,) = write_images(tmp_path / "images", 1)
    for name in ("a.png", "b.png"):
        explain(bundle, path, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_map_on_which_no_place_stands_out_says_so(tmp_path: Path) -> None:
    bundle = write_bright_detector(tmp_path / "bundle")
    white = Image.new("RGB", (40, 40), "white")
    white.save(tmp_path / "white.png")
    found = explain(bundle, tmp_path / "white.png", tmp_path / "why.png", class_name="crack")
    assert found.values_hw.min() > 0.99
    assert found.is_uniform
    assert "no place stands out" in caption_of(found)
    white.paste("black", (0, 0, 30, 40))
    white.save(tmp_path / "edge.png")
    found = explain(bundle, tmp_path / "edge.png", tmp_path / "edge-why.png", class_name="crack")
    assert not found.is_uniform
    assert caption_of(found) == "bright: evidence for 'crack' rather than for another class"


def test_a_class_for_which_nothing_speaks_has_a_cold_map(tmp_path: Path) -> None:
    bundle = write_bright_detector(tmp_path / "bundle")
    path = tmp_path / "white.png"
    Image.new("RGB", (40, 40), "white").save(path)
    found = explain(bundle, path, tmp_path / "why.png", class_name="fine")
    assert not found.values_hw.any()
    assert found.probability < 0.01


def test_any_class_name_can_be_drawn(tmp_path: Path) -> None:
    classes = ("龟\nSchildkröte", "🐢" * 40, "x")
    bundle = write_tiny(tmp_path / "bundle", classes=classes)
    (path,) = write_images(tmp_path / "images", 1)
    for name in classes:
        assert explain(bundle, path, tmp_path / "why.png", class_name=name).class_name == name


def test_an_unknown_class_suggests_the_nearest(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    (path,) = write_images(tmp_path / "images", 1)
    with pytest.raises(UnknownClass, match=r"'Crack'.*did you mean 'crack'.*crack, dark, fine"):
        explain(bundle, path, tmp_path / "why.png", class_name="Crack")
    assert not (tmp_path / "why.png").exists()


def test_an_image_that_is_refused_leaves_no_file(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    (tmp_path / "p.png").write_bytes(b"")
    with pytest.raises(ImageError):
        explain(bundle, tmp_path / "p.png", tmp_path / "why.png")
    assert not (tmp_path / "why.png").exists()


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(200, 80), (80, 200), (50, 50), (33, 31)])
def test_the_frame_is_where_preprocessing_puts_it(fit: Fit, size: tuple[int, int]) -> None:
    """An image whose brightness tells the place, framed by Preprocessing itself."""
    preprocessing = Preprocessing(SIDE, SIDE, fit, "bilinear", (0,) * 3, (1,) * 3, BACKGROUND)
    frame_width, frame_height = input_frame_size(size, preprocessing)
    ramps: list[tuple[int, Callable[[NDArray[np.float32]], NDArray[np.float32]], float]] = [
        (size[0], lambda ramp: np.tile(ramp, (size[1], 1)), frame_width),
        (size[1], lambda ramp: np.tile(ramp[:, None], (1, size[0])), frame_height),
    ]
    for axis, (length, spread, frame_length) in enumerate(ramps):
        ramp = (np.arange(length) + 0.5) / length * 200 + 50
        path_image = Image.fromarray(spread(ramp.astype(np.float32)).astype(np.uint8))
        framed = np.asarray(preprocessing.frame(_as_image(path_image))).astype(float)
        line = framed[SIDE // 2] if axis == 0 else framed[:, SIDE // 2]
        at = (np.arange(SIDE) + 0.5) / SIDE * frame_length + (length - frame_length) / 2
        inside = (at > 2) & (at < length - 2) & (line > 0)
        told = (line[inside] - 50) / 200 * length
        assert inside.sum() > 10
        assert np.abs(told - at[inside]).max() < max(2.0, 1.5 * frame_length / SIDE)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_of_an_image_cropped_to_its_content_the_heat_lies_where_the_image_is_bright(
    tmp_path: Path, fit: Fit
) -> None:
    """A grey specimen on black, with a bright spot in it, right of the middle and above it."""
    bundle = write_bright_detector(tmp_path / "bundle", fit, content="crop")
    levels = np.zeros((200, 400), np.uint8)
    levels[40:100, 260:360] = 90
    levels[50:62, 330:342] = 255
    found = heatmap(bundle, _as_image(Image.fromarray(levels)), 0).resized_to((400, 200))
    assert found.shape == (200, 400)
    outside = np.ones_like(found, bool)
    outside[20:160, 240:380] = False
    assert not found[outside].any()
    x, y = centre_of(np.where(found > 0.8, found, 0).astype(np.float32))
    assert abs(x - 336) < 12
    assert abs(y - 56) < 12


def _as_image(pixels: Image.Image) -> Upright:
    return Upright(pixels, None, "PNG", "L", pixels.size)


def test_members_are_explained_by_the_mean_of_their_maps(tmp_path: Path) -> None:
    """Of three members one sees the spot, framed in its own way; the others look elsewhere."""
    sealing = Decision(temperature=1.0, predictions_sha256="", num_images=1)
    sees = write_bright_detector(tmp_path / "sees", "pad").with_decision(sealing)
    blind = write_tiny(tmp_path / "blind", cam="none").with_decision(sealing)
    path = write_spot(tmp_path / "spot.png", (160, 80), (120, 30))
    whole = write_members(tmp_path / "whole", [sees, blind], name="both")
    found = heatmap(whole, path, 0)
    maps_HW = [heatmap(each, path, 0).resized_to((160, 80)) for each in (sees, blind)]
    expected_HW = sum(maps_HW[1:], maps_HW[0])
    np.testing.assert_allclose(
        found.resized_to((160, 80)), expected_HW / expected_HW.max(), atol=1e-5
    )
    assert found.method == "mean over 2 members: class activation map, occlusion map"
    assert found.probability == pytest.approx(
        predicted(whole, path).probabilities_NC[0, 0], abs=1e-6
    )
    weights_CM = np.array([[1.0, 0.0]] * 3)
    only = write_members(tmp_path / "only", [sees, blind], name="one", weights_CM=weights_CM)
    x, y = centre_of(
        explain(only, path, tmp_path / "why.png", class_name="crack").resized_to((160, 80))
    )
    assert abs(x - 120) < 160 / CELLS
    assert abs(y - 30) < 160 / CELLS


def test_under_views_the_map_is_the_plain_one_and_the_probability_that_of_predict(
    tmp_path: Path,
) -> None:
    (path,) = write_images(tmp_path / "images", 1)
    plain = write_tiny(tmp_path / "plain")
    turned = write_tiny(tmp_path / "turned").with_decision(
        Decision(temperature=1.0, predictions_sha256="", num_images=1, views="dihedral")
    )
    number = int(predicted(turned, path).predicted_N[0])
    found = heatmap(turned, path)
    np.testing.assert_array_equal(found.values_hw, heatmap(plain, path, number).values_hw)
    assert found.class_index == number
    assert found.probability == pytest.approx(
        predicted(turned, path).probabilities_NC.max(), abs=1e-6
    )


def test_a_large_image_is_drawn_in_little_memory() -> None:
    """A file of 70 KB may hold 25 million pixels, and whoever may ask may have it explained."""
    image_HWC = np.zeros((3000, 4000, 3), np.uint8)
    heatmap_HW = np.ones((3000, 4000), np.float32)
    tracemalloc.start()
    drawn = overlay(image_HWC, heatmap_HW)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * image_HWC.nbytes
    assert (drawn == overlay(image_HWC[:1], heatmap_HW[:1])).all()
