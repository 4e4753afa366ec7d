"""What a caller may call an image: a path, bytes, a PIL image or an array; and folders of images.

Arrays: H height, W width.
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageFile as PillowFile

from holotype.dataset.reading.folder_walk import printable, walk_folder
from holotype.dataset.reading.sample_records import IgnoredReason, ignored_note
from holotype.errors import EmptyDataset, ImageError, UnreadableFile, UsageError, WrongType
from holotype.imaging.decode import (
    LOCAL,
    DecodeOptions,
    Image,
    ImagePolicy,
    decode,
    from_pillow,
    read_header,
)
from holotype.imaging.file_limits import require_plain_file
from holotype.imaging.image_formats import IMAGE_EXTENSIONS
from holotype.progress import Progress

# (width, height) that is needed at least, or None for the image's own -> the decoded image.
Decoder = Callable[[tuple[int, int] | None, DecodeOptions], Image]


@dataclass(frozen=True)
class ImageFile:
    """An image on disk, and the hash that it should have; "" where none is known."""

    id: str
    path: Path
    sha256: str = ""

    @property
    def stem(self) -> str:
        """What a file about this image may be called."""
        return self.path.stem

    def read(self) -> tuple[bytes, str]:
        """The bytes and their SHA-256.

        Raises:
            UnreadableFile: the file cannot be read, or is another than was indexed.
            FileTooLarge: it has more bytes than are read.
        """
        require_plain_file(self.path, self.id)
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

    def open(self) -> tuple[Decoder, str]:
        """What decodes the image, and the SHA-256 of its file.

        Raises:
            UnreadableFile: see `read`; the decoder raises other kinds of ImageError.
        """
        content, sha256 = self.read()
        return _decoder(content, self.id), sha256


@dataclass(frozen=True, eq=False)
class ImageInMemory:
    """An image that is no file: a file's bytes, or pixels.

    Attributes:
        id: what answers and errors call it.
        content: never decoded before `open`.
        sha256: "", as it is not known before `open`.
        policy: which formats and how many pixels are accepted of bytes.
    """

    id: str
    content: bytes | PillowImage.Image
    sha256: str = ""
    policy: ImagePolicy = LOCAL

    @property
    def stem(self) -> str:
        return self.id.strip("<>").replace(" ", "-")

    def open(self) -> tuple[Decoder, str]:
        """What decodes the image, and the SHA-256 of its bytes, or of its mode, size and pixels.

        Raises:
            ImageError: pixels that cannot be loaded; of bytes the decoder raises it.
        """
        if isinstance(self.content, bytes):
            decoder = _decoder(self.content, self.id, self.policy)
            return decoder, hashlib.sha256(self.content).hexdigest()
        image = from_pillow(self.content, name=self.id)
        kind = f"{image.pixels.mode} {image.pixels.size} {image.mask is not None}".encode()
        mask = b"" if image.mask is None else image.mask.tobytes()
        sha256 = hashlib.sha256(kind + image.pixels.tobytes() + mask).hexdigest()
        pillow_image = self.content
        return lambda _, how: from_pillow(pillow_image, name=self.id, bits=how.bits), sha256


ImageSource = ImageFile | ImageInMemory


def header_warnings(source: ImageSource, *, tolerate_truncated: bool = False) -> tuple[str, ...]:
    """What of a file is not used, told by its header; nothing where it is not readable.

    Args:
        tolerate_truncated: tell also whether it is cut off, for which it is decoded.
    """
    if isinstance(source, ImageInMemory):
        return ()
    try:
        if tolerate_truncated:
            return decode(source.path, tolerate_truncated=True).warnings
        return read_header(source.path).warnings
    except ImageError:
        return ()


# A path, a file's bytes, a PIL image, or uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.
ImageLike = str | os.PathLike[str] | bytes | PillowImage.Image | NDArray[Any] | ImageSource
# One image or several; a folder is all images in it, uint8 (N, H, W, 3 or 4) is N images.
Images = ImageLike | Iterable[ImageLike]


def image_sources(images: Images, progress: Progress | None = None) -> list[ImageSource]:
    """The images that were named, in their order; folders give the images in them, by name.

    Folders are walked by `walk_folder`; what is no image is counted in one line of the log. A
    file that is named itself is always taken, whatever it is called. Files are named by their path,
    other images by their place, such as `<image 3>`.

    Raises:
        UsageError: a path that does not exist, or an array that is no image.
        DatasetError: a folder that cannot be read.
        EmptyDataset: folders without any image.
        WrongType: something that is no image.
    """
    sources: list[ImageSource] = []
    named = as_list(images)
    for position, image in enumerate(named):
        sources += _sources_of(image, f"<image {position}>", progress or Progress())
    if named and not sources:
        folders = ", ".join(repr(str(folder)) for folder in named)
        raise EmptyDataset(
            f"no image below {folders}: expected files ending in "
            f"{', '.join(sorted(IMAGE_EXTENSIONS))}, hidden ones left out."
        )
    return sources


def as_list(images: Images) -> list[ImageLike]:
    """One image or several as a list; an iterator is used up."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | os.PathLike | bytes | PillowImage.Image | ImageSource):
        return [images]
    is_other = isinstance(images, Mapping | io.IOBase | int) or hasattr(images, "columns")
    if is_other or not isinstance(images, Iterable):
        raise _type_error(images)
    return list(images)


