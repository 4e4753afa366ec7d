"""File names that are valid on every file system, made from arbitrary text."""

import re
import unicodedata

MAX_NAME_BYTES = 255  # of one file or folder, on all common file systems
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\/\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def safe_filename(text: str) -> str:
    """A valid file name, as similar to `text` as possible; never empty, `.` or `..`.

    Different texts may give the same name: compare them by `collision_key`.
    """
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", text)).rstrip(" .") or "_"
    if _RESERVED.match(name):
        name = f"_{name}"
    return truncate_name(name)


def truncate_name(name: str, *, max_bytes: int = MAX_NAME_BYTES) -> str:
    """The name cut to a number of UTF-8 bytes; the extension is kept."""
    if len(name.encode()) <= max_bytes:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > 10:
        stem, dot, extension = name, "", ""
    ending = dot + extension
    return stem.encode()[: max_bytes - len(ending.encode())].decode(errors="ignore") + ending


def collision_key(text: str) -> str:
    """Equal for names that some file systems do not distinguish: case folded, NFKC."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
