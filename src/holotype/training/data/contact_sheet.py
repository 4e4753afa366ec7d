"""A contact sheet of augmented and mixed training images.

One row per image, one column per view; below a mixed image a bar and a text with the shares of its
labels.

Shape suffixes: B images of the sheet, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw

from holotype.imaging.pixels import load_font
from holotype.text_tables import printable
from holotype.training.config.augmentation_config import Augmentation
from holotype.training.data.augmentations import apply_view, sample_view
from holotype.training.data.mixup import (
    BatchMixing,
    SampledMix,
    mix_inputs,
    mix_targets,
    sample_mix,
)

_BACKGROUND, _TEXT_COLOUR, _FAINT_COLOUR = (255, 255, 255), (32, 32, 32), (110, 110, 110)
# Okabe & Ito 2008: colours that the colour-blind can distinguish.
_COLOURS = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167),
    (86, 180, 233), (213, 94, 0), (240, 228, 66), (90, 90, 90),
)  # fmt: skip
_GAP, _BAR, _LINE_HEIGHT = 10, 8, 17
_SMALLEST, _LARGEST = 112, 240  # sides of a tile
_MAX_STEPS = 1000  # tried to find a batch that is mixed in the wanted way


@dataclass(frozen=True, eq=False)
class SheetImage:
    """One image of the sheet.

    Attributes:
        name: of the file.
        framed: at the network's size.
        target: its class number.
    """

    name: str
    sha256: str
    framed: PillowImage.Image
    target: int


@dataclass(frozen=True, eq=False)
class Tile:
    """An image and the shares of its classes, which sum to 1."""

    image: PillowImage.Image
    shares: dict[int, float]


@dataclass(frozen=True, eq=False)
class Column:
    """A heading and a tile for each image."""

    heading: str
    tiles: list[Tile]


def view_columns(
    images: Sequence[SheetImage],
    augmentation: Augmentation,
    *,
    views: int,
    seed: int,
) -> list[Column]:
    """One column per view; view 0 is the image itself, the others are those of training."""
    columns = []
    for number in range(views):
        tiles = []
        for one in images:
            view = sample_view(augmentation, seed=seed, sha256=one.sha256, number=number)
            tiles.append(Tile(apply_view(one.framed, view), {one.target: 1.0}))
        heading = "view 0: as it is" if number == 0 else f"view {number}"
        columns.append(Column(heading, tiles))
    return columns


def mixed_columns(column: Column, mixing: BatchMixing, *, seed: int) -> list[Column]:
    """The images of a column, mixed with each other: one column each for MixUp and CutMix."""
    pixels = np.stack([np.asarray(tile.image.convert("RGB")) for tile in column.tiles])
    shape = (len(pixels), 3, *pixels.shape[1:3])
    columns = []
    for heading, wanted in (("MixUp", mixing.mixup), ("CutMix", mixing.cutmix)):
        if wanted is not None:
            mix = _first_mix(mixing, heading == "CutMix", seed, shape)
            if mix is not None:
                columns.append(Column(heading, _mixed(column.tiles, pixels, mix, mixing)))
    return columns


def contact_sheet(
    images: Sequence[SheetImage], columns: Sequence[Column], classes: Sequence[str], title: str
) -> PillowImage.Image:
    """The sheet in RGB, on white."""
    small, large = load_font(12), load_font(15)
    side = _tile_size(columns[0].tiles[0].image)
    classes = [printable(name).replace("\n", "\\n") for name in classes]
    names = [
        [_shortened(printable(one.name).replace("\n", "\\n"), 30), classes[one.target]]
        for one in images
    ]
    texts = [[_label_text(tile.shares, classes) for tile in column.tiles] for column in columns]
    margin = round(max(small.getlength(line) for lines in names for line in lines)) + 2 * _GAP
    widths = [
        max(side[0], *(round(small.getlength(text)) for text in (column.heading, *column_texts)))
        for column, column_texts in zip(columns, texts, strict=True)
    ]
    titles = title.split("\n")
    header_height = 2 * _GAP + len(titles) * (_LINE_HEIGHT + 4) + _LINE_HEIGHT
    row_height = side[1] + _BAR + _LINE_HEIGHT + 2 * _GAP
    width = max(
        margin + sum(widths) + _GAP * len(widths),
        *(round(large.getlength(line)) + 2 * _GAP for line in titles),
    )
    page = PillowImage.new(
        "RGB", (width, header_height + row_height * len(images) + _GAP), _BACKGROUND
    )
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(titles):
        draw.text((_GAP, _GAP + number * (_LINE_HEIGHT + 4)), line, fill=_TEXT_COLOUR, font=large)
    left = margin
    for column, column_texts, wide in zip(columns, texts, widths, strict=True):
        draw.text(
            (left, header_height - _LINE_HEIGHT), column.heading, fill=_TEXT_COLOUR, font=small
        )
        for row, (tile, text) in enumerate(zip(column.tiles, column_texts, strict=True)):
            top = header_height + _GAP // 2 + row * row_height
            resample = PillowImage.Resampling.NEAREST
            if side[0] < tile.image.width:
                resample = PillowImage.Resampling.LANCZOS
            page.paste(tile.image.convert("RGB").resize(side, resample), (left, top))
            _draw_label_bar(draw, tile.shares, left, top + side[1] + 3, side[0])
            draw.text((left, top + side[1] + _BAR + 4), text, fill=_TEXT_COLOUR, font=small)
        left += wide + _GAP
    for row, lines in enumerate(names):
        top = header_height + _GAP // 2 + row * row_height
        draw.text((_GAP, top), lines[0], fill=_FAINT_COLOUR, font=small)
        draw.text((_GAP, top + _LINE_HEIGHT), lines[1], fill=_TEXT_COLOUR, font=small)
    return page


def _first_mix(
    mixing: BatchMixing, cutmix: bool, seed: int, shape: tuple[int, ...]
) -> SampledMix | None:
    """The first mix of this kind in epoch 1, as if these images were a batch."""
    for step in range(_MAX_STEPS):
        mix = sample_mix(mixing, seed=seed, epoch=1, step=step, shape=shape)
        # Small alphas draw shares near 0 or 1, at which a mix cannot be seen.
        if mix is not None and (mix.box is not None) == cutmix and 0.1 < mix.share < 0.9:
            return mix
    return None


def _mixed(
    tiles: Sequence[Tile], pixels: NDArray[np.uint8], mix: SampledMix, mixing: BatchMixing
) -> list[Tile]:
    import torch

    inputs = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    mixed = mix_inputs(inputs, mix).round().byte().numpy().transpose(0, 2, 3, 1)
    targets_B = np.array([next(iter(tile.shares)) for tile in tiles])
    soft_BC, _ = mix_targets(targets_B, np.ones(len(tiles), np.float32), mix, mixing.num_classes)
    return [
        Tile(
            PillowImage.fromarray(np.ascontiguousarray(image)),
            {int(c): float(soft_C[c]) for c in np.argsort(-soft_C) if soft_C[c] > 0},
        )
        for image, soft_C in zip(mixed, soft_BC, strict=True)
    ]


def _label_text(shares: dict[int, float], classes: Sequence[str]) -> str:
    """Such as ``0.70 crack + 0.30 intact``; one class alone by its name."""
    if len(shares) == 1:
        return classes[next(iter(shares))]
    return " + ".join(f"{share:.2f} {classes[number]}" for number, share in shares.items())


def _draw_label_bar(
    draw: ImageDraw.ImageDraw, shares: dict[int, float], left: int, top: int, wide: int
) -> None:
    start = 0.0
    for number, share in shares.items():
        ends = (left + round(start * wide), left + round((start + share) * wide) - 1)
        colour = _COLOURS[number % len(_COLOURS)]
        draw.rectangle((ends[0], top, max(ends), top + _BAR - 3), fill=colour)
        start += share


def _tile_size(image: PillowImage.Image) -> tuple[int, int]:
    """Small images are enlarged by whole factors, so that pixels stay square."""
    longest = max(image.size)
    if longest > _LARGEST:
        width, height = (max(1, round(side * _LARGEST / longest)) for side in image.size)
        return width, height
    times = -(-_SMALLEST // longest)
    return image.width * times, image.height * times


def _shortened(name: str, length: int) -> str:
    return name if len(name) <= length else "…" + name[-length + 1 :]
