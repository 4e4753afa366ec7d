# ruff: noqa: E501 - a case is one line
"""Odd image files, each with its right outcome: the pixels, or the kind of refusal.

Adding a case is one line. Expected pixels are the arrays that were written, changed by NumPy alone.

Arrays: H height, W width.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tests.odd.writers import (
    Array,
    chunk,
    exif,
    heic,
    on_white,
    oriented,
    png,
    saved,
    tiff,
    tiff_with,
)

RNG = np.random.default_rng(0)
H, W = 48, 64
GREY = RNG.integers(0, 256, (H, W), dtype=np.uint8)
RGB = RNG.integers(0, 256, (H, W, 3), dtype=np.uint8)
SMOOTH = np.linspace(40, 210, H * W).reshape(H, W).astype(np.uint8)  # for lossy formats
SMOOTH_RGB = np.dstack([SMOOTH, SMOOTH[:, ::-1], SMOOTH[::-1]])
ALPHA = RNG.integers(0, 256, (H, W), dtype=np.uint8)
CUT = np.where(GREY > 100, 255, 0).astype(np.uint8)
RGBA, LA = np.dstack([RGB, ALPHA]), np.dstack([GREY, ALPHA])
DEEP = RNG.integers(0, 65536, (H, W), dtype=np.uint16)
DEEP_RGB = RNG.integers(0, 65536, (H, W, 3), dtype=np.uint16)
CMYK = RNG.integers(0, 256, (H, W, 4), dtype=np.uint8)
CMYK_AS_RGB = (255.0 - CMYK[..., :3]) * (255.0 - CMYK[..., 3:]) / 255
PALETTE = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
PALETTE_16 = PALETTE[:16].tobytes()
LEVELS_2, LEVELS_4, LEVELS_1 = GREY >> 6, GREY >> 4, GREY >> 7
HEIC_RGB = heic(RGB)
PNG_RGB = png(RGB, 8, 2)
JPEG_RGB = saved(SMOOTH_RGB, "JPEG", quality=95, subsampling=0)
GIF_GREY = saved(GREY, "GIF", optimize=False)
ODD_NAMES = (
    "with blank.png", " blank at its ends .png", "semi;colon,comma.png", "=1+1.png", "-dash.png",
    "quote'\".png", "new\nline.png", "tab\t.png", "\u00fc composed.png", "u\u0308 decomposed.png",
    "\U0001f600.png", "left\u202eright.png", "back\\slash.png", "UPPER.PNG", "no_extension",
    "two.tar.png", "percent%20.png", "x" * 250 + ".png", "\x1b[31mred.png", "#hash?.png", "~tilde$.png",
)  # fmt: skip
PAGES = "several frames or pages"


@dataclass(frozen=True, eq=False)
class OddFile:
    """A file and what every verb must make of it.

    Attributes:
        name: with its extension.
        content: the bytes; None for what is no plain file, which the test makes.
        pixels: (H, W) or (H, W, 3), on white, where it is used.
        tolerance: in grey levels; lossy formats and colour of 16 bits are not exact.
        problem: where it is refused, such as `truncated_image`.
        warning: words of what is said of it.
    """

    name: str
    content: bytes | None
    pixels: Array | None = None
    tolerance: float = 0.5
    problem: str = ""
    warning: str = ""


def used(
    name: str, content: bytes, pixels: Array, tolerance: float = 0.5, warning: str = ""
) -> OddFile:
    return OddFile(name, content, pixels, tolerance, warning=warning)


def refused(name: str, content: bytes | None, problem: str) -> OddFile:
    return OddFile(name, content, problem=problem)


FILES = [
    # PNG: every depth and colour type, transparency, interlacing, chunks
    used("grey8.png", png(GREY, 8, 0), GREY),
    used("grey1.png", png(LEVELS_1, 1, 0), 255.0 * LEVELS_1),
    used("grey2.png", png(LEVELS_2, 2, 0), 85.0 * LEVELS_2),
    used("grey4.png", png(LEVELS_4, 4, 0), 17.0 * LEVELS_4),
    used("grey16.png", png(DEEP, 16, 0), DEEP / 257),
    used("rgb8.png", PNG_RGB, RGB),
    used("rgb16.png", png(DEEP_RGB, 16, 2), DEEP_RGB / 257, 1),
    used("palette8.png", png(GREY, 8, 3, {"PLTE": PALETTE.tobytes()}), PALETTE[GREY]),
    used("palette4.png", png(LEVELS_4, 4, 3, {"PLTE": PALETTE_16}), PALETTE[LEVELS_4]),
    used("palette2.png", png(LEVELS_2, 2, 3, {"PLTE": PALETTE_16[:12]}), PALETTE[LEVELS_2]),
    used("palette1.png", png(LEVELS_1, 1, 3, {"PLTE": PALETTE_16[:6]}), PALETTE[LEVELS_1]),
    used(
        "palette_alpha.png",
        png(LEVELS_4, 4, 3, {"PLTE": PALETTE_16, "tRNS": bytes(range(0, 240, 15))}),
        on_white(np.dstack([PALETTE[LEVELS_4], 15 * LEVELS_4])),
        1,
    ),
    used("grey_alpha8.png", png(LA, 8, 4), on_white(LA), 1),
    used("grey_alpha16.png", png(LA.astype(np.uint16) * 257, 16, 4), on_white(LA), 2),
    used("rgba8.png", png(RGBA, 8, 6), on_white(RGBA), 1),
    used("rgba16.png", png(RGBA.astype(np.uint16) * 257, 16, 6), on_white(RGBA), 2),
    used("rgba_opaque.png", png(np.dstack([RGB, np.full_like(GREY, 255)]), 8, 6), RGB),
    used("rgba_empty.png", png(np.dstack([RGB, np.zeros_like(GREY)]), 8, 6), np.full_like(RGB, 255)),
    used("key_grey.png", png(GREY, 8, 0, {"tRNS": b"\0\x40"}), np.where(GREY == 64, 255, GREY)),
    used("key_grey2.png", png(LEVELS_2, 2, 0, {"tRNS": b"\0\1"}), np.where(LEVELS_2 == 1, 255, 85.0 * LEVELS_2)),
    used("key_grey16.png", png(GREY.astype(np.uint16), 16, 0, {"tRNS": b"\0\x40"}), np.where(GREY == 64, 255, GREY / 257)),
    used("key_rgb.png", png(RGB, 8, 2, {"tRNS": RGB[3, 4].astype(">u2").tobytes()}), np.where((RGB[3, 4] == RGB).all(2, keepdims=True), 255, RGB)),
    used("adam7.png", png(RGB, 8, 2, adam7=True), RGB),
    used("adam7_1bit.png", png(LEVELS_1, 1, 0, adam7=True), 255.0 * LEVELS_1),
    used("adam7_16.png", png(DEEP, 16, 0, adam7=True), DEEP / 257),
    used("long_text.png", png(RGB, 8, 2, {"tEXt": b"k\0" + b"x" * 9_000_000}), RGB),
    used("long_ztxt.png", png(RGB, 8, 2, {"zTXt": b"k\0\0" + zlib.compress(bytes(5_000_000))}), RGB),
    used("profile.png", png(RGB, 8, 2, {"iCCP": b"p\0\0" + zlib.compress(b"no profile")}), RGB),
    used("gamma.png", png(RGB, 8, 2, {"gAMA": b"\0\1\x86\xa0", "pHYs": b"\0\0\0\1\0\0\0\1\0", "tIME": b"\7\xe0\1\1\0\0\0"}), RGB),
    used("unknown_chunk.png", png(RGB, 8, 2, {"xyZw": b"?" * 100}), RGB),
    *(used(f"exif{n}.png", png(oriented(RGB, n), 8, 2, {"eXIf": exif(n)[6:]}), RGB) for n in range(2, 9)),
    used("animated.png", saved(RGB, "PNG", save_all=True, append_images=[Image.fromarray(255 - RGB)]), RGB, warning=PAGES),
    used("garbage_after.png", PNG_RGB + b"garbage" * 9, RGB),
    used("one_pixel.png", png(GREY[:1, :1], 8, 0), GREY[:1, :1]),
    used("one_row.png", png(RGB[:9].reshape(1, -1), 8, 0), RGB[:9].reshape(1, -1)),
    refused("cut_half.png", PNG_RGB[: len(PNG_RGB) // 2], "truncated_image"),
    refused("cut_end.png", PNG_RGB[:-12], "truncated_image"),
    refused("cut_header.png", PNG_RGB[:20], "truncated_image"),
    refused("bad_header_sum.png", PNG_RGB[:29] + b"\0\0\0\0" + PNG_RGB[33:], "truncated_image"),
    refused("no_pixels.png", PNG_RGB[:33] + chunk("IEND", b""), "truncated_image"),
    refused("bad_data.png", PNG_RGB[:60] + b"\xff" * 40 + PNG_RGB[100:], "truncated_image"),
    refused("bomb.png", PNG_RGB[:16] + b"\0\0\xff\xff\0\0\xff\xff" + PNG_RGB[24:], "truncated_image"),
    # JPEG
    used("rgb.jpg", JPEG_RGB, SMOOTH_RGB, 6),
    used("grey.jpg", saved(SMOOTH, "JPEG", quality=95), SMOOTH, 4),
    used("progressive.jpeg", saved(SMOOTH_RGB, "JPEG", quality=95, subsampling=0, progressive=True), SMOOTH_RGB, 6),
    used("subsampled.JPG", saved(SMOOTH_RGB, "JPEG", quality=95, subsampling=2), SMOOTH_RGB, 40),
    used("kept_rgb.jpg", saved(SMOOTH_RGB, "JPEG", quality=95, keep_rgb=True), SMOOTH_RGB, 6),
    used("restart.jpg", saved(SMOOTH_RGB, "JPEG", quality=95, subsampling=0, restart_marker_rows=1), SMOOTH_RGB, 6),
    used("cmyk.jpg", saved(Image.fromarray(np.dstack([255 - SMOOTH_RGB, np.zeros_like(SMOOTH)]), "CMYK"), "JPEG", quality=95, subsampling=0), SMOOTH_RGB, 6),
    *(used(f"exif{n}.jpg", saved(oriented(SMOOTH_RGB, n), "JPEG", quality=95, subsampling=0, exif=exif(n)), SMOOTH_RGB, 6) for n in range(2, 9)),
    used("exif_out_of_range.jpg", saved(SMOOTH_RGB, "JPEG", quality=95, subsampling=0, exif=exif(99)), SMOOTH_RGB, 6),
    used("broken_exif.jpg", saved(SMOOTH_RGB, "JPEG", quality=95, subsampling=0, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), SMOOTH_RGB, 6),
    used("comment.jpg", saved(SMOOTH_RGB, "JPEG", quality=95, subsampling=0, comment=b"\xff\xda" * 500), SMOOTH_RGB, 6),
    used("garbage_after.jpg", JPEG_RGB + b"\0" * 999, SMOOTH_RGB, 6),
    used("two_images.mpo", saved(Image.fromarray(SMOOTH_RGB), "MPO", quality=95, subsampling=0, save_all=True, append_images=[Image.fromarray(255 - SMOOTH_RGB)]), SMOOTH_RGB, 6, PAGES),
    used("really_a_png.jpg", PNG_RGB, RGB),
    used("really_a_jpeg.png", JPEG_RGB, SMOOTH_RGB, 6),
    refused("cut_half.jpg", JPEG_RGB[: len(JPEG_RGB) // 2], "truncated_image"),
    refused("cut_header.jpg", JPEG_RGB[:100], "truncated_image"),
    # TIFF
    used("grey.tif", tiff(GREY), GREY),
    used("rgb.tif", tiff(RGB, photometric=2), RGB),
    used("rgb_big_endian.tiff", tiff(RGB, photometric=2, order=">"), RGB),
    used("white_is_zero.tif", tiff(255 - GREY, photometric=0), GREY),
    used("white_is_zero16.tif", tiff(65535 - DEEP, photometric=0), DEEP / 257),
    used("grey16.tif", tiff(DEEP), DEEP / 257),
    used("grey16_big_endian.tif", tiff(DEEP, order=">"), DEEP / 257),
    used("rgb16.tif", tiff(DEEP_RGB, photometric=2), DEEP_RGB / 257, 1),
    used("rgba.tif", tiff(RGBA, photometric=2, extra=(2,)), on_white(RGBA), 1),
    used("near_infrared.tif", tiff(RGBA, photometric=2, extra=(0,)), RGB, 0.5, "band 4 is not used"),
    used("two_bands.tif", tiff(LA, extra=(0,)), GREY, 0.5, "band 2 is not used"),
    used("five_bands.tif", tiff(np.dstack([RGBA, GREY]), photometric=2, extra=(0, 0)), RGB, 0.5, "bands 4 to 5 are not used"),
    *(used(f"{how}.tif", tiff_with(RGB, compression=how), RGB) for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd")),
    used("group4.tif", saved(Image.fromarray(GREY > 99), "TIFF", compression="group4"), np.where(GREY > 99, 255, 0)),
    used("jpeg_inside.tif", saved(SMOOTH_RGB, "TIFF", compression="jpeg", quality=95), SMOOTH_RGB, 40),
    used("cmyk.tif", saved(Image.fromarray(CMYK, "CMYK"), "TIFF"), CMYK_AS_RGB, 1),
    *(used(f"orientation{n}.tif", tiff_with(oriented(RGB, n), orientation=n), RGB) for n in range(2, 9)),
    used("big.tif", saved(RGB, "TIFF", big_tiff=True), RGB),
    used("pages.tif", saved(RGB, "TIFF", save_all=True, append_images=[Image.fromarray(255 - RGB)]), RGB, 0.5, PAGES),
    refused("signed8.tif", tiff((GREY.astype(int) - 128).astype(np.int8), sample_format=2), "unsupported_mode"),
    refused("signed16.tif", tiff((DEEP.astype(int) - 32768).astype(np.int16), sample_format=2), "unsupported_mode"),
    refused("integers32.tif", tiff(DEEP.astype(np.uint32)), "unsupported_mode"),
    refused("floats.tif", tiff(DEEP.astype(np.float32), sample_format=3), "unsupported_mode"),
    refused("cut.tif", tiff(RGB, photometric=2)[:900], "truncated_image"),
    # GIF, BMP, WebP, AVIF
    used("grey.gif", GIF_GREY, GREY),
    used("palette.gif", saved(RGB[:8, :8], "GIF", optimize=False), RGB[:8, :8]),
    used("interlaced.gif", saved(GREY, "GIF", interlace=1), GREY),
    used("animated.gif", saved(GREY, "GIF", save_all=True, append_images=[Image.fromarray(255 - GREY)]), GREY, 0.5, PAGES),
    refused("cut.gif", GIF_GREY[:500], "truncated_image"),
    used("rgb.bmp", saved(RGB, "BMP"), RGB),
    used("grey.bmp", saved(GREY, "BMP"), GREY),
    used("one_bit.bmp", saved(Image.fromarray(GREY > 99), "BMP"), np.where(GREY > 99, 255, 0)),
    refused("cut.bmp", saved(RGB, "BMP")[:900], "truncated_image"),
    used("lossless.webp", saved(RGB, "WEBP", lossless=True), RGB),
    used("alpha.webp", saved(RGBA, "WEBP", lossless=True, exact=True), on_white(RGBA), 1),
    used("lossy.webp", saved(SMOOTH_RGB, "WEBP", quality=95), SMOOTH_RGB, 40),
    used("animated.webp", saved(RGB, "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(255 - RGB)]), RGB, 0.5, PAGES),
    used("turned.webp", saved(oriented(RGB, 6), "WEBP", lossless=True, exif=exif(6)), RGB),
    refused("cut.webp", saved(RGB, "WEBP", lossless=True)[:900], "truncated_image"),
    used("rgb.avif", saved(SMOOTH_RGB, "AVIF", quality=100, subsampling="4:4:4"), SMOOTH_RGB, 6),
    used("alpha.avif", saved(np.dstack([SMOOTH_RGB, CUT]), "AVIF", quality=100, subsampling="4:4:4"), on_white(np.dstack([SMOOTH_RGB, CUT])), 8),
    refused("cut.avif", saved(SMOOTH_RGB, "AVIF")[:300], "truncated_image"),
    # HEIC, JPEG 2000, PNM
    used("rgb.heic", HEIC_RGB, RGB),
    used("grey.HEIC", heic(GREY), GREY),
    used("alpha.heif", heic(RGBA), on_white(RGBA), 1),
    used("really_a_heic.jpg", HEIC_RGB, RGB),
    refused("cut.heic", HEIC_RGB[:2000], "truncated_image"),
    used("rgb.jp2", saved(RGB, "JPEG2000", irreversible=False), RGB),
    used("grey16.jp2", saved(DEEP, "JPEG2000", irreversible=False), DEEP / 257),
    used("codestream.j2k", saved(RGB, "JPEG2000", irreversible=False, no_jp2=True), RGB),
    used("binary.ppm", b"P6 64 48 255\n" + RGB.tobytes(), RGB),
    used("binary.pgm", b"P5 # c\n64 48\n255\n" + GREY.tobytes(), GREY),
    used("twelve.pgm", b"P5 64 48 4095\n" + (DEEP >> 4).astype(">u2").tobytes(), (DEEP >> 4) * (255 / 4095)),
    used("text.pgm", b"P2 64 48 255\n" + " ".join(map(str, GREY.ravel())).encode(), GREY),
    used("bits.pbm", b"P4 64 48\n" + np.packbits(GREY > 99, axis=1).tobytes(), np.where(GREY > 99, 0, 255)),
    refused("cut.ppm", b"P6 64 48 255\n" + RGB.tobytes()[:900], "truncated_image"),
    # more of each
    used("icc.jpg", saved(SMOOTH_RGB, "JPEG", quality=95, subsampling=0, icc_profile=bytes(3000)), SMOOTH_RGB, 6),
    used("icc.tif", saved(RGB, "TIFF", icc_profile=bytes(3000)), RGB),
    used("lab.tif", saved(Image.new("LAB", (W, H), (128, 128, 128)), "TIFF"), np.full((H, W), 119.5), 2),
    used("reserved_byte.bmp", saved(RGBA, "BMP"), RGB),
    used("palette.bmp", saved(Image.fromarray(RGB[:8, :8]).quantize(64, dither=0), "BMP"), np.asarray(Image.fromarray(RGB[:8, :8]).quantize(64, dither=0).convert("RGB"))),
    # names
    *(used(name, PNG_RGB, RGB) for name in ODD_NAMES),
    # formats that are not read, and what is no image at all
    refused("photo.jxl", b"\xff\x0a" + bytes(99), "unsupported_format"),
    refused("drawing.psd", b"8BPS\0\1" + bytes(99), "unsupported_format"),
    refused("drawing.svg", b"<svg xmlns='x'></svg>", "unsupported_format"),
    refused("scan.dcm", bytes(128) + b"DICM" + bytes(99), "unsupported_format"),
    refused("raw.nef", b"II*\0" + bytes(99), "unsupported_format"),
    refused("raw.cr3", b"\0\0\0\x18ftypcrx " + bytes(99), "unsupported_format"),
    refused("light.exr", b"v/1\x01" + bytes(99), "unsupported_format"),
    refused("old.tga", bytes(99), "unsupported_format"),
    refused("icon.ico", saved(RGB, "ICO"), "unsupported_format"),
    refused("old.pcx", saved(RGB, "PCX"), "unsupported_format"),
    refused("texture.dds", saved(RGB, "DDS"), "unsupported_format"),
    refused("scan_is_a.jpg", b"%PDF-1.7\n" + bytes(99), "unsupported_format"),
    refused("page.jpg", b"<!DOCTYPE html><title>404</title>", "not_an_image"),
    refused("lfs.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "not_an_image"),
    refused("archive.png", b"PK\3\4" + bytes(99), "not_an_image"),
    refused("text.bmp", b"BMW makes no bitmaps, and this is long enough to look like one", "not_an_image"),
    refused("empty.jpg", b"", "empty_file"),
    refused("zeros.png", bytes(9999), "not_an_image"),
    # what is no plain file
    refused("link_to_nowhere.png", None, "unreadable_file"),
    refused("link_to_itself.png", None, "unreadable_file"),
    refused("sparse_4_gb.tif", None, "file_too_large"),
]  # fmt: skip
