"""What a network will see of some pictures, on one sheet: their views, and their mixes.

A row for each picture, a column for each view; under a mixed picture a bar with the shares of its
labels, and the shares in words.

Shape suffixes: B pictures of the sheet, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw

from holotype.pixels import font_of
from holotype.training.augment import draw_view, look
from holotype.training.augmentation import Augmentation
from holotype.training.mixing import Mix, Mixing, draw_mix, mix_inputs, mix_targets

_PAPER, _INK, _FAINT = (255, 255, 255), (32, 32, 32), (110, 110, 110)
# Okabe & Ito 2008: told apart by the colour-blind too.
_COLOURS = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167),
    (86, 180, 233), (213, 94, 0), (240, 228, 66), (90, 90, 90),
)  # fmt: skip
_GAP, _BAR, _LINE = 10, 8, 17
_SMALLEST, _LARGEST = 112, 240  # sides of a tile
_MOST_STEPS = 1000  # tried until a batch is mixed in the wanted way


@dataclass(frozen=True, eq=False)
class Shown:
    """One picture of the sheet.

    Attributes:
        name: of the file.
        framed: as the network's frame shows it.
        target: its class number.
    """

    name: str
    sha256: str
    framed: PillowImage.Image
    target: int


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture with what is true of it, as shares of classes that sum to 1."""

    picture: PillowImage.Image
    shares: dict[int, float]


@dataclass(frozen=True, eq=False)
class Column:
    """A heading and a tile for each picture."""

    heading: str
    tiles: list[Tile]


def view_columns(
    pictures: Sequence[Shown],
    augmentation: Augmentation,
    *,
    views: int,
    seed: int,
) -> list[Column]:
    """The pictures themselves, and the views 1 … `views` - 1 that training draws with this seed."""
    return [
        Column(
            "view 0: as it is" if number == 0 else f"view {number}",
            [Tile(_seen(one, augmentation, number, seed), {one.target: 1.0}) for one in pictures],
        )
        for number in range(views)
    ]


def mixed_columns(column: Column, mixing: Mixing, *, seed: int) -> list[Column]:
    """The pictures of a column, mixed among each other: one column for each way."""
    pixels = np.stack([np.asarray(tile.picture.convert("RGB")) for tile in column.tiles])
    shape = (len(pixels), 3, *pixels.shape[1:3])
    columns = []
    for heading, wanted in (("MixUp", mixing.mixup), ("CutMix", mixing.cutmix)):
        if wanted is not None:
            mix = _first_mix(mixing, heading == "CutMix", seed, shape)
            if mix is not None:
                columns.append(Column(heading, _mixed(column.tiles, pixels, mix, mixing)))
    return columns


def contact_sheet(
    pictures: Sequence[Shown], columns: Sequence[Column], classes: Sequence[str], title: str
) -> PillowImage.Image:
    """The sheet in RGB, on white."""
    small, large = font_of(12), font_of(15)
    side = _tile_size(columns[0].tiles[0].picture)
    names = [[_shortened(one.name, 30), classes[one.target]] for one in pictures]
    words = [[_said(tile.shares, classes) for tile in column.tiles] for column in columns]
    margin = round(max(small.getlength(line) for lines in names for line in lines)) + 2 * _GAP
    widths = [
        max(side[0], *(round(small.getlength(text)) for text in (column.heading, *said)))
        for column, said in zip(columns, words, strict=True)
    ]
    titles = title.split("\n")
    head = 2 * _GAP + len(titles) * (_LINE + 4) + _LINE
    row_height = side[1] + _BAR + _LINE + 2 * _GAP
    width = max(
        margin + sum(widths) + _GAP * len(widths),
        *(round(large.getlength(line)) + 2 * _GAP for line in titles),
    )
    page = PillowImage.new("RGB", (width, head + row_height * len(pictures) + _GAP), _PAPER)
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(titles):
        pen.text((_GAP, _GAP + number * (_LINE + 4)), line, fill=_INK, font=large)
    left = margin
    for column, said, wide in zip(columns, words, widths, strict=True):
        pen.text((left, head - _LINE), column.heading, fill=_INK, font=small)
        for row, (tile, text) in enumerate(zip(column.tiles, said, strict=True)):
            top = head + _GAP // 2 + row * row_height
            resample = PillowImage.Resampling.NEAREST
            if side[0] < tile.picture.width:
                resample = PillowImage.Resampling.LANCZOS
            page.paste(tile.picture.convert("RGB").resize(side, resample), (left, top))
            _bar(pen, tile.shares, left, top + side[1] + 3, side[0])
            pen.text((left, top + side[1] + _BAR + 4), text, fill=_INK, font=small)
        left += wide + _GAP
    for row, lines in enumerate(names):
        top = head + _GAP // 2 + row * row_height
        pen.text((_GAP, top), lines[0], fill=_FAINT, font=small)
        pen.text((_GAP, top + _LINE), lines[1], fill=_INK, font=small)
    return page


