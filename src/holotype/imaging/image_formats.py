"""Tell the format of an image from its first bytes or its extension."""

import re
from pathlib import PurePath

IMAGE_EXTENSIONS = frozenset(
    (
        ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif",
        ".heic", ".heif", ".hif", ".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".ppm", ".pgm", ".pbm",
        ".pnm",
    )
)  # fmt: skip
_RAW_EXTENSIONS = frozenset(  # of cameras; most are TIFF files that hold a small preview
    (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2")
)
UNREAD_EXTENSIONS = _RAW_EXTENSIONS | {
    ".jxl", ".jxr", ".psd", ".svg", ".ico", ".tga", ".dds", ".exr", ".qoi", ".pcx", ".dcm", ".pam",
    ".pfm", ".hdr",
}  # fmt: skip

_SIGNATURES: tuple[tuple[str, int, tuple[bytes, ...]], ...] = (  # format, offset, first bytes
    ("JPEG", 0, (b"\xff\xd8\xff",)),
    ("PNG", 0, (b"\x89PNG\r\n\x1a\n",)),
    ("WEBP", 8, (b"WEBP",)),
    ("GIF", 0, (b"GIF87a", b"GIF89a")),
    ("TIFF", 0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("AVIF", 4, (b"ftypavif", b"ftypavis")),
    ("HEIF", 4, (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1")),
    ("JPEG2000", 0, (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    # Known only to be named when they are refused:
    ("JPEG XL", 0, (b"\0\0\0\x0cJXL ", b"\xff\x0a")),
    ("Photoshop", 0, (b"8BPS",)),
    ("PDF", 0, (b"%PDF-",)),
    ("DICOM", 128, (b"DICM",)),
    ("OpenEXR", 0, (b"v/1\x01",)),
    ("SVG", 0, (b"<svg",)),
    ("PAM", 0, (b"P7\nWIDTH ",)),
)
HEAD_BYTES = 132  # enough for every signature
_BMP_HEADER_BYTES = (12, 40, 52, 56, 64, 108, 124)
_PNM = re.compile(rb"P[1-6]\s+[#\d]")


def format_of(head: bytes) -> str | None:
    """The image format of a file's first `HEAD_BYTES` bytes, read or not; None for none."""
    if head[4:12] in (b"ftypmif1", b"ftypmsf1") and b"avif" in head[16 : head[3]]:
        return "AVIF"
    for name, offset, signatures in _SIGNATURES:
        if head.startswith(signatures, offset):
            return name
    if _PNM.match(head):
        return "PPM"
    # Many texts begin with "BM"; few have a valid header size behind it.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    return None


def unread_extension(name: str, found: str | None) -> str:
    """The extension of an image format that is not read, where the bytes say nothing better.

    Args:
        name: of the file.
        found: what `format_of` says of its bytes.
    """
    extension = PurePath(name).suffix.lower()
    unread = UNREAD_EXTENSIONS if found is None else _RAW_EXTENSIONS if found == "TIFF" else ()
    return extension if extension in unread else ""