def _sources_of(image: ImageLike, name: str, progress: Progress) -> list[ImageSource]:
    if isinstance(image, str | os.PathLike):
        return _files_at(Path(image), progress)
    if isinstance(image, ImageSource):
        return [image]
    if isinstance(image, bytes):
        return [ImageInMemory(name, image)]
    if isinstance(image, PillowImage.Image):
        return [ImageInMemory(name, _bytes_if_unloaded(image))]
    if isinstance(image, np.ndarray):
        return [ImageInMemory(name, _from_array(image))]
    raise _type_error(image)


def _type_error(value: object) -> WrongType:
    advice = ""
    if isinstance(value, io.IOBase):
        advice = " Name the file, or hand over what its read() gives."
    elif isinstance(value, Mapping) or hasattr(value, "columns"):
        advice = " Of a table, hand over the column with the paths."
    return WrongType(
        "an image is a path, bytes, a PIL image or a uint8 array; what was given is of type "
        f"{type(value).__name__}.{advice}"
    )


def _files_at(path: Path, progress: Progress) -> list[ImageSource]:
    if path.is_dir():
        found = walk_folder(path)
        unused: dict[IgnoredReason, list[str]] = {
            "no image": found.others, "written by Holotype": found.outputs, "hidden": found.hidden,
        }  # fmt: skip
        progress.log_all(
            ignored_note([printable(path) for path in paths], why)
            for why, paths in unused.items()
            if paths
        )
        return [ImageFile(_as_text(path / file), path / file) for file in found.images]
    if not path.exists():
        raise UsageError(f"there is no image or folder {str(path)!r}; check the path.")
    return [ImageFile(_as_text(path), path)]


def _as_text(path: Path) -> str:
    """The path with forward slashes; bytes that are no UTF-8 are escaped, to be printed."""
    return printable(path.as_posix())


def _bytes_if_unloaded(image: PillowImage.Image) -> bytes | PillowImage.Image:
    """The bytes of the file that Pillow has opened and not decoded yet; else the image itself.

    So that an opened JPEG is decoded at the fraction of its size that its path would be.
    """
    if not isinstance(image, PillowFile.ImageFile) or not image.tile or image.tell():
        return image
    if image.fp is None:
        return image
    place = image.fp.tell()
    image.fp.seek(0)
    content = image.fp.read()
    image.fp.seek(place)
    return content


def _from_array(array: NDArray[Any]) -> PillowImage.Image:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_image or 0 in array.shape:
        raise UsageError(
            f"an array of shape {array.shape} and type {array.dtype} is no image; expected uint8 "
            "of shape (height, width) or (height, width, 3 or 4), with levels from 0 to 255."
        )
    return PillowImage.fromarray(np.ascontiguousarray(array))


def _decoder(content: bytes, name: str, policy: ImagePolicy = LOCAL) -> Decoder:
    """The decoded image for any minimum size, decoded no more often than it must be.

    A JPEG may be decoded at a fraction of its size where no more is needed. Preprocessings that
    need different fractions each get their own: members of an ensemble see what they see alone.
    """
    known: dict[tuple[int, DecodeOptions], Image] = {}  # by the reduction

    def decode_at(minimum_size: tuple[int, int] | None, options: DecodeOptions) -> Image:
        for image in known.values():
            if (key := (_reduction(image, minimum_size), options)) in known:
                return known[key]
        image = decode(
            content, name=name, minimum_size=minimum_size, policy=policy, **options._asdict()
        )
        return known.setdefault((_reduction(image, minimum_size), options), image)

    return decode_at


def _reduction(image: Image, minimum_size: tuple[int, int] | None) -> int:
    """By what `decode` divides the sides of this file for this minimum: libjpeg's choice."""
    if minimum_size is None or image.format not in ("JPEG", "MPO"):
        return 1
    scale = min(
        stored // least for stored, least in zip(image.stored_size, minimum_size, strict=True)
    )
    return next(divisor for divisor in (8, 4, 2, 1) if divisor <= max(1, scale))
