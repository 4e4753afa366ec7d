"""Untrusted archives: valid ones are unpacked, unsafe and broken ones refused."""

import gzip
import io
import os
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holotype.dataset.safe_filenames import MAX_NAME_BYTES, collision_key, safe_filename
from holotype.dataset.sources.archives import ExtractionLimits, archive_stem, unpack
from holotype.errors import InvalidArchive, UsageError

Content = dict[str, bytes]
HONEST: Content = {
    "photos/cat/1.png": b"one" * 50,
    "photos/dog/2 ü.png": b"two",
    "photos/a.txt": b"",
}


def zipped(path: Path, content: Content, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, content: Content, mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in content.items():
            archive.addfile(member(name, size=len(data)), io.BytesIO(data))
    return path


def member(
    name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def files_below(folder: Path) -> Content:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("kind", ["zip", "stored.zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_archives_are_unpacked_whatever_their_extension(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "photos.bin"
    if kind.endswith("zip"):
        zipped(archive, HONEST, zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED)
    else:
        tarred(archive, HONEST, "w:" + kind.partition(".")[2])
    data = unpack(archive, tmp_path / "out")
    assert files_below(tmp_path / "out") == HONEST
    assert data == tmp_path / "out" / "photos"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos.bin"]


def test_long_names_and_empty_folders_come_through(tmp_path: Path) -> None:
    content = {f"{'x' * 120}/{'y' * 120}/{'z' * 120}.png": b"far"}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(member("empty/", kind=tarfile.DIRTYPE))
        for name, data in content.items():
            archive.addfile(member(name, size=len(data)), io.BytesIO(data))
    unpack(tmp_path / "a.tar", tmp_path / "out")
    assert files_below(tmp_path / "out") == content
    assert (tmp_path / "out" / "empty").is_dir()


def test_the_folder_that_macos_adds_is_ignored(tmp_path: Path) -> None:
    content = {"photos/cat/1.png": b"one", "__MACOSX/photos/._1.png": b"x", ".DS_Store": b"x"}
    data = unpack(zipped(tmp_path / "a.zip", content), tmp_path / "out")
    assert data == tmp_path / "out" / "photos"


def test_an_archive_without_a_file_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"photos/": b""})
    with pytest.raises(InvalidArchive, match="it holds no file"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def zip_slip(path: Path) -> None:
    zipped(path, {"good.png": b"x", "../../escaped.png": b"x"})


def backslash_slip(path: Path) -> None:
    zipped(path, {"good.png": b"x", "..\\..\\escaped.png": b"x"})


def symlink_then_file(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(member("door", kind=tarfile.SYMTYPE, link=str(path.parent)))
        archive.addfile(member("door/escaped.png", size=1), io.BytesIO(b"x"))


def symlink_in_zip(path: Path) -> None:
    info = zipfile.ZipInfo("door")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, str(path.parent))
        archive.writestr("door/escaped.png", b"x")


def hard_link(path: Path) -> None:
    (path.parent / "secret").write_text("secret")
    with tarfile.open(path, "w") as archive:
        archive.addfile(member("copy", kind=tarfile.LNKTYPE, link=str(path.parent / "secret")))


def device(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(member("null", kind=tarfile.CHRTYPE))


def pipe(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(member("pipe", kind=tarfile.FIFOTYPE))


def absolute(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(member(str(path.parent / "escaped.png"), size=1), io.BytesIO(b"x"))


def drive(path: Path) -> None:
    zipped(path, {"C:/escaped.png": b"x"})


def bomb_by_ratio(path: Path) -> None:
    zipped(path, {f"{i}.png": b"\0" * 30_000_000 for i in range(3)})


def bomb_by_ratio_in_tar(path: Path) -> None:
    tarred(path, {f"{i}.png": b"\0" * 30_000_000 for i in range(3)}, "w:gz")


def bomb_by_count(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for number in range(8_000):
            stream.write(member(f"{number}").tobuf())
        stream.write(b"\0" * 1024)


def bomb_by_count_in_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(12_000):
            archive.writestr(f"{number}", b"")


def case_twins(path: Path) -> None:
    zipped(path, {"cat/a.png": b"1", "Cat/A.png": b"2"})


def unicode_twins(path: Path) -> None:
    tarred(path, {"caf\u00e9/1.png": b"1", "cafe\u0301/1.png": b"2"})


def same_name_twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", b"2")


def file_and_folder(path: Path) -> None:
    tarred(path, {"a": b"1", "a/b.png": b"2"})


def four_gigabyte_header(path: Path) -> None:
    zipped(path, {"a.png": b"x" * 100})
    raw = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # the size, uncompressed
        struct.pack_into("<I", raw, raw.index(signature) + offset, 0xFFFFFFF0)
    path.write_bytes(raw)


def four_gigabyte_header_in_tar(path: Path) -> None:
    path.write_bytes(member("a.png", size=2**32).tobuf() + b"x" * 1000)


def four_gigabytes_of_words(path: Path) -> None:
    path.write_bytes(member("x", kind=tarfile.XHDTYPE, size=2**32).tobuf() + b"x" * 1000)


def truncated(path: Path) -> None:
    raw = zipped(path, {f"{i}.png": os.urandom(1000) for i in range(20)}).read_bytes()
    path.write_bytes(raw[: len(raw) // 2])


def truncated_tar(path: Path) -> None:
    raw = tarred(path, {f"{i}.png": os.urandom(1000) for i in range(20)}).read_bytes()
    path.write_bytes(raw[: 512 + 1024])  # where the second header should begin


def truncated_gzip(path: Path) -> None:
    raw = tarred(path, {"a.png": os.urandom(100_000)}, "w:gz").read_bytes()
    path.write_bytes(raw[: len(raw) // 2])


def broken_header(path: Path) -> None:
    raw = bytearray(tarred(path, {"a.png": b"x", "b.png": b"y"}).read_bytes())
    raw[1024 + 150] ^= 0xFF  # in the checksum of the second header
    path.write_bytes(raw)


def encrypted(path: Path) -> None:
    raw = bytearray(zipped(path, {"a.png": b"x"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(signature) + offset] |= 1
    path.write_bytes(raw)


def no_archive(path: Path) -> None:
    path.write_bytes(b"<html>Not found</html>" * 100)


def empty_file(path: Path) -> None:
    path.touch()


MALICE: list[tuple[Callable[[Path], None], str]] = [
    (zip_slip, "leads out"),
    (backslash_slip, "leads out"),
    (symlink_then_file, "'door' is a link"),
    (symlink_in_zip, "'door' is a link"),
    (hard_link, "'copy' is a link"),
    (device, "'null' is a link, a device"),
    (pipe, "'pipe' is a link, a device"),
    (absolute, "absolute path"),
    (drive, "absolute path"),
    (bomb_by_ratio, "more than 200 times"),
    (bomb_by_ratio_in_tar, "more than 200 times"),
    (bomb_by_count, "more than .* members"),
    (bomb_by_count_in_zip, "more than .* members"),
    (case_twins, "'cat' and 'Cat' are equal"),
    (unicode_twins, "are equal on some file systems"),
    (same_name_twice, "'a.png' occurs twice"),
    (file_and_folder, "'a' occurs twice"),
    (four_gigabyte_header, "more than 200 times"),
    (four_gigabyte_header_in_tar, "more than 200 times"),
    (four_gigabytes_of_words, "header of 4,294,967,296"),
    (truncated, "broken or cut off|cut off"),
    (truncated_tar, "broken or cut off"),
    (truncated_gzip, "broken or cut off"),
    (broken_header, "broken or cut off"),
    (encrypted, "encrypted"),
    (no_archive, "broken or cut off"),
    (empty_file, "broken or cut off"),
]


@pytest.mark.parametrize(("write", "message"), MALICE, ids=[case[0].__name__ for case in MALICE])
def test_an_unsafe_archive_is_refused_in_one_line_and_leaves_nothing(
    tmp_path: Path, write: Callable[[Path], None], message: str
) -> None:
    box = tmp_path / "deep" / "box"
    box.mkdir(parents=True)
    write(box / "archive")
    before = sorted(tmp_path.rglob("*"))
    started = time.process_time()
    with pytest.raises(InvalidArchive, match=message) as caught:
        unpack(box / "archive", box / "out")
    assert time.process_time() - started < 5
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_limits_hold_while_streaming(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar.gz", {"1": b"x" * 600, "2": b"y" * 600}, "w:gz")
    for limits, message in (
        (ExtractionLimits(max_members=1), "more than 1 members"),
        (ExtractionLimits(max_total_bytes=1000), "more than 1,000 bytes"),
        (ExtractionLimits(max_compression_ratio=1.5, ratio_exempt_bytes=0), "1.5 times as many"),
    ):
        with pytest.raises(InvalidArchive, match=message):
            unpack(archive, tmp_path / "out", limits=limits)
    unpack(
        archive,
        tmp_path / "out",
        limits=ExtractionLimits(max_members=2, max_total_bytes=20_000, max_compression_ratio=100),
    )
    assert len(files_below(tmp_path / "out")) == 2


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(UsageError, match="is not empty"):
        unpack(zipped(tmp_path / "a.zip", HONEST), tmp_path / "out")


def test_stems() -> None:
    assert archive_stem("photos.tar.gz") == archive_stem("photos.zip") == "photos"
    assert archive_stem("v1.2.tgz") == "v1.2"


@settings(max_examples=150)
@given(st.text(max_size=300))
def test_any_text_becomes_a_valid_file_name(text: str) -> None:
    name = safe_filename(text)
    assert name not in ("", ".", "..")
    assert 0 < len(name.encode()) <= MAX_NAME_BYTES
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert not name.endswith((" ", "."))
    assert safe_filename(name) == name


def test_names_that_some_file_systems_take_for_one_have_one_collision_key() -> None:
    for one, other in (("Cat.PNG", "cat.png"), ("caf\u00e9", "cafe\u0301"), ("Straße", "STRASSE")):
        assert collision_key(one) == collision_key(other)
    assert collision_key("a.png") != collision_key("b.png")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 2000), st.booleans())
def test_a_damaged_archive_raises_no_other_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int, is_zip: bool
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    whole = zipped(folder / "a", HONEST) if is_zip else tarred(folder / "a", HONEST, "w:gz")
    raw = bytearray(whole.read_bytes())
    place %= len(raw)
    raw[place : place + len(noise)] = noise
    whole.write_bytes(raw)
    try:
        unpack(whole, folder / "in" / "out")
    except InvalidArchive:
        assert list((folder / "in").iterdir()) == []
    assert sorted(path.name for path in folder.iterdir()) == ["a", "in"]
