"""Embeddings of images by the backbones of a bundle, cached per image and view.

A bundle may have several views and several members. Each file is read and decoded once for all of
them; members that share a backbone and a preprocessing share its embeddings too.

Shape suffixes: N images, D embedding, C the three channels, H height, W width.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.bundle import Bundle
from holotype.bundle.image_sources import Decoder, ImageSource, header_warnings
from holotype.bundle.onnx_runtime import DoneCallback, map_in_threads, run_session
from holotype.bundle.views import PLAIN, VIEWS, FixedView, ViewSet
from holotype.cache import ArrayCache, hash_strings
from holotype.errors import BundleError, ImageError
from holotype.imaging.decode import Image
from holotype.imaging.decoding_memory import refused_where_memory_ends

SHARD = 512  # images between two writes of the cache: what a kill costs at most
BATCH = 4  # inputs in a call of a backbone; more is not faster


class ViewKey(NamedTuple):
    """One view through one backbone and its preprocessing, which `namespace` stands for."""

    namespace: str
    view: FixedView


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The embeddings of the images that could be used.

    Attributes:
        positions: which of the given images, ascending.
        sha256: the hash of each.
        by_view: float32 (N, D) for every view through every backbone, in the order of members.
        refused: the images that could not be used.
        warnings: id of an image -> what of it is not used, such as further pages.
    """

    positions: list[int]
    sha256: list[str]
    by_view: Mapping[ViewKey, NDArray[np.float32]]
    refused: list[ImageError] = field(default_factory=list)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def embeddings_ND(self) -> NDArray[np.float32]:
        """Of the plain views; those of several backbones side by side."""
        plain = [found for view_key, found in self.by_view.items() if view_key.view == PLAIN]
        return plain[0] if len(plain) == 1 else np.concatenate(plain, axis=1)


def cache_namespace(base: Bundle) -> str:
    """The hash of everything that decides an embedding but the image and the view."""
    return hash_strings(base.backbone_sha256, base.preprocessing.digest(), "embedding")


def resolve_views(base: Bundle, views: ViewSet | None) -> tuple[FixedView, ...]:
    """The views of a set; of the sealed one unless another is asked for.

    Raises:
        BundleError: the decision is sealed with other views, or the input cannot be turned.
    """
    if views is None or (base.manifest.decision and views == base.views):
        return VIEWS[base.views]
    if base.manifest.decision is not None:
        raise BundleError(
            f"{base.name}: views {views!r} were asked for, but {base.views!r} are sealed with the "
            "temperature, which holds for no others. Predict without naming views."
        )
    if views == "dihedral" and base.preprocessing.height != base.preprocessing.width:
        raise BundleError(
            f"{base.name}: a model input of {base.preprocessing.height} x "
            f"{base.preprocessing.width} cannot be turned; use the views 'one', "
            "'mirror' or 'scales'."
        )
    return VIEWS[views]


