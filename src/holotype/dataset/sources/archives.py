"""Archives that strangers made are unpacked: all that is in them, or nothing.

An archive is a program for writing files, so none of its words are taken on trust. Members must
be plain files and folders; they land under names that we make, in a directory of ours that is
renamed into its place at the end. Links, devices, absolute paths, `..`, names that some file
system would take for one another, encrypted members, and more bytes or files than the archive can
honestly hold are refused, each with one line. `extractall` is never called.

Read: zip, and tar plain or compressed by gzip, bzip2 or xz, told apart by their first bytes.
"""

import bz2
import errno
import gzip
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn, Protocol, Self, cast

from holotype.dataset.filenames import collision_key, safe_filename
from holotype.dataset.reading.folders import is_hidden_or_system
from holotype.dataset.staging import staged_directory
from holotype.errors import InvalidArchive

_CHUNK = 1 << 20
_MAX_HEADER = 1 << 20  # bytes of a long name or other words about a tar member
_MIN_MEMBER_LIMIT = 2_000  # in an archive however small
_BYTES_PER_MEMBER = 160  # what a member takes at least in an honest archive of many images
_EXTENDED_HEADER_TYPES = frozenset(
    [
        tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    ]
)  # fmt: skip
_DOUBLE_SUFFIX = re.compile(r"(\.tar)?\.[a-z0-9]{1,4}$", re.IGNORECASE)

