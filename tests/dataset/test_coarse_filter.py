"""Which candidates coarse registration keeps, and what it says of the pairs that it prunes."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from holotype.dataset.audit_fingerprints import compute_fingerprints
from holotype.dataset.index import read_index
from holotype.dataset.near_duplicates import coarse_filter
from holotype.dataset.near_duplicates.candidates import Candidates
from holotype.dataset.near_duplicates.copy_transforms import INNER, TRANSFORMS, WHOLE
from holotype.dataset.near_duplicates.duplicate_decision import DuplicateEvidence
from holotype.dataset.near_duplicates.search import _search
from holotype.dataset.near_duplicates.thresholds import DEFAULT
from holotype.dataset.sources.fetch import fetch

CROP = next(
    n for n, transform in enumerate(TRANSFORMS) if transform.region == WHOLE and transform.top > 0
)
INSIDE = next(n for n, transform in enumerate(TRANSFORMS) if transform.region == INNER)


def pairs(*rows: tuple[int, int, int]) -> Candidates:
    fixed, moving, transform = np.array(rows).T
    return Candidates.from_transforms(fixed, moving, transform)


@pytest.mark.parametrize(
    ("transforms", "differences", "are_near", "chosen"),
    [
        ((CROP, INSIDE), (0.09, 0.02), (True, True), INSIDE),  # explains more
        ((CROP, INSIDE), (0.02, 0.02), (True, True), CROP),
        ((CROP, INSIDE), (0.09, 0.02), (True, False), CROP),  # only what is near counts
        ((0, INSIDE), (0.12, 0.01), (True, True), 0),  # untransformed, if that is near
        ((0, INSIDE), (0.2, 0.01), (False, True), INSIDE),
    ],
)
def test_each_pair_is_kept_once_by_the_region_that_explains_most(
    transforms: tuple[int, int],
    differences: tuple[float, float],
    are_near: tuple[bool, bool],
    chosen: int,
) -> None:
    found = pairs((3, 5, transforms[0]), (5, 3, transforms[1]), (3, 4, CROP))
    once = coarse_filter._best_per_pair(
        found, np.array([*differences, 0.1], np.float32), np.array([*are_near, True])
    )
    kept = found.select(once)
    assert kept.transform[kept.moving + kept.fixed == 8].tolist() == [chosen]
    assert len(kept.fixed) == 2


def test_pruned_pairs_give_lower_bounds_by_image() -> None:
    pruned = coarse_filter.PrunedPairs(
        pairs((0, 1, 0), (1, 2, 0)), np.array([7.0, 4.0], np.float32)
    )
    assert pruned.lower_bounds(4).tolist() == [7.0, 4.0, 4.0, np.inf]
    assert pruned.involving(np.array([2])).fixed.tolist() == [1]
    assert pruned.involving(np.array([3])).fixed.tolist() == []


def test_estimated_lower_bounds_lose_no_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ones = tmp_path / "ones"  # the most alike of all digits
    copytree(fetch("mnist5k", tmp_path / "digits") / "1", ones / "1")
    originals = compute_fingerprints(read_index(ones)).records[:250]
    copies = originals[:40].copy()
    grain = np.random.default_rng(5).normal(0, 9, copies["grey"].shape)
    copies["grey"] = np.clip(np.rint(copies["grey"] + grain), 0, 255)
    records = np.concatenate([originals, copies])
    measured: list[int] = []
    plain = DuplicateEvidence.with_pairs

    def noted(
        self: DuplicateEvidence, records: np.ndarray, others: Candidates
    ) -> DuplicateEvidence:
        measured.append(len(others.fixed))
        return plain(self, records, others)

    monkeypatch.setattr(DuplicateEvidence, "with_pairs", noted)
    found = {pair[:2] for pair in _search(records)}
    usual = sum(measured)
    monkeypatch.setattr(
        coarse_filter, "_COARSE", replace(DEFAULT.coarse, peak_to_mean=1e-3)
    )  # as if all pruned pairs were near
    cautious = {pair[:2] for pair in _search(records)}
    assert sum(measured) - usual > 2 * usual
    assert len(found) > 20
    assert len(found - cautious) <= 1
    assert all(second - first == 250 for first, second in found | cautious)
