"""Matches as files: a table of all pairs, and a sheet of the best for each specimen.

FOLDER/matches.csv          one row for each slice and reference specimen
FOLDER/specimen-000.png     its slices above those that they look most like
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from holotype.errors import ImageError
from holotype.explanation.heatmap_drawing import (
    TILE_SIDE,
    captioned_row,
    captioned_tiles,
    stack_vertically,
)
from holotype.explanation.specimen_matching import FRAME, Slice, SliceMatches, SpecimenMatch
from holotype.files import atomic_write, csv_text, write_bytes
from holotype.imaging.decode import decode

TABLE = "matches.csv"
NUM_SPECIMENS_SHOWN = 3
NUM_PAIRS_SHOWN = 6
_TILE_FRAME = replace(FRAME, height=TILE_SIDE, width=TILE_SIDE)


def write_matches(matches: SliceMatches, folder: Path) -> None:
    """`matches.csv`, one row for each slice and reference specimen, and a sheet a specimen."""
    text = csv_text(matches.columns())
    write_bytes(folder / TABLE, text.encode("utf-8", "backslashreplace"))
    for number, one in enumerate(matches.specimens):
        with atomic_write(folder / f"specimen-{number:03d}.png") as temporary:
            draw_specimen(one).save(temporary, format="PNG")


def draw_specimen(specimen: SpecimenMatch) -> PillowImage.Image:
    """Slices of a specimen above those of the reference specimens that they look most like."""
    title = f"{specimen.specimen}: {specimen.class_name}, {specimen.probability:.1%}"
    pages = [captioned_row([], [(title, 18)])]
    for rank, other in enumerate(specimen.ranked[:NUM_SPECIMENS_SHOWN]):
        steps = np.linspace(0, len(other.pairs) - 1, min(NUM_PAIRS_SHOWN, len(other.pairs)))
        pairs = [other.pairs[step] for step in steps.round().astype(int)]
        if rank == 0:
            own = [[Path(pair.slice.name).name] for pair in pairs]
            pages.append(captioned_tiles([_tile(pair.slice) for pair in pairs], own))
        caption = (
            f"{rank + 1}. {other.specimen} ({other.label}): SSIM {other.ssim:.3f}, "
            f"NCC {other.ncc:.3f}, Dice {other.dice:.3f}"
        )
        captions = [
            [Path(pair.reference.name).name,
             f"{pair.ssim:.2f} / {pair.ncc:.2f} / {pair.dice:.2f}"]
            for pair in pairs
        ]  # fmt: skip
        pages += [
            captioned_row([], [(caption, 12)]),
            captioned_tiles([_tile(p.reference) for p in pairs], captions),
        ]
    return stack_vertically(pages)


def _tile(one: Slice) -> PillowImage.Image | None:
    try:
        image = decode(one.file, name=one.name)
    except ImageError:
        return None
    return _TILE_FRAME.frame(image)
