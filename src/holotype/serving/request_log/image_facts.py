"""What the log says of an image without keeping it: size, format, brightness, sharpness."""

import hashlib

from PIL import ImageStat

from holotype.dataset.audit_fingerprints import sharpness
from holotype.imaging.decode import Image
from holotype.serving.request_log.log_row import ImageFacts


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