def embed(
    bundle: Bundle,
    sources: Sequence[ImageSource],
    *,
    views: ViewSet | None = None,
    use_cache: bool = True,
    workers: int | None = None,
    on_progress: DoneCallback | None = None,
) -> Embeddings:
    """The embeddings of images; those in the cache are neither decoded nor computed.

    Args:
        bundle: whose backbones, preprocessing and views.
        sources: images; those whose hash is known are looked up in the cache.
        views: of an unsealed bundle; the sealed ones unless given.
        use_cache: read and write `$HOLOTYPE_CACHE`, a shard of 512 images at a time, so that a
            pass that is killed goes on where it was.
        workers: threads that decode and run; one a core by default.
        on_progress: told how many of `sources` are done.

    Raises:
        BundleError: these views cannot be had from this bundle.
    """
    base_models, view_keys = _view_keys(bundle, views)
    store = _Store(base_models, use_cache)
    sha256 = [source.sha256 for source in sources]
    todo = [
        (position, missing)
        for position, name in enumerate(sha256)
        if (missing := store.missing(name, view_keys))
    ]
    refused: dict[int, ImageError] = {}
    embedded = {position for position, _ in todo}
    tolerates = any(base.preprocessing.tolerate_truncated for base in base_models.values())
    warnings = {
        position: header_warnings(source, tolerate_truncated=tolerates)
        for position, source in enumerate(sources)
        if position not in embedded
    }
    for namespace in {view_key.namespace for _, missing in todo for view_key in missing}:
        _ = base_models[namespace].backbone  # opened once, before threads ask for it

    def run(numbers: range) -> list[_ImageResult]:
        return _embed_batch([(sources[todo[n][0]], *todo[n]) for n in numbers], base_models)

    done = len(sources) - len(todo)
    if on_progress and not todo:
        on_progress(done)
    most_views = max(len(VIEWS[views or base.views]) for base in base_models.values())
    for batch in map_in_threads(
        run, len(todo), batch_size=max(1, BATCH // most_views), workers=workers
    ):
        for seen in batch:
            if isinstance(seen.found, ImageError):
                refused[seen.position] = seen.found
            else:
                sha256[seen.position] = seen.sha256
                warnings[seen.position] = seen.warnings
                store.add(seen.sha256, seen.found)
        done += len(batch)
        if on_progress:
            on_progress(done)
    store.write()

    positions = [n for n in range(len(sources)) if n not in refused]
    names = [sha256[n] for n in positions]
    return Embeddings(
        positions, names, {view_key: store.stack(names, view_key) for view_key in view_keys},
        [refused[n] for n in sorted(refused)],
        {sources[n].id: warnings[n] for n in positions if warnings[n]},
    )  # fmt: skip


def embed_image(bundle: Bundle, image: Image) -> Embeddings:
    """The embeddings of one decoded image, under the sealed views; not cached."""
    base_models, view_keys = _view_keys(bundle, None)
    inputs, _ = _inputs(view_keys, base_models, lambda *_: image)
    found = _run_backbones(
        {(0, view_key): input_CHW for view_key, input_CHW in inputs.items()}, base_models
    )
    return Embeddings([0], [""], {view_key: found[0, view_key][None] for view_key in view_keys})


def _view_keys(bundle: Bundle, views: ViewSet | None) -> tuple[dict[str, Bundle], list[ViewKey]]:
    """The distinct backbones by namespace, and every view through each of them, without doubles."""
    base_models: dict[str, Bundle] = {}
    view_keys: dict[ViewKey, None] = {}
    for base in bundle.base_models:
        namespace = cache_namespace(base)
        base_models.setdefault(namespace, base)
        view_keys.update((ViewKey(namespace, view), None) for view in resolve_views(base, views))
    return base_models, list(view_keys)


class _Store:
    """Embeddings by image and view_key: in the cache, or only here."""

    def __init__(self, base_models: Mapping[str, Bundle], use_cache: bool) -> None:
        self._size = {
            namespace: base.manifest.embedding_size for namespace, base in base_models.items()
        }
        self._caches = (
            {namespace: ArrayCache("features", namespace) for namespace in base_models}
            if use_cache
            else {}
        )
        self._found: dict[ViewKey, dict[str, NDArray[np.float32]]] = {}
        self._unwritten = 0

    def missing(self, sha256: str, view_keys: Iterable[ViewKey]) -> list[ViewKey]:
        if not self._caches or not sha256:
            return list(view_keys)
        return [
            view_key
            for view_key in view_keys
            if view_key.view.key(sha256) not in self._caches[view_key.namespace]
        ]

    def add(self, sha256: str, found: Mapping[ViewKey, NDArray[np.float32]]) -> None:
        for view_key, embedding_D in found.items():
            self._found.setdefault(view_key, {})[sha256] = embedding_D
        self._unwritten += 1
        if self._caches and self._unwritten >= SHARD:
            self.write()

    def write(self) -> None:
        """Write the embeddings found since the last call, a shard for each backbone."""
        self._unwritten = 0
        for namespace, cache in self._caches.items():
            keys, values = [], []
            for view_key in [
                view_key for view_key in self._found if view_key.namespace == namespace
            ]:
                for sha256, embedding_D in self._found.pop(view_key).items():
                    keys.append(view_key.view.key(sha256))
                    values.append(embedding_D)
            if keys:
                cache.add(keys, np.stack(values))

    def stack(self, names: Sequence[str], view_key: ViewKey) -> NDArray[np.float32]:
        if not names:
            return np.empty((0, self._size[view_key.namespace]), np.float32)
        if self._caches:
            return self._caches[view_key.namespace].stack(
                [view_key.view.key(name) for name in names]
            )
        return np.stack([self._found[view_key][name] for name in names])


@dataclass(frozen=True, eq=False)
class _ImageResult:
    """One image of a pass: what was found of it, or why it was refused."""

    position: int
    sha256: str
    found: Mapping[ViewKey, NDArray[np.float32]] | ImageError
    warnings: tuple[str, ...] = ()


def _embed_batch(
    items: Sequence[tuple[ImageSource, int, list[ViewKey]]], base_models: Mapping[str, Bundle]
) -> list[_ImageResult]:
    """Read and decode a few images and run what is missing of them."""
    sha256: dict[int, str] = {}
    refused: dict[int, ImageError] = {}
    warnings: dict[int, tuple[str, ...]] = {}
    inputs: dict[tuple[int, ViewKey], NDArray[np.float32]] = {}
    for source, position, view_keys in items:
        try:
            decode_at, sha256[position] = source.open()
            with refused_where_memory_ends(source.id):
                found, warnings[position] = _inputs(view_keys, base_models, decode_at)
        except ImageError as refusal:
            refused[position] = refusal
        else:
            inputs.update(
                ((position, view_key), input_CHW) for view_key, input_CHW in found.items()
            )
    embeddings = _run_backbones(inputs, base_models)
    return [
        _ImageResult(position, "", refused[position])
        if position in refused
        else _ImageResult(
            position,
            sha256[position],
            {view_key: embeddings[position, view_key] for view_key in view_keys},
            warnings[position],
        )
        for _, position, view_keys in items
    ]


def _inputs(
    view_keys: Iterable[ViewKey],
    base_models: Mapping[str, Bundle],
    decode_at: Decoder,
) -> tuple[dict[ViewKey, NDArray[np.float32]], tuple[str, ...]]:
    """The model inputs of one image, preprocessed once for each backbone; and its warnings."""
    warnings: tuple[str, ...] = ()
    plain: dict[str, NDArray[np.float32]] = {}
    for view_key in view_keys:
        if view_key.namespace not in plain:
            preprocessing = base_models[view_key.namespace].preprocessing
            image = decode_at(preprocessing.minimum_size, preprocessing.decode_options)
            plain[view_key.namespace], warnings = preprocessing(image), image.warnings
    inputs = {view_key: view_key.view.apply(plain[view_key.namespace]) for view_key in view_keys}
    return inputs, warnings


def _run_backbones(
    inputs: Mapping[tuple[int, ViewKey], NDArray[np.float32]], base_models: Mapping[str, Bundle]
) -> dict[tuple[int, ViewKey], NDArray[np.float32]]:
    """The embedding (D) of every input, a call of each backbone for all its inputs."""
    found: dict[tuple[int, ViewKey], NDArray[np.float32]] = {}
    for namespace, base in base_models.items():
        keys = [key for key in inputs if key[1].namespace == namespace]
        if keys:
            stacked_NCHW = np.stack([inputs[key] for key in keys])
            (embeddings_ND,) = run_session(base.backbone, stacked_NCHW, ["embedding"])
            found.update(zip(keys, embeddings_ND, strict=True))
    return found
