"""The files of a gallery: written beside their place, then named by one file that is exchanged.

    GALLERY/
      gallery.json                    which bundle made the embeddings, and the segments that count
      segments/NAME.images.json       who each image shows, its encounter, date and attributes
      segments/NAME.embeddings.npy    float32 (N, D), scaled to length 1; mapped into memory
      segments/NAME.thumbnails.npy    uint8 (N, 48, 48)
      calibration.json                see `matching.gallery_calibration`
      .lock                           held by whoever writes

A change writes whole segments and then `gallery.json`, so that a process that is killed leaves the
old gallery or the new one; files that `gallery.json` does not name are removed by the next writer.
Arrays are NumPy's own files and not Parquet, since they can be mapped, and since a server that
identifies has no pyarrow.

Shape suffixes: N images, D embedding, S side of a thumbnail.
"""

import hashlib
import io
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from holotype.errors import CorruptFile, GalleryError, NotAGallery
from holotype.files import (
    is_leftover,
    read_json,
    reading,
    remove_path,
    sha256_of,
    write_bytes,
    write_json,
)
from holotype.identification.storage.gallery_images import (
    THUMBNAIL_SIDE,
    GalleryImage,
    GalleryImages,
    ImageBlock,
)

FORMAT_VERSION = 1
GALLERY, SEGMENTS, LOCK = "gallery.json", "segments", ".lock"
IMAGES, EMBEDDINGS, THUMBNAILS = "images.json", "embeddings.npy", "thumbnails.npy"
MOST_SEGMENTS = 32  # more are joined into one by the next writer
_READ_ATTEMPTS = 20  # a writer may remove segments while they are opened


@dataclass(frozen=True)
class Segment:
    """Some images of a gallery, and the hash of each of their three files."""

    name: str
    num_images: int
    sha256: Mapping[str, str]


