"""A tiny run, and request logs of images that are like its validation, or changed."""

import io
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from holotype.bundle.bundle import load_bundle
from holotype.bundle.embedding import embed
from holotype.bundle.image_sources import ImageInMemory
from holotype.bundle.inference import predict_embeddings
from holotype.dataset.image_facts import image_facts
from holotype.imaging.decode import decode
from holotype.run_directory import RunDirectory
from holotype.serving.request_log.log_row import LogRow, Timing
from holotype.serving.request_log.log_writer import LogWriter
from tests.bundle.tiny import CLASSES
from tests.comparison.made import write_run

WINDOW = 100


def png(rng: np.random.Generator, level: float = 128.0, contrast: float = 40.0) -> bytes:
    """A grey image of soft noise."""
    noise = rng.normal(level, contrast, (8, 8)).clip(0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).resize((32, 32), Image.Resampling.BICUBIC).save(content, "PNG")
    return content.getvalue()


def write_watched_run(folder: Path, count: int = 600) -> RunDirectory:
    """A run whose validation has 0.3 of so many images."""
    rng = np.random.default_rng(0)
    for number in range(count):
        file = folder / "data" / CLASSES[number % len(CLASSES)] / f"{number:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(rng))
    return write_run(folder / "run", folder / "data")


@dataclass(frozen=True, eq=False)
class Answered:
    """Images as a server would answer and log them."""

    rows: list[dict[str, object]]


def answered(run: RunDirectory, contents: list[bytes]) -> Answered:
    """What the classifier of a run says of images."""
    bundle = load_bundle(run.path)
    sources = [ImageInMemory(f"{n}", content) for n, content in enumerate(contents)]
    embeddings = embed(bundle, sources, use_cache=False)
    found = predict_embeddings(bundle, sources, embeddings)
    return Answered(
        [
            {
                "digest": bundle.sha256,
                "probabilities": tuple(map(float, found.probabilities_NC[n])),
                "top_classes": (bundle.classes[int(found.predicted_N[n])],),
                "embedding_D": embeddings.embeddings_ND[n],
                "facts": image_facts(decode(content), content),
            }
            for n, content in enumerate(contents)
        ]
    )


class MadeLog:
    """A log that windows are appended to, a second apart and all in the past."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start_s = time.time() - 500
        self.number = 0

    def add(self, images: Answered, seed: int, windows: int = 1, **changes: object) -> None:
        """Windows of images drawn at random."""
        rng = np.random.default_rng(seed)
        writer = LogWriter(self.folder)
        for row in rng.integers(0, len(images.rows), windows * WINDOW):
            self.number += 1
            fields: dict[str, object] = {
                "request_id": f"r{self.number:06d}",
                "model": "cells",
                "version": "1",
                "outcome": "answered",
                "timing": Timing(12.0, 1.0, 4.0, 7.0),
                "time_s": self.start_s + self.number / WINDOW,
            }
            writer.append(LogRow(**{**fields, **images.rows[row], **changes}))
        writer.close()
