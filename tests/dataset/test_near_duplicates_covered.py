"""Turned, framed and written-on copies, oversized clusters, and single steps against oracles."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont, ImageOps

from holotype.dataset.audit_fingerprints import FINGERPRINT
from holotype.dataset.index import read_index
from holotype.dataset.near_duplicates.candidates import find_candidates
from holotype.dataset.near_duplicates.copy_transforms import TRANSFORMS, WHOLE
from holotype.dataset.near_duplicates.dct_descriptors import descriptors, thumbnails
from holotype.dataset.near_duplicates.duplicate_clusters import (
    connected_clusters,
    separate_oversized,
)
from holotype.dataset.near_duplicates.duplicate_decision import _ratio_test_limit
from holotype.dataset.near_duplicates.registration import tangent_residual
from holotype.dataset.near_duplicates.thresholds import DEFAULT
from tests.dataset.near_duplicate_sets import as_sets, photographs, save_all, verified_pairs

SEARCH = "holotype.dataset.near_duplicates.approximate_neighbors"


def with_text(image: Image.Image) -> Image.Image:
    changed = image.copy()
    ImageDraw.Draw(changed).text(
        (12, image.height - 24), "taken by hand", fill="white", font=ImageFont.load_default(13)
    )
    return changed


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "turned by 90": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 180": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "turned and mirrored": lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    "text": with_text,
    "frame over": lambda image: ImageOps.expand(ImageOps.crop(image, 8), 8, "white"),
    "frame around": lambda image: ImageOps.expand(image, 9, "black"),
    "crop of 10 %": lambda image: image.crop(
        (0, 0, round(image.width * 0.9), round(image.height * 0.9))
    ),
}
KINDS = {"turned by 90": "turned", "text": "text", "frame over": "framed"}


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_of_photographs_are_found_and_named(tmp_path: Path, change: str) -> None:
    originals = photographs(8, 240)
    images = {f"a/{name}.png": image for name, image in originals.items()}
    images |= {f"b/{name}.png": CHANGES[change](image) for name, image in originals.items()}
    found = verified_pairs(save_all(tmp_path, images))
    pairs = as_sets(found)
    truth = {frozenset((f"a/{name}.png", f"b/{name}.png")) for name in originals}
    assert pairs <= truth, "a photograph was called a copy of another"
    assert len(pairs) >= len(truth) - 1
    if change in KINDS:
        kinds = [pair.kind for pair in found]
        assert kinds.count(KINDS[change]) >= 0.7 * len(kinds)


def test_different_objects_on_one_background_are_not_copies_with_text(tmp_path: Path) -> None:
    images = {}
    for number, corners in enumerate([3, 4, 6, 40]):
        image = Image.new("L", (128, 128), 40)
        ImageDraw.Draw(image).regular_polygon((60, 70, 22), corners, fill=210)
        images[f"a/{number}.png"] = image
    assert verified_pairs(save_all(tmp_path, images)) == ()


def test_pairs_do_not_depend_on_names_or_order(tmp_path: Path) -> None:
    originals = photographs(8, 240)
    images = {f"a/{name}.png": image for name, image in originals.items()}
    for number, (name, image) in enumerate(originals.items()):
        images[f"b/{name}.png"] = list(CHANGES.values())[number % len(CHANGES)](image)
    first = save_all(tmp_path / "first", images)
    renamed = {name: f"a/{number}.png" for number, name in enumerate(sorted(images, reverse=True))}
    for old, new in renamed.items():
        (tmp_path / "second" / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "first" / old, tmp_path / "second" / new)
    (tmp_path / "cache").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLOTYPE_CACHE", str(tmp_path / "cache"))
        second = verified_pairs(read_index(tmp_path / "second"))
    found = {frozenset((renamed[p.first], renamed[p.second])) for p in verified_pairs(first)}
    assert found == as_sets(second)
    assert len(found) >= 7


def random_records(count: int) -> np.ndarray:
    """Fingerprints of smooth random images in families of five."""
    rng = np.random.default_rng(3)
    records = np.zeros(count, FINGERPRINT)
    records["width"] = records["height"] = 64
    records["rows"] = records["columns"] = 64
    families = rng.normal(size=(count // 5, 8, 8))
    for number in range(count):
        waves = families[number % len(families)] + 0.4 * rng.normal(size=(8, 8))
        image = Image.fromarray(waves.astype(np.float32)).resize((64, 64), Image.Resampling.BICUBIC)
        records["grey"][number] = np.clip(128 + 40 * np.asarray(image), 0, 255)
    return records


def test_candidates_hold_the_nearest_neighbours_of_an_exact_search() -> None:
    records = random_records(2500)  # eight partitions, of which four are searched
    limits, whole = DEFAULT.candidates, descriptors(thumbnails(records), TRANSFORMS[0])
    similarity = whole @ whole.T
    np.fill_diagonal(similarity, -1)
    nearest = np.argsort(-similarity, axis=1)[:, : limits.num_nearest]
    wanted = {
        frozenset((row, int(other)))
        for row in range(len(records))
        for other in nearest[row]
        if similarity[row, other] >= limits.min_similarity[WHOLE]
    }
    found = find_candidates(records)
    listed = {
        frozenset(pair) for pair in zip(found.fixed.tolist(), found.moving.tolist(), strict=True)
    }
    assert len(wanted) > 500
    assert len(wanted - listed) <= 0.001 * len(wanted)


def test_candidates_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    records = random_records(250)
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(f"{SEARCH}._NUM_THREADS", threads)
        listed = find_candidates(records)
        found.append(np.stack([listed.fixed, listed.moving, listed.transform]))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_one_linear_fit_explains_a_small_shift_and_not_another_image() -> None:
    down, across = np.meshgrid(np.arange(16.0), np.arange(16.0), indexing="ij")

    def waves(shift: float) -> np.ndarray:
        image = np.sin((down + shift) / 3) * np.cos((across - shift) / 4)
        return np.asarray(128 + 50 * image, np.float32)[None]

    window = np.array([[0, 1, 0, 1]], np.float32)
    fixed, other = waves(0), (128 + 50 * np.sin(down * across / 20))[None].astype(np.float32)
    of_shifted, shared = tangent_residual(fixed, 0.9 * waves(0.4) + 7, window, margin=1 / 8)
    of_other, _ = tangent_residual(fixed, other, window, margin=1 / 8)
    assert shared.sum() == 12 * 12
    assert np.abs(of_shifted).max() < 0.05 * fixed.std()
    assert np.abs(of_other).max() > 0.5 * fixed.std()


@pytest.mark.parametrize(
    ("differences", "lower_bound", "reached"),
    [
        ([1.0, 5.0], np.inf, 1.0),  # the next difference is five times as large
        ([1.0, 3.0], np.inf, 3.0),  # no gap after the first, no pair after the second
        ([1.0], 3.0, 0.0),  # pruned pairs may be only three times as large
        ([1.0], 4.0, 1.0),
        ([5.0], np.inf, 0.0),  # above the limit
    ],
)
def test_the_ratio_test_counts_pruned_pairs_at_their_lower_bound(
    differences: list[float], lower_bound: float, reached: float
) -> None:
    assert _ratio_test_limit(differences, limit=4.5, ratio=4.0, lower_bound=lower_bound) == reached


def test_clusters_above_ten_images_and_one_per_cent_are_oversized() -> None:
    small, large = frozenset("abc"), frozenset(str(number) for number in range(11))
    ten = frozenset(f"x{number}" for number in range(10))
    assert separate_oversized([small, large, ten], 1000) == ([small, ten], [large])
    assert separate_oversized([small, large, ten], 1101) == ([small, large, ten], [])
    assert separate_oversized([], 0) == ([], [])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40))
def test_clusters_are_the_connected_components(pairs: list[tuple[int, int]]) -> None:
    import networkx

    graph = networkx.Graph(pairs)
    expected = {frozenset(map(str, part)) for part in networkx.connected_components(graph)}
    found = connected_clusters((str(one), str(other)) for one, other in pairs)
    assert set(found) == expected
    assert len(found) == len(expected)
