"""Unpack untrusted archives safely: completely, or not at all.

Members must be plain files and folders; they are written under sanitised names into a staged
directory. Refused are links, devices, absolute paths, `..`, names that are equal on some file
systems, encrypted members, and implausible numbers of bytes or members (archive bombs).
`extractall` is never called.

Formats: zip, and tar uncompressed or with gzip, bzip2 or xz, recognised by their first bytes.
"""

import bz2
import errno
import gzip
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, NoReturn, Protocol, Self, cast

from holotype.dataset.atomic_directory import staged_directory
from holotype.dataset.reading.folder_walk import is_hidden_or_system
from holotype.dataset.safe_filenames import collision_key, safe_filename
from holotype.errors import InvalidArchive

_CHUNK = 1 << 20
_MAX_HEADER = 1 << 20  # bytes of an extended header of a tar member
_MIN_MEMBER_LIMIT = 2_000  # of members that any archive may have
_BYTES_PER_MEMBER = 160  # minimum size of a member beyond that, in the archive
_EXTENDED_HEADER_TYPES = frozenset(
    [
        tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    ]
)  # fmt: skip
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
_MAX_NESTING = 3  # archives in archives in archives
_DOUBLE_SUFFIX = re.compile(r"(\.tar)?\.[a-z0-9]{1,4}$", re.IGNORECASE)

