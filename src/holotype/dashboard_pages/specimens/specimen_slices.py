"""Slices of specimens below the folder: found, compared and answered, a few comparisons kept.

Workers decode them and ask the classifier, as they do for the API.

Shape suffixes: Q slices of the specimen, C classes, S side of the frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from anyio import from_thread
from fastapi import Request
from numpy.typing import NDArray

from holotype.dashboard_pages.classifiers import OpenedClassifier, ask_for_files, place_below
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.file_cache import FileCache
from holotype.dataset.atomic_directory import TABLE_FILENAME
from holotype.errors import UsageError
from holotype.explanation.specimen_matching import (
    SIDE,
    FramedSlices,
    RankedReference,
    Slice,
    ranked_references,
    read_reference_slices,
    read_slices,
)
from holotype.serving.engine.job import ImageRefused, JobAnswer, Task
from holotype.serving.http.problems import problem_of

MAX_KEPT = 16
MAX_REFERENCES = 5000  # slices: each is compared with each slice of the specimen


@dataclass(frozen=True, eq=False)
class StackAnswers:
    """What a classifier says along a stack.

    Attributes:
        classes: C names.
        slices: those that could be read, Q, in the order of the scan.
        probabilities_QC: float64.
    """

    classes: tuple[str, ...]
    slices: tuple[Slice, ...]
    probabilities_QC: NDArray[np.float64]

    @property
    def mean_C(self) -> NDArray[np.float64]:
        """Of all slices together."""
        return np.asarray(self.probabilities_QC.mean(axis=0))

    @property
    def likeliest(self) -> list[int]:
        """The classes with the highest mean along the stack, the first three."""
        order = np.argsort(-self.mean_C, kind="stable")
        return [int(c) for c in order[:3]]


def slices_of(request: Request, named: str) -> dict[str, list[Slice]]:
    """The slices of a folder by specimen, in the order of the scan.

    Raises:
        UsageError: there is no such folder below that of the dashboard.
        EmptyDataset: it holds no images.
    """
    place = place_below(dashboard_of(request).folder, named)

    def read() -> dict[str, list[Slice]]:
        by_specimen: dict[str, list[Slice]] = {}
        for one in read_slices([place]):
            by_specimen.setdefault(one.specimen, []).append(one)
        return by_specimen

    return _cache(request).get(("slices", place), _files(place), read)


def find_slice(request: Request, named: str, name: str) -> Slice:
    """One slice of a folder, by its name in the table; no other file is looked at.

    Raises:
        UsageError: the folder has no such slice.
    """
    for slices in slices_of(request, named).values():
        for one in slices:
            if one.name == name:
                return one
    raise UsageError(f"{named!r} has no slice {name!r}.")


def ranking_of(request: Request, of: str, specimen: str, known: str) -> tuple[RankedReference, ...]:
    """The known specimens most like one of a folder; kept, since it takes seconds.

    Raises:
        UsageError: there are no such slices, or the known ones are too many.
        DatasetError: the known slices have no groups.
        Problem: the workers do not answer.
    """
    folder = dashboard_of(request).folder
    places = place_below(folder, of), place_below(folder, known)
    own = stack_of(request, of, specimen)

    def match() -> tuple[RankedReference, ...]:
        references = read_reference_slices(places[1])
        if len(references) > MAX_REFERENCES:
            raise UsageError(
                f"{known!r} has {len(references):,} slices; {MAX_REFERENCES:,} are compared at "
                "most. `holotype explain --match` has no such limit."
            )
        others = [one for one in references if one.specimen != specimen]
        framed_Q, framed_R = (
            FramedSlices.of(framed(request, slices, SIDE)) for slices in (own, others)
        )
        return ranked_references(specimen, framed_Q, framed_R)

    files = [*_files(places[0]), *_files(places[1])]
    return _cache(request).get(("ranking", *places, specimen), files, match)


def answers_along(
    request: Request, classifier: OpenedClassifier, of: str, specimen: str
) -> StackAnswers:
    """What a classifier says of every slice of a stack that can be read.

    Raises:
        UsageError: there is no such specimen, or none of its slices can be read.
        Problem: the workers do not answer.
    """
    place, own = place_below(dashboard_of(request).folder, of), stack_of(request, of, specimen)

    def ask() -> StackAnswers:
        answered = _answered(request, "predict", classifier.digest, own, {})
        if not answered:
            raise UsageError(f"no slice of {specimen!r} can be read.")
        probabilities = [np.frombuffer(found.parts[0], np.float64) for _, found in answered]
        slices = tuple(one for one, _ in answered)
        return StackAnswers(classifier.version.classes, slices, np.array(probabilities))

    key = ("answers", classifier.digest, place, specimen)
    return _cache(request).get(key, _files(place), ask)


def stack_of(request: Request, of: str, specimen: str) -> list[Slice]:
    """The slices of one specimen.

    Raises:
        UsageError: the folder has none of it.
    """
    found = slices_of(request, of).get(specimen)
    if not found:
        raise UsageError(f"{of!r} has no specimen {specimen!r}.")
    return found


def framed(
    request: Request, slices: Sequence[Slice], side: int
) -> list[tuple[Slice, NDArray[np.uint8]]]:
    """Slices as they are compared, at a number of pixels a side; without what cannot be read.

    Raises:
        Problem: the workers do not answer.
    """
    return [
        (one, np.frombuffer(found.parts[0], np.uint8).reshape(side, side))
        for one, found in _answered(request, "frame", "", slices, {"side": side})
    ]


def _answered(
    request: Request, task: Task, digest: str, slices: Sequence[Slice], options: Mapping[str, Any]
) -> list[tuple[Slice, JobAnswer]]:
    """What the workers say of the slices that can be read; that they are busy is no answer."""
    files = [one.file for one in slices]
    found = from_thread.run(ask_for_files, request, task, digest, files, options)
    answered = []
    for one, answer in zip(slices, found, strict=True):
        if isinstance(answer, JobAnswer):
            answered.append((one, answer))
        elif not isinstance(answer, ImageRefused):
            raise problem_of(answer)
    return answered


def _cache(request: Request) -> FileCache:
    found: FileCache = dashboard_of(request).kept.setdefault("specimens", FileCache(MAX_KEPT))
    return found


def _files(place: Path) -> list[Path]:
    """What changes when slices are added or named anew."""
    return [place, place / TABLE_FILENAME]
