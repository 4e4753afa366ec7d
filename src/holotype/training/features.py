"""The frozen part of a network run once, its outputs kept.

What is kept is found again under the hash of (weights, cut, preprocessing, picture, view), so a
second training on the same pictures neither decodes nor runs anything below its cut.

Shape suffixes: N pictures, V views.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.bundle.graphs import Load, open_session, run_graph
from holotype.bundle.inference import SHARD, ImageFile
from holotype.dataset.index import Index
from holotype.images import decode
from holotype.kept import Kept, key_of
from holotype.preprocessing import Preprocessing
from holotype.training.augment import View, draw_view, look
from holotype.training.recipe import Augmentation

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Progress = Callable[[int, int], None]  # done, of how many


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


def onnx_part(graph: bytes, output: str) -> FrozenPart:
    """A graph on ONNX Runtime: three times as fast as torch on a CPU."""
    identity = hashlib.sha256(graph).hexdigest()
    return FrozenPart(identity, output, lambda: open_session(graph))


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
    """Run the frozen part on every view of every picture that is not kept yet.

    Args:
        part: what makes the features from a picture.
        index: pictures that can be read; the audit has taken out the others.
        views: how many of each picture; the first is the picture itself.
        augmentation: what the other views are drawn from; needed for more than one.

    Raises:
        ImageRefused: a picture became unreadable since the audit.
    """
    space = key_of(part.identity, preprocessing.digest(), part.output)
    kept = Kept("features", space)
    files = [
        ImageFile(path, index.file(path), sha256)
        for path, sha256 in zip(index.table["path"], index.table["sha256"], strict=True)
    ]
    drawn = [_views_of(file.sha256, views, augmentation, seed) for file in files]
    keys = [[key for key, _ in of_picture] for of_picture in drawn]
    todo: dict[str, tuple[ImageFile, View]] = {
        key: (file, view)
        for file, of_picture in zip(files, drawn, strict=True)
        for key, view in of_picture
        if key not in kept
    }
    if todo:
        _fill(kept, part, list(todo), _view_loader(todo, preprocessing), on_progress)
    return KeptFeatures(kept, keys)


def _views_of(
    sha256: str, views: int, augmentation: Augmentation | None, seed: int
) -> list[tuple[str, View]]:
    """Key and view, the picture itself first under its plain hash, as inference keeps it."""
    pairs = [(sha256, View())]
    for number in range(1, views):
        assert augmentation is not None
        view = draw_view(augmentation, seed=seed, sha256=sha256, number=number)
        pairs.append((key_of(sha256, repr(view)), view))
    return pairs


def _view_loader(todo: dict[str, tuple[ImageFile, View]], preprocessing: Preprocessing) -> Load:
    items = list(todo.values())

    # The views of a picture follow each other: it is decoded once for all of them.
    @lru_cache(maxsize=16)
    def framed(file: ImageFile) -> PillowImage.Image:
        content, _ = file.read()
        image = decode(content, name=file.id, minimum_size=preprocessing.minimum_size)
        return preprocessing.frame(image)

    def load(position: int) -> NDArray[np.float32]:
        file, view = items[position]
        return preprocessing.tensor(look(framed(file), view, preprocessing.background))

    return load


def _fill(
    kept: Kept,
    part: FrozenPart,
    keys: Sequence[str],
    load: Load,
    on_progress: Progress | None,
) -> None:
    """Run what is missing and keep it, a shard at a time."""
    dtype = np.float32 if part.output == "embedding" else np.float16
    unwritten: list[str] = []
    values: list[NDArray[Any]] = []

    def write() -> None:
        if unwritten:
            kept.add(unwritten, np.concatenate(values))
        unwritten.clear()
        values.clear()

    for batch in run_graph(part.open_session(), len(keys), load, outputs=[part.output]):
        if batch.refused:
            write()
            raise batch.refused[0][1]
        unwritten.extend(keys[position] for position in batch.positions)
        values.append(batch.outputs[part.output].astype(dtype))
        if len(unwritten) >= SHARD:
            write()
        if on_progress:
            on_progress(batch.positions[-1] + 1, len(keys))
    write()
