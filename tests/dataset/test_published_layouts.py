"""Archives as they are published end in data on which the documented next line trains."""

import io
import re
import tarfile
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from holotype.dataset.index import read_index
from holotype.dataset.sources import archives
from holotype.dataset.sources import fetch as fetch_module
from holotype.dataset.sources.archives import ExtractionLimits
from holotype.dataset.sources.fetch import fetch
from holotype.errors import InvalidArchive
from tests.conftest import Cli
from tests.dataset.test_fetch_archives import Hub, install

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
FEW = ["--set", "image_size=64", "--model", "hog"]


def jpeg(level: int) -> bytes:
    stream = io.BytesIO()
    pixels = RNG.integers(level - 50, level + 50, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return stream.getvalue()


def cats_and_dogs() -> dict[str, bytes]:
    """The files of the competition: two zips and a table, with test images without labels."""
    train = {f"train/cat.{n}.jpg": jpeg(60) for n in range(12)}
    train |= {f"train/dog.{n}.jpg": jpeg(190) for n in range(12)}
    return {
        "train.zip": zipped(train),
        "test1.zip": zipped({f"test1/{n}.jpg": jpeg(120) for n in range(1, 4)}),
        "sampleSubmission.csv": b"id,label\n1,0\n",
    }


def minc_archive(file: Path) -> None:
    """A tar of `minc-2500/` with images/, labels/ of five splits, and categories.txt."""
    names = [f"images/{c}/{c}_{n:06d}.jpg" for c in ("brick", "carpet") for n in range(12)]
    parts = {"train": names[0::2], "validate": names[1::4], "test": names[3::4]}
    content = {
        "categories.txt": b"brick\ncarpet\n",
        **{name: jpeg(60 if "brick" in name else 190) for name in names},
        **{
            f"labels/{part}{split}.txt": "".join(f"{name}\n" for name in listed).encode()
            for part, listed in parts.items()
            for split in (1, 2)
        },
    }
    with tarfile.open(file, "w:gz") as opened:
        for name, data in content.items():
            info = tarfile.TarInfo(f"minc-2500/{name}")
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))


def documented_data(example: str) -> str:
    """What the head of an example says to train on."""
    text = (ROOT / "examples" / example).read_text("utf-8")
    found = re.search(r"holotype train (\S+) ", text)
    assert found
    return found[1]


def test_dogs_vs_cats_trains_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    downloaded = tmp_path / "cache"
    downloaded.mkdir()
    for name, content in cats_and_dogs().items():
        (downloaded / name).write_bytes(content)
    install(monkeypatch, Hub(downloaded))
    monkeypatch.chdir(tmp_path)
    code, out, _ = cli("fetch", "dogs-vs-cats", "--output", "pets")
    assert code == 0
    assert out == "images  pets/table.csv\n"
    index = read_index("pets/table.csv")
    assert sorted(index.table["label"].value_counts().items()) == [("cat", 12), ("dog", 12)]
    assert "train/cat.0.jpg" in set(index.table["path"])
    assert (tmp_path / "pets/test1/1.jpg").is_file()
    code, _, said = cli("train", documented_data("cats_and_dogs.yaml"), *FEW, "--output", "run")
    assert code == 0, said


def test_minc_2500_trains_on_its_published_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return None

    (tmp_path / "served").mkdir()
    minc_archive(tmp_path / "served/minc-2500.tar.gz")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "served"))
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.chdir(tmp_path)
    try:
        url = f"http://127.0.0.1:{server.server_port}/minc-2500.tar.gz"
        monkeypatch.setitem(fetch_module.REMOTE_DATASETS, "minc-2500", url)
        code, out, _ = cli("fetch", "minc-2500", "--output", "minc")
    finally:
        server.shutdown()
        server.server_close()
    assert code == 0
    assert out == "images  minc/table.csv\n"
    index = read_index("minc/table.csv")
    assert index.classes == ("brick", "carpet")
    assert set(index.table["split"]) == {"train", "val", "test"}
    assert index.table["sha256"].ne("").all()
    code, _, said = cli("train", documented_data("materials.yaml"), *FEW, "--output", "run")
    assert code == 0, said


def test_a_download_by_a_browser_of_either_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "dogs-vs-cats.zip").write_bytes(zipped(cats_and_dogs()))
    minc_archive(tmp_path / "minc-2500.tar.gz")
    for name in ("dogs-vs-cats.zip", "minc-2500.tar.gz"):
        assert fetch(str(tmp_path / name), tmp_path / f"{name}-out").name == "table.csv"


def test_lists_that_lead_outside_of_their_data_set_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(jpeg(100))
    listed = "images/../../../secret.jpg\n/etc/passwd\nimages/a/1.jpg\nimages/b/gone.jpg\n"
    (tmp_path / "minc-2500.zip").write_bytes(
        zipped({"m/labels/train1.txt": listed.encode(), "m/images/a/1.jpg": jpeg(100)})
    )
    table = fetch(str(tmp_path / "minc-2500.zip"), tmp_path / "out")
    assert table.read_text() == "path,label,split\nm/images/a/1.jpg,a,train\n"


def test_archives_in_archives_share_their_limits(tmp_path: Path) -> None:
    """Each of ten would be within them, all together are a bomb."""
    zeros = io.BytesIO()
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("zeros.bin", bytes(500_000))
    (tmp_path / "bomb.zip").write_bytes(zipped({f"{n}.zip": zeros.getvalue() for n in range(10)}))
    limits = ExtractionLimits(ratio_exempt_bytes=1_000_000, max_compression_ratio=1_000)
    archives.unpack(tmp_path / "bomb.zip", tmp_path / "fine", limits=limits)
    tight = ExtractionLimits(ratio_exempt_bytes=1_000_000, max_compression_ratio=200)
    with pytest.raises(InvalidArchive, match="more than"):
        archives.unpack(tmp_path / "bomb.zip", tmp_path / "out", limits=tight)
    assert not (tmp_path / "out").exists()
