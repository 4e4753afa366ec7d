"""Remove text and colour profiles from a PNG, which Pillow refuses to read where they are long."""

import struct

_CHUNKS_OF_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_SIGNATURE_BYTES = 8
_AROUND_BODY = 12  # length, kind and checksum of a chunk


def is_about_text(error: Exception) -> bool:
    """Whether Pillow raised this at the limits for text, which profiles share."""
    return "MAX_TEXT" in str(error)


def without_text(content: bytes) -> bytes:
    """The PNG without its chunks of text and its profile; pixels and EXIF data stay.

    An orientation in XMP, which is text, is lost; PNG keeps it in EXIF data as a rule.
    """
    kept = [content[:_SIGNATURE_BYTES]]
    start = _SIGNATURE_BYTES
    while start + _AROUND_BODY <= len(content):
        (length,) = struct.unpack_from(">I", content, start)
        end = start + _AROUND_BODY + length
        if content[start + 4 : start + 8] not in _CHUNKS_OF_TEXT:
            kept.append(content[start:end])
        start = end
    return b"".join(kept) + content[start:]
