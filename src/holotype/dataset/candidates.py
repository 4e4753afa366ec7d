"""Which pictures are worth a closer look: the nearest ones, seen through many views.

Every picture is shrunk to 12 by 12, freed of brightness and contrast, its extremes cut off (so
that a line of text does not outweigh the picture), and described by its lowest 27 frequencies.
The nearest descriptions are looked up (`cells`) for each picture as it would look cropped; for its
inner part, at several scales, for what has got a frame; and for its upper and lower part, for what
has got a text in the other. Of every view the nearest few are taken: a crop competes with crops
of the same extent then, and not with whole pictures, which in a series of like specimens are all
more alike than a picture and its own crop. Mirrored and turned pictures are looked up once, by
what mirroring and turning do not change: the sizes of the frequencies, those down and across
sorted; which way a picture was turned the frequencies themselves say.

Of all these a picture keeps only the nearest few, so that the work for one picture does not grow
when a data set grows denser.

Perceptual hashes are coarser and no faster: a crop of 3 % moves a 64-bit hash by 10 to 22 bits.

Shape suffixes: N pictures, P pairs, R rows and K columns of pixels, S the side of a descriptor,
D numbers of a description.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.cells import Cells
from holotype.dataset.thumbnails import Floats, grey_at, shrinking

DESCRIPTOR_SIZE = 12
_SEEN_SIZE = 32  # pixels; what descriptors are made of
_FREQUENCIES = 6  # half waves down plus across; more of them make crops less alike
_NEAREST = 2  # per view; of 6,102 planted copies (seeds 7, 11) three find two fewer
_NEAREST_TURNED = 8  # by what turning does not change, which tells pictures apart less well
_PROBED = 4  # cells that are searched; of the nearest 3 digits 1 % are in none of them
# Per picture and part of the other, by all views: of 6,768 pairs of copies that were found with
# (12, 5, 3, 3) (seeds 7 and 11) six were beyond the eighth among wholes, none beyond the second
# among the others. With six wholes too little stands beside a pair to judge it by, and two pairs of
# digits were false.
_KEPT = (8, 2, 2, 2)
# Correlations. The least of those pairs had 0.856 as wholes, 0.941 within frames and 0.969 as
# halves; these limits lose one of 9,142 on nine tuning sets, and spare a fifth of the candidates.
_LEAST_SIMILAR = (0.87, 0.93, 0.95, 0.95)
_PREFERENCE = 0.03  # in similarity, of views of the whole over those of parts
_FLAT = 0.7  # grey levels of contrast below which there is no picture to compare
_EXTREME = 2.0  # deviations at which a descriptor is cut off
_ASPECT = 0.12  # of the logarithm of width over height; a crop of 10 % on one side gives 0.105
_BLOCK, _SHRUNK = 8192, 512  # pictures looked up together; shrunk together

# Parts of the still picture that views are compared with: top, bottom, left, right.
PARTS: tuple[tuple[float, float, float, float], ...] = (
    (0, 1, 0, 1),
    (0.1, 0.9, 0.1, 0.9),
    (0, 0.45, 0, 1),
    (0.55, 1, 0, 1),
)
WHOLE, INNER, UPPER, LOWER = range(len(PARTS))
# Pixels; within a frame less would be left than is evidence, and a text would not be small.
LEAST_SIDES = (0, 28, 48, 48)


@dataclass(frozen=True)
class View:
    """How a picture may have been changed: a part of it, or the whole mirrored and turned.

    Attributes:
        top, bottom, left, right: the part, as fractions of height and width.
        turns: quarter turns against the clock, after mirroring.
        mirrored: left and right exchanged.
        part: which of `PARTS` of the other picture looks like it.
    """

    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0
    turns: int = 0
    mirrored: bool = False
    part: int = WHOLE

    @property
    def is_upright(self) -> bool:
        return not (self.turns or self.mirrored)

    def oriented(self, pictures_NRK: NDArray[Any]) -> NDArray[Any]:
        """Pictures mirrored and turned; any axes may stand before rows and columns."""
        if self.mirrored:
            pictures_NRK = pictures_NRK[..., ::-1]
        return np.rot90(pictures_NRK, self.turns, axes=(-2, -1))

    def window(self) -> tuple[float, float, float, float]:
        """Where the whole of the other picture lies in this one: start and extent, twice."""
        top, bottom, left, right = PARTS[self.part]
        height = (self.bottom - self.top) / (bottom - top)
        width = (self.right - self.left) / (right - left)
        return self.top - top * height, height, self.left - left * width, width


def _views() -> tuple[View, ...]:
    """The whole picture first, then its other orientations, then crops at several places."""
    views = [View(turns=turns, mirrored=flip) for flip in (False, True) for turns in range(4)]
    views.append(View(0.0125, 0.9875, 0.0125, 0.9875))
    for cut, places in ((0.025, (0, 1)), (0.05, (0, 0.5, 1)), (0.1, (0, 0.5, 1))):
        for down in places:
            for across in places:
                top, left = down * cut, across * cut
                views.append(View(top, top + 1 - cut, left, left + 1 - cut))
    # Within a frame over a picture lies the same part of it, within one around it a larger one.
    views += [View(cut, 1 - cut, cut, 1 - cut, part=INNER) for cut in (0.1, 0.08, 0.06)]
    views += [View(*PARTS[part], part=part) for part in (UPPER, LOWER)]
    return tuple(views)


VIEWS = _views()
_ORIENTATIONS = range(8)
_PART_OF = np.array([view.part for view in VIEWS])
_IS_UPRIGHT = np.array([view.is_upright for view in VIEWS])


@dataclass(frozen=True, eq=False)
class Candidates:
    """P pairs of pictures: a view of `moving` looks like a part of `still`, mostly the whole."""

    still: NDArray[np.int64]
    moving: NDArray[np.int64]
    view: NDArray[np.int64]  # positions in VIEWS
    window_P4: Floats  # where the whole of `still` lies: start and extent down, then across
    apart_P: Floats  # grey levels by which they differ at a first look; 0 where nobody looked

    @classmethod
    def seen(
        cls, still: NDArray[np.int64], moving: NDArray[np.int64], view: NDArray[np.int64]
    ) -> "Candidates":
        """Pairs with the windows that their views say."""
        windows_V4 = np.array([view.window() for view in VIEWS], np.float32)
        return cls(still, moving, view, windows_V4[view], np.zeros(len(still), np.float32))

    def where(self, chosen: NDArray[Any] | slice) -> "Candidates":
        return Candidates(*(column[chosen] for column in vars(self).values()))

    def joined(self, other: "Candidates") -> "Candidates":
        columns = vars(self)
        return Candidates(*(np.concatenate([columns[n], getattr(other, n)]) for n in columns))

    @property
    def part(self) -> NDArray[np.int64]:
        """Positions in PARTS."""
        return np.asarray(_PART_OF[self.view])

    @property
    def is_upright(self) -> NDArray[np.bool_]:
        return np.asarray(_IS_UPRIGHT[self.view])


def candidates(records: NDArray[np.void], *, nearest: int = _NEAREST) -> Candidates:
    """For every view of every picture the few others that look most like it.

    Args:
        records: fingerprints; their order decides between equals, so let it be a canonical one.
        nearest: how many for each view.
    """
    if len(records) < 2:
        return Candidates.seen(*(np.empty(0, np.int64) for _ in range(3)))
    blocks = [
        np.arange(start, min(start + _BLOCK, len(records)))
        for start in range(0, len(records), _BLOCK)
    ]
    described = [_parts_described(_seen(records[rows])) for rows in blocks]
    part_ND = [np.concatenate(several) for several in zip(*described, strict=True)]
    whole_ND, unoriented_ND = part_ND[WHOLE], _unoriented(part_ND[WHOLE])
    of_part, of_unoriented = list(map(Cells.of, part_ND)), Cells.of(unoriented_ND)
    pairs = []
    for rows in blocks:
        found = _looked_up(_seen(records[rows]), rows, of_part, nearest)
        turned = of_unoriented.nearest(
            unoriented_ND[rows], rows, count=_NEAREST_TURNED, probed=_PROBED
        )
        found.append(_turned(whole_ND, rows, turned[0]))
        joined = _Pairs.joined(found)
        pairs.append(_one_direction(joined.where(_are_possible(joined, records))))
    found_P = _kept(_one_direction(_Pairs.joined(pairs)))
    return Candidates.seen(found_P.still_P, found_P.moving_P, found_P.view_P)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """P pairs with a direction: a view of `moving` looks like a part of `still`."""

    moving_P: NDArray[np.int64]
    still_P: NDArray[np.int64]
    view_P: NDArray[np.int64]
    similarity_P: Floats

    @classmethod
    def joined(cls, several: Sequence["_Pairs"]) -> "_Pairs":
        columns = [(p.moving_P, p.still_P, p.view_P, p.similarity_P) for p in several]
        return cls(*(np.concatenate(column) for column in zip(*columns, strict=True)))

    def where(self, chosen: NDArray[Any]) -> "_Pairs":
        columns = (self.moving_P, self.still_P, self.view_P, self.similarity_P)
        return _Pairs(*(column[chosen] for column in columns))


def _seen(records: NDArray[np.void]) -> Floats:
    """The pictures (N, R, K) that descriptions are made of, shrunk a few at a time."""
    starts = range(0, len(records), _SHRUNK)
    return np.concatenate([grey_at(records[s : s + _SHRUNK], _SEEN_SIZE) for s in starts])


def _looked_up(
    seen_NRK: Floats, rows: NDArray[np.int64], of_part: Sequence[Cells], nearest: int
) -> list[_Pairs]:
    """The nearest still pictures of some moving ones through every upright view."""
    found = []
    for number, view in enumerate(VIEWS):
        if not view.is_upright:
            continue
        vectors_ND = _described(_part(seen_NRK, view))
        still_NK, similarity_NK = of_part[view.part].nearest(
            vectors_ND, rows, count=nearest, probed=_PROBED
        )
        if view.part != WHOLE:  # a crop of either picture is the better explanation
            similarity_NK = similarity_NK - np.float32(_PREFERENCE)
        row, place = np.nonzero(similarity_NK >= _LEAST_SIMILAR[view.part])
        view_P = np.full(len(row), number)
        found.append(_Pairs(rows[row], still_NK[row, place], view_P, similarity_NK[row, place]))
    return found


def _turned(whole_ND: Floats, rows: NDArray[np.int64], still_NK: NDArray[np.int64]) -> _Pairs:
    """Pairs that may be turned, each through the orientation that looks best."""
    moving_P = np.repeat(rows, still_NK.shape[1])
    still_P = still_NK.ravel()
    similarities = [
        np.einsum(
            "pd,pd->p",
            (whole_ND[rows] @ orientation_DD)[moving_P - rows[0]],
            whole_ND[still_P],
        )
        for orientation_DD in _orientations()
    ]
    similarity_VP = np.stack(similarities)
    view_P = similarity_VP.argmax(0)
    pairs = _Pairs(moving_P, still_P, view_P, similarity_VP[view_P, np.arange(len(view_P))])
    return pairs.where((pairs.similarity_P >= _LEAST_SIMILAR[WHOLE]) & (moving_P != still_P))


def _are_possible(pairs: _Pairs, records: NDArray[np.void]) -> NDArray[np.bool_]:
    aspect_N = np.log(records["width"] / np.maximum(records["height"], 1)).astype(np.float32)
    sign_V = np.array([-1 if view.turns % 2 else 1 for view in VIEWS])
    apart_P = sign_V[pairs.view_P] * aspect_N[pairs.moving_P] - aspect_N[pairs.still_P]
    side_N = np.minimum(records["rows"], records["columns"])
    part_P = _PART_OF[pairs.view_P]
    side_P = np.minimum(side_N[pairs.moving_P], side_N[pairs.still_P])
    is_large_P = side_P >= np.array(LEAST_SIDES)[part_P]
    return np.asarray(is_large_P & (np.abs(apart_P) <= _ASPECT))


def _one_direction(pairs: _Pairs) -> _Pairs:
    """Every two pictures once by each part, in the direction and through the view that look best.

    A crop may look a little more like a framed picture than the picture within the frame does, and
    yet have nearer neighbours; which part explains more is seen when they are laid on each other.
    """
    two_P = numbered(pairs.still_P, pairs.moving_P) * len(PARTS) + _PART_OF[pairs.view_P]
    way_P = (pairs.moving_P > pairs.still_P) * len(VIEWS) + pairs.view_P
    return pairs.where(first_of_each(two_P, -pairs.similarity_P, way_P))


def _kept(pairs: _Pairs) -> _Pairs:
    """The pairs that are among the nearest of one of their two pictures, by the part compared."""
    part_P = _PART_OF[pairs.view_P]
    groups_2P = np.stack([pairs.moving_P, pairs.still_P]) * len(PARTS) + part_P
    rank_2P = ranks(groups_2P.ravel(), np.tile(-pairs.similarity_P, 2)).reshape(2, -1)
    return pairs.where(rank_2P.min(0) < np.array(_KEPT)[part_P])


def numbered(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every two pictures as one number, which is sorted faster than two."""
    return np.minimum(one, other) << 32 | np.maximum(one, other)


