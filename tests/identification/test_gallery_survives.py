"""Two writers lose nothing, a killed one leaves the old or the new gallery, and it is quick."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from holotype.identification.change_gallery import add_images
from holotype.identification.matching.gallery_calibration import calibrate
from holotype.identification.query_gallery import FittedGallery, answer_questions
from holotype.identification.storage.embed_images import EmbeddedImages
from holotype.identification.storage.gallery_files import GalleryFiles, GalleryManifest
from tests.identification.individuals import made_block
from tests.identification.writers import IMAGES

ROOT = Path(__file__).parents[2]


def writer(gallery: Path, name: str, count: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.identification.writers", str(gallery), name, str(count)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    count = 12
    processes = [writer(tmp_path / "g", name, count) for name in ("ada", "bo")]
    assert [process.wait() for process in processes] == [0, 0]
    for process in processes:
        process.communicate()
    _, found = GalleryFiles(tmp_path / "g").read()
    expected = {f"{name}-{n}-{i}" for name in ("ada", "bo") for n in range(count) for i in range(3)}
    assert {image.sha256 for image in found} == expected
    assert len(found) == len(expected)


def killed_and_read(gallery: Path, chance: random.Random, attempts: int) -> int:
    """SIGKILL writers at random moments; every time the gallery is that of a whole addition."""
    known = 0
    for attempt in range(attempts):
        process = writer(gallery, f"w{attempt}", 1000)
        assert process.stdout is not None
        process.stdout.readline()  # one addition is complete
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        told = 1 + len(process.stdout.read().split())
        process.wait()
        process.stdout.close()
        _, found = GalleryFiles(gallery).read()
        added = len(found) // IMAGES - known
        assert len(found) % IMAGES == 0
        assert told <= added <= told + 1
        assert len({image.sha256 for image in found}) == len(found)
        known += added
    return known


def test_a_killed_writer_leaves_the_old_or_the_new_gallery(tmp_path: Path) -> None:
    assert killed_and_read(tmp_path / "g", random.Random(0), 2) >= 2


@pytest.mark.slow
def test_thirty_killed_writers_leave_the_old_or_the_new_gallery(tmp_path: Path) -> None:
    assert killed_and_read(tmp_path / "g", random.Random(1), 30) >= 30
    leftovers = len(list((tmp_path / "g" / "segments").iterdir()))
    manifest, _ = GalleryFiles(tmp_path / "g").read()
    assert leftovers <= 3 * (len(manifest.segments) + 2)


@pytest.mark.slow
def test_ten_thousand_images_answer_fifty_queries_a_second(tmp_path: Path) -> None:
    """Processor seconds, so that what else the machine does is not measured; two cores have two."""
    files, size = GalleryFiles(tmp_path / "g"), 1280
    made_by = GalleryManifest(bundle="bundle", digest="d", embedding_size=size)
    add_images(files, made_by, EmbeddedImages(made_block(10_000, 2_000, size), (), [], {}))
    _, gallery = files.read()
    calibration = calibrate(gallery)
    assert calibration.rule.is_fitted
    fitted = FittedGallery(gallery, calibration, calibration.threshold)
    asked = made_block(400, 2_000, size, seed=1)
    questions = {image.file: [row] for row, image in enumerate(asked.images)}
    answer_questions(asked.select(range(8)), dict(list(questions.items())[:8]), fitted, top=5)
    started = time.process_time()
    answers = answer_questions(asked, questions, fitted, top=5)
    seconds = time.process_time() - started
    right = np.mean([one.best.individual == f"i{n % 2000:05d}" for n, one in enumerate(answers)])
    print(f"{len(asked) / seconds:.0f} queries a processor second; rank-1 {right:.3f}")
    assert right > 0.9
    assert len(asked) / seconds * 2 >= 50

    more = made_block(1_000, 1_000, size, seed=2)
    started = time.monotonic()
    added = add_images(files, made_by, EmbeddedImages(more, (), [], {}))
    calibrate(files.read()[1])
    seconds = time.monotonic() - started
    print(f"1,000 images added to 10,000 and calibrated in {seconds:.1f} s")
    assert added.num_images == 11_000
    assert seconds < 60