# What the standard library raises over archives that are broken: RuntimeError where a member is
# encrypted, NotImplementedError where its method is unknown, ValueError over numbers in headers.
_CORRUPT_ARCHIVE_ERRORS = (
    EOFError, NotImplementedError, RuntimeError, UnicodeError, ValueError, lzma.LZMAError,
    struct.error, tarfile.TarError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class ExtractionLimits:
    """Where an archive stops being believable.

    Attributes:
        max_members: files and folders.
        max_total_bytes: of all files together.
        max_compression_ratio: of the bytes that come out to the bytes of the archive.
        ratio_exempt_bytes: below so many bytes the ratio is not asked about.
    """

    max_members: int = 2_000_000
    max_total_bytes: int = 500_000_000_000
    max_compression_ratio: float = 200.0
    ratio_exempt_bytes: int = 64_000_000


DEFAULT_LIMITS = ExtractionLimits()


def unpack(archive: Path, output: Path, *, limits: ExtractionLimits = DEFAULT_LIMITS) -> Path:
    """Unpack into `output`, which must be new or empty.

    Returns:
        The folder with the data: `output`, or where nothing else is in it, the folder within.

    Raises:
        InvalidArchive: the archive is broken, or asks for what no data set needs.
        UsageError: the output holds something.
    """
    with staged_directory(output) as directory:
        unpack_into(archive, directory, limits=limits)
        if not any(files for _, _, files in os.walk(directory)):
            _SafeExtractor(archive, directory, limits).refuse("it holds no file")
    return descend_to_data(output)


def descend_to_data(folder: Path) -> Path:
    """Down through folders that hold nothing but one folder of folders.

    What an index passes over, such as the `__MACOSX` in archives of macOS, is nothing here too.
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


def copy_untrusted_folder(
    folder: Path, directory: Path, *, limits: ExtractionLimits = DEFAULT_LIMITS
) -> None:
    """Copy the files of a folder that a stranger's program filled, by the rules of archives."""
    extractor = _SafeExtractor(folder, directory, limits)
    extractor.size = limits.max_total_bytes  # nothing is compressed, so nothing can swell
    for place, folders, files in os.walk(folder):
        for name in sorted(files + [one for one in folders if Path(place, one).is_symlink()]):
            file = Path(place, name)
            if file.is_symlink() or not file.is_file():
                extractor.refuse(f"{name!r} is a link, a device or no plain file")
            with file.open("rb") as content:
                relative = file.relative_to(folder).as_posix()
                extractor.write(relative, file.stat().st_size, content)


def unpack_into(
    archive: Path, directory: Path, *, limits: ExtractionLimits = DEFAULT_LIMITS
) -> None:
    """Unpack into a directory that is not yet in its place; what is in it after an error is the
    caller's to remove.

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
        # gzip and bz2 say so without a number; a place before the start of the file is EINVAL.
        if error.errno not in (None, errno.EINVAL):  # the disk is full, or the like
            raise
        extractor.refuse(f"it is broken or cut off: {error}")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _SafeExtractor:
    """Where members are looked at before they may come in."""

    def __init__(self, archive: Path, directory: Path, limits: ExtractionLimits) -> None:
        self.archive = archive
        self.directory = directory
        self.limits = limits
        self.size = archive.stat().st_size
        self.members = 0
        self.written = 0
        self._spelling: dict[str, str] = {}  # collision_key of a path -> as the archive spells it
        self._files: set[str] = set()
        self._folders: set[Path] = set()

    def refuse(self, why: str) -> NoReturn:
        raise InvalidArchive(
            f"{self.archive.name!r} was not unpacked: {why}. Expected a zip or tar archive of "
            "plain files; nothing was written. Get it again, or unpack it by other means if you "
            "trust it."
        )

    def reserve_path(self, name: str, *, is_folder: bool) -> Path:
        """Where a member goes; its folder is there."""
        self.members += 1
        self.check_members(self.members)
        parts = self._parts(name)
        names = [safe_filename(part) for part in parts]
        # As the file system gets it: what we changed may have made two names one.
        keys = [collision_key(one) for one in names]
        for depth in range(1, len(parts) + 1):
            prefix = "/".join(parts[:depth])
            first = self._spelling.setdefault("/".join(keys[:depth]), prefix)
            if first != prefix:
                self.refuse(f"the names {first!r} and {prefix!r} are one on some file systems")
            if prefix in self._files:
                self.refuse(f"the name {prefix!r} is there twice")
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
        """Refuse so many bytes in all, whether they are announced or have come."""
        if count > self.limits.max_total_bytes:
            self.refuse(f"it holds more than {self.limits.max_total_bytes:,} bytes")
        if (
            count > self.limits.ratio_exempt_bytes
            and count > self.limits.max_compression_ratio * self.size
        ):
            self.refuse(
                f"{count:,} bytes would come out of {self.size:,}, more than "
                f"{self.limits.max_compression_ratio:g} times as many"
            )

    def write(self, name: str, declared_size: int, content: _Readable) -> None:
        """Write a file as it streams in, counting."""
        self.check_bytes(self.written + declared_size)
        written_bytes = 0
        place = self.reserve_path(name, is_folder=False)
        if os.path.lexists(place):  # a folder of this name, or what was there before us
            self.refuse(f"the name {name!r} is there twice")
        with place.open("xb") as target:
            while chunk := content.read(_CHUNK):
                written_bytes += len(chunk)
                self.check_bytes(self.written + written_bytes)
                target.write(chunk)
        self.written += written_bytes
        if written_bytes != declared_size:
            self.refuse(
                f"the member {name!r} has {written_bytes:,} bytes, not {declared_size:,} as it says"
            )


def _unpack_zip(archive: Path, extractor: _SafeExtractor) -> None:
    extractor.check_members(_declared_entries(archive, extractor))
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        extractor.check_members(len(members))
        extractor.check_bytes(sum(member.file_size for member in members))
        for member in members:
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
    """How many members the directory of a zip can name by its size, before it is read."""
    with archive.open("rb") as file:
        file.seek(max(0, extractor.size - 65_557))  # 22 bytes and the longest comment
        tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) < place + 22:
        extractor.refuse("it is cut off: the list of its members is missing")
    entries = int(struct.unpack_from("<H", tail, place + 10)[0])
    return entries if entries < 0xFFFF else 0  # more are counted when they have been read


class _StrictTarInfo(tarfile.TarInfo):
    """A header that is broken is an error; tarfile takes it for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) == tarfile.BLOCKSIZE and not any(buf):
            return super().frombuf(buf, encoding, errors)  # raises what ends the archive
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} where the next member should begin") from None
        # Long names and the like are read whole into memory.
        if header.size < 0 or (header.type in _EXTENDED_HEADER_TYPES and header.size > _MAX_HEADER):
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


class _LimitedStream:
    """A stream that asks the extractor whether it may give more; headers cost bytes too."""

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
            # It would remember them all; the stubs of the standard library lack the name.
            opened.members.clear()  # type: ignore[attr-defined]