def first_of_each(groups: NDArray[np.int64], *keys: NDArray[Any]) -> NDArray[np.int64]:
    """For every group the place of what comes first by the keys, those that tell most first."""
    order = np.lexsort((*reversed(keys), groups))
    is_first = np.ones(len(order), bool)
    is_first[1:] = np.diff(groups[order]) != 0
    return order[is_first]


def ranks(groups: NDArray[np.int64], values: Floats) -> NDArray[np.int64]:
    """The place of every value among those of its group, the smallest first."""
    order = np.lexsort((values, groups))
    sorted_groups = groups[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = np.diff(sorted_groups) != 0
    places = np.arange(len(order))
    found = np.empty(len(order), np.int64)
    found[order] = places - np.maximum.accumulate(np.where(is_first, places, 0))
    return found


def _parts_described(seen_NRK: Floats) -> list[Floats]:
    return [_described(_part(seen_NRK, View(*part))) for part in PARTS]


def _part(seen_NRK: Floats, view: View) -> Floats:
    """The part of each picture that a view shows (N, S, S), not turned, extremes cut off."""
    down = shrinking(_SEEN_SIZE, DESCRIPTOR_SIZE, view.top, view.bottom)
    across = shrinking(_SEEN_SIZE, DESCRIPTOR_SIZE, view.left, view.right)
    out_NSS = _mapped(_mapped(seen_NRK, across), down)
    out_NSS -= out_NSS.mean((1, 2), keepdims=True)
    for _ in range(2):  # the first time the extremes themselves widen the deviation
        most = _EXTREME * out_NSS.std((1, 2), keepdims=True)
        out_NSS = np.clip(out_NSS, -most, most)
        out_NSS -= out_NSS.mean((1, 2), keepdims=True)
    return out_NSS


def _mapped(pictures_NRK: Floats, matrix: Floats) -> Floats:
    """The last axis mapped, then the last two exchanged; one large product is the fastest."""
    rows, columns = pictures_NRK.shape[1:]
    mapped = pictures_NRK.reshape(-1, columns) @ matrix.T
    return np.ascontiguousarray(mapped.reshape(-1, rows, len(matrix)).transpose(0, 2, 1))


def _described(pictures_NSS: Floats) -> Floats:
    """The low frequencies of each picture as a vector of length 1; of flat ones, of length 0."""
    flat_NM = pictures_NSS.reshape(len(pictures_NSS), -1)
    vectors_ND = flat_NM @ _low_frequencies()
    length_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    has_contrast = length_N1 > _FLAT * DESCRIPTOR_SIZE
    return np.where(has_contrast, vectors_ND / np.maximum(length_N1, 1e-6), 0).astype(np.float32)


@cache
def _orders() -> list[tuple[int, int]]:
    """Half waves down and across, of every number of a description."""
    return [
        (down, across)
        for down in range(_FREQUENCIES + 1)
        for across in range(_FREQUENCIES + 1 - down)
        if down + across
    ]


@cache
def _low_frequencies() -> Floats:
    """The cosines (S * S, D) of a DCT-II of low order, without the constant; orthonormal."""
    places = (np.arange(DESCRIPTOR_SIZE) + 0.5) * np.pi / DESCRIPTOR_SIZE
    waves = np.cos(np.arange(_FREQUENCIES + 1)[:, None] * places)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    basis = [np.outer(waves[down], waves[across]).ravel() for down, across in _orders()]
    return np.stack(basis, 1).astype(np.float32)


@cache
def _orientations() -> list[Floats]:
    """For each of the first eight views the matrix that turns a description; signs and places."""
    basis_MD = _low_frequencies()
    pictures_DSS = basis_MD.T.reshape(-1, DESCRIPTOR_SIZE, DESCRIPTOR_SIZE)
    return [
        VIEWS[number].oriented(pictures_DSS).reshape(len(pictures_DSS), -1) @ basis_MD
        for number in _ORIENTATIONS
    ]


def _unoriented(vectors_ND: Floats) -> Floats:
    """What mirroring and turning do not change, as long as before and never further apart."""
    size_ND = np.abs(vectors_ND)
    exchanged = [_orders().index((across, down)) for down, across in _orders()]
    is_down = np.array([down >= across for down, across in _orders()])
    larger, smaller = (f(size_ND, size_ND[:, exchanged]) for f in (np.maximum, np.minimum))
    is_diagonal = np.array([down == across for down, across in _orders()])
    return np.where(is_down | is_diagonal, larger, smaller)


def oriented(moving_NRK: Floats, found: Candidates) -> Floats:
    """The moving picture of each pair, mirrored and turned as its view says."""
    turned_NRK = moving_NRK.copy()
    for number in np.unique(found.view):
        if not VIEWS[number].is_upright:
            some = found.view == number
            turned_NRK[some] = VIEWS[number].oriented(moving_NRK[some])
    return turned_NRK
