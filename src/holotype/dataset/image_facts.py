"""What is said of an image without keeping it: size, format, brightness, sharpness."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageStat

from holotype.dataset.audit_fingerprints import sharpness
from holotype.errors import ImageError
from holotype.imaging.decode import Image, decode
from holotype.imaging.preprocessing import Preprocessing
from holotype.progress import ProgressCallback

FACTS = ("brightness", "sharpness", "width", "height", "bytes")  # those that are numbers


@dataclass(frozen=True)
class ImageFacts:
    """What is said of an image without keeping it.

    Attributes:
        width, height: in pixels, as stored.
        format: as Pillow names it.
        bytes: of the file.
        brightness: mean grey level, in [0, 1].
        sharpness: see `dataset.audit_fingerprints.sharpness`.
        sha256: of the file's bytes.
    """

    width: int
    height: int
    format: str
    bytes: int
    brightness: float
    sharpness: float
    sha256: str


def image_facts(image: Image, content: bytes) -> ImageFacts:
    """The facts of a decoded image, and of the file that it came in.

    Sharpness is that of the audit, so that what is logged compares with the training images.
    """
    grey = image.pixels.convert("L")
    width, height = image.stored_size
    return ImageFacts(
        width=width,
        height=height,
        format=image.format,
        bytes=len(content),
        brightness=round(ImageStat.Stat(grey).mean[0] / 255, 4),
        sharpness=round(sharpness(grey), 4),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def facts_of_files(
    files: Sequence[Path],
    *,
    preprocessing: Preprocessing,
    on_progress: ProgressCallback | None = None,
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """What the log would say of files: each of `FACTS` (N,), and their formats.

    Args:
        preprocessing: of the classifier: a server decodes by it, too.
        on_progress: called with (files done, all files).

    Returns:
        NaN and "" of files that cannot be read any more.
    """
    found: list[ImageFacts | None] = []
    for number, file in enumerate(files, start=1):
        try:
            content = file.read_bytes()
            image = decode(
                content, name=str(file), minimum_size=preprocessing.minimum_size,
                **preprocessing.decode_options._asdict(),
            )  # fmt: skip
            found.append(image_facts(image, content))
        except (OSError, ImageError):
            found.append(None)
        if on_progress is not None:
            on_progress(number, len(files))
    numbers = {
        name: np.array([np.nan if one is None else float(getattr(one, name)) for one in found])
        for name in FACTS
    }
    return numbers, ["" if one is None else one.format for one in found]
