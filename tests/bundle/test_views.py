"""Averaging over views is a property of the bundle: exact, fixed, sealed, and computed once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageOps
from scipy.ndimage import affine_transform

import holotype.bundle.embedding as embedding
import holotype.bundle.image_sources as sources
from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.image_sources import image_sources
from holotype.bundle.inference import predict_images, predict_index
from holotype.bundle.manifest import Decision
from holotype.bundle.onnx_runtime import run_session
from holotype.bundle.views import VIEWS, FixedView, ViewSet
from holotype.errors import BundleError
from holotype.imaging.decode import decode
from holotype.predictions import softmax
from tests.bundle.test_inference import index_of
from tests.bundle.tiny import PREPROCESSING, predicted, write_images, write_tiny

TURNS = [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270]


def decision(views: ViewSet, temperature: float = 1.0) -> Decision:
    return Decision(temperature=temperature, predictions_sha256="0" * 64, num_images=9, views=views)


def square_images(directory: Path, count: int) -> list[Path]:
    """At the size of the model's input, so that a turned file is a turned input to the bit."""
    paths = write_images(directory, count)
    for path in paths:
        Image.open(path).resize((32, 32), Image.Resampling.NEAREST).save(path)
    return paths


def turned_by_pillow(path: Path, views: ViewSet, folder: Path) -> list[Path]:
    """Each view of an image as a file of its own, made by another library."""
    folder.mkdir(exist_ok=True)
    files = []
    for number, view in enumerate(VIEWS[views]):
        image: Image.Image = Image.open(path)
        if view.mirrored:
            image = ImageOps.mirror(image)
        if view.quarter_turns:
            image = image.transpose(TURNS[view.quarter_turns - 1])
        files.append(folder / f"{path.stem}-{number}.png")
        image.save(files[-1])
    return files


@pytest.mark.parametrize(("views", "count"), [("one", 1), ("mirror", 2), ("dihedral", 8)])
def test_probabilities_are_the_mean_over_files_that_pillow_turned(
    tmp_path: Path, views: ViewSet, count: int
) -> None:
    plain = write_tiny(tmp_path / "plain")
    sealed = write_tiny(tmp_path / "sealed").with_decision(decision(views))
    for path in square_images(tmp_path / "images", 3):
        files = turned_by_pillow(path, views, tmp_path / "turned")
        assert len(files) == count
        expected_C = predicted(plain, files).probabilities_NC.mean(axis=0)
        np.testing.assert_allclose(
            predicted(sealed, path).probabilities_NC[0], expected_C, atol=1e-6
        )


def test_the_eight_views_are_eight_different_ones_and_hold_the_smaller_sets() -> None:
    image_CHW = np.arange(3 * 4 * 4, dtype=np.float32).reshape(3, 4, 4)
    seen = {view.apply(image_CHW).tobytes() for view in VIEWS["dihedral"]}
    assert len(seen) == 8
    assert VIEWS["one"] == (FixedView(),)
    assert VIEWS["dihedral"][:2] == VIEWS["mirror"]
    assert VIEWS["mirror"][:1] == VIEWS["one"]


@pytest.mark.parametrize("shape", [(32, 32), (21, 40)])
@pytest.mark.parametrize("factor", [1.1, 1.2])
def test_a_magnified_centre_is_what_scipy_and_pillow_make_of_it(
    factor: float, shape: tuple[int, int]
) -> None:
    """SciPy interpolates the same places; Pillow the same window, by its own arithmetic."""
    height, width = shape
    noise_CHW = np.random.default_rng(0).normal(size=(3, height, width)).astype(np.float32)
    seen_CHW = FixedView(magnified=factor).apply(noise_CHW)
    assert seen_CHW.dtype == np.float32
    assert seen_CHW.shape == noise_CHW.shape
    assert seen_CHW.flags.c_contiguous
    centre = (np.array(shape) - 1) / 2
    window = (1 - 1 / factor) / 2  # of each side, that is cut off
    for seen_HW, plain_HW in zip(seen_CHW, noise_CHW, strict=True):
        expected_HW = affine_transform(
            plain_HW.astype(np.float64), [1 / factor] * 2, centre * (1 - 1 / factor), order=1
        )
        np.testing.assert_allclose(seen_HW, expected_HW, atol=1e-5)
        expected = Image.fromarray(plain_HW, "F").transform(
            (width, height), Image.Transform.AFFINE,
            (1 / factor, 0, window * width, 0, 1 / factor, window * height),
            Image.Resampling.BILINEAR,
        )  # fmt: skip
        np.testing.assert_allclose(seen_HW, np.asarray(expected), atol=1e-3)


def test_a_smooth_image_magnified_is_the_same_waves_wider() -> None:
    place_S = np.arange(64) - 31.5
    for view in VIEWS["scales"]:
        wave_S = np.sin(place_S[:, None] / 9) + np.cos(place_S / 7)
        wider_S = np.sin(place_S[:, None] / view.magnified / 9) + np.cos(
            place_S / view.magnified / 7
        )
        seen_CHW = view.apply(np.stack([wave_S] * 3).astype(np.float32))
        np.testing.assert_allclose(seen_CHW[1], wider_S, atol=0.006)  # of what spans from -2 to 2


