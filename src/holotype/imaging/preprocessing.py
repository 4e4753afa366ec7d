"""Preprocessing: image to model input, with NumPy and Pillow only.

There is one implementation, for training, evaluation, prediction and serving, so that nothing can
differ between them.

Arrays: C the three channels, H height, W width of the model's input.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.errors import CorruptBundle
from holotype.imaging.decode import LOCAL, DecodeOptions, Image, ImagePolicy, decode
from holotype.imaging.foreground_box import Box, foreground_box
from holotype.imaging.significant_bits import FULL_BITS, LEAST_BITS

Fit = Literal["squash", "crop", "pad"]
Content = Literal["whole", "crop"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

# Part of every digest: raise it when this file gives other numbers for the same image, so that
# cached features of before are not used.
PREPROCESSING_VERSION = 1

_FILTERS = {
    "nearest": PillowImage.Resampling.NEAREST,
    "bilinear": PillowImage.Resampling.BILINEAR,
    "bicubic": PillowImage.Resampling.BICUBIC,
    "lanczos": PillowImage.Resampling.LANCZOS,
}
_LARGEST_SIDE = 8192


@dataclass(frozen=True)
class Geometry:
    """How an image of one size is fitted into the frame.

    Attributes:
        box: (left, top, right, bottom) of the part of the image that is resized.
        size: (width, height) that it is resized to.
        offset: (left, top) of the resized image in the frame; around it is the background.
    """

    box: tuple[float, float, float, float]
    size: tuple[int, int]
    offset: tuple[int, int]


@dataclass(frozen=True)
class Preprocessing:
    """How an image of any size becomes the (3, height, width) input of one network.

    Attributes:
        height: of the input, in pixels.
        width: of the input, in pixels.
        fit: ``squash`` resizes the whole image, whatever its shape; ``crop`` resizes it until
            it covers the frame and keeps the centre; ``pad`` resizes it until it fits into the
            frame and puts `background` around it.
        interpolation: Pillow's filters, which look at every pixel when they shrink.
        mean: per channel, of inputs scaled to [0, 1].
        std: per channel, of inputs scaled to [0, 1].
        background: the colour below transparent pixels and of padding.
        content: ``crop`` first crops the image to its foreground, see `foreground_box`; ``whole``
            takes it as it is.
        bits: how many are significant in images of 16 bits, from 8 to 16; see `significant_bits`.
        tolerate_truncated: read files that are cut off as far as they go, instead of refusing them.
    """

    height: int
    width: int
    fit: Fit
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    background: tuple[int, int, int] = (255, 255, 255)
    content: Content = "whole"
    bits: int = FULL_BITS
    tolerate_truncated: bool = False

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            side = getattr(self, name)
            if not _is_whole(side) or not 1 <= side <= _LARGEST_SIDE:
                raise ValueError(f"{name} must be a whole number from 1 to {_LARGEST_SIDE}")
        if not _is_whole(self.bits) or not LEAST_BITS <= self.bits <= FULL_BITS:
            raise ValueError(f"bits must be a whole number from {LEAST_BITS} to {FULL_BITS}")
        for name, known in (
            ("fit", get_args(Fit)),
            ("interpolation", get_args(Interpolation)),
            ("content", get_args(Content)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}")
        if not isinstance(self.tolerate_truncated, bool):
            raise ValueError("tolerate_truncated must be true or false")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if not _is_triple(values) or not all(_is_finite(value) for value in values):
                raise ValueError(f"{name} must be three finite numbers")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        if not _is_triple(self.background) or not all(
            _is_whole(level) and 0 <= level <= 255 for level in self.background
        ):
            raise ValueError("background must be three whole numbers from 0 to 255")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a model input, (3, height, width)."""
        return 3, self.height, self.width

    @property
    def minimum_size(self) -> tuple[int, int] | None:
        """(width, height) for `decode`: twice the frame.

        A JPEG's own reduction is a coarser filter than `interpolation`; at twice the size the
        latter still decides the result, and a phone's image decodes several times faster.
        None, which is the image's own size, where the content may be a small part of it.
        """
        if self.content == "crop":
            return None
        return 2 * self.width, 2 * self.height

    @property
    def decode_options(self) -> DecodeOptions:
        """How `decode` reads the pixels of a file."""
        return DecodeOptions(self.bits, self.tolerate_truncated)

    def frame(self, image: Image) -> PillowImage.Image:
        """The image as the network will see it, before normalisation.

        Transparency is laid upon the background at full size and only then resized. That is the
        same as resizing premultiplied colour, so no hidden colour of a transparent pixel ever
        bleeds into its neighbours.

        Returns:
            Mode ``L`` or ``RGB``, exactly width x height. Grey stays grey: it is resized once.
        """
        image = self._cut(image)
        pixels = image.pixels
        needs_background = image.mask is not None or self.fit == "pad"
        if needs_background and pixels.mode == "L" and len(set(self.background)) > 1:
            pixels = pixels.convert("RGB")
        colour = self.background if pixels.mode == "RGB" else self.background[0]
        if image.mask is not None:
            ground = PillowImage.new(pixels.mode, pixels.size, colour)
            pixels = PillowImage.composite(pixels, ground, image.mask)
        return self._fitted(pixels, colour)

    def box(self, image: Image) -> Box:
        """(left, top, right, bottom) of what is framed: all, or the content.

        Around the content the box grows to the shape of the frame, as far as the image goes,
        so that `fit` has little left to distort, to cut off or to pad.
        """
        if self.content == "whole":
            return 0, 0, *image.pixels.size
        box = foreground_box(image.pixels, image.mask)
        return _expanded_to_aspect(box, image.pixels.size, (self.width, self.height))

    def tensor(self, framed: PillowImage.Image) -> NDArray[np.float32]:
        """(3, height, width), normalised, C-contiguous; grey becomes three channels."""
        if framed.size != (self.width, self.height) or framed.mode not in ("L", "RGB"):
            raise ValueError(
                f"expected a {self.width} x {self.height} image of mode L or RGB, as `frame` "
                f"gives it, not {framed.width} x {framed.height} of mode {framed.mode}"
            )
        tensor_CHW = np.empty(self.shape, np.float32)
        self.normalise(np.asarray(framed), out=tensor_CHW)
        return tensor_CHW

    def normalise(self, levels: NDArray[np.uint8], *, out: NDArray[np.float32]) -> None:
        """Levels, (height, width) or (height, width, 3) of 8 bits, into (3, height, width)."""
        for c in range(3):
            # (level / 255 - mean) / std as one multiplication and one addition.
            levels_HW = levels if levels.ndim == 2 else levels[:, :, c]
            np.multiply(levels_HW, np.float32(1 / (255 * self.std[c])), out=out[c])
            out[c] -= np.float32(self.mean[c] / self.std[c])

    def __call__(self, image: Image) -> NDArray[np.float32]:
        return self.tensor(self.frame(image))

    def load(
        self, source: Path | bytes, *, name: str | None = None, policy: ImagePolicy = LOCAL
    ) -> NDArray[np.float32]:
        """File or bytes -> model input: the only way, in training, evaluation and serving.

        Raises:
            ImageError: what is wrong with this image.
        """
        return self(
            decode(
                source, name=name, minimum_size=self.minimum_size, policy=policy,
                **self.decode_options._asdict(),
            )
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as `from_json` reads them."""
        value = asdict(self)
        for name in ("mean", "std"):
            value[name] = [float(number) for number in value[name]]
        value["background"] = list(self.background)
        return value

    @classmethod
    def from_json(cls, value: Any) -> "Preprocessing":
        """The inverse of `to_json`.

        Raises:
            CorruptBundle: a field is missing, unknown or impossible; the message names it.
        """
        if not isinstance(value, dict):
            raise CorruptBundle(f"preprocessing must be an object, not {type(value).__name__}")
        names = {field.name for field in fields(cls)}
        # Bundles of before there was a choice.
        written = {"content": "whole", "bits": FULL_BITS, "tolerate_truncated": False, **value}
        wrong = sorted(names ^ set(written), key=str)
        if wrong:
            problem = "is missing" if wrong[0] in names else "is not known"
            raise CorruptBundle(f"preprocessing: the field {wrong[0]!r} {problem}")
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in written.items()}
        try:
            return cls(**cast("dict[str, Any]", given))
        except (TypeError, ValueError) as error:
            raise CorruptBundle(f"preprocessing: {error}") from None

    def digest(self) -> str:
        """SHA-256 of everything here that decides the numbers of a model's input."""
        decided = {"version": PREPROCESSING_VERSION, **self.to_json()}
        if not self.tolerate_truncated:  # as before there was a choice: what is cached stays valid
            del decided["tolerate_truncated"]
        return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()

    def _cut(self, image: Image) -> Image:
        box = self.box(image)
        if box == (0, 0, *image.pixels.size):
            return image
        mask = None if image.mask is None else image.mask.crop(box)
        return replace(image, pixels=image.pixels.crop(box), mask=mask)

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """How an image of this (width, height) is fitted into the frame."""
        frame_size = (self.width, self.height)
        whole = (0.0, 0.0, float(size[0]), float(size[1]))
        if self.fit == "squash":
            return Geometry(whole, frame_size, (0, 0))
        if self.fit == "crop":
            covering = _covering_size(size, frame_size)
            return Geometry(_centre_box(size, covering, frame_size), frame_size, (0, 0))
        fitting = _fitting_size(size, frame_size)
        return Geometry(whole, fitting, _centred(frame_size, fitting))

    @property
    def filter(self) -> PillowImage.Resampling:
        """Pillow's name of `interpolation`."""
        return _FILTERS[self.interpolation]

    def _fitted(
        self, pixels: PillowImage.Image, colour: int | tuple[int, ...]
    ) -> PillowImage.Image:
        plan = self.geometry(pixels.size)
        # No `reducing_gap`: it trades the filter's exactness for speed, and JPEGs, where the
        # speed would be needed, arrive already reduced.
        resized = pixels.resize(plan.size, self.filter, plan.box)
        if plan.size == (self.width, self.height):
            return resized
        framed = PillowImage.new(pixels.mode, (self.width, self.height), colour)
        framed.paste(resized, plan.offset)
        return framed


def _expanded_to_aspect(box: Box, size: tuple[int, int], frame_size: tuple[int, int]) -> Box:
    """The box with its shorter side, as the frame sees it, lengthened within the image."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    left, right = _expanded_interval(
        left, right, size[0], round(height * frame_size[0] / frame_size[1])
    )
    top, bottom = _expanded_interval(
        top, bottom, size[1], round(width * frame_size[1] / frame_size[0])
    )
    return left, top, right, bottom


def _expanded_interval(start: int, end: int, limit: int, wanted: int) -> tuple[int, int]:
    length = min(max(end - start, wanted), limit)
    first = min(max(0, start - (length - (end - start)) // 2), limit - length)
    return first, first + length


def _covering_size(size: tuple[int, int], frame_size: tuple[int, int]) -> tuple[int, int]:
    """The smallest size of the same shape that covers the frame, in whole numbers."""
    (width, height), (frame_width, frame_height) = size, frame_size
    if frame_width * height >= frame_height * width:
        return frame_width, frame_width * height // width
    return frame_height * width // height, frame_height


def _fitting_size(size: tuple[int, int], frame_size: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same shape that fits into the frame; at least one pixel."""
    (width, height), (frame_width, frame_height) = size, frame_size
    if frame_width * height <= frame_height * width:
        return frame_width, max(1, frame_width * height // width)
    return max(1, frame_height * width // height), frame_height


def _centre_box(
    size: tuple[int, int], covering: tuple[int, int], frame_size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Where in the image the frame lies, were the image resized to cover it.

    Resizing this box alone gives what resizing all and cropping would (the filter looks beyond
    the box), without the gigabytes that a strip of 1 x 60,000 pixels would grow to.
    """
    left, top = _centred(covering, frame_size)
    x, y = size[0] / covering[0], size[1] / covering[1]
    right, bottom = (left + frame_size[0]) * x, (top + frame_size[1]) * y
    return left * x, top * y, min(right, size[0]), min(bottom, size[1])


def _centred(outer: tuple[int, int], inner: tuple[int, int]) -> tuple[int, int]:
    # Half a pixel is rounded as torchvision's CenterCrop does, so that `crop` equals its result.
    return round((outer[0] - inner[0]) / 2), round((outer[1] - inner[1]) / 2)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)


def _is_triple(values: object) -> bool:
    return isinstance(values, tuple) and len(values) == 3
