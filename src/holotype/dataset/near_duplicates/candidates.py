"""Which images are worth a closer look: the nearest ones, seen through many transforms.

Every image is shrunk to 12 by 12, freed of brightness and contrast, its extremes cut off (so
that a line of text does not outweigh the image), and described by its lowest 27 frequencies.
The nearest descriptions are looked up (`cells`) for each image as it would look cropped; for its
inner region, at several scales, for what has got a frame; and for its upper and lower region, for
what has got a text in the other. Of every transform the nearest few are taken: a crop competes with
crops of the same extent then, and not with whole images, which in a series of like specimens are
all more alike than an image and its own crop. Mirrored and turned images are looked up once, by
what mirroring and turning do not change: the sizes of the frequencies, those down and across
sorted; which way an image was turned the frequencies themselves say.

Of all these an image keeps only the nearest few, so that the work for one image does not grow
when a data set grows denser.

Perceptual hashes are coarser and no faster: a crop of 3 % moves a 64-bit hash by 10 to 22 bits.

Shape suffixes: N images, P pairs, R rows and K columns of pixels, S the side of a descriptor,
D numbers of a description.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.copy_transforms import (
    MIN_SIDES,
    REGIONS,
    TRANSFORMS,
    WHOLE,
    CopyTransform,
)
from holotype.dataset.near_duplicates.downscale import Floats, downscaling_matrix, resize_grey
from holotype.dataset.near_duplicates.nearest_neighbors import NeighbourIndex

DESCRIPTOR_SIZE = 12
_THUMBNAIL_SIZE = 32  # pixels; what descriptors are made of
_MAX_FREQUENCY = 6  # half waves down plus across; more of them make crops less alike
_NUM_NEAREST = 2  # per transform; of 6,102 planted copies (seeds 7, 11) three find two fewer
_NUM_NEAREST_ORIENTED = 8  # by what turning does not change, which tells images apart less well
_NUM_PROBES = 4  # partitions that are searched; of the nearest 3 digits 1 % are in none of them
# Per image and region of the other, by all transforms: of 6,768 pairs of copies that were found
# with (12, 5, 3, 3) (seeds 7 and 11) six were beyond the eighth among wholes, none beyond the
# second among the others. With six wholes too little stands beside a pair to judge it by, and two
# pairs of digits were false.
_MAX_CANDIDATES = (8, 2, 2, 2)
# Correlations. The least of those pairs had 0.856 as wholes, 0.941 within frames and 0.969 as
# halves; these limits lose one of 9,142 on nine tuning sets, and spare a fifth of the candidates.
_MIN_SIMILARITY = (0.87, 0.93, 0.95, 0.95)
_REGION_PENALTY = 0.03  # in similarity, of transforms of the whole over those of regions
_MIN_CONTRAST = 0.7  # grey levels of contrast below which there is no image to compare
_CLIP_DEVIATIONS = 2.0  # deviations at which a descriptor is cut off
_MAX_LOG_ASPECT_DIFFERENCE = (
    0.12  # of the logarithm of width over height; a crop of 10 % on one side gives 0.105
)
_QUERY_BATCH, _RESIZE_BATCH = 8192, 512  # images looked up together; shrunk together

_ORIENTATIONS = range(8)
_REGION_OF = np.array([transform.region for transform in TRANSFORMS])
_IS_UPRIGHT = np.array([transform.is_upright for transform in TRANSFORMS])


@dataclass(frozen=True, eq=False)
class Candidates:
    """P pairs of images: a transform of `moving` looks like a region of `fixed`, mostly the
    whole."""

    fixed: NDArray[np.int64]
    moving: NDArray[np.int64]
    transform: NDArray[np.int64]  # positions in TRANSFORMS
    window_P4: Floats  # where the whole of `fixed` lies: start and extent down, then across
    coarse_difference_P: (
        Floats  # grey levels by which they differ at a first look; 0 where nobody looked
    )

    @classmethod
    def from_transforms(
        cls, fixed: NDArray[np.int64], moving: NDArray[np.int64], transform: NDArray[np.int64]
    ) -> "Candidates":
        """Pairs with the windows that their transforms say."""
        windows_T4 = np.array([transform.window() for transform in TRANSFORMS], np.float32)
        return cls(
            fixed, moving, transform, windows_T4[transform], np.zeros(len(fixed), np.float32)
        )

    def select(self, chosen: NDArray[Any] | slice) -> "Candidates":
        return Candidates(*(column[chosen] for column in vars(self).values()))

    def concat(self, other: "Candidates") -> "Candidates":
        columns = vars(self)
        return Candidates(*(np.concatenate([columns[n], getattr(other, n)]) for n in columns))

    @property
    def region(self) -> NDArray[np.int64]:
        """Positions in REGIONS."""
        return np.asarray(_REGION_OF[self.transform])

    @property
    def is_upright(self) -> NDArray[np.bool_]:
        return np.asarray(_IS_UPRIGHT[self.transform])


def find_candidates(records: NDArray[np.void], *, nearest: int = _NUM_NEAREST) -> Candidates:
    """For every transform of every image the few others that look most like it.

    Args:
        records: fingerprints; their order decides between equals, so let it be a canonical one.
        nearest: how many for each transform.
    """
    if len(records) < 2:
        return Candidates.from_transforms(*(np.empty(0, np.int64) for _ in range(3)))
    blocks = [
        np.arange(start, min(start + _QUERY_BATCH, len(records)))
        for start in range(0, len(records), _QUERY_BATCH)
    ]
    described = [_region_descriptors(_thumbnails(records[rows])) for rows in blocks]
    region_ND = [np.concatenate(several) for several in zip(*described, strict=True)]
    whole_ND, invariant_ND = region_ND[WHOLE], _orientation_invariant(region_ND[WHOLE])
    region_indexes, invariant_index = (
        list(map(NeighbourIndex.build, region_ND)),
        NeighbourIndex.build(invariant_ND),
    )
    pairs = []
    for rows in blocks:
        found = _nearest_by_transform(_thumbnails(records[rows]), rows, region_indexes, nearest)
        turned = invariant_index.query(
            invariant_ND[rows], rows, count=_NUM_NEAREST_ORIENTED, num_probes=_NUM_PROBES
        )
        found.append(_orientation_pairs(whole_ND, rows, turned[0]))
        joined = _Pairs.concat(found)
        pairs.append(_best_per_region(joined.select(_have_plausible_shape(joined, records))))
    found_P = _keep_nearest(_best_per_region(_Pairs.concat(pairs)))
    return Candidates.from_transforms(found_P.fixed_P, found_P.moving_P, found_P.transform_P)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """P pairs with a direction: a transform of `moving` looks like a region of `fixed`."""

    moving_P: NDArray[np.int64]
    fixed_P: NDArray[np.int64]
    transform_P: NDArray[np.int64]
    similarity_P: Floats

    @classmethod
    def concat(cls, several: Sequence["_Pairs"]) -> "_Pairs":
        columns = [(p.moving_P, p.fixed_P, p.transform_P, p.similarity_P) for p in several]
        return cls(*(np.concatenate(column) for column in zip(*columns, strict=True)))

    def select(self, chosen: NDArray[Any]) -> "_Pairs":
        columns = (self.moving_P, self.fixed_P, self.transform_P, self.similarity_P)
        return _Pairs(*(column[chosen] for column in columns))


def _thumbnails(records: NDArray[np.void]) -> Floats:
    """The images (N, R, K) that descriptions are made of, shrunk a few at a time."""
    starts = range(0, len(records), _RESIZE_BATCH)
    return np.concatenate(
        [resize_grey(records[s : s + _RESIZE_BATCH], _THUMBNAIL_SIZE) for s in starts]
    )


def _nearest_by_transform(
    thumbnails_NRK: Floats,
    rows: NDArray[np.int64],
    region_indexes: Sequence[NeighbourIndex],
    nearest: int,
) -> list[_Pairs]:
    """The nearest fixed images of some moving ones through every upright transform."""
    found = []
    for number, transform in enumerate(TRANSFORMS):
        if not transform.is_upright:
            continue
        vectors_ND = _descriptors(_region_pixels(thumbnails_NRK, transform))
        fixed_NK, similarity_NK = region_indexes[transform.region].query(
            vectors_ND, rows, count=nearest, num_probes=_NUM_PROBES
        )
        if transform.region != WHOLE:  # a crop of either image is the better explanation
            similarity_NK = similarity_NK - np.float32(_REGION_PENALTY)
        row, place = np.nonzero(similarity_NK >= _MIN_SIMILARITY[transform.region])
        transform_P = np.full(len(row), number)
        found.append(
            _Pairs(rows[row], fixed_NK[row, place], transform_P, similarity_NK[row, place])
        )
    return found


def _orientation_pairs(
    whole_ND: Floats, rows: NDArray[np.int64], fixed_NK: NDArray[np.int64]
) -> _Pairs:
    """Pairs that may be turned, each through the orientation that looks best."""
    moving_P = np.repeat(rows, fixed_NK.shape[1])
    fixed_P = fixed_NK.ravel()
    similarities = [
        np.einsum(
            "pd,pd->p",
            (whole_ND[rows] @ orientation_DD)[moving_P - rows[0]],
            whole_ND[fixed_P],
        )
        for orientation_DD in _orientation_matrices()
    ]
    similarity_TP = np.stack(similarities)
    transform_P = similarity_TP.argmax(0)
    pairs = _Pairs(
        moving_P, fixed_P, transform_P, similarity_TP[transform_P, np.arange(len(transform_P))]
    )
    return pairs.select((pairs.similarity_P >= _MIN_SIMILARITY[WHOLE]) & (moving_P != fixed_P))


def _have_plausible_shape(pairs: _Pairs, records: NDArray[np.void]) -> NDArray[np.bool_]:
    aspect_N = np.log(records["width"] / np.maximum(records["height"], 1)).astype(np.float32)
    sign_T = np.array([-1 if transform.quarter_turns % 2 else 1 for transform in TRANSFORMS])
    log_aspect_difference_P = (
        sign_T[pairs.transform_P] * aspect_N[pairs.moving_P] - aspect_N[pairs.fixed_P]
    )
    side_N = np.minimum(records["rows"], records["columns"])
    region_P = _REGION_OF[pairs.transform_P]
    side_P = np.minimum(side_N[pairs.moving_P], side_N[pairs.fixed_P])
    is_large_P = side_P >= np.array(MIN_SIDES)[region_P]
    return np.asarray(is_large_P & (np.abs(log_aspect_difference_P) <= _MAX_LOG_ASPECT_DIFFERENCE))


def _best_per_region(pairs: _Pairs) -> _Pairs:
    """Every two images once by each region, in the direction and through the transform that look
    best.

    A crop may look a little more like a framed image than the image within the frame does, and
    yet have nearer neighbours; which region explains more is seen when they are laid on each other.
    """
    two_P = pair_ids(pairs.fixed_P, pairs.moving_P) * len(REGIONS) + _REGION_OF[pairs.transform_P]
    way_P = (pairs.moving_P > pairs.fixed_P) * len(TRANSFORMS) + pairs.transform_P
    return pairs.select(first_of_each(two_P, -pairs.similarity_P, way_P))


def _keep_nearest(pairs: _Pairs) -> _Pairs:
    """The pairs that are among the nearest of one of their two images, by the region compared."""
    region_P = _REGION_OF[pairs.transform_P]
    groups_2P = np.stack([pairs.moving_P, pairs.fixed_P]) * len(REGIONS) + region_P
    rank_2P = rank_within_groups(groups_2P.ravel(), np.tile(-pairs.similarity_P, 2)).reshape(2, -1)
    return pairs.select(rank_2P.min(0) < np.array(_MAX_CANDIDATES)[region_P])


def pair_ids(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every two images as one number, which is sorted faster than two."""
    return np.minimum(one, other) << 32 | np.maximum(one, other)