# Raised by the standard library for broken archives: RuntimeError for encrypted members,
# NotImplementedError for unknown compression methods, ValueError for numbers in headers.
_CORRUPT_ARCHIVE_ERRORS = (
    EOFError, NotImplementedError, RuntimeError, UnicodeError, ValueError, lzma.LZMAError,
    struct.error, tarfile.TarError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class ExtractionLimits:
    """Limits against archive bombs.

    Attributes:
        max_members: files and folders.
        max_total_bytes: unpacked size of all files.
        max_compression_ratio: unpacked size over the size of the archive.
        ratio_exempt_bytes: up to this unpacked size the ratio is not checked.
    """

    max_members: int = 2_000_000
    max_total_bytes: int = 500_000_000_000
    max_compression_ratio: float = 200.0
    ratio_exempt_bytes: int = 64_000_000


DEFAULT_LIMITS = ExtractionLimits()


def unpack(
    archive: Path,
    output: Path,
    *,
    limits: ExtractionLimits = DEFAULT_LIMITS,
    finish: Callable[[Path], object] = lambda directory: None,
) -> Path:
    """Unpack into `output`, which must be new or empty; archives within are unpacked, too.

    Args:
        finish: called with the staged directory, before it gets its name.

    Returns:
        The folder with the data: `output`, or the only folder in it.

    Raises:
        InvalidArchive: the archive is broken or unsafe.
        UsageError: the output is not empty.
    """
    with staged_directory(output) as directory:
        unpack_into(archive, directory, limits)
        unpack_nested(directory, archive.stat().st_size, limits=limits)
        if not any(files for _, _, files in os.walk(directory)):
            _SafeExtractor(archive, directory, limits).refuse("it holds no file")
        finish(directory)
    return descend_to_data(output)


def descend_to_data(folder: Path) -> Path:
    """Descend while a folder holds only one folder, which itself holds folders.

    Hidden and system files, such as `__MACOSX`, are ignored.
    """
    while True:
        entries = [entry for entry in folder.iterdir() if not is_hidden_or_system(entry.name)]
        if len(entries) != 1 or not entries[0].is_dir():
            return folder
        if not any(inner.is_dir() for inner in entries[0].iterdir()):
            return folder
        folder = entries[0]


def archive_stem(name: str) -> str:
    """`photos` for `photos.zip` and for `photos.tar.gz`."""
    return _DOUBLE_SUFFIX.sub("", name) or name


def copy_untrusted_folder(folder: Path, directory: Path) -> None:
    """Copy the files of an untrusted folder, with the checks for archives."""
    extractor = _SafeExtractor(folder, directory, DEFAULT_LIMITS)
    extractor.size = DEFAULT_LIMITS.max_total_bytes  # not compressed: no ratio to check
    for place, folders, files in os.walk(folder):
        for name in sorted(files + [one for one in folders if Path(place, one).is_symlink()]):
            file = Path(place, name)
            if file.is_symlink() or not file.is_file():
                extractor.refuse(f"{name!r} is a link, a device or no plain file")
            with file.open("rb") as content:
                relative = file.relative_to(folder).as_posix()
                extractor.write(relative, file.stat().st_size, content)


def unpack_into(archive: Path, directory: Path, limits: ExtractionLimits) -> None:
    """Unpack into a staged directory, which the caller removes after an error.

    Raises:
        InvalidArchive: as `unpack`.
    """
    with archive.open("rb") as file:
        head = file.read(6)
    extractor = _SafeExtractor(archive, directory, limits)
    try:
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            _unpack_zip(archive, extractor)
        elif head[:2] == b"\x1f\x8b":
            with gzip.open(archive) as opened:
                _unpack_tar(opened, extractor)
        elif head[:3] == b"BZh":
            with bz2.open(archive) as opened:
                _unpack_tar(opened, extractor)
        elif head == b"\xfd7zXZ\x00":
            with lzma.open(archive) as opened:
                _unpack_tar(opened, extractor)
        else:
            with archive.open("rb") as file:
                _unpack_tar(file, extractor)
    except _CORRUPT_ARCHIVE_ERRORS as error:
        extractor.refuse(f"it is broken or cut off: {error}")
    except OSError as error:
        # Broken gzip and bz2 have no errno; an offset before the start of the file is EINVAL.
        if error.errno not in (None, errno.EINVAL):  # such as a full disk
            raise
        extractor.refuse(f"it is broken or cut off: {error}")


def unpack_nested(directory: Path, size: int, *, limits: ExtractionLimits = DEFAULT_LIMITS) -> None:
    """Replace archives within a staged directory by folders of their names.

    `train.zip` becomes `train`, also where it holds only a folder of this name.

    Args:
        size: of the archive that all of this came from, in bytes: the limits hold for all together.

    Raises:
        InvalidArchive: as `unpack`.
    """
    most = max(limits.ratio_exempt_bytes, int(limits.max_compression_ratio * size))
    most = min(most, limits.max_total_bytes)
    for _ in range(_MAX_NESTING):
        files = [path for path in directory.rglob("*") if path.is_file()]
        archives = sorted(path for path in files if _ARCHIVE.search(path.name))
        used = sum(path.stat().st_size for path in files)
        for archive in archives:
            target = archive.with_name(archive_stem(archive.name))
            if target.exists():
                target = target.with_name(f"{target.name}-unpacked")
            target.mkdir()
            unpack_into(archive, target, replace(limits, max_total_bytes=most - used))
            used += sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
            archive.unlink()
            _move_up_only_folder(target)
        if not archives:
            return


def _move_up_only_folder(folder: Path) -> None:
    """`train/train/1.jpg` becomes `train/1.jpg`, where nothing else is in it."""
    inner = folder / folder.name
    if inner.is_dir() and all(
        entry == inner or is_hidden_or_system(entry.name) for entry in folder.iterdir()
    ):
        moved = inner.rename(folder.with_name(f".tmp-{folder.name}"))
        shutil.rmtree(folder)
        moved.rename(folder)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _SafeExtractor:
    """Checks members and writes them."""

    def __init__(self, archive: Path, directory: Path, limits: ExtractionLimits) -> None:
        self.archive = archive
        self.directory = directory
        self.limits = limits
        self.size = archive.stat().st_size
        self.members = 0
        self.written = 0
        self._spelling: dict[str, str] = {}  # collision_key of a path -> its name in the archive
        self._files: set[str] = set()
        self._folders: set[Path] = set()

    def refuse(self, why: str) -> NoReturn:
        raise InvalidArchive(
            f"{self.archive.name!r} was not unpacked: {why}. Expected a zip or tar archive of "
            "plain files; nothing was written. Download it again, or unpack it yourself if you "
            "trust it."
        )

    def reserve_path(self, name: str, *, is_folder: bool) -> Path:
        """The path for a member; its folder is created."""
        self.members += 1
        self.check_members(self.members)
        parts = self._parts(name)
        if not parts and not is_folder:  # tar calls its own folder "."
            self.refuse("a member has no name")
        names = [safe_filename(part) for part in parts]
        # Of the sanitised names, since two may have become equal.
        keys = [collision_key(one) for one in names]
        for depth in range(1, len(parts) + 1):
            prefix = "/".join(parts[:depth])
            first = self._spelling.setdefault("/".join(keys[:depth]), prefix)
            if first != prefix:
                self.refuse(f"the names {first!r} and {prefix!r} are equal on some file systems")
            if prefix in self._files:
                self.refuse(f"the name {prefix!r} occurs twice")
        target = self.directory.joinpath(*names)
        if is_folder:
            self._make_folder(target)
        else:
            self._make_folder(target.parent)
            self._files.add("/".join(parts))
        return target

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)

    def _parts(self, name: str) -> list[str]:
        slashed = name.replace("\\", "/")
        if slashed.startswith("/") or re.match(r"[A-Za-z]:", slashed):
            self.refuse(f"the member {name!r} has an absolute path")
        parts = [part for part in slashed.split("/") if part not in ("", ".")]
        if ".." in parts:
            self.refuse(f"the member {name!r} leads out of the folder")
        if len(parts) > 40 or len(name) > 4096:
            self.refuse(f"the path of the member {name[:60] + '…'!r} is too long")
        return parts

    def check_members(self, members: int) -> None:
        plausible = _MIN_MEMBER_LIMIT + self.size // _BYTES_PER_MEMBER
        if members > min(self.limits.max_members, plausible):
            self.refuse(f"it holds more than {min(self.limits.max_members, plausible):,} members")

    def check_bytes(self, count: int) -> None:
        """Refuse an unpacked size, declared or actual, above the limits."""
        if count > self.limits.max_total_bytes:
            self.refuse(f"it holds more than {self.limits.max_total_bytes:,} bytes")
        if (
            count > self.limits.ratio_exempt_bytes
            and count > self.limits.max_compression_ratio * self.size
        ):
            self.refuse(
                f"its {self.size:,} bytes would unpack to {count:,}, more than "
                f"{self.limits.max_compression_ratio:g} times as many"
            )

    def write(self, name: str, declared_size: int, content: _Readable) -> None:
        """Write a file from a stream, checking the limits."""
        self.check_bytes(self.written + declared_size)
        written_bytes = 0
        place = self.reserve_path(name, is_folder=False)
        if os.path.lexists(place):  # a folder of this name
            self.refuse(f"the name {name!r} occurs twice")
        with place.open("xb") as target:
            while chunk := content.read(_CHUNK):
                written_bytes += len(chunk)
                self.check_bytes(self.written + written_bytes)
                target.write(chunk)
        self.written += written_bytes
        if written_bytes != declared_size:
            self.refuse(
                f"the member {name!r} has {written_bytes:,} bytes and declares {declared_size:,}"
            )


