"""Bundle + pictures -> embeddings; what a backbone says of a view of a picture is kept.

A bundle may look at a picture under several views and with several members. Each file is read
once and decoded once for all of them; members that share a backbone and a preprocessing share
what it says too.

Shape suffixes: N pictures, D embedding, C the three channels, H height, W width.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.graphs import Progress, call, spread
from holotype.bundle.views import PLAIN, VIEWS, FixedView, ViewSet
from holotype.errors import BundleError, ImageRefused, UnreadableFile
from holotype.images import Image, decode
from holotype.kept import Kept, key_of
from holotype.preprocessing import Preprocessing

if TYPE_CHECKING:
    from holotype.bundle.bundle import Bundle

SHARD = 512  # pictures between two writes of what is kept: what a kill costs at most
BATCH = 4  # inputs in a call of a backbone; more is not faster


@dataclass(frozen=True)
class ImageFile:
    """A picture on disk, and the hash that it should have; "" where none is known."""

    id: str
    path: Path
    sha256: str = ""

    def read(self) -> tuple[bytes, str]:
        """The bytes and their SHA-256.

        Raises:
            UnreadableFile: the file cannot be read, or is another than was indexed.
        """
        if self.path.exists() and not self.path.is_file():  # a pipe would never end
            raise UnreadableFile(self.id, "this is a folder or a device", "name a file in it")
        try:
            content = self.path.read_bytes()
        except OSError as error:
            reason = f"it cannot be read ({error.strerror or error})"
            raise UnreadableFile(self.id, reason, "check the path and its permissions") from error
        sha256 = hashlib.sha256(content).hexdigest()
        if self.sha256 not in ("", sha256):
            reason = "it has changed since it was indexed"
            raise UnreadableFile(self.id, reason, "index the data again")
        return content, sha256


class Look(NamedTuple):
    """One view through one backbone and its preprocessing, which `space` stands for."""

    space: str
    view: FixedView


@dataclass(frozen=True, eq=False)
class Embeddings:
    """What the backbones say of the pictures that could be used.

    Attributes:
        positions: which of the given files, ascending.
        sha256: the hash of each file's bytes.
        of_look: float32 (N, D) for every view through every backbone, in the order of members.
        refused: the pictures that could not be used.
    """

    positions: list[int]
    sha256: list[str]
    of_look: Mapping[Look, NDArray[np.float32]]
    refused: list[ImageRefused] = field(default_factory=list)

    @property
    def embeddings_ND(self) -> NDArray[np.float32]:
        """Of the pictures as they are; those of several backbones side by side."""
        plain = [found for look, found in self.of_look.items() if look.view == PLAIN]
        return plain[0] if len(plain) == 1 else np.concatenate(plain, axis=1)


def space_of(leaf: "Bundle") -> str:
    """Everything that decides an embedding but the picture and the view."""
    return key_of(leaf.backbone_sha256, leaf.preprocessing.digest(), "embedding")


def views_through(leaf: "Bundle", views: ViewSet | None) -> tuple[FixedView, ...]:
    """The views of a set; of the sealed one unless another is asked for.

    Raises:
        BundleError: the decision is sealed with other views, or the input cannot be turned.
    """
    if views is None or (leaf.manifest.decision and views == leaf.views):
        return VIEWS[leaf.views]
    if leaf.manifest.decision is not None:
        raise BundleError(
            f"{leaf.name}: views {views!r} were asked for, but {leaf.views!r} are sealed with the "
            "temperature, which holds for no others. Predict without naming views."
        )
    if views == "dihedral" and leaf.preprocessing.height != leaf.preprocessing.width:
        raise BundleError(
            f"{leaf.name}: a model input of {leaf.preprocessing.height} x "
            f"{leaf.preprocessing.width} cannot be turned; use the views 'one', "
            "'mirror' or 'scales'."
        )
    return VIEWS[views]


def embed(
    bundle: "Bundle",
    files: Sequence[ImageFile],
    *,
    views: ViewSet | None = None,
    keep: bool = True,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> Embeddings:
    """The embeddings of each picture; those that are kept are neither decoded nor run.

    Args:
        bundle: whose backbones, preprocessing and views.
        files: pictures; those whose hash is known are looked up among what is kept.
        views: of an unsealed bundle; those that are sealed unless given.
        keep: read and write `$HOLOTYPE_CACHE`, a shard of 512 pictures at a time, so that a
            pass that is killed goes on where it was.
        workers: threads that decode and run; one a core by default.
        on_progress: told how many of `files` are done.

    Raises:
        BundleError: these views cannot be had from this bundle.
    """
    leaves, looks = _looks(bundle, views)
    store = _Store(leaves, keep)
    sha256 = [file.sha256 for file in files]
    todo = [
        (position, missing)
        for position, name in enumerate(sha256)
        if (missing := store.missing(name, looks))
    ]
    refused: dict[int, ImageRefused] = {}
    for space in {look.space for _, missing in todo for look in missing}:
        _ = leaves[space].backbone  # opened once, before threads ask for it

    def run(numbers: range) -> list[_Seen]:
        return _run([(files[todo[n][0]], *todo[n]) for n in numbers], leaves)

    done = len(files) - len(todo)
    if on_progress and not todo:
        on_progress(done)
    most_views = max(len(VIEWS[views or leaf.views]) for leaf in leaves.values())
    for batch in spread(run, len(todo), batch_size=max(1, BATCH // most_views), workers=workers):
        for seen in batch:
            if isinstance(seen.found, ImageRefused):
                refused[seen.position] = seen.found
            else:
                sha256[seen.position] = seen.sha256
                store.add(seen.sha256, seen.found)
        done += len(batch)
        if on_progress:
            on_progress(done)
    store.write()

    positions = [n for n in range(len(files)) if n not in refused]
    names = [sha256[n] for n in positions]
    return Embeddings(
        positions, names, {look: store.stack(names, look) for look in looks},
        [refused[n] for n in sorted(refused)],
    )  # fmt: skip


def embed_image(bundle: "Bundle", image: Image) -> Embeddings:
    """The embeddings of one decoded picture, under the sealed views; nothing is kept."""
    leaves, looks = _looks(bundle, None)
    inputs = _inputs(looks, leaves, lambda _: image)
    found = _through({(0, look): input_CHW for look, input_CHW in inputs.items()}, leaves)
    return Embeddings([0], [""], {look: found[0, look][None] for look in looks})


def _looks(bundle: "Bundle", views: ViewSet | None) -> tuple[dict[str, "Bundle"], list[Look]]:
    """The distinct backbones by space, and every view through each of them, without doubles."""
    leaves: dict[str, Bundle] = {}
    looks: dict[Look, None] = {}
    for leaf in bundle.leaves:
        space = space_of(leaf)
        leaves.setdefault(space, leaf)
        looks.update((Look(space, view), None) for view in views_through(leaf, views))
    return leaves, list(looks)


class _Store:
    """Embeddings by picture and look: in the cache, or only here."""

    def __init__(self, leaves: Mapping[str, "Bundle"], keep: bool) -> None:
        self._size = {space: leaf.manifest.embedding_size for space, leaf in leaves.items()}
        self._kept = {space: Kept("features", space) for space in leaves} if keep else {}
        self._found: dict[Look, dict[str, NDArray[np.float32]]] = {}
        self._unwritten = 0

    def missing(self, sha256: str, looks: Iterable[Look]) -> list[Look]:
        if not self._kept or not sha256:
            return list(looks)
        return [look for look in looks if look.view.key(sha256) not in self._kept[look.space]]

    def add(self, sha256: str, found: Mapping[Look, NDArray[np.float32]]) -> None:
        for look, embedding_D in found.items():
            self._found.setdefault(look, {})[sha256] = embedding_D
        self._unwritten += 1
        if self._kept and self._unwritten >= SHARD:
            self.write()

    def write(self) -> None:
        """Write what was found, a shard for each backbone, and forget it here."""
        self._unwritten = 0
        for space, kept in self._kept.items():
            keys, values = [], []
            for look in [look for look in self._found if look.space == space]:
                for sha256, embedding_D in self._found.pop(look).items():
                    keys.append(look.view.key(sha256))
                    values.append(embedding_D)
            if keys:
                kept.add(keys, np.stack(values))

    def stack(self, names: Sequence[str], look: Look) -> NDArray[np.float32]:
        if not names:
            return np.empty((0, self._size[look.space]), np.float32)
        if self._kept:
            return self._kept[look.space].stack([look.view.key(name) for name in names])
        return np.stack([self._found[look][name] for name in names])


@dataclass(frozen=True, eq=False)
class _Seen:
    """One picture of a pass: what was found of it, or why it was refused."""

    position: int
    sha256: str
    found: Mapping[Look, NDArray[np.float32]] | ImageRefused


def _run(
    items: Sequence[tuple[ImageFile, int, list[Look]]], leaves: Mapping[str, "Bundle"]
) -> list[_Seen]:
    """Read and decode a few pictures and run what is missing of them."""
    sha256: dict[int, str] = {}
    refused: dict[int, ImageRefused] = {}
    inputs: dict[tuple[int, Look], NDArray[np.float32]] = {}
    for file, position, looks in items:
        try:
            content, sha256[position] = file.read()
            found = _inputs(looks, leaves, _decoder(content, file.id))
        except ImageRefused as refusal:
            refused[position] = refusal
        else:
            inputs.update(((position, look), input_CHW) for look, input_CHW in found.items())
    embeddings = _through(inputs, leaves)
    return [
        _Seen(position, "", refused[position])
        if position in refused
        else _Seen(position, sha256[position], {look: embeddings[position, look] for look in looks})
        for _, position, looks in items
    ]


def _inputs(
    looks: Iterable[Look],
    leaves: Mapping[str, "Bundle"],
    image_for: Callable[[Preprocessing], Image],
) -> dict[Look, NDArray[np.float32]]:
    """What the backbones see of one picture: framed once for each, then seen in every view."""
    plain: dict[str, NDArray[np.float32]] = {}
    for look in looks:
        if look.space not in plain:
            preprocessing = leaves[look.space].preprocessing
            plain[look.space] = preprocessing(image_for(preprocessing))
    return {look: look.view.of(plain[look.space]) for look in looks}


def _decoder(content: bytes, name: str) -> Callable[[Preprocessing], Image]:
    """The decoded picture for any preprocessing, decoded no more often than it must be.

    A JPEG may be decoded at a fraction of its size where a preprocessing needs no more; two that
    need another fraction each get their own, so that members see what they see alone.
    """
    by_reduction: dict[int, Image] = {}

    def image_for(preprocessing: Preprocessing) -> Image:
        minimum_size = preprocessing.minimum_size
        for known in by_reduction.values():
            reduction = _reduction(known, minimum_size)
            if reduction in by_reduction:
                return by_reduction[reduction]
        image = decode(content, name=name, minimum_size=minimum_size)
        return by_reduction.setdefault(_reduction(image, minimum_size), image)

    return image_for


def _reduction(image: Image, minimum_size: tuple[int, int] | None) -> int:
    """By what `images.decode` divides the sides of this file for this minimum: libjpeg's choice."""
    if minimum_size is None or image.format not in ("JPEG", "MPO"):
        return 1
    scale = min(
        stored // least for stored, least in zip(image.stored_size, minimum_size, strict=True)
    )
    return next(divisor for divisor in (8, 4, 2, 1) if divisor <= max(1, scale))


def _through(
    inputs: Mapping[tuple[int, Look], NDArray[np.float32]], leaves: Mapping[str, "Bundle"]
) -> dict[tuple[int, Look], NDArray[np.float32]]:
    """The embedding (D) of every input, a call of each backbone for all its inputs."""
    found: dict[tuple[int, Look], NDArray[np.float32]] = {}
    for space, leaf in leaves.items():
        keys = [key for key in inputs if key[1].space == space]
        if keys:
            stacked_NCHW = np.stack([inputs[key] for key in keys])
            (embeddings_ND,) = call(leaf.backbone, stacked_NCHW, ["embedding"])
            found.update(zip(keys, embeddings_ND, strict=True))
    return found