def first_of_each(groups: NDArray[np.int64], *keys: NDArray[Any]) -> NDArray[np.int64]:
    """For every group the place of what comes first by the keys, those that tell most first."""
    order = np.lexsort((*reversed(keys), groups))
    is_first = np.ones(len(order), bool)
    is_first[1:] = np.diff(groups[order]) != 0
    return order[is_first]


def rank_within_groups(groups: NDArray[np.int64], values: Floats) -> NDArray[np.int64]:
    """The place of every value among those of its group, the smallest first."""
    order = np.lexsort((values, groups))
    sorted_groups = groups[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = np.diff(sorted_groups) != 0
    places = np.arange(len(order))
    found = np.empty(len(order), np.int64)
    found[order] = places - np.maximum.accumulate(np.where(is_first, places, 0))
    return found


def _region_descriptors(thumbnails_NRK: Floats) -> list[Floats]:
    return [
        _descriptors(_region_pixels(thumbnails_NRK, CopyTransform(*region))) for region in REGIONS
    ]


def _region_pixels(thumbnails_NRK: Floats, transform: CopyTransform) -> Floats:
    """The region of each image that a transform shows (N, S, S), not turned, extremes cut off."""
    down = downscaling_matrix(_THUMBNAIL_SIZE, DESCRIPTOR_SIZE, transform.top, transform.bottom)
    across = downscaling_matrix(_THUMBNAIL_SIZE, DESCRIPTOR_SIZE, transform.left, transform.right)
    out_NSS = _map_last_axis(_map_last_axis(thumbnails_NRK, across), down)
    out_NSS -= out_NSS.mean((1, 2), keepdims=True)
    for _ in range(2):  # the first time the extremes themselves widen the deviation
        most = _CLIP_DEVIATIONS * out_NSS.std((1, 2), keepdims=True)
        out_NSS = np.clip(out_NSS, -most, most)
        out_NSS -= out_NSS.mean((1, 2), keepdims=True)
    return out_NSS


def _map_last_axis(images_NRK: Floats, matrix: Floats) -> Floats:
    """The last axis mapped, then the last two exchanged; one large product is the fastest."""
    rows, columns = images_NRK.shape[1:]
    mapped = images_NRK.reshape(-1, columns) @ matrix.T
    return np.ascontiguousarray(mapped.reshape(-1, rows, len(matrix)).transpose(0, 2, 1))


def _descriptors(images_NSS: Floats) -> Floats:
    """The low frequencies of each image as a vector of length 1; of flat ones, of length 0."""
    flat_NM = images_NSS.reshape(len(images_NSS), -1)
    vectors_ND = flat_NM @ _dct_basis()
    length_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    has_contrast = length_N1 > _MIN_CONTRAST * DESCRIPTOR_SIZE
    return np.where(has_contrast, vectors_ND / np.maximum(length_N1, 1e-6), 0).astype(np.float32)


@cache
def _dct_orders() -> list[tuple[int, int]]:
    """Half waves down and across, of every number of a description."""
    return [
        (down, across)
        for down in range(_MAX_FREQUENCY + 1)
        for across in range(_MAX_FREQUENCY + 1 - down)
        if down + across
    ]


@cache
def _dct_basis() -> Floats:
    """The cosines (S * S, D) of a DCT-II of low order, without the constant; orthonormal."""
    places = (np.arange(DESCRIPTOR_SIZE) + 0.5) * np.pi / DESCRIPTOR_SIZE
    waves = np.cos(np.arange(_MAX_FREQUENCY + 1)[:, None] * places)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    basis = [np.outer(waves[down], waves[across]).ravel() for down, across in _dct_orders()]
    return np.stack(basis, 1).astype(np.float32)


@cache
def _orientation_matrices() -> list[Floats]:
    """For each of the first eight transforms the matrix that turns a description; signs and
    places."""
    basis_MD = _dct_basis()
    images_DSS = basis_MD.T.reshape(-1, DESCRIPTOR_SIZE, DESCRIPTOR_SIZE)
    return [
        TRANSFORMS[number].orient(images_DSS).reshape(len(images_DSS), -1) @ basis_MD
        for number in _ORIENTATIONS
    ]


def _orientation_invariant(vectors_ND: Floats) -> Floats:
    """What mirroring and turning do not change, as long as before and never further apart."""
    size_ND = np.abs(vectors_ND)
    exchanged = [_dct_orders().index((across, down)) for down, across in _dct_orders()]
    is_down = np.array([down >= across for down, across in _dct_orders()])
    larger, smaller = (f(size_ND, size_ND[:, exchanged]) for f in (np.maximum, np.minimum))
    is_diagonal = np.array([down == across for down, across in _dct_orders()])
    return np.where(is_down | is_diagonal, larger, smaller)


def orient_moving(moving_NRK: Floats, found: Candidates) -> Floats:
    """The moving image of each pair, mirrored and turned as its transform says."""
    turned_NRK = moving_NRK.copy()
    for number in np.unique(found.transform):
        if not TRANSFORMS[number].is_upright:
            some = found.transform == number
            turned_NRK[some] = TRANSFORMS[number].orient(moving_NRK[some])
    return turned_NRK
