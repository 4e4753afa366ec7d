"""A gallery of 10,000 images: questions a second, and how long 1,000 more take to add.

    .venv/bin/python benchmarks/gallery_speed.py

Made embeddings of 1,280 numbers of 2,000 individuals, and thumbnails of noise, so that everything
but the embedding of images is measured: reading, ranking, eight registrations a question, and for
an addition the calibration too. Seconds of the clock, and of the processor, which other programs do
not lengthen; questions are answered by one thread, or by two processes with half of them each.
Exits with 1 below 50 questions a second of two processes, above 60 s, or where torch was imported.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from holotype.identification.change_gallery import add_images
from holotype.identification.matching.gallery_calibration import calibrate
from holotype.identification.query_gallery import FittedGallery, answer_questions
from holotype.identification.storage.embed_images import EmbeddedImages
from holotype.identification.storage.gallery_files import GalleryFiles, GalleryManifest
from tests.identification.individuals import made_block

SIZE, INDIVIDUALS, MORE, QUESTIONS = 1280, 2000, 1000, 400
MADE_BY = GalleryManifest(bundle="bundle", digest="made", embedding_size=SIZE)


def answered(folder: str, seed: int) -> tuple[float, float, float, float]:
    """When it began and ended to answer, seconds of the processor, and the share answered right."""
    _, gallery = GalleryFiles(Path(folder)).read()
    calibration = calibrate(gallery)
    fitted = FittedGallery(gallery, calibration, calibration.threshold)
    asked = made_block(QUESTIONS, INDIVIDUALS, SIZE, seed=seed)
    questions = {image.file: [row] for row, image in enumerate(asked.images)}
    answer_questions(asked.select(range(8)), dict(list(questions.items())[:8]), fitted, top=5)
    started, of_processor = time.time(), time.process_time()
    answers = answer_questions(asked, questions, fitted, top=5)
    ended, seconds = time.time(), time.process_time() - of_processor
    right = [
        one.best is not None and one.best.individual == image.individual
        for one, image in zip(answers, asked.images, strict=True)
    ]
    return started, ended, seconds, float(np.mean(right))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        files = GalleryFiles(Path(folder) / "gallery")
        add_images(
            files,
            MADE_BY,
            EmbeddedImages(made_block(options.images, INDIVIDUALS, SIZE, seed=0), (), [], {}),
        )
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            found = list(pool.map(answered, [str(files.path)] * 2, (1, 2)))
        begins, ends, seconds, right = (np.array(each) for each in zip(*found, strict=True))
        of_clock = 2 * QUESTIONS / (ends.max() - begins.min())
        of_processor = 2 * QUESTIONS / seconds.sum()
        print(
            f"{options.images:,} images: {of_clock:.0f} questions a second by two processes, "
            f"{of_processor:.0f} in a second of one processor; right {right.mean():.3f}"
        )
        more = EmbeddedImages(made_block(MORE, INDIVIDUALS, SIZE, seed=3), (), [], {})
        started, of_cpu = time.monotonic(), time.process_time()
        added = add_images(files, MADE_BY, more)
        calibrate(files.read()[1])
        wall = time.monotonic() - started
        print(
            f"{MORE:,} more images in {wall:.1f} s, {time.process_time() - of_cpu:.1f} s of the "
            f"processor, calibration included; {added.num_images:,} then"
        )
    torch_free = "torch" not in sys.modules
    print(f"torch was {'not ' if torch_free else ''}imported")
    return 0 if of_clock >= 50 and wall < 60 and torch_free else 1


if __name__ == "__main__":
    sys.exit(main())
