"""A pipe, a socket or a huge sparse file in place of a file: said at once, and never waited for."""

import os
import socket
from pathlib import Path

import pytest

from holotype.dataset.index import read_index
from tests.bundle.tiny import write_tiny
from tests.conftest import Cli
from tests.odd.layouts import images

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    images(tmp_path / "data", "cat", "dog")
    for folder in ("volumes/cat", "slices/cat/one"):
        (tmp_path / folder).mkdir(parents=True)
    pipes = ("a.csv", "a.parquet", "a.png", "a.npy", "volumes/cat/b.tif", "volumes/cat/c.npy")
    for name in (*pipes, "slices/cat/one/1.png", "slices/cat/one/2.png"):
        os.mkfifo(tmp_path / name)
    with (tmp_path / "sparse.csv").open("wb") as file:
        file.truncate(4 * 2**30)
    write_tiny(tmp_path / "bundle")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "audit a.csv", "audit a.parquet", "audit sparse.csv", "train a.csv",
        "train data --recipe a.csv", "train data --exclude a.csv",
        "train data --exclude sparse.csv", "split a.csv --output o", "evaluate bundle a.csv",
        "predict bundle a.png", "explain bundle a.png --output o.png", "slice volumes --output o",
        "slice slices --output o", "slice a.npy --output o", "fetch a.csv --output o",
    ],
)  # fmt: skip
def test_a_pipe_is_refused_and_not_waited_for(
    command: str, top: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(top)
    code, out, said = cli(*command.split())
    assert code in (1, 2)
    assert "Traceback" not in out + said
    assert "bug" not in said
    assert not list(top.glob(".tmp-*"))


def test_pipes_and_sockets_among_images_are_counted(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(top / "data/cat/pipe.png")
    monkeypatch.chdir(top / "data/dog")  # the address of a socket has 108 bytes at most
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket.jpg")
        index = read_index(top / "data")
    assert len(index) == 12
    note = "not used: 2 files that are no images, the first: 'cat/pipe.png'."
    assert index.reading_notes() == [note]
