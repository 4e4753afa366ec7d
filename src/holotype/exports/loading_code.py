"""The code that loads an export in its own ecosystem: a script, and its block in the README.

The same code proves the export: it is run on real images, and its probabilities are compared with
those of the bundle.
"""

import json
from textwrap import dedent

from holotype.imaging.preprocessing import Preprocessing
from holotype.imaging.significant_bits import FULL_BITS

HEAD = '''\
"""Classify images: python predict.py IMAGE …; prints one JSON object a line.

An image that cannot be read is named on stderr; the others are answered, and the exit code is 1.

Needs: {needs}
"""

import json
import sys
from pathlib import Path

import numpy as np
{imports}
HERE = Path(__file__).parent
CLASS_NAMES = json.loads((HERE / "class_names.json").read_text(encoding="utf-8"))

'''

RGB_IMAGE = '''\
try:
    import pillow_heif  # for HEIC: pip install pillow-heif

    pillow_heif.register_heif_opener()
except ImportError:
    pass

BACKGROUND = {background}  # below transparent pixels{padding}


def rgb_image(path):
    """Upright, of 8 bits; transparent pixels show the background."""
    image = Image.open(path)
    turned = image.getexif().get(0x0112, 1) >= 5
    {draft}
    white_is_zero = getattr(image, "tag_v2", {{}}).get(262) == 0  # of TIFF
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits
        levels = np.round(np.asarray(image) / 257).astype(np.uint8)
        image = Image.fromarray(255 - levels if white_is_zero else levels)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        ground = Image.new("RGB", image.size, BACKGROUND)
        image = Image.composite(rgba.convert("RGB"), ground, rgba.getchannel("A"))
    return image.convert("RGB")
'''
DRAFT = "image.draft(None, {sizes}[turned])  # a large JPEG is decoded at less than its full size"
NO_DRAFT = "del turned  # of this size as it is"

MODEL_INPUT = '''\


WIDTH, HEIGHT = {width}, {height}
MEAN, STD = {mean}, {std}  # of levels from 0 to 1


def model_input(path):
    """(1, 3, HEIGHT, WIDTH), float32."""
    image = rgb_image(path)
{fit}
    levels = np.asarray(image, np.float32).transpose(2, 0, 1)
    scale = np.array([1 / (255 * std) for std in STD], np.float32)
    shift = np.array([mean / std for mean, std in zip(MEAN, STD)], np.float32)
    return (levels * scale[:, None, None] - shift[:, None, None])[None]
'''
FITS = {
    "squash": "image = image.resize((WIDTH, HEIGHT), Image.Resampling.{filter})",
    "crop": """\
        w, h = image.size
        if WIDTH * h >= HEIGHT * w:  # resized to cover the frame, whose centre stays
            covering = WIDTH, WIDTH * h // w
        else:
            covering = HEIGHT * w // h, HEIGHT
        left, top = round((covering[0] - WIDTH) / 2), round((covering[1] - HEIGHT) / 2)
        x, y = w / covering[0], h / covering[1]
        box = left * x, top * y, min((left + WIDTH) * x, w), min((top + HEIGHT) * y, h)
        image = image.resize((WIDTH, HEIGHT), Image.Resampling.{filter}, box)""",
    "pad": """\
        w, h = image.size
        if WIDTH * h <= HEIGHT * w:  # resized until it fits into the frame
            fitting = WIDTH, max(1, WIDTH * h // w)
        else:
            fitting = max(1, HEIGHT * w // h), HEIGHT
        resized = image.resize(fitting, Image.Resampling.{filter})
        image = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
        left, top = round((WIDTH - fitting[0]) / 2), round((HEIGHT - fitting[1]) / 2)
        image.paste(resized, (left, top))""",
}

# Preprocessing that crops to the content, or reads fewer than 16 bits or truncated files.
BY_HOLOTYPE = '''\
PREPROCESSING = Preprocessing.from_json(
    json.loads((HERE / "preprocessing.json").read_text(encoding="utf-8"))
)


def model_input(path):
    """(1, 3, height, width), float32."""
    return PREPROCESSING.load(Path(path))[None]
'''

INSIDE = '''\


def model_input(path):
    """(1, {height}, {width}, 3), uint8: the graph resizes and normalises."""
    image = rgb_image(path)
    if image.size != ({width}, {height}):
        raise ValueError(f"it has {{image.size[0]}} x {{image.size[1]}} pixels; "
                         "this graph was made for images of {width} x {height}")
    return np.asarray(image)[None]
'''

TAIL = """\


if __name__ == "__main__":
    exit_code = 0
    for path in sys.argv[1:]:
        try:
            image = model_input(path)
        except Exception as error:  # decoders raise many kinds for a damaged file
            print(f"{path}: no answer: {error}", file=sys.stderr, flush=True)
            exit_code = 1
            continue
        row = [float(number) for number in probabilities(image)[0]]
        label = CLASS_NAMES[int(np.argmax(row))]
        print(json.dumps({"image": path, "class": label, "probabilities": row}), flush=True)
    sys.exit(exit_code)
"""


def loading_code(
    preprocessing: Preprocessing,
    runtime: str,
    *,
    imports: str,
    needs: str,
    source_size: tuple[int, int] | None = None,
) -> str:
    """A whole script.

    Args:
        runtime: defines `probabilities`: the model input -> (1, C).
        imports: the import lines of the runtime.
        needs: what to install.
        source_size: (height, width) of the images where preprocessing is within the graph.
    """
    own = needs_holotype(preprocessing)
    if own:
        imports += "\nfrom holotype.imaging.preprocessing import Preprocessing"
        needs += " holotype"
    else:
        imports += "\nfrom PIL import Image, ImageOps"
        needs += " pillow"
    lines = sorted(filter(None, imports.splitlines()), key=lambda line: line.split()[1].lower())
    head = HEAD.format(needs=f"pip install numpy {needs}", imports="\n".join(lines) + "\n")
    return (
        head
        + _input_code(preprocessing, source_size)
        + "\n\n"
        + dedent(runtime).strip()
        + "\n"
        + TAIL
    )


def needs_holotype(preprocessing: Preprocessing) -> bool:
    """Whether a few lines of Pillow cannot say it: content, bits of 16, truncated files."""
    return (
        preprocessing.content == "crop"
        or preprocessing.bits != FULL_BITS
        or preprocessing.tolerate_truncated
    )


def _input_code(preprocessing: Preprocessing, source_size: tuple[int, int] | None) -> str:
    if needs_holotype(preprocessing):
        return BY_HOLOTYPE
    width, height = preprocessing.width, preprocessing.height
    fit = FITS[preprocessing.fit].format(filter=preprocessing.interpolation.upper())
    sizes = f"(({2 * width}, {2 * height}), ({2 * height}, {2 * width}))"
    image = RGB_IMAGE.format(
        background=preprocessing.background,
        padding=" and around the image" if preprocessing.fit == "pad" else "",
        draft=DRAFT.format(sizes=sizes) if source_size is None else NO_DRAFT,
    )
    if source_size is not None:
        return image + INSIDE.format(height=source_size[0], width=source_size[1])
    indented = "\n".join(f"    {line}" for line in dedent(fit).splitlines())
    return image + MODEL_INPUT.format(
        width=width, height=height, mean=json.dumps(preprocessing.mean),
        std=json.dumps(preprocessing.std), fit=indented,
    )  # fmt: skip