def _seen(
    one: Shown,
    augmentation: Augmentation,
    number: int,
    seed: int,
) -> PillowImage.Image:
    view = draw_view(augmentation, seed=seed, sha256=one.sha256, number=number)
    return look(one.framed, view)


def _first_mix(mixing: Mixing, cutmix: bool, seed: int, shape: tuple[int, ...]) -> Mix | None:
    """The first batch of the first epoch that is mixed in this way, were it of these pictures."""
    for step in range(_MOST_STEPS):
        mix = draw_mix(mixing, seed=seed, epoch=1, step=step, shape=shape)
        # A share of nearly all or nothing, which small alphas draw, would show nothing.
        if mix is not None and (mix.box is not None) == cutmix and 0.1 < mix.share < 0.9:
            return mix
    return None


def _mixed(
    tiles: Sequence[Tile], pixels: NDArray[np.uint8], mix: Mix, mixing: Mixing
) -> list[Tile]:
    import torch

    inputs = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    mixed = mix_inputs(inputs, mix).round().byte().numpy().transpose(0, 2, 3, 1)
    targets_B = np.array([next(iter(tile.shares)) for tile in tiles])
    soft_BC, _ = mix_targets(targets_B, np.ones(len(tiles), np.float32), mix, mixing.num_classes)
    return [
        Tile(
            PillowImage.fromarray(np.ascontiguousarray(picture)),
            {int(c): float(soft_C[c]) for c in np.argsort(-soft_C) if soft_C[c] > 0},
        )
        for picture, soft_C in zip(mixed, soft_BC, strict=True)
    ]


def _said(shares: dict[int, float], classes: Sequence[str]) -> str:
    """Such as ``0.70 crack + 0.30 intact``; one class alone by its name."""
    if len(shares) == 1:
        return classes[next(iter(shares))]
    return " + ".join(f"{share:.2f} {classes[number]}" for number, share in shares.items())


def _bar(
    pen: ImageDraw.ImageDraw, shares: dict[int, float], left: int, top: int, wide: int
) -> None:
    start = 0.0
    for number, share in shares.items():
        ends = (left + round(start * wide), left + round((start + share) * wide) - 1)
        colour = _COLOURS[number % len(_COLOURS)]
        pen.rectangle((ends[0], top, max(ends), top + _BAR - 3), fill=colour)
        start += share


def _tile_size(picture: PillowImage.Image) -> tuple[int, int]:
    """Small pictures grow in whole steps, so that single pixels stay square."""
    longest = max(picture.size)
    if longest > _LARGEST:
        width, height = (max(1, round(side * _LARGEST / longest)) for side in picture.size)
        return width, height
    times = -(-_SMALLEST // longest)
    return picture.width * times, picture.height * times


def _shortened(name: str, length: int) -> str:
    return name if len(name) <= length else "…" + name[-length + 1 :]