def _unpack_zip(archive: Path, extractor: _SafeExtractor) -> None:
    extractor.check_members(_declared_entries(archive, extractor))
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        extractor.check_members(len(members))
        extractor.check_bytes(sum(member.file_size for member in members))
        for member in members:
            if not member.filename:
                extractor.refuse("a member has no name")
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                extractor.refuse(f"the member {member.filename!r} is a link or a device")
            if member.flag_bits & 0x1:
                extractor.refuse(f"the member {member.filename!r} is encrypted")
            if member.is_dir():
                extractor.reserve_path(member.filename, is_folder=True)
            else:
                with opened.open(member) as content:
                    extractor.write(member.filename, member.file_size, content)


def _declared_entries(archive: Path, extractor: _SafeExtractor) -> int:
    """The number of members in the end record of a zip; 0 for 65,535 or more (zip64)."""
    with archive.open("rb") as file:
        file.seek(max(0, extractor.size - 65_557))  # the record and the longest comment
        tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) < place + 22:
        extractor.refuse("it is cut off: the list of its members is missing")
    entries = int(struct.unpack_from("<H", tail, place + 10)[0])
    return entries if entries < 0xFFFF else 0


class _StrictTarInfo(tarfile.TarInfo):
    """Raises for a broken header, which tarfile would take for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) == tarfile.BLOCKSIZE and not any(buf):
            return super().frombuf(buf, encoding, errors)  # raises what ends the archive
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at the start of a member") from None
        # Extended headers, such as long names, are read into memory.
        if header.size < 0 or (header.type in _EXTENDED_HEADER_TYPES and header.size > _MAX_HEADER):
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


class _LimitedStream:
    """A stream that checks the limits while it is read, headers included."""

    def __init__(self, stream: _Readable, extractor: _SafeExtractor) -> None:
        self._stream = stream
        self._extractor = extractor
        self._count = 0

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self._count += len(chunk)
        self._extractor.check_bytes(self._count)
        return chunk


def _unpack_tar(stream: _Readable, extractor: _SafeExtractor) -> None:
    # "r|" reads forward only, so that nothing is decompressed twice.
    counted = cast(IO[bytes], _LimitedStream(stream, extractor))
    with tarfile.open(fileobj=counted, mode="r|", tarinfo=_StrictTarInfo) as opened:
        while (member := opened.next()) is not None:
            if member.isdir():
                extractor.reserve_path(member.name, is_folder=True)
            elif not member.isreg() or member.issparse():
                extractor.refuse(f"the member {member.name!r} is a link, a device or no plain file")
            elif (content := opened.extractfile(member)) is not None:
                extractor.write(member.name, member.size, content)
            # Free the memory of past members; the attribute is missing in the type stubs.
            opened.members.clear()  # type: ignore[attr-defined]
