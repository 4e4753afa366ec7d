"""The frozen part of a network run once, its outputs kept; or run anew where they don't fit.

What is kept is found again under the hash of (weights, cut, preprocessing, picture, view), so a
second training on the same pictures neither decodes nor runs anything below its cut.

Shape suffixes: N pictures, V views.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.bundle.embedding import SHARD, ImageFile
from holotype.bundle.graphs import Load, open_session, run_graph
from holotype.dataset.index import Index
from holotype.kept import Kept, key_of
from holotype.preprocessing import Preprocessing
from holotype.training.augment import AUGMENT_VERSION, View, draw_view, look
from holotype.training.augmentation import Augmentation
from holotype.training.disk import DiskBudget, disk_budget
from holotype.training.loader import MEMORY_BYTES, FramedPictures, image_files

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Framed = Callable[[int], PillowImage.Image]
Progress = Callable[[int, int], None]  # done, of how many

SHARD_BYTES = 64 * 2**20  # a shard is written when it has so much, or `SHARD` rows


@dataclass(frozen=True, eq=False)
class KeptFeatures:
    """Features of N pictures under V views, on disk.

    Attributes:
        kept: the space that they lie in.
        keys: for each picture the key of each of its views.
    """

    kept: Kept
    keys: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.keys)

    def batch(self, pictures: Sequence[int], views: Sequence[int]) -> NDArray[Any]:
        """The features of some pictures, each under the view that stands beside it."""
        pairs = zip(pictures, views, strict=True)
        return self.kept.stack([self.keys[picture][view] for picture, view in pairs])

    def first_view(self) -> NDArray[Any]:
        """The features of the pictures themselves, (N, …)."""
        return self.kept.stack([views[0] for views in self.keys])


@dataclass(frozen=True)
class FrozenPart:
    """The part of a network below a cut, as something that can be run.

    Attributes:
        identity: the hash of the weights, the cut and what runs them.
        output: `embedding`, which is kept in float32, or a cut, which is kept in float16.
        open_session: a session of ONNX Runtime, or what answers like one.
    """

    identity: str
    output: str
    open_session: Callable[[], "InferenceSession"]

    @property
    def dtype(self) -> type[np.floating[Any]]:
        """What its output is kept in."""
        return np.float32 if self.output == "embedding" else np.float16


def onnx_part(graph: bytes, output: str) -> FrozenPart:
    """A graph on ONNX Runtime: three times as fast as torch on a CPU."""
    identity = hashlib.sha256(graph).hexdigest()
    return FrozenPart(identity, output, lambda: open_session(graph))


@dataclass(frozen=True, eq=False)
class LiveFeatures:
    """Features of pictures under views, computed anew each time they are asked for.

    Bit for bit what `KeptFeatures` would give: the same views, and float16 below a cut.
    """

    part: FrozenPart
    plan: "_Plan"
    framed: FramedPictures
    session: "InferenceSession"

    def __len__(self) -> int:
        return len(self.plan.files)

    def batch(self, pictures: Sequence[int], views: Sequence[int]) -> NDArray[Any]:
        """The features of some pictures, each under the view that stands beside it."""
        wanted = list(zip(pictures, views, strict=True))
        load = self.plan.loader(self.framed.__getitem__, wanted)
        values = []
        for batch in run_graph(self.session, len(wanted), load, outputs=[self.part.output]):
            if batch.refused:
                raise batch.refused[0][1]
            values.append(batch.outputs[self.part.output].astype(self.part.dtype))
        return np.concatenate(values)

    def first_view(self) -> NDArray[Any]:
        """The features of the pictures themselves, (N, …)."""
        return self.batch(range(len(self)), [0] * len(self))


def features_for(
    part: FrozenPart,
    preprocessing: Preprocessing,
    index: Index,
    *,
    views: int = 1,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    budget: DiskBudget | None = None,
    on_progress: Progress | None = None,
) -> tuple[KeptFeatures | LiveFeatures, str]:
    """The features of every view of every picture: kept where the disk has room, else live.

    Args:
        part: what makes the features from a picture.
        index: pictures that can be read; the audit has taken out the others.
        views: how many of each picture; the first is the picture itself.
        augmentation: what the other views are drawn from; needed for more than one.
        budget: for everything that is kept; `disk_budget()` by default.

    Returns:
        The features, and a line to say where they are not kept ("" where they are).

    Raises:
        ImageRefused: a picture became unreadable since the audit.
    """
    plan = _plan(part, preprocessing, index, views, augmentation, seed)
    todo = plan.todo()
    if not todo:
        return KeptFeatures(plan.kept, plan.keys), ""
    session = part.open_session()
    live = LiveFeatures(part, plan, plan.framed(memory_bytes=MEMORY_BYTES), session)
    each = live.batch([todo[0][0]], [todo[0][1]]).nbytes
    reason = (budget or disk_budget()).refusal(each * len(todo))
    if reason:
        return live, (
            f"the frozen part runs anew in every epoch, which takes longer, as what it says of "
            f"{len(index):,} pictures ({views} of each) is not kept: {reason}"
        )
    _fill(plan, part, session, todo, on_progress)
    return KeptFeatures(plan.kept, plan.keys), ""


def keep_features(
    part: FrozenPart,
    preprocessing: Preprocessing,
    index: Index,
    *,
    views: int = 1,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> KeptFeatures:
    """As `features_for`, but kept whatever the budget: for embeddings, which are small."""
    plan = _plan(part, preprocessing, index, views, augmentation, seed)
    todo = plan.todo()
    if todo:
        _fill(plan, part, part.open_session(), todo, on_progress)
    return KeptFeatures(plan.kept, plan.keys)


def sample_of(
    part: FrozenPart,
    preprocessing: Preprocessing,
    index: Index,
    *,
    images: int,
    views: int = 1,
    augmentation: Augmentation | None = None,
    seed: int = 0,
) -> tuple[int, float, int]:
    """How many views are not kept yet; of each the seconds and bytes, told from a few of them."""
    plan = _plan(part, preprocessing, index, views, augmentation, seed)
    todo = plan.todo()
    if not todo:
        return 0, 0.0, 0
    session = part.open_session()
    live = LiveFeatures(part, plan, plan.framed(memory_bytes=0), session)
    few = todo[:: max(1, len(todo) // images)][:images]
    live.batch(*zip(*few[:1], strict=True))  # the first call of a session takes longer
    began = time.perf_counter()
    values = live.batch(*zip(*few, strict=True))
    return len(todo), (time.perf_counter() - began) / len(few), values.nbytes // len(few)


@dataclass(frozen=True, eq=False)
class _Plan:
    """Which views of which pictures are wanted, and under which keys they are kept."""

    kept: Kept
    preprocessing: Preprocessing
    files: list[ImageFile]
    views: list[list[View]]
    keys: list[list[str]]

    def todo(self) -> list[tuple[int, int]]:
        """Picture and view of each key that is not kept; the same key once."""
        wanted: dict[str, tuple[int, int]] = {}
        for picture, of_picture in enumerate(self.keys):
            for number, key in enumerate(of_picture):
                if key not in self.kept:
                    wanted.setdefault(key, (picture, number))
        return list(wanted.values())

    def framed(self, *, memory_bytes: int) -> FramedPictures:
        return FramedPictures(self.files, self.preprocessing, memory_bytes=memory_bytes)

    def loader(self, framed: Framed, wanted: Sequence[tuple[int, int]]) -> Load:
        """Makes the model input of each wanted (picture, view)."""

        def load(position: int) -> NDArray[np.float32]:
            picture, number = wanted[position]
            view = self.views[picture][number]
            return self.preprocessing.tensor(look(framed(picture), view))

        return load


def _plan(
    part: FrozenPart,
    preprocessing: Preprocessing,
    index: Index,
    views: int,
    augmentation: Augmentation | None,
    seed: int,
) -> _Plan:
    space = key_of(part.identity, preprocessing.digest(), part.output)
    files = image_files(index)
    drawn = [_views_of(file.sha256, views, augmentation, seed) for file in files]
    return _Plan(
        Kept("features", space),
        preprocessing,
        files,
        [[view for _, view in of_picture] for of_picture in drawn],
        [[key for key, _ in of_picture] for of_picture in drawn],
    )


def _views_of(
    sha256: str, views: int, augmentation: Augmentation | None, seed: int
) -> list[tuple[str, View]]:
    """Key and view, the picture itself first under its plain hash, as inference keeps it."""
    pairs = [(sha256, View())]
    for number in range(1, views):
        assert augmentation is not None
        view = draw_view(augmentation, seed=seed, sha256=sha256, number=number)
        pairs.append((key_of(sha256, str(AUGMENT_VERSION), repr(view)), view))
    return pairs


def _fill(
    plan: _Plan,
    part: FrozenPart,
    session: "InferenceSession",
    todo: Sequence[tuple[int, int]],
    on_progress: Progress | None,
) -> None:
    """Run what is missing and keep it, a shard at a time: all that a kill costs is one shard."""
    keys = [plan.keys[picture][number] for picture, number in todo]
    unwritten: list[str] = []
    values: list[NDArray[Any]] = []

    def write() -> None:
        if unwritten:
            plan.kept.add(unwritten, np.concatenate(values))
        unwritten.clear()
        values.clear()

    # The views of a picture follow each other: it is decoded once for all of them.
    framed = lru_cache(maxsize=16)(plan.framed(memory_bytes=0).__getitem__)
    load = plan.loader(framed, todo)
    for batch in run_graph(session, len(keys), load, outputs=[part.output]):
        if batch.refused:
            write()
            raise batch.refused[0][1]
        unwritten.extend(keys[position] for position in batch.positions)
        values.append(batch.outputs[part.output].astype(part.dtype))
        if len(unwritten) >= SHARD or sum(value.nbytes for value in values) >= SHARD_BYTES:
            write()
        if on_progress:
            on_progress(batch.positions[-1] + 1, len(keys))
    write()
