"""Small versions of images, decoded when asked for and kept in a bounded amount of memory."""

import io
import threading
from collections import OrderedDict
from pathlib import Path

from holotype.errors import ImageError
from holotype.explanation.heatmap_drawing import scaled_rgb
from holotype.imaging.decode import decode

SIDES_PX = (160, 640)  # of the gallery, and of one image
SMALLEST_SIDE_PX = 96  # smaller images are enlarged in whole steps
MAX_BYTES = 64 << 20
_BACKGROUND = (255, 255, 255)  # behind transparent pixels
UNREADABLE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 120" width="160" height="120">'
    b'<rect width="160" height="120" fill="#eceff3"/><path d="M20 20 140 100M140 20 20 100" '
    b'stroke="#868f99" stroke-width="2"/></svg>'
)


class Thumbnails:
    """Encoded images by file, time and size; the least recently used are dropped."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._kept: OrderedDict[tuple[str, int, int], tuple[bytes, str]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """How much is kept."""
        return self._num_bytes

    def get(
        self, file: Path, side: int, *, bits: int, tolerate_truncated: bool = False
    ) -> tuple[bytes, str]:
        """The bytes of an image of at most so many pixels a side, and their type.

        What cannot be read is a crossed box.

        Args:
            bits: significant in images of 16 bits.
            tolerate_truncated: show what there is of a file that is cut off.
        """
        try:
            key = (str(file), file.stat().st_mtime_ns, side)
        except (OSError, ValueError):
            return UNREADABLE, "image/svg+xml"
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = _encoded(file, side, bits, tolerate_truncated)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._num_bytes += len(made[0])
            while self._num_bytes > self._max_bytes:
                _, (dropped, _) = self._kept.popitem(last=False)
                self._num_bytes -= len(dropped)
        return made


def _encoded(file: Path, side: int, bits: int, tolerate_truncated: bool) -> tuple[bytes, str]:
    try:
        image = decode(
            file, minimum_size=(side, side), bits=bits, tolerate_truncated=tolerate_truncated
        )
    except ImageError:
        return UNREADABLE, "image/svg+xml"
    rgb = scaled_rgb(image, _BACKGROUND, longest=side, shortest=SMALLEST_SIDE_PX)
    content = io.BytesIO()
    is_enlarged = max(image.pixels.size) < SMALLEST_SIDE_PX  # whose edges JPEG would blur
    rgb.save(content, "PNG" if is_enlarged else "JPEG", quality=85)
    return content.getvalue(), "image/png" if is_enlarged else "image/jpeg"
