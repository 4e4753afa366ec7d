"""Features of the frozen part of a network, cached on disk; computed anew where they do not fit.

The key of a feature is the hash of (weights, cut, preprocessing, image, view), so a second training
on the same images neither decodes an image nor runs anything below its cut.

Shape suffixes: N images, V views.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.bundle.embedding import SHARD
from holotype.bundle.image_sources import ImageFile
from holotype.bundle.onnx_runtime import (
    GraphOutputs,
    LoadInput,
    available_cores,
    map_in_threads,
    open_session,
    run_graph,
)
from holotype.cache import ArrayCache, hash_strings
from holotype.dataset.index import Index
from holotype.errors import ImageError
from holotype.imaging.preprocessing import Preprocessing
from holotype.progress import ProgressCallback, pluralize
from holotype.training.config.augmentation_config import Augmentation
from holotype.training.data.augmentations import (
    AUGMENT_VERSION,
    ViewTransform,
    apply_view,
    sample_view,
)
from holotype.training.data.decoding_processes import BATCHES_AHEAD, DecodingProcesses
from holotype.training.data.loader import MEMORY_BYTES, FramedImages, image_files
from holotype.training.features.disk_budget import DiskBudget, disk_budget

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

LoadFramed = Callable[[int], PillowImage.Image]

GPU_BATCH = 64  # images in a call; on a CPU four are as fast as more
SHARD_BYTES = 64 * 2**20  # a shard is written when it has this size, or `SHARD` rows


@dataclass(frozen=True, eq=False)
class CachedFeatures:
    """Features of N images under V views, on disk.

    Attributes:
        cache: the namespace of the features in the cache.
        keys: for each image the key of each of its views.
    """

    cache: ArrayCache
    keys: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.keys)

    def batch(self, images: Sequence[int], views: Sequence[int]) -> NDArray[Any]:
        """The features of some images, each under the view that stands beside it."""
        pairs = zip(images, views, strict=True)
        return self.cache.stack([self.keys[image][view] for image, view in pairs])

    def first_view(self) -> NDArray[Any]:
        """The features of the images themselves, (N, …)."""
        return self.cache.stack([views[0] for views in self.keys])


@dataclass(frozen=True)
class ViewPlan:
    """Which views of each image are computed.

    Attributes:
        count: views of each image; view 0 is the image itself.
        augmentation: what the other views are drawn from; needed for more than one.
        seed: of the views.
        fixed: the views of every image alike, the image itself first; in place of drawn ones.
    """

    count: int = 1
    augmentation: Augmentation | None = None
    seed: int = 0
    fixed: tuple[ViewTransform, ...] = ()


SINGLE_VIEW = ViewPlan()


@dataclass(frozen=True)
class FeatureExtractor:
    """The part of a network below a cut, in a form that runs.

    Attributes:
        identity: the hash of the weights, the cut and the runtime.
        output: `embedding`, which is cached as float32, or a cut, which is cached as float16.
        open_session: makes an ONNX Runtime session, or an object with its methods.
        device: where it runs.
    """

    identity: str
    output: str
    open_session: Callable[[], "InferenceSession"]
    device: str = "cpu"

    @property
    def dtype(self) -> type[np.floating[Any]]:
        """Of the cached output."""
        return np.float32 if self.output == "embedding" else np.float16


def onnx_feature_extractor(graph: bytes, output: str) -> FeatureExtractor:
    """A graph in ONNX Runtime, which is about three times as fast as torch on a CPU."""
    identity = hashlib.sha256(graph).hexdigest()
    return FeatureExtractor(identity, output, partial(open_session, graph))


@dataclass(frozen=True, eq=False)
class UncachedFeatures:
    """Features of N images under V views, computed each time they are asked for.

    Bit for bit those of `CachedFeatures`: the same views, and float16 below a cut.
    """

    part: FeatureExtractor
    plan: "_ExtractionPlan"
    framed: FramedImages

    @cached_property
    def session(self) -> "InferenceSession":
        """Opened on first use, in every process that these features are handed to."""
        return self.part.open_session()

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return UncachedFeatures, (self.part, self.plan, self.framed)

    def __len__(self) -> int:
        return len(self.plan.files)

    def batch(self, images: Sequence[int], views: Sequence[int]) -> NDArray[Any]:
        """The features of some images, each under the view that stands beside it."""
        wanted = list(zip(images, views, strict=True))
        load = self.plan.loader(self.framed.__getitem__, wanted)
        values = []
        for batch in run_graph(
            self.session, len(wanted), load, outputs=[self.part.output],
            batch_size=4 if self.part.device == "cpu" else GPU_BATCH,
        ):  # fmt: skip
            if batch.refused:
                raise batch.refused[0][1]
            values.append(batch.outputs[self.part.output].astype(self.part.dtype))
        return np.concatenate(values)


def cached_or_live_features(
    part: FeatureExtractor,
    preprocessing: Preprocessing,
    index: Index,
    views: ViewPlan = SINGLE_VIEW,
    *,
    budget: DiskBudget | None = None,
    on_progress: ProgressCallback | None = None,
) -> tuple[CachedFeatures | UncachedFeatures, str]:
    """The features of every view of every image: cached where the disk has room, else live.

    Args:
        part: what computes the features of an image.
        index: images that can be read; the audit has taken out the others.
        budget: of the whole cache; `disk_budget()` by default.

    Returns:
        The features, and why they are not cached ("" where they are).

    Raises:
        ImageError: an image became unreadable since the audit.
    """
    plan = _make_plan(part, preprocessing, index, views)
    missing = plan.missing()
    if not missing:
        return CachedFeatures(plan.cache, plan.keys), ""
    live = UncachedFeatures(part, plan, plan.framed(memory_bytes=MEMORY_BYTES))
    each = live.batch([missing[0][0]], [missing[0][1]]).nbytes
    reason = (budget or disk_budget()).why_too_large(each * len(missing))
    if reason:
        return live, (
            f"the frozen part runs anew in every epoch, which takes longer, since the features "
            f"of {pluralize(len(index), 'image')} ({views.count} views of each) are not cached: "
            f"{reason}"
        )
    _fill_cache(plan, part, live.session, missing, on_progress)
    return CachedFeatures(plan.cache, plan.keys), ""


def cache_features(
    part: FeatureExtractor,
    preprocessing: Preprocessing,
    index: Index,
    views: ViewPlan = SINGLE_VIEW,
    *,
    on_progress: ProgressCallback | None = None,
) -> CachedFeatures:
    """The features of every view, cached whatever the budget: embeddings are small."""
    plan = _make_plan(part, preprocessing, index, views)
    missing = plan.missing()
    if missing:
        _fill_cache(plan, part, part.open_session(), missing, on_progress)
    return CachedFeatures(plan.cache, plan.keys)


def time_missing_features(
    part: FeatureExtractor,
    preprocessing: Preprocessing,
    index: Index,
    views: ViewPlan,
    *,
    images: int,
) -> tuple[int, float, int]:
    """The number of views that are not cached yet; seconds and bytes of each, from a few.

    Args:
        images: how many views are timed.
    """
    plan = _make_plan(part, preprocessing, index, views)
    missing = plan.missing()
    if not missing:
        return 0, 0.0, 0
    live = UncachedFeatures(part, plan, plan.framed(memory_bytes=0))
    few = missing[:: max(1, len(missing) // images)][:images]
    live.batch(*zip(*few[:1], strict=True))  # the first call of a session takes longer
    began = time.perf_counter()
    values = live.batch(*zip(*few, strict=True))
    return len(missing), (time.perf_counter() - began) / len(few), values.nbytes // len(few)


@dataclass(frozen=True, eq=False)
class _ExtractionPlan:
    """The wanted views of every image, and their keys in the cache."""

    cache: ArrayCache
    preprocessing: Preprocessing
    files: list[ImageFile]
    views: list[list[ViewTransform]]
    keys: list[list[str]]

    def missing(self) -> list[tuple[int, int]]:
        """Image and view of each key that is not cached; the same key once."""
        wanted: dict[str, tuple[int, int]] = {}
        for image, of_image in enumerate(self.keys):
            for number, key in enumerate(of_image):
                if key not in self.cache:
                    wanted.setdefault(key, (image, number))
        return list(wanted.values())

    def framed(self, *, memory_bytes: int) -> FramedImages:
        return FramedImages(self.files, self.preprocessing, memory_bytes=memory_bytes)

    def loader(self, framed: LoadFramed, wanted: Sequence[tuple[int, int]]) -> LoadInput:
        """Makes the model input of each wanted (image, view)."""

        def load(position: int) -> NDArray[np.float32]:
            image, number = wanted[position]
            view = self.views[image][number]
            return self.preprocessing.tensor(apply_view(framed(image), view))

        return load


def _make_plan(
    part: FeatureExtractor, preprocessing: Preprocessing, index: Index, views: ViewPlan
) -> _ExtractionPlan:
    namespace = hash_strings(part.identity, preprocessing.digest(), part.output)
    files = image_files(index)
    drawn = [_keyed_views(file.sha256, views) for file in files]
    return _ExtractionPlan(
        ArrayCache("features", namespace),
        preprocessing,
        files,
        [[view for _, view in of_image] for of_image in drawn],
        [[key for key, _ in of_image] for of_image in drawn],
    )


def _keyed_views(sha256: str, views: ViewPlan) -> list[tuple[str, ViewTransform]]:
    """Key and view; the image itself comes first, under its plain hash, as inference caches it."""
    others = list(views.fixed[1:])
    for number in range(1, views.count):
        assert views.augmentation is not None
        others.append(
            sample_view(views.augmentation, seed=views.seed, sha256=sha256, number=number)
        )
    keyed = [(hash_strings(sha256, str(AUGMENT_VERSION), repr(view)), view) for view in others]
    return [(sha256, ViewTransform()), *keyed]


def _fill_cache(
    plan: _ExtractionPlan,
    part: FeatureExtractor,
    session: "InferenceSession",
    missing: Sequence[tuple[int, int]],
    on_progress: ProgressCallback | None,
) -> None:
    """Compute and cache what is missing, a shard at a time, so that a kill costs one shard."""
    keys = [plan.keys[image][number] for image, number in missing]
    unwritten: list[str] = []
    values: list[NDArray[Any]] = []

    def write() -> None:
        if unwritten:
            plan.cache.add(unwritten, np.concatenate(values))
        unwritten.clear()
        values.clear()

    for batch in _computed(plan, part, session, missing):
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


def _computed(
    plan: _ExtractionPlan,
    part: FeatureExtractor,
    session: "InferenceSession",
    wanted: Sequence[tuple[int, int]],
) -> Iterator[GraphOutputs]:
    """The features of each (image, view), a batch at a time, in their order."""
    maker = _PlannedViews(plan)
    if part.device == "cpu":
        load = plan.loader(maker.framed, wanted)
        yield from run_graph(session, len(wanted), load, outputs=[part.output])
        return
    count = min(available_cores(), -(-len(wanted) // GPU_BATCH))
    with closing(DecodingProcesses(maker, count)) as processes:

        def run(positions: range) -> GraphOutputs:
            images, views = zip(*wanted[positions.start : positions.stop], strict=True)
            try:
                inputs = processes.batch(images, views)
            except ImageError as refusal:
                return GraphOutputs([], {}, [(positions.start, refusal)])
            (values,) = session.run([part.output], {"image": inputs})
            return GraphOutputs(list(positions), {part.output: values})

        yield from map_in_threads(run, len(wanted), batch_size=GPU_BATCH, workers=BATCHES_AHEAD)


@dataclass(frozen=True, eq=False)
class _PlannedViews:
    """Makes the views of a plan, in this process or another."""

    plan: _ExtractionPlan

    @cached_property
    def framed(self) -> LoadFramed:
        # The views of an image follow each other: it is decoded once for all of them.
        return lru_cache(maxsize=16)(self.plan.framed(memory_bytes=0).__getitem__)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _PlannedViews, (self.plan,)

    @property
    def preprocessing(self) -> Preprocessing:
        return self.plan.preprocessing

    def framed_view(self, image: int, number: int) -> PillowImage.Image:
        return apply_view(self.framed(image), self.plan.views[image][number])
