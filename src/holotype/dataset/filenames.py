"""File names that we make out of names that others gave."""

import re
import unicodedata

MAX_NAME_BYTES = 255  # of one file or folder, on every file system in use
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\/\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def safe_filename(text: str) -> str:
    """A name that every file system takes, as near to `text` as can be; never empty, `.` or `..`.

    Two texts may get one name: who needs them apart asks `collision_key`.
    """
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", text)).rstrip(" .") or "_"
    if _RESERVED.match(name):
        name = f"_{name}"
    return truncate_name(name)


def truncate_name(name: str, *, max_bytes: int = MAX_NAME_BYTES) -> str:
    """The name within so many bytes of UTF-8; its extension stays."""
    if len(name.encode()) <= max_bytes:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > 10:
        stem, dot, extension = name, "", ""
    ending = dot + extension
    return stem.encode()[: max_bytes - len(ending.encode())].decode(errors="ignore") + ending


def collision_key(text: str) -> str:
    """What some file systems take for the same name: without case and Unicode form."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
