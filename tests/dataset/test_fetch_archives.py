"""`fetch` with archives and data sets of Kaggle."""

import hashlib
import io
import sys
import tarfile
import types
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import filelock
import pytest
from PIL import Image

from holotype.dataset.index import read_index
from holotype.dataset.sources.fetch import LOCK, REMOTE_DATASETS, fetch
from holotype.errors import (
    DownloadFailed,
    InvalidArchive,
    MissingExtra,
    UnknownSource,
    UsageError,
)


def png(level: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8), level).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "served" / "photos.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as opened:
        for number, name in enumerate(["cat/1.png", "cat/2.png", "dog/1.png"]):
            opened.writestr(f"photos-v1/{name}", png(number))
    return path


def test_an_archive_becomes_data_to_train_on(archive: Path, tmp_path: Path) -> None:
    data = fetch(str(archive), tmp_path / "out")
    assert data == tmp_path / "out" / "photos-v1"
    assert read_index(data).classes == ("cat", "dog")
    right = hashlib.sha256(archive.read_bytes()).hexdigest()
    fetch(str(archive), tmp_path / "again", sha256=right)
    with pytest.raises(InvalidArchive, match="has the SHA-256"):
        fetch(str(archive), tmp_path / "wrong", sha256="0" * 64)
    assert not (tmp_path / "wrong").exists()


def test_a_url_is_downloaded_unpacked_and_cleaned_up(archive: Path, tmp_path: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=archive.parent))
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/photos.zip?version=1"
        data = fetch(url, tmp_path / "new" / "out")
        assert read_index(data).classes == ("cat", "dog")
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
        with pytest.raises(UsageError, match="is not empty"):
            fetch(url, tmp_path / "new" / "out")
        with pytest.raises(DownloadFailed, match="404"):
            fetch(url.replace("photos", "nothing"), tmp_path / "new" / "other")
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
        (archive.parent / "broken.zip").write_bytes(b"no archive")
        with pytest.raises(InvalidArchive):
            fetch(url.replace("photos", "broken"), tmp_path / "new" / "other")
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    finally:
        server.shutdown()
        server.server_close()


def test_two_fetches_of_one_address_share_no_partial_file(tmp_path: Path) -> None:
    partial_download = tmp_path / ".out.download" / "photos.zip.part"
    partial_download.parent.mkdir()
    partial_download.write_bytes(b"half")
    with (
        filelock.FileLock(partial_download.parent / LOCK),
        pytest.raises(DownloadFailed, match=r"another process is fetching into .*/out'"),
    ):
        fetch("http://127.0.0.1:9/photos.zip", tmp_path / "out")
    assert partial_download.read_bytes() == b"half"


class Hub(types.ModuleType):
    """A stand-in for kagglehub whose two functions return a folder."""

    def __init__(self, folder: Path | Exception) -> None:
        super().__init__("kagglehub")
        self.asked: list[str] = []
        self.exceptions = types.ModuleType("kagglehub.exceptions")
        for name in EXCEPTIONS:
            setattr(self.exceptions, name, type(name, (Exception,), {}))

        def answer(kind: str, handle: str) -> str:
            self.asked.append(f"{kind} {handle}")
            if isinstance(folder, Exception):
                raise folder
            return str(folder)

        self.dataset_download = partial(answer, "dataset")
        self.competition_download = partial(answer, "competition")


EXCEPTIONS = (
    "BackendError", "CredentialError", "DataCorruptionError", "KaggleEnvironmentError",
    "NotFoundError", "UnauthenticatedError",
)  # fmt: skip


def install(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> Hub:
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    monkeypatch.setitem(sys.modules, "kagglehub.exceptions", hub.exceptions)
    return hub


def test_kaggle_sets_are_copied_and_archives_within_unpacked(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded = tmp_path / "cache" / "7"
    downloaded.mkdir(parents=True)
    archive.rename(downloaded / "train.zip")
    (downloaded / "labels.csv").write_text("id,label\n")
    hub = install(monkeypatch, Hub(downloaded))
    fetch("kaggle:someone/photos", tmp_path / "out")
    assert read_index(tmp_path / "out" / "train" / "photos-v1").classes == ("cat", "dog")
    assert (tmp_path / "out" / "labels.csv").is_file()
    assert not (tmp_path / "out" / "train.zip").exists()
    assert (downloaded / "train.zip").is_file()  # the client's own cache stays as it is
    fetch("dogs-vs-cats", tmp_path / "pets")
    assert hub.asked == ["dataset someone/photos", "competition dogs-vs-cats"]


def test_an_unsafe_kaggle_set_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded = tmp_path / "cache"
    downloaded.mkdir()
    with tarfile.open(downloaded / "train.tar", "w") as opened:
        info = tarfile.TarInfo("../../escaped.png")
        info.size = 1
        opened.addfile(info, io.BytesIO(b"x"))
    install(monkeypatch, Hub(downloaded))
    with pytest.raises(InvalidArchive, match="leads out"):
        fetch("kaggle:someone/photos", tmp_path / "out")
    (downloaded / "train.tar").unlink()
    (downloaded / "link.png").symlink_to("/etc/passwd")
    with pytest.raises(InvalidArchive, match="is a link"):
        fetch("kaggle:someone/photos", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_errors_of_kaggle_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(OSError("401 Client Error.\n\nYou don't have permission"))
    install(monkeypatch, hub)
    with pytest.raises(DownloadFailed, match=r"KAGGLE_API_TOKEN, or with ~/.kaggle/kaggle.json"):
        fetch("oxford-pets", tmp_path / "out")
    with pytest.raises(DownloadFailed, match="competitions/dogs-vs-cats/rules"):
        fetch("kaggle-competition:dogs-vs-cats", tmp_path / "out")
    for handle in ("kaggle:photos", "kaggle:a/../b", "kaggle-competition:a/b"):
        with pytest.raises(UsageError, match="is no name on Kaggle"):
            fetch(handle, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingExtra, match=r"pip install 'holotype\[kaggle\]'"):
        fetch("oxford-pets", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_real_client_has_the_functions_and_errors_of_the_stand_in() -> None:
    import inspect

    kagglehub = pytest.importorskip("kagglehub")
    exceptions = pytest.importorskip("kagglehub.exceptions")
    for name in EXCEPTIONS:
        assert issubclass(getattr(exceptions, name), Exception)
    for call in (kagglehub.dataset_download, kagglehub.competition_download):
        inspect.signature(call).bind("someone/photos")


def test_an_unknown_name_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UnknownSource, match=r"did you mean 'oxford-pets'\?"):
        fetch("oxford-pet", tmp_path / "out")
    with pytest.raises(UsageError, match="--sha256 is for archives"):
        fetch("digits", tmp_path / "out", sha256="0" * 64)
    for source in REMOTE_DATASETS.values():
        assert source.startswith(("http://", "https://", "kaggle:", "kaggle-competition:"))