def test_scales_are_averaged_as_onnxruntime_and_scipy_do_it_by_hand(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "plain")
    sealed = write_tiny(tmp_path / "sealed").with_decision(decision("scales"))
    backbone, head = (
        onnxruntime.InferenceSession(bundle.graphs[name]) for name in ("backbone.onnx", "head.onnx")
    )
    differs = 0.0
    for path in write_images(tmp_path / "images", 3):
        plain_CHW = bundle.preprocessing.load(path).astype(np.float64)
        seen = [
            affine_transform(
                plain_CHW, [1, 1 / factor, 1 / factor], [0, *[15.5 * (1 - 1 / factor)] * 2], order=1
            )
            for factor in (1.0, 1.1, 1.2)
        ]
        embeddings_VD = backbone.run(["embedding"], {"image": np.stack(seen).astype(np.float32)})[0]
        logits_VC = head.run(["logits"], {"embedding": embeddings_VD})[0]
        expected_C = softmax(logits_VC).mean(axis=0)
        found = predicted(sealed, path)
        np.testing.assert_allclose(found.probabilities_NC[0], expected_C, atol=1e-5)
        index = predict_index(sealed, index_of([path]))
        np.testing.assert_array_equal(index.probabilities_NC, found.probabilities_NC)
        differs = max(differs, np.abs(expected_C - softmax(logits_VC)[0]).max())
    assert differs > 1e-3


def test_every_view_of_all_sets_is_kept_under_a_key_of_its_own() -> None:
    views = {view for views in VIEWS.values() for view in views}
    assert len(views) == 8 + 2
    assert len({view.key("ab" * 32) for view in views}) == len(views)
    assert VIEWS["scales"][:1] == VIEWS["one"]


def test_the_temperature_divides_the_logarithm_of_the_mean(tmp_path: Path) -> None:
    path = square_images(tmp_path / "images", 1)[0]
    warm = write_tiny(tmp_path / "warm").with_decision(decision("mirror", 2.0))
    one = write_tiny(tmp_path / "one").with_decision(decision("mirror"))
    mean_C = predicted(one, path).probabilities_NC[0]
    expected_C = mean_C**0.5 / (mean_C**0.5).sum()
    predictions = predicted(warm, path)
    np.testing.assert_allclose(predictions.probabilities_NC[0], expected_C, atol=1e-6)
    np.testing.assert_allclose(
        softmax(predictions.logits_NC, 2.0), predictions.probabilities_NC, atol=1e-12
    )


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("keep", [True, False])
def test_views_are_the_same_whatever_the_batch_the_order_and_the_threads(
    tmp_path: Path, workers: int, keep: bool, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_images(tmp_path / "images", 11)
    bundle = write_tiny(tmp_path / "bundle").with_decision(decision("dihedral"))
    alone = np.concatenate([predicted(bundle, [path]).probabilities_NC for path in images])
    order = np.random.default_rng(workers).permutation(len(images))
    index = index_of([images[n] for n in order])
    monkeypatch.setattr(embedding, "SHARD", 3)
    for _ in range(2):  # the second time from what is kept
        predictions = predict_index(bundle, index, workers=workers, use_cache=keep)
        np.testing.assert_allclose(predictions.probabilities_NC, alone[order], atol=1e-6)


def test_each_image_is_decoded_once_for_all_its_views_and_no_view_is_run_twice(
    tmp_path: Path, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_images(tmp_path / "images", 6)
    index = index_of(images)
    bundle = write_tiny(tmp_path / "bundle")
    decoded: list[str] = []
    rows: list[int] = []
    call = run_session

    def counted_decode(content: bytes, **options: Any) -> Any:
        decoded.append(options["name"])
        return decode(content, **options)

    def counted_call(session: Any, inputs: Any, outputs: Any) -> Any:
        rows.append(len(inputs))
        return call(session, inputs, outputs)

    monkeypatch.setattr(sources, "decode", counted_decode)
    monkeypatch.setattr(embedding, "run_session", counted_call)
    predict_index(bundle, index)
    predict_index(bundle, index, views="dihedral")
    assert sorted(decoded) == sorted(2 * [path.name for path in images])
    assert sum(rows) == 8 * len(images), "the plain view was known already"
    predict_index(bundle, index, views="mirror")
    predict_index(load_bundle(bundle.path).with_decision(decision("dihedral")), index)
    assert sum(rows) == 8 * len(images)


def test_what_is_sealed_cannot_be_predicted_otherwise(tmp_path: Path) -> None:
    index = index_of(write_images(tmp_path / "images", 2))
    sealed = write_tiny(tmp_path / "bundle").with_decision(decision("mirror"))
    with pytest.raises(BundleError, match="'dihedral' were asked for, but 'mirror' are sealed"):
        predict_index(sealed, index, views="dihedral")
    assert len(predict_index(sealed, index, views="mirror")) == 2


def test_an_input_that_is_not_square_is_not_turned(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    wide = replace(bundle.manifest, preprocessing=replace(PREPROCESSING, width=64))
    index = index_of(write_images(tmp_path / "images", 2))
    with pytest.raises(BundleError, match="32 x 64 cannot be turned"):
        predict_index(replace(bundle, manifest=wide), index, views="dihedral")


def test_a_bad_image_costs_itself_only_under_views_too(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 5)
    images[2].write_bytes(b"no image")
    bundle: Bundle = write_tiny(tmp_path / "bundle").with_decision(decision("dihedral"))
    predictions = predict_images(bundle, image_sources(images))
    refused = predictions.refused
    assert [Path(refusal.file).name for refusal in refused] == ["002.png"]
    good = [path for n, path in enumerate(images) if n != 2]
    np.testing.assert_allclose(
        predictions.probabilities_NC, predicted(bundle, good).probabilities_NC, atol=1e-6
    )
