"""Checks of explanations tell a map that means something from one that does not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.heatmap_checks import (
    deletion_insertion,
    deletion_insertion_at_random,
    deletion_insertion_in_order,
    dilated,
    pointing_game_chance,
    pointing_game_hit,
    rank_correlation,
    weight_randomisation_test,
)
from holotype.bundle.image_sources import image_sources
from holotype.bundle.inference import predict_images
from holotype.explanation.available_methods import ExplainMethod
from holotype.explanation.compute_heatmap import heatmap
from holotype.imaging.decode import decode
from tests.bundle.tiny import write_images, write_tiny
from tests.explanation.test_available_methods import in_torch
from tests.explanation.test_compute_heatmap import write_bright_detector, write_spot


def test_the_map_of_a_classifier_of_brightness_beats_chance_and_its_own_reverse(
    tmp_path: Path,
) -> None:
    """Without the bright spot nothing speaks for its class, and with it alone everything does."""
    bundle = write_bright_detector(tmp_path / "bundle")
    image = decode(write_spot(tmp_path / "spot.png", (64, 64), (16, 40), reach=14))
    found = heatmap(bundle, image, 0)
    by_map = deletion_insertion(bundle, image, found)
    by_lot = deletion_insertion_at_random(bundle, image, 0)
    reverse = deletion_insertion_in_order(bundle, image, 1 - found.resized_to((64, 64)), 0)
    assert by_map.insertion_auc > by_lot.insertion_auc > reverse.insertion_auc
    assert by_map.deletion_auc <= by_lot.deletion_auc + 1e-9


def test_curves_begin_and_end_with_the_whole_image(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    (path,) = write_images(tmp_path / "images", 1)
    image = decode(path)
    found = heatmap(bundle, image, 1)
    seen = deletion_insertion(bundle, image, found, steps=4)
    assert seen.fractions_S.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert seen.deletion_S[0] == pytest.approx(found.probability, abs=1e-6)
    assert seen.insertion_S[-1] == pytest.approx(found.probability, abs=1e-6)
    mean = np.asarray(image.pixels, np.float64).reshape(-1, 3).mean(axis=0).round().astype(int)
    Image.new("RGB", image.pixels.size, tuple(mean.tolist())).save(tmp_path / "mean.png")
    empty = predict_images(bundle, image_sources(tmp_path / "mean.png")).probabilities_NC[0, 1]
    assert seen.deletion_S[-1] == pytest.approx(empty, abs=1e-6)


def test_the_area_is_that_of_trapezoids(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    (path,) = write_images(tmp_path / "images", 1)
    seen = deletion_insertion_at_random(bundle, decode(path), 0, steps=2)
    first, middle, last = seen.deletion_S
    assert seen.deletion_auc == pytest.approx(((first + middle) / 2 + (middle + last) / 2) / 2)


def test_a_map_of_another_size_is_refused(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "bundle")
    (path,) = write_images(tmp_path / "images", 1)
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        deletion_insertion_in_order(bundle, decode(path), np.zeros((3, 3), np.float32), 0)


def test_the_pointing_game_asks_where_the_hottest_place_is() -> None:
    region_HW = np.zeros((10, 20), bool)
    region_HW[2:5, 10:14] = True
    heat_HW = np.zeros((10, 20), np.float32)
    assert not pointing_game_hit(heat_HW, region_HW), "a cold map points nowhere"
    heat_HW[4, 13] = 0.3
    assert pointing_game_hit(heat_HW, region_HW)
    heat_HW[5, 13] = 0.4
    assert not pointing_game_hit(heat_HW, region_HW)
    assert pointing_game_hit(heat_HW, dilated(region_HW, 0.05)), "one pixel of twenty away"


def test_chance_is_what_the_same_places_hit_in_other_images() -> None:
    """Two objects on the left, one on the right; all maps point to the left, one to nowhere."""
    left = np.zeros((4, 8), bool)
    left[:, :4] = True
    heat = np.zeros((4, 8), np.float32)
    heat[1, 2] = 1
    regions = [left, left, ~left]
    assert pointing_game_chance([heat, heat, heat], regions) == pytest.approx(4 / 6)
    assert pointing_game_chance([heat, heat, 0 * heat], regions) == pytest.approx(2 / 6)
    with pytest.raises(ValueError, match="1 maps and 1 regions"):
        pointing_game_chance([heat], [left])


def test_a_region_grows_by_a_share_of_the_longer_side() -> None:
    region_HW = np.zeros((101, 51), bool)
    region_HW[50, 25] = True
    y, x = np.mgrid[:101, :51]
    expected_HW = (y - 50) ** 2 + (x - 25) ** 2 <= (0.1 * 101) ** 2
    np.testing.assert_array_equal(dilated(region_HW, 0.1), expected_HW)


def test_maps_in_the_same_order_correlate_whatever_their_scale() -> None:
    first = np.random.default_rng(0).random((6, 7), np.float32)
    assert rank_correlation(first, first**3) == pytest.approx(1)
    assert rank_correlation(first, -first) == pytest.approx(-1)
    assert rank_correlation(first, np.ones_like(first)) == 0


def test_other_weights_give_other_maps_and_the_same_ones_the_same(tmp_path: Path) -> None:
    from benchmarks.randomised_layers import layers_top_down, randomise_layers

    bundle = write_tiny(tmp_path / "bundle")
    image = decode(write_images(tmp_path / "images", 1, seed=4)[0])
    network = in_torch(bundle)
    names = layers_top_down(network)
    alike = [
        weight_randomisation_test(
            bundle,
            image,
            ExplainMethod("gradcam", torch_model_of=in_torch),
            [
                in_torch,
                *(lambda _, s=seed, k=k: randomise_layers(network, names[:k], s) for k in (1, 2)),
            ],
            class_index=0,
        )
        for seed in range(8)
    ]
    unchanged, head, all_layers = np.array(alike).T
    assert unchanged == pytest.approx(1)
    assert np.abs(head.mean()) < 0.6
    assert np.abs(all_layers.mean()) < 0.6
