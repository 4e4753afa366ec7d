"""Fingerprints: a small version of every image, cached, so that an audit decodes each file once.

A fingerprint is a grey image of at most 64×64 pixels, the chroma at 16×16, and facts from the
header: five kilobytes, cached under the file's SHA-256.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.cache import ArrayCache, hash_strings
from holotype.dataset.index import Index
from holotype.errors import ImageError
from holotype.imaging.decode import Image, decode
from holotype.imaging.decoding_memory import refused_where_memory_ends
from holotype.imaging.significant_bits import FULL_BITS, LEAST_BITS
from holotype.progress import ProgressCallback

GREY_SIZE = 64  # pixels per side; smaller images keep their size, in the upper left corner
COLOUR_SIZE = 16
FINGERPRINT = np.dtype(
    [
        ("width", "<u4"),
        ("height", "<u4"),
        ("mode", "S8"),
        ("darkest", "u1"),
        ("brightest", "u1"),
        ("largest", "<u2"),  # value of 16 bits, see `Image.largest`
        ("is_stated", "u1"),  # whether `largest` is from the header
        ("is_transparent", "u1"),  # whether any pixel is
        ("sharpness", "<f4"),  # see `sharpness`
        ("rows", "u1"),  # filled rows and columns of `grey`
        ("columns", "u1"),
        ("grey", "u1", (GREY_SIZE, GREY_SIZE)),
        ("colour", "u1", (2, COLOUR_SIZE, COLOUR_SIZE)),  # Cb and Cr; 128 is no colour
    ]
)
_VERSION = "5"
MOST_UNUSED_BITS = 14  # of 16: a quarter of the range, 64 grey levels of 256
_FEW_IMAGES = 10  # of 16 bits, whose values alone do not tell the range of their camera
_DECODED_SIZE = (2 * GREY_SIZE, 2 * GREY_SIZE)
_SHARPNESS_SIZE = 128  # pixels of the shorter side; larger images are shrunk to it
_SHARD = 512  # images per cache shard
_WHITE, _BLACK = 255, 0  # behind transparent pixels: white, as networks see them by default


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """The fingerprints of the images of an index.

    Attributes:
        paths: of the N images that could be decoded, sorted.
        records: (N,) of dtype `FINGERPRINT`.
        refusals: path -> why an image could not be decoded.
        warnings: path -> what was ignored in an image, such as later frames of an animation.
        bits: how many are significant in the images of 16 bits, with which they were decoded.
        on_black: (N,) of dtype `FINGERPRINT`, with transparent images on black instead of white;
            None if no image is transparent.
    """

    paths: tuple[str, ...]
    records: NDArray[np.void]
    refusals: dict[str, ImageError]
    warnings: dict[str, tuple[str, ...]]
    bits: int = FULL_BITS
    on_black: NDArray[np.void] | None = None

    @property
    def is_deep_N(self) -> NDArray[np.bool_]:
        """(N,): the images of 16 bits whose range is not given by their headers."""
        return np.asarray(self.records["largest"] > 0)

    @property
    def used_bits(self) -> int:
        """In which the largest value of all images of 16 bits fits: 8, 10, 12, 14 or 16.

        Of all images together: the largest value of one says nothing about the range of its camera.
        """
        used = int(self.records["largest"].max(initial=0)).bit_length()
        return max(LEAST_BITS, used + used % 2) if self.is_deep_N.any() else FULL_BITS

    @property
    def significant_bits(self) -> int:
        """`used_bits`, if there are enough images to tell or headers state it; else 16."""
        if self.used_bits > MOST_UNUSED_BITS:
            return FULL_BITS
        is_told = self.records["is_stated"][self.is_deep_N].all()
        return self.used_bits if is_told or self.is_deep_N.sum() >= _FEW_IMAGES else FULL_BITS


def compute_fingerprints(
    index: Index,
    *,
    bits: int | None = None,
    tolerate_truncated: bool = False,
    on_progress: ProgressCallback | None = None,
) -> Fingerprints:
    """The fingerprints of all images; those not in the cache are decoded, in two threads.

    Images with a warning are not cached: they are decoded each time, and warn each time.

    Args:
        bits: how many are significant in images of 16 bits; None: see `significant_bits`. Where
            these are fewer than 16, the images of 16 bits are decoded twice. Transparent images
            are decoded twice, too, for `Fingerprints.on_black`.
        tolerate_truncated: read files that are cut off as far as they go.
    """
    read_as = _ReadAs(FULL_BITS if bits is None else bits, tolerate_truncated)
    found = _fingerprints(index, read_as, on_progress)
    if bits is None and (told := found.significant_bits) < FULL_BITS:
        read_as = replace(read_as, bits=told)
        found = _again(found, found.is_deep_N, index, read_as)
    is_transparent_N = found.records["is_transparent"] > 0
    if is_transparent_N.any():
        read_as = replace(read_as, backdrop=_BLACK)
        on_black = _again(found, is_transparent_N, index, read_as)
        kept_N = np.isin(found.paths, on_black.paths)
        found = replace(on_black, records=found.records[kept_N], on_black=on_black.records)
    return found


@dataclass(frozen=True)
class _ReadAs:
    """How `decode` reads files, and the grey level behind transparent pixels."""

    bits: int
    tolerate_truncated: bool
    backdrop: int = _WHITE


def _again(
    found: Fingerprints, chosen_N: NDArray[np.bool_], index: Index, read_as: _ReadAs
) -> Fingerprints:
    """What was found, with some images read in another way, which may refuse them."""
    others = set(index.table["path"]) - set(compress(found.paths, chosen_N))
    again = _fingerprints(index.without(others), read_as, None)
    position = {path: number for number, path in enumerate(found.paths)}
    records = found.records.copy()
    records[[position[path] for path in again.paths]] = again.records
    kept_N = np.array([path not in again.refusals for path in found.paths])
    return replace(
        found,
        paths=tuple(compress(found.paths, kept_N)),
        records=records[kept_N],
        refusals=found.refusals | again.refusals,
        warnings={p: notes for p, notes in found.warnings.items() if p not in again.refusals},
        bits=read_as.bits,
    )


def _fingerprints(
    index: Index, read_as: _ReadAs, on_progress: ProgressCallback | None
) -> Fingerprints:
    key = hash_strings(_VERSION, str(FINGERPRINT), str(read_as.bits), str(read_as.backdrop))
    cache = ArrayCache("fingerprints", key)
    sha256 = dict(zip(index.table["path"], index.table["sha256"], strict=True))
    todo = [path for path, key in sha256.items() if not key or key not in cache]
    fresh: dict[str, NDArray[np.void]] = {}
    refusals: dict[str, ImageError] = {}
    warnings: dict[str, tuple[str, ...]] = {}
    done = len(sha256) - len(todo)
    for shard in _decode_in_shards(index, todo, read_as):
        to_cache: dict[str, NDArray[np.void]] = {}
        for path, result in shard:
            if isinstance(result, ImageError):
                refusals[path] = result
                continue
            fresh[path], notes = result
            if notes:
                warnings[path] = notes
            elif sha256[path]:
                to_cache[sha256[path]] = fresh[path]
        if to_cache:
            cache.add(list(to_cache), np.stack(list(to_cache.values())))
        done += len(shard)
        if on_progress is not None:
            on_progress(done, len(sha256))
    paths = sorted(path for path in sha256 if path not in refusals)
    records = [fresh[path] if path in fresh else cache[sha256[path]] for path in paths]
    stacked = np.stack(records) if records else np.empty(0, FINGERPRINT)
    return Fingerprints(tuple(paths), stacked, refusals, warnings, read_as.bits)


_Decoded = tuple[NDArray[np.void], tuple[str, ...]] | ImageError


def _decode_in_shards(
    index: Index, paths: list[str], read_as: _ReadAs
) -> Iterator[list[tuple[str, _Decoded]]]:
    def decode_one(path: str) -> tuple[str, _Decoded]:
        try:
            image = decode(
                index.file(path), name=path, minimum_size=_DECODED_SIZE, bits=read_as.bits,
                tolerate_truncated=read_as.tolerate_truncated,
            )  # fmt: skip
            with refused_where_memory_ends(path):
                return path, (fingerprint(image, backdrop=read_as.backdrop), image.warnings)
        except ImageError as refusal:
            return path, refusal

    with ThreadPoolExecutor(max_workers=2) as threads:
        for start in range(0, len(paths), _SHARD):
            yield list(threads.map(decode_one, paths[start : start + _SHARD]))


def fingerprint(image: Image, *, backdrop: int = _WHITE) -> NDArray[np.void]:
    """The fingerprint of one decoded image: 0-dimensional, of dtype `FINGERPRINT`.

    Args:
        backdrop: the grey level behind transparent pixels.
    """
    pixels = image.pixels
    if image.mask is not None:
        ground = PillowImage.new(pixels.mode, pixels.size, (backdrop,) * len(pixels.getbands()))
        pixels = PillowImage.composite(pixels, ground, image.mask)
    grey = pixels.convert("L")
    columns, rows = (min(GREY_SIZE, side) for side in pixels.size)
    record = np.zeros((), FINGERPRINT)
    record["width"], record["height"] = image.stored_size
    record["mode"] = image.mode.encode()[:8]
    levels = np.asarray(pixels)
    record["darkest"], record["brightest"] = levels.min(), levels.max()
    record["largest"], record["is_stated"] = image.largest, image.is_largest_stated
    record["is_transparent"] = image.mask is not None
    record["sharpness"] = sharpness(grey)
    record["rows"], record["columns"] = rows, columns
    record["grey"][:rows, :columns] = np.asarray(downscale(grey, (columns, rows)))
    record["colour"] = 128
    if pixels.mode == "RGB":
        small = downscale(pixels, (COLOUR_SIZE, COLOUR_SIZE)).convert("YCbCr")
        record["colour"] = np.asarray(small).transpose(2, 0, 1)[1:]
    return record


def sharpness(grey: PillowImage.Image) -> float:
    """The 99th percentile of the absolute Laplacian, relative to the contrast; 0 or more.

    The contrast is the range from the 1st to the 99th percentile of the grey levels. Both are
    measured at a shorter side of at most 128 pixels. Blur lowers the value; darkness, low contrast
    and large smooth areas do not, unlike the variance of the Laplacian (Pech-Pacheco et al. 2000).
    """
    ratio = _SHARPNESS_SIZE / min(grey.size)
    levels = grey.convert("F")  # unrounded: rounding would add edges
    if ratio < 1:
        columns, rows = (max(1, round(side * ratio)) for side in grey.size)
        levels = downscale(levels, (columns, rows))
    pixels = np.asarray(levels)
    if min(pixels.shape) < 3:
        return 0.0
    inner = pixels[1:-1, 1:-1]
    beside = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:]
    steepest = float(np.quantile(np.abs(4 * inner - beside), 0.99))
    darkest, brightest = np.quantile(pixels, (0.01, 0.99))
    return steepest / (float(brightest - darkest) + 2.0)


def downscale(pixels: PillowImage.Image, size: tuple[int, int]) -> PillowImage.Image:
    """Resize with a triangle filter, which leaves little aliasing."""
    return pixels.resize(size, PillowImage.Resampling.BILINEAR)