@dataclass(frozen=True)
class GalleryManifest:
    """What `gallery.json` says.

    Attributes:
        bundle: the path of the classifier whose embeddings these are, from the gallery.
        digest: that classifier's identity.
        embedding_size: D.
        attributes: the names of attributes; images that differ in one are never compared.
        segments: those that count, the oldest first.
    """

    bundle: str
    digest: str
    embedding_size: int
    attributes: tuple[str, ...] = ()
    segments: tuple[Segment, ...] = ()

    @property
    def state(self) -> str:
        """A name for the images that it holds: another for every change."""
        names = [segment.name for segment in self.segments]
        return hashlib.sha256(json.dumps([self.digest, *names]).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        segments = [{**vars(one), "sha256": dict(one.sha256)} for one in self.segments]
        return {"format_version": FORMAT_VERSION, **vars(self), "segments": segments}


class GalleryFiles:
    """A folder that is a gallery, or will be one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        return (self.path / GALLERY).is_file()

    def read_manifest(self) -> GalleryManifest:
        """What the gallery says of itself.

        Raises:
            NotAGallery: there is none.
            CorruptFile: `gallery.json` is damaged, or of a later version.
        """
        if not self.exists:
            raise NotAGallery(
                f"{str(self.path)!r} is no gallery: it has no {GALLERY}. Make one: holotype "
                "identify add GALLERY IMAGES --label NAME --classifier RUN."
            )
        file = self.path / GALLERY
        found = read_json(file)
        with reading(file):
            if found["format_version"] != FORMAT_VERSION:
                raise ValueError(f"format_version is {found['format_version']!r}")
            return GalleryManifest(
                bundle=str(found["bundle"]),
                digest=str(found["digest"]),
                embedding_size=int(found["embedding_size"]),
                attributes=tuple(map(str, found["attributes"])),
                segments=tuple(
                    Segment(str(one["name"]), int(one["num_images"]), dict(one["sha256"]))
                    for one in found["segments"]
                ),
            )

    def read(self) -> tuple[GalleryManifest, GalleryImages]:
        """The gallery as it is now, its embeddings mapped and all its files compared with their
        hashes.

        Raises:
            NotAGallery, CorruptFile: see `read_manifest`; or a segment is missing or damaged.
        """
        for _ in range(_READ_ATTEMPTS):
            manifest = self.read_manifest()
            try:
                blocks = tuple(self._read_segment(one, manifest) for one in manifest.segments)
                return manifest, GalleryImages(blocks, manifest.state)
            except CorruptFile:
                if self.read_manifest().state == manifest.state:
                    raise
        raise GalleryError(f"{str(self.path)!r} changes faster than it can be read; try again.")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the gallery for this process; another writer waits."""
        self.path.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path / LOCK):
            yield

    def create(self, manifest: GalleryManifest) -> None:
        """Write an empty gallery, while it is held."""
        write_json(self.path / GALLERY, manifest.to_json())

    def append(self, block: ImageBlock) -> None:
        """Add images, while the gallery is held; many small segments become one."""
        manifest = self.read_manifest()
        if len(manifest.segments) < MOST_SEGMENTS:
            self._replace(manifest, (*manifest.segments, self._write_segment(block)))
        else:
            _, found = self.read()
            whole = GalleryImages((*found.blocks, block)).block()
            self._replace(manifest, (self._write_segment(whole),))

    def rewrite(self, block: ImageBlock) -> None:
        """Let these be all the images, while the gallery is held."""
        segments = (self._write_segment(block),) if len(block) else ()
        self._replace(self.read_manifest(), segments)

    def _replace(self, manifest: GalleryManifest, segments: tuple[Segment, ...]) -> None:
        write_json(self.path / GALLERY, replace(manifest, segments=segments).to_json())
        named = {f"{one.name}.{kind}" for one in segments for kind in _KINDS}
        for file in (self.path / SEGMENTS).iterdir():
            if file.name not in named and (not file.name.startswith(".") or is_leftover(file)):
                remove_path(file)

    def _write_segment(self, block: ImageBlock) -> Segment:
        name = uuid.uuid4().hex
        rows = json.dumps([image.to_json() for image in block.images], ensure_ascii=True)
        contents = {
            IMAGES: rows.encode(),
            EMBEDDINGS: _npy(np.ascontiguousarray(block.embeddings_ND, "<f4")),
            THUMBNAILS: _npy(np.ascontiguousarray(block.thumbnails_NSS)),
        }
        for kind, content in contents.items():
            write_bytes(self.path / SEGMENTS / f"{name}.{kind}", content)
        hashes = {kind: hashlib.sha256(content).hexdigest() for kind, content in contents.items()}
        return Segment(name, len(block), hashes)

    def _read_segment(self, segment: Segment, manifest: GalleryManifest) -> ImageBlock:
        files = {kind: self.path / SEGMENTS / f"{segment.name}.{kind}" for kind in _KINDS}
        for kind, file in files.items():
            with reading(file):
                if sha256_of(file) != segment.sha256[kind]:
                    raise ValueError("its content is not what was written")
        with reading(files[IMAGES]):
            rows = json.loads(files[IMAGES].read_bytes())
            images = tuple(GalleryImage(**row) for row in rows)
        N, S = segment.num_images, THUMBNAIL_SIDE
        with reading(files[EMBEDDINGS]):
            embeddings_ND = _mapped(files[EMBEDDINGS], (N, manifest.embedding_size))
        with reading(files[THUMBNAILS]):
            return ImageBlock(images, embeddings_ND, _mapped(files[THUMBNAILS], (N, S, S)))


_KINDS = (IMAGES, EMBEDDINGS, THUMBNAILS)


def _npy(array: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _mapped(file: Path, shape: Sequence[int]) -> NDArray[Any]:
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if array.shape != tuple(shape):
        raise ValueError(f"it is of shape {array.shape}, expected {tuple(shape)}")
    return np.asarray(array)
