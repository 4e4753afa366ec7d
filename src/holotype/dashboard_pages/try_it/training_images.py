"""The training images that are most like an image, where a bundle keeps references to them."""

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request

from holotype.dashboard_pages.classifiers import OpenedClassifier, ask, open_classifiers
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dataset.index import read_index_file
from holotype.errors import UsageError
from holotype.explanation.torch_models import run_of
from holotype.serving.engine.job import JobAnswer


@dataclass(frozen=True)
class SimilarTrainingImage:
    """One training image, by its path in the index of its run.

    Attributes:
        is_there: whether the file still lies where it did, so that it can be shown.
    """

    name: str
    class_name: str
    cosine: float
    is_there: bool


async def similar_images(
    request: Request, classifier: OpenedClassifier, content: bytes, count: int
) -> list[SimilarTrainingImage]:
    """The training images with the nearest embeddings, the most alike first."""
    engine = dashboard_of(request).service.engine
    (found,) = await ask(engine, "neighbours", classifier.digest, [content], {"count": count})
    if not isinstance(found, JobAnswer):
        return []
    return await asyncio.to_thread(_located, classifier.place, found.facts["neighbours"])


async def training_image(request: Request, run: str, name: str) -> bytes:
    """The bytes of a training image that a bundle refers to.

    Raises:
        UsageError: the run has no such image, or it is no longer there.
    """
    classifier = await open_classifiers(request).open(run)
    return await asyncio.to_thread(_read, classifier.place, name)


def _located(place: Path, rows: list[dict[str, Any]]) -> list[SimilarTrainingImage]:
    return [
        SimilarTrainingImage(
            row["file"], row["class"], row["cosine"], _file_of(place, row["file"]) is not None
        )
        for row in rows
    ]


def _read(place: Path, name: str) -> bytes:
    file = _file_of(place, name)
    if file is None:
        raise UsageError(f"the run was trained on no image {name!r}, or it is no longer there.")
    return file.read_bytes()


def _file_of(place: Path, name: str) -> Path | None:
    """Where an image of the run's index is; no other path of this machine is looked at."""
    run = run_of(place)
    if run is None or not run.index.is_file():
        return None
    files = _indexed_files(run.index, run.index.stat().st_mtime_ns)
    file = files.get(name)
    return file if file is not None and file.is_file() else None


@lru_cache(maxsize=8)
def _indexed_files(index_file: Path, modified_ns: int) -> dict[str, Path]:
    """The files of an index by their paths in it; kept, since reading it takes a while."""
    index = read_index_file(index_file)
    return {path: index.file(path) for path in index.table["path"]}
