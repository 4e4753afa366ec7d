"""Candidates: neighbours in partitions, through transforms, and a bounded number of them."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from holotype.dataset.audit_fingerprints import FINGERPRINT
from holotype.dataset.near_duplicates.approximate_neighbors import NO_NEIGHBOUR, NeighbourIndex
from holotype.dataset.near_duplicates.candidates import find_candidates
from holotype.dataset.near_duplicates.copy_transforms import TRANSFORMS, UPPER
from holotype.dataset.near_duplicates.dct_descriptors import (
    descriptors,
    orientation_invariant,
    orientation_matrices,
)
from holotype.dataset.near_duplicates.registration import resampling_matrices
from holotype.dataset.near_duplicates.thresholds import DEFAULT


def unit_vectors(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 27)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def records_of(images: list[np.ndarray]) -> np.ndarray:
    records = np.zeros(len(images), FINGERPRINT)
    for name in ("width", "height", "rows", "columns"):
        records[name] = 64
    records["grey"] = np.stack(images)
    return records


def photographs() -> list[np.ndarray]:
    names = ("camera", "coins", "moon", "brick", "grass", "gravel", "page", "clock")
    images = [Image.fromarray(np.asarray(getattr(skimage.data, name)())) for name in names]
    return [np.asarray(image.convert("L").resize((64, 64))) for image in images]


def test_probing_all_partitions_equals_an_exact_search() -> None:
    vectors, own = unit_vectors(1500), np.arange(1500)
    similarity = vectors @ vectors.T
    similarity[own, own] = NO_NEIGHBOUR
    expected = np.argsort(-similarity, axis=1)[:, :3]
    rows, said = NeighbourIndex.build(vectors).query(vectors, own, count=3, num_probes=100)
    assert np.array_equal(rows, expected)
    assert np.allclose(said, np.take_along_axis(similarity, expected, 1), atol=1e-5)


def test_partitions_are_small_and_hold_every_vector_even_if_all_are_equal() -> None:
    for vectors in (unit_vectors(3000), np.ones((3000, 27), np.float32)):
        partitions = NeighbourIndex.build(vectors)
        assert sorted(np.concatenate(partitions.members)) == list(range(3000))
    assert max(map(len, NeighbourIndex.build(unit_vectors(3000)).members)) < 1000


def test_a_row_is_not_its_own_neighbour_and_missing_ones_are_marked() -> None:
    vectors = unit_vectors(2)
    rows, similarity = NeighbourIndex.build(vectors).query(
        vectors, np.arange(2), count=3, num_probes=6
    )
    assert rows[:, 0].tolist() == [1, 0]
    assert (similarity[:, 1:] == NO_NEIGHBOUR).all()


def test_the_orientation_invariant_descriptor_does_not_change_when_an_image_is_turned() -> None:
    images = np.stack(photographs()).astype(np.float32)
    seen = np.stack([np.asarray(Image.fromarray(p).resize((32, 32))) for p in images])

    def described(images: np.ndarray) -> np.ndarray:
        return descriptors(np.ascontiguousarray(images), TRANSFORMS[0])

    upright = described(seen)
    for number in range(8):
        turned = described(TRANSFORMS[number].orient(seen))
        assert np.allclose(orientation_invariant(turned), orientation_invariant(upright), atol=1e-4)
        assert np.allclose(upright @ orientation_matrices()[number], turned, atol=1e-4)
    apart = np.linalg.norm(upright[:, None] - upright, axis=2)
    unoriented = orientation_invariant(upright)
    assert (np.linalg.norm(unoriented[:, None] - unoriented, axis=2) <= apart + 1e-5).all()


@pytest.mark.parametrize("number", range(8))
def test_a_turned_copy_is_found_through_the_transform_that_turns_it_back(number: int) -> None:
    images = photographs()
    turned = np.ascontiguousarray(TRANSFORMS[number].orient(images[0]))
    found = find_candidates(records_of([*images, turned]))
    pairs = list(zip(found.fixed.tolist(), found.moving.tolist(), found.transform, strict=True))
    pair = next(pair for pair in pairs if {0, len(images)} == set(pair[:2]))
    grey = [images[0], turned]
    fixed, moving = (grey[0 if row == 0 else 1] for row in pair[:2])
    assert np.array_equal(TRANSFORMS[pair[2]].orient(moving), fixed)


def test_an_image_with_its_lower_half_covered_is_still_a_candidate() -> None:
    images = photographs()
    covered = images[0].copy()
    covered[34:] = np.where(np.arange(64) % 4 < 2, 250, 5)
    found = find_candidates(records_of([*images, covered]))
    region = {
        frozenset(p): q for *p, q in zip(found.fixed, found.moving, found.region, strict=True)
    }
    assert region[frozenset((0, len(images)))] == UPPER


def test_the_number_of_candidates_per_image_is_bounded_in_a_dense_set() -> None:
    rng = np.random.default_rng(0)
    family = np.asarray(Image.fromarray(photographs()[0]), np.float32)
    noise = rng.normal(0, 12, (700, 8, 8)).astype(np.float32)
    like = [np.asarray(Image.fromarray(n).resize((64, 64))) + family for n in noise]
    found = find_candidates(records_of([np.clip(p, 0, 255).astype(np.uint8) for p in like]))
    assert len(found.fixed) <= len(like) * sum(DEFAULT.candidates.max_candidates)
    assert len(found.fixed) > 3 * len(like)


def test_resampling_agrees_with_a_cubic_hermite_spline() -> None:
    from scipy.interpolate import CubicHermiteSpline

    line = np.random.default_rng(1).normal(size=16).astype(np.float32)
    start, extent = np.array([0.03, 0.11], np.float32), np.array([0.94, 0.8], np.float32)
    matrices, inside = resampling_matrices(start, extent, 16, margin=0.1)
    spline = CubicHermiteSpline(np.arange(16), line, np.gradient(line))
    for number in range(2):
        places = (start[number] + extent[number] * (np.arange(16) + 0.5) / 16) * 16 - 0.5
        expected = spline(places)
        assert inside[number].sum() >= 11
        assert np.allclose(
            (matrices[number] @ line)[inside[number]], expected[inside[number]], atol=1e-4
        )
