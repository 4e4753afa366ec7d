"""Find candidate pairs by nearest-neighbour search over descriptors of transformed images.

Each image is looked up through every upright transform among the descriptors of a region of all
images: crops among whole images; its inner region, at several scales, among inner regions (a frame
may have been added); its upper and lower half among the same halves (the other half may hold a
text). Of each transform the nearest few are taken, so that a crop competes with crops of the same
extent, and not with whole images, which in a series of similar specimens are more alike than an
image and its own crop. Mirrored and turned images are looked up once, by an orientation-invariant
descriptor. Of all these an image keeps only the nearest few, so that the work per image does not
grow with the density of the data set.

Shape suffixes: N images, P pairs, T transforms, K neighbours, D coefficients of a descriptor.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.approximate_neighbors import NeighbourIndex
from holotype.dataset.near_duplicates.copy_transforms import (
    REGIONS,
    TRANSFORMS,
    WHOLE,
    CopyTransform,
)
from holotype.dataset.near_duplicates.dct_descriptors import (
    descriptors,
    orientation_invariant,
    orientation_matrices,
    thumbnails,
)
from holotype.dataset.near_duplicates.pair_arrays import (
    PairColumns,
    first_of_each,
    pair_ids,
    rank_within_groups,
)
from holotype.dataset.near_duplicates.resize_blur_dct import Floats
from holotype.dataset.near_duplicates.thresholds import DEFAULT

_CANDIDATES = DEFAULT.candidates
_REGION_OF = np.array([transform.region for transform in TRANSFORMS])
_IS_UPRIGHT = np.array([transform.is_upright for transform in TRANSFORMS])


@dataclass(frozen=True, eq=False)
class Candidates(PairColumns):
    """P pairs of images: a transform of `moving` resembles a region of `fixed`.

    Attributes:
        fixed, moving: rows of the images.
        transform: indices in `TRANSFORMS`.
        window_P4: where the whole of `fixed` lies in `moving`: start and extent down, then across.
        coarse_difference_P: largest difference after coarse registration, in grey levels; 0 where
            that was not measured.
    """

    fixed: NDArray[np.int64]
    moving: NDArray[np.int64]
    transform: NDArray[np.int64]
    window_P4: Floats
    coarse_difference_P: Floats

    @classmethod
    def from_transforms(
        cls, fixed: NDArray[np.int64], moving: NDArray[np.int64], transform: NDArray[np.int64]
    ) -> "Candidates":
        """Pairs with the windows of their transforms."""
        windows_T4 = np.array([transform.window() for transform in TRANSFORMS], np.float32)
        return cls(
            fixed, moving, transform, windows_T4[transform], np.zeros(len(fixed), np.float32)
        )

    @property
    def region(self) -> NDArray[np.int64]:
        """Indices in `REGIONS`."""
        return np.asarray(_REGION_OF[self.transform])

    @property
    def is_upright(self) -> NDArray[np.bool_]:
        return np.asarray(_IS_UPRIGHT[self.transform])

    def orient(self, moving_PRK: Floats) -> Floats:
        """The moving image of each pair, mirrored and turned by its transform."""
        oriented_PRK = moving_PRK.copy()
        for number in np.unique(self.transform):
            if not TRANSFORMS[number].is_upright:
                some = self.transform == number
                oriented_PRK[some] = TRANSFORMS[number].orient(moving_PRK[some])
        return oriented_PRK


def find_candidates(records: NDArray[np.void]) -> Candidates:
    """For every transform of every image the few others that resemble it most.

    Args:
        records: fingerprints; their order decides between equals, so it must be canonical.
    """
    if len(records) < 2:
        return Candidates.from_transforms(*(np.empty(0, np.int64) for _ in range(3)))
    step = DEFAULT.batches.query_images
    blocks = [
        np.arange(start, min(start + step, len(records))) for start in range(0, len(records), step)
    ]
    described = [_region_descriptors(records[rows]) for rows in blocks]
    region_ND = [np.concatenate(several) for several in zip(*described, strict=True)]
    whole_ND, invariant_ND = region_ND[WHOLE], orientation_invariant(region_ND[WHOLE])
    region_indexes = [NeighbourIndex.build(vectors_ND) for vectors_ND in region_ND]
    invariant_index = NeighbourIndex.build(invariant_ND)
    best = []
    for rows in blocks:
        pairs = _nearest_by_transform(thumbnails(records[rows]), rows, region_indexes)
        neighbour_NK, _ = invariant_index.query(
            invariant_ND[rows],
            rows,
            count=_CANDIDATES.num_nearest_oriented,
            num_probes=_CANDIDATES.num_probes,
        )
        found = _DirectedPairs.concat([*pairs, _orientation_pairs(whole_ND, rows, neighbour_NK)])
        best.append(_best_per_region(found.select(_have_plausible_shape(found, records))))
    kept = _keep_nearest(_best_per_region(_DirectedPairs.concat(best)))
    return Candidates.from_transforms(kept.fixed_P, kept.moving_P, kept.transform_P)


@dataclass(frozen=True, eq=False)
class _DirectedPairs(PairColumns):
    """P pairs: a transform of `moving` resembles a region of `fixed`."""

    moving_P: NDArray[np.int64]
    fixed_P: NDArray[np.int64]
    transform_P: NDArray[np.int64]
    similarity_P: Floats

    @property
    def region_P(self) -> NDArray[np.int64]:
        return np.asarray(_REGION_OF[self.transform_P])


def _region_descriptors(records: NDArray[np.void]) -> list[Floats]:
    thumbnails_NRK = thumbnails(records)
    return [descriptors(thumbnails_NRK, CopyTransform(*region)) for region in REGIONS]


def _nearest_by_transform(
    thumbnails_NRK: Floats, rows: NDArray[np.int64], region_indexes: Sequence[NeighbourIndex]
) -> list[_DirectedPairs]:
    """The nearest fixed images of some moving ones through every upright transform."""
    found = []
    for number in np.flatnonzero(_IS_UPRIGHT).tolist():
        transform = TRANSFORMS[number]
        fixed_NK, similarity_NK = region_indexes[transform.region].query(
            descriptors(thumbnails_NRK, transform),
            rows,
            count=_CANDIDATES.num_nearest,
            num_probes=_CANDIDATES.num_probes,
        )
        if transform.region != WHOLE:  # a crop of either image is the better explanation
            similarity_NK = similarity_NK - np.float32(_CANDIDATES.region_penalty)
        row, place = np.nonzero(similarity_NK >= _CANDIDATES.min_similarity[transform.region])
        columns = fixed_NK[row, place], np.full(len(row), number), similarity_NK[row, place]
        found.append(_DirectedPairs(rows[row], *columns))
    return found


def _orientation_pairs(
    whole_ND: Floats, rows: NDArray[np.int64], fixed_NK: NDArray[np.int64]
) -> _DirectedPairs:
    """Pairs by the orientation-invariant descriptor, each through its most similar orientation."""
    moving_P = np.repeat(rows, fixed_NK.shape[1])
    fixed_P = fixed_NK.ravel()
    similarities = [
        np.einsum(
            "pd,pd->p", (whole_ND[rows] @ orientation_DD)[moving_P - rows[0]], whole_ND[fixed_P]
        )
        for orientation_DD in orientation_matrices()
    ]
    similarity_TP = np.stack(similarities)
    best_P = similarity_TP.argmax(0)
    pairs = _DirectedPairs(moving_P, fixed_P, best_P, similarity_TP[best_P, np.arange(len(best_P))])
    is_similar_P = pairs.similarity_P >= _CANDIDATES.min_similarity[WHOLE]
    return pairs.select(is_similar_P & (moving_P != fixed_P))


def _have_plausible_shape(pairs: _DirectedPairs, records: NDArray[np.void]) -> NDArray[np.bool_]:
    """Whether the aspect ratios agree and both images are large enough for the region."""
    aspect_N = np.log(records["width"] / np.maximum(records["height"], 1)).astype(np.float32)
    sign_T = np.array([-1 if transform.quarter_turns % 2 else 1 for transform in TRANSFORMS])
    difference_P = sign_T[pairs.transform_P] * aspect_N[pairs.moving_P] - aspect_N[pairs.fixed_P]
    side_N = np.minimum(records["rows"], records["columns"])
    side_P = np.minimum(side_N[pairs.moving_P], side_N[pairs.fixed_P])
    is_large_P = side_P >= np.array(DEFAULT.transforms.region_min_sides_px)[pairs.region_P]
    return np.asarray(is_large_P & (np.abs(difference_P) <= _CANDIDATES.max_log_aspect_difference))


def _best_per_region(pairs: _DirectedPairs) -> _DirectedPairs:
    """Each unordered pair once per region, by its most similar direction and transform.

    Regions are kept apart: a crop may be a little more similar to a framed image than the image
    inside the frame is, and yet fail; coarse registration decides which region explains more.
    """
    unordered_P = pair_ids(pairs.fixed_P, pairs.moving_P) * len(REGIONS) + pairs.region_P
    direction_P = (pairs.moving_P > pairs.fixed_P) * len(TRANSFORMS) + pairs.transform_P
    return pairs.select(first_of_each(unordered_P, -pairs.similarity_P, direction_P))


def _keep_nearest(pairs: _DirectedPairs) -> _DirectedPairs:
    """The pairs that are among the nearest of either image, by region."""
    groups_2P = np.stack([pairs.moving_P, pairs.fixed_P]) * len(REGIONS) + pairs.region_P
    rank_2P = rank_within_groups(groups_2P.ravel(), np.tile(-pairs.similarity_P, 2)).reshape(2, -1)
    return pairs.select(rank_2P.min(0) < np.array(_CANDIDATES.max_candidates)[pairs.region_P])
