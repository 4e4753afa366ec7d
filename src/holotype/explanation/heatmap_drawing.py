"""Draw a heatmap over its image, and captioned images in rows.

Shape suffixes: H height, W width, C the three channels.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from holotype.imaging.decode import Image
from holotype.imaging.pixels import load_font

# Seventeen points of matplotlib's `inferno` (CC0), interpolated: even steps look even, also to the
# colour-blind and in grey, and black stands for nothing.
_INFERNO = np.array(
    [
        (0, 0, 4),
        (11, 7, 36),
        (33, 12, 74),
        (61, 9, 101),
        (87, 16, 110),
        (113, 25, 110),
        (138, 34, 106),
        (163, 44, 97),
        (188, 55, 84),
        (210, 70, 68),
        (228, 90, 49),
        (241, 115, 29),
        (249, 142, 9),
        (252, 172, 17),
        (249, 203, 53),
        (242, 234, 105),
        (252, 255, 164),
    ],
    np.float32,
)
OPACITY = 0.8  # of the greatest heat
TILE_SIDE = 132  # pixels of a small image in a row
_ROWS = 256  # drawn at once: numbers of one pixel take 30 times the bytes of the image
_MARGIN = 12
_PAPER, _INK, _MISSING = (255, 255, 255), (32, 32, 32), (226, 226, 226)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def inferno(values_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    """The colour, 0 to 255 (H, W, 3), of values from 0 to 1."""
    steps = np.linspace(0, 1, len(_INFERNO))
    channels = [np.interp(values_HW, steps, _INFERNO[:, c]) for c in range(3)]
    return np.stack(channels, axis=2).astype(np.float32)


def overlay(image_HWC: NDArray[np.uint8], heatmap_HW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The heatmap over a grey copy of its image, so that every colour is the heatmap's.

    Args:
        image_HWC: the image.
        heatmap_HW: from 0 to 1; the more, the less of the image shines through.
    """
    if heatmap_HW.shape != image_HWC.shape[:2]:
        raise ValueError(
            f"a heatmap of {heatmap_HW.shape} does not fit an image of {image_HWC.shape[:2]}"
        )
    mixed_HWC = np.empty_like(image_HWC)
    for top in range(0, len(image_HWC), _ROWS):
        rows = slice(top, top + _ROWS)
        mixed_HWC[rows] = _overlaid(image_HWC[rows], heatmap_HW[rows])
    return mixed_HWC


def _overlaid(image_HWC: NDArray[np.uint8], heatmap_HW: NDArray[np.float32]) -> NDArray[np.uint8]:
    grey_HW = image_HWC @ np.array([0.299, 0.587, 0.114], np.float32)
    opacity_HW1 = OPACITY * heatmap_HW[:, :, None] ** 0.75
    mixed_HWC = (1 - opacity_HW1) * grey_HW[:, :, None] + opacity_HW1 * inferno(heatmap_HW)
    return mixed_HWC.round().clip(0, 255).astype(np.uint8)


def scaled_rgb(
    image: Image, background: tuple[int, int, int], *, longest: int, shortest: int = 1
) -> PillowImage.Image:
    """The image in RGB, opaque, scaled so that its longer side is at most `longest`.

    An image whose longer side is below `shortest` is enlarged in whole steps, so that single
    pixels stay square.
    """
    rgb = image.pixels.convert("RGB")
    if image.mask is not None:
        ground = PillowImage.new("RGB", rgb.size, background)
        rgb = PillowImage.composite(rgb, ground, image.mask)
    side = max(rgb.size)
    if side > longest:
        width, height = (max(1, round(length * longest / side)) for length in rgb.size)
        return rgb.resize((width, height), PillowImage.Resampling.LANCZOS)
    times = -(-shortest // side)
    size = rgb.width * times, rgb.height * times
    return rgb.resize(size, PillowImage.Resampling.NEAREST)


def captioned_row(
    images: list[PillowImage.Image], caption: list[tuple[str, int]]
) -> PillowImage.Image:
    """Images side by side, with lines of text (and their font size) below them."""
    lines = [(" ".join(text.split()), load_font(size), round(1.5 * size)) for text, size in caption]
    height = max((image.height for image in images), default=-_MARGIN)
    width = sum(image.width + _MARGIN for image in images) + _MARGIN
    text_width = max((font.getlength(text) for text, font, _ in lines), default=0)
    text_height = sum(line_height for _, _, line_height in lines)
    page = PillowImage.new(
        "RGB",
        (max(width, round(text_width) + 2 * _MARGIN), height + 3 * _MARGIN + text_height),
        _PAPER,
    )
    left = _MARGIN
    for image in images:
        page.paste(image, (left, _MARGIN))
        left += image.width + _MARGIN
    top = height + 2 * _MARGIN
    pen = ImageDraw.Draw(page)
    for text, font, line_height in lines:
        pen.text((_MARGIN, top), text, fill=_INK, font=font)
        top += line_height
    return page


def captioned_tiles(
    images: list[PillowImage.Image | None], captions: list[list[str]]
) -> PillowImage.Image:
    """Small images in a row, each with its own lines below it.

    Args:
        images: of any size; a grey square with a word where there is none.
        captions: lines for each of them, shortened in their middle to the width of a tile.
    """
    font, line_height, side = load_font(11), 16, TILE_SIDE
    lines = max((len(caption) for caption in captions), default=0)
    width = len(images) * (side + _MARGIN) + _MARGIN
    row = PillowImage.new("RGB", (width, side + lines * line_height + 2 * _MARGIN), _PAPER)
    pen = ImageDraw.Draw(row)
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left = _MARGIN + number * (side + _MARGIN)
        if image is None:
            pen.rectangle((left, _MARGIN, left + side - 1, _MARGIN + side - 1), fill=_MISSING)
            pen.text((left + 8, _MARGIN + side // 2 - 8), "no longer there", fill=_INK, font=font)
        else:
            small = image.copy()
            small.thumbnail((side, side), PillowImage.Resampling.LANCZOS)
            corner = left + (side - small.width) // 2, _MARGIN + (side - small.height) // 2
            row.paste(small, corner)
        for line, text in enumerate(caption):
            at = left, _MARGIN + side + 4 + line * line_height
            pen.text(at, shortened_to_width(text, font, side), fill=_INK, font=font)
    return row


def stack_vertically(pages: list[PillowImage.Image]) -> PillowImage.Image:
    """Images below each other, on paper as wide as the widest."""
    width, height = max(page.width for page in pages), sum(page.height for page in pages)
    whole = PillowImage.new("RGB", (width, height), _PAPER)
    top = 0
    for page in pages:
        whole.paste(page, (0, top))
        top += page.height
    return whole


def shortened_to_width(text: str, font: Font, width: float) -> str:
    """The text on one line, without its middle where it is wider than so many pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    kept = len(text)
    while kept > 1:
        kept -= 1
        short = f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(short) <= width:
            return short
    return "…"
