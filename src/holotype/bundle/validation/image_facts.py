"""What is said of an image without keeping it: size, format, brightness, sharpness."""

import hashlib
from dataclasses import dataclass

from PIL import ImageStat

from holotype.dataset.audit_fingerprints import sharpness
from holotype.imaging.decode import Image


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
