"""Which pictures are worth a closer look: the nearest ones, seen through many views.

Every picture is shrunk to 12 by 12, freed of brightness and contrast, its extremes cut off (so
that a line of text does not outweigh the picture), and described by its lowest 27 frequencies. A
graph of nearest neighbours (HNSW) over whole pictures is asked for each picture as it would look
cropped, mirrored or turned; a second graph, over inner parts, is asked for what has got a frame.
Of every view the nearest few are taken: a crop competes with crops of the same extent then, and
not with whole pictures, which in a series of like specimens are all more alike than a picture
and its own crop. The work for one picture grows with the logarithm of the data set.

The graphs are built by one thread in the order of the records, so that equal records in equal
order give equal candidates, whatever the number of threads that ask.

Perceptual hashes are coarser and no faster: a crop of 3 % moves a 64-bit hash by 10 to 22 bits.

Source: Malkov and Yashunin 2018, "Efficient and robust approximate nearest neighbor search using
Hierarchical Navigable Small World graphs", IEEE TPAMI 42.

Shape suffixes: N pictures, P pairs, R rows and K columns of pixels, S the side of a descriptor,
D numbers of a description.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.thumbnails import Floats, shrinking

if TYPE_CHECKING:
    from usearch.index import Index as Graph

DESCRIPTOR_SIZE = 12
_FREQUENCIES = 6  # half waves down plus across; more of them make crops less alike
_NEAREST = 3  # per view; of 2,369 planted copies (seed 7) one was further, in all its views
_LEAST_SIMILAR = 0.85  # correlation; the least of a true copy was 0.889
_PREFERENCE = 0.03  # in similarity, of views of the whole over those of inner parts
_FLAT = 0.7  # grey levels of contrast below which there is no picture to compare
_EXTREME = 2.0  # deviations at which a descriptor is cut off
_ASPECT = 0.12  # of the logarithm of width over height; a crop of 10 % on one side gives 0.105
_CONNECTIVITY, _CARE, _EFFORT = 16, 96, 32  # of the graph: its edges, building, searching
_THREADS = 2
_BLOCK = 1024


@dataclass(frozen=True)
class View:
    """How a picture may have been changed: a part of it, or the whole mirrored and turned.

    Attributes:
        top, bottom, left, right: the part, as fractions of height and width.
        turns: quarter turns against the clock, after mirroring.
        mirrored: left and right exchanged.
    """

    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0
    turns: int = 0
    mirrored: bool = False

    @property
    def is_whole(self) -> bool:
        return (self.top, self.bottom, self.left, self.right) == (0, 1, 0, 1)

    def oriented(self, pictures_NRK: NDArray[Any]) -> NDArray[Any]:
        """Pictures mirrored and turned; any axes may stand before rows and columns."""
        if self.mirrored:
            pictures_NRK = pictures_NRK[..., ::-1]
        return np.rot90(pictures_NRK, self.turns, axes=(-2, -1))


def _views() -> tuple[View, ...]:
    """The whole picture first, then its other orientations, then crops at several places."""
    views = [View(turns=turns, mirrored=flip) for flip in (False, True) for turns in range(4)]
    views.append(View(0.0125, 0.9875, 0.0125, 0.9875))
    for cut, places in ((0.025, (0, 1)), (0.05, (0, 0.5, 1)), (0.1, (0, 0.5, 1))):
        for down in places:
            for across in places:
                top, left = down * cut, across * cut
                views.append(View(top, top + 1 - cut, left, left + 1 - cut))
    return tuple(views)


_WHOLE = View()
_INNER = View(0.1, 0.9, 0.1, 0.9)  # of both pictures: what is left within a frame
VIEWS = (*_views(), _INNER)
INNER = len(VIEWS) - 1  # a candidate with this view looks most alike within its borders


@dataclass(frozen=True, eq=False)
class Candidates:
    """P pairs of pictures: a view of `moving` looks like the whole of `still`."""

    still: NDArray[np.int64]
    moving: NDArray[np.int64]
    view: NDArray[np.int64]  # positions in VIEWS

    def where(self, chosen: NDArray[Any] | slice) -> "Candidates":
        return Candidates(self.still[chosen], self.moving[chosen], self.view[chosen])


def candidates(records: NDArray[np.void], *, nearest: int = _NEAREST) -> Candidates:
    """For every view of every picture the few others that look most like it.

    Args:
        records: fingerprints; their order decides between equals, so let it be a canonical one.
        nearest: how many for each view.
    """
    if len(records) < 2:
        return Candidates(*(np.empty(0, np.int64) for _ in range(3)))
    graphs = {part: _graph(_in_blocks(records, part)) for part in (_WHOLE, _INNER)}
    pairs = [
        _looked_up(records, np.arange(start, min(start + _BLOCK, len(records))), graphs, nearest)
        for start in range(0, len(records), _BLOCK)
    ]
    found = _one_direction(_Pairs.joined(pairs))
    return Candidates(found.still_P, found.moving_P, found.view_P)


def _in_blocks(records: NDArray[np.void], part: View) -> Floats:
    starts = range(0, len(records), _BLOCK)
    return np.concatenate([_described(_shrunk(records[s : s + _BLOCK], part)) for s in starts])


def _graph(vectors_ND: Floats) -> "Graph":
    from usearch.index import Index as Graph

    graph = Graph(
        ndim=vectors_ND.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=_CONNECTIVITY,
        expansion_add=_CARE,
        expansion_search=_EFFORT,
    )
    graph.add(np.arange(len(vectors_ND)), vectors_ND, threads=1)
    return graph


@dataclass(frozen=True, eq=False)
class _Pairs:
    """P pairs with a direction: a view of `moving` looks like the whole of `still`."""

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


def _looked_up(
    records: NDArray[np.void], block: NDArray[np.int64], graphs: dict[View, "Graph"], nearest: int
) -> _Pairs:
    """The nearest still pictures of some moving ones, each through its best view."""
    whole_NSS = _shrunk(records[block], _WHOLE)
    found = []
    for number, view in enumerate(VIEWS):
        seen_NSS = whole_NSS if view.is_whole else _shrunk(records[block], view)
        vectors_ND = _described(view.oriented(seen_NSS))
        graph = graphs[_INNER if number == INNER else _WHOLE]
        matches = graph.search(vectors_ND, min(nearest + 1, len(graph)), threads=_THREADS)
        still = np.asarray(matches.keys).astype(np.int64).reshape(len(block), -1)
        similarity = 1 - np.asarray(matches.distances).reshape(still.shape)
        if number == INNER:  # a crop of either picture is the better explanation
            similarity = similarity - _PREFERENCE
        moving = np.broadcast_to(block[:, None], still.shape)
        numbers = np.full(still.shape, number)
        pairs = _Pairs(moving.ravel(), still.ravel(), numbers.ravel(), similarity.ravel())
        found.append(pairs.where(_are_possible(pairs, records)))
    return _one_direction(_Pairs.joined(found))


def _are_possible(pairs: _Pairs, records: NDArray[np.void]) -> NDArray[np.bool_]:
    aspect_N = np.log(records["width"] / np.maximum(records["height"], 1)).astype(np.float32)
    sign_V = np.array([-1 if view.turns % 2 else 1 for view in VIEWS])
    apart_P = sign_V[pairs.view_P] * aspect_N[pairs.moving_P] - aspect_N[pairs.still_P]
    is_other_P = pairs.moving_P != pairs.still_P
    is_similar_P = pairs.similarity_P >= _LEAST_SIMILAR
    return np.asarray(is_other_P & is_similar_P & (np.abs(apart_P) <= _ASPECT))


def _one_direction(pairs: _Pairs) -> _Pairs:
    """Every two pictures once, in the direction and through the view that look best."""
    low, high = (f(pairs.still_P, pairs.moving_P) for f in (np.minimum, np.maximum))
    order = np.lexsort((pairs.view_P, pairs.moving_P, -pairs.similarity_P, high, low))
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    return pairs.where(order[is_first])


def _shrunk(records: NDArray[np.void], view: View) -> Floats:
    """The part of each picture that a view shows (N, S, S), not yet turned, extremes cut off."""
    out_NSS = np.empty((len(records), DESCRIPTOR_SIZE, DESCRIPTOR_SIZE), np.float32)
    sizes = np.stack([records["rows"], records["columns"]], 1).astype(np.int64)
    for rows, columns in np.unique(sizes, axis=0):
        some = np.flatnonzero((sizes == (rows, columns)).all(1))
        grey_NRK = records["grey"][some, :rows, :columns].astype(np.float32)
        down = shrinking(int(rows), DESCRIPTOR_SIZE, view.top, view.bottom)
        across = shrinking(int(columns), DESCRIPTOR_SIZE, view.left, view.right)
        out_NSS[some] = down @ grey_NRK @ across.T
    out_NSS -= out_NSS.mean((1, 2), keepdims=True)
    for _ in range(2):  # the first time the extremes themselves widen the deviation
        most = _EXTREME * out_NSS.std((1, 2), keepdims=True)
        out_NSS = np.clip(out_NSS, -most, most)
        out_NSS -= out_NSS.mean((1, 2), keepdims=True)
    return out_NSS


def _described(pictures_NSS: Floats) -> Floats:
    """The low frequencies of each picture as a vector of length 1; of flat ones, of length 0."""
    flat_NM = pictures_NSS.reshape(len(pictures_NSS), -1)
    vectors_ND = flat_NM @ _low_frequencies()
    length_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    has_contrast = length_N1 > _FLAT * DESCRIPTOR_SIZE
    return np.where(has_contrast, vectors_ND / np.maximum(length_N1, 1e-6), 0).astype(np.float32)


@cache
def _low_frequencies() -> Floats:
    """The cosines (S * S, D) of a DCT-II of low order, without the constant; orthonormal."""
    places = (np.arange(DESCRIPTOR_SIZE) + 0.5) * np.pi / DESCRIPTOR_SIZE
    waves = np.cos(np.arange(_FREQUENCIES + 1)[:, None] * places)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    orders = [
        (down, across)
        for down in range(_FREQUENCIES + 1)
        for across in range(_FREQUENCIES + 1 - down)
        if down + across
    ]
    basis = [np.outer(waves[down], waves[across]).ravel() for down, across in orders]
    return np.stack(basis, 1).astype(np.float32)


def oriented(moving_NRK: Floats, found: Candidates) -> Floats:
    """The moving picture of each pair, mirrored and turned as its view says."""
    turned_NRK = moving_NRK.copy()
    for number in np.unique(found.view):
        if VIEWS[number].turns or VIEWS[number].mirrored:
            some = found.view == number
            turned_NRK[some] = VIEWS[number].oriented(moving_NRK[some])
    return turned_NRK


def first_windows(found: Candidates) -> Floats:
    """Windows (N, 4) as the views say: start and extent down, start and extent across."""
    starts = np.array([[v.top, v.bottom - v.top, v.left, v.right - v.left] for v in VIEWS])
    starts[INNER] = (0, 1, 0, 1)  # both pictures are looked at without their borders
    return starts[found.view].astype(np.float32)
