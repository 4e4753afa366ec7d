"""Slices of specimens below the folder: found, compared and answered, a few comparisons kept.

Shape suffixes: Q slices of the specimen, C classes.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.image_sources import image_sources
from holotype.bundle.inference import predict_images
from holotype.dashboard_pages.classifiers import place_below
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dataset.atomic_directory import TABLE_FILENAME
from holotype.errors import UsageError
from holotype.explanation.specimen_matching import (
    Slice,
    SpecimenMatch,
    match_specimens,
    read_reference_slices,
    read_slices,
)

MAX_KEPT = 16
MAX_REFERENCES = 5000  # slices: each is compared with each slice of the specimen

Value = TypeVar("Value")


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
    def likeliest(self) -> list[int]:
        """The classes with the highest mean along the stack, the first three."""
        order = np.argsort(-self.probabilities_QC.mean(axis=0), kind="stable")
        return [int(c) for c in order[:3]]


def slices_of(request: Request, named: str) -> dict[str, list[Slice]]:
    """The slices of a folder by specimen, in the order of the scan.

    Raises:
        UsageError: there is no such folder below that of the dashboard.
        EmptyDataset: it holds no images.
    """
    place = place_below(dashboard_of(request).folder, named)
    by_specimen: dict[str, list[Slice]] = {}
    for one in _kept(request, ("slices", place, _age(place)), lambda: read_slices([place])):
        by_specimen.setdefault(one.specimen, []).append(one)
    return by_specimen


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


def match_of(
    request: Request, bundle_place: Path, slices: list[Slice], known: str
) -> SpecimenMatch:
    """The known specimens most like one; kept, since it takes seconds.

    Raises:
        DatasetError: the known slices have no groups, or are too many.
    """
    place = place_below(dashboard_of(request).folder, known)
    references = _kept(request, ("known", place, _age(place)), lambda: read_reference_slices(place))
    if len(references) > MAX_REFERENCES:
        raise UsageError(
            f"{known!r} has {len(references):,} slices; {MAX_REFERENCES:,} are compared at most. "
            "`holotype explain --match` has no such limit."
        )
    key = ("match", bundle_place, _age(bundle_place), tuple(slices), place, _age(place))
    return _kept(
        request,
        key,
        lambda: match_specimens(_bundle(request, bundle_place), slices, references).specimens[0],
    )


def answers_along(request: Request, bundle_place: Path, slices: list[Slice]) -> StackAnswers:
    """What a classifier says of every slice of a stack that can be read."""

    def ask() -> StackAnswers:
        bundle = _bundle(request, bundle_place)
        found = predict_images(bundle, image_sources([one.file for one in slices]))
        row_of = {name: row for row, name in enumerate(found.ids)}
        read = tuple(one for one in slices if str(one.file) in row_of)
        rows = [row_of[str(one.file)] for one in read]
        return StackAnswers(bundle.classes, read, found.probabilities_NC[rows])

    return _kept(request, ("answers", bundle_place, _age(bundle_place), tuple(slices)), ask)


def _bundle(request: Request, place: Path) -> Bundle:
    return _kept(request, ("bundle", place, _age(place)), lambda: load_bundle(place))


def _age(place: Path) -> int:
    """What changes when a folder, its table or the bundle of a run does."""
    files = (
        place,
        place / TABLE_FILENAME,
        place / "manifest.json",
        place / "bundle" / "manifest.json",
    )
    return hash(tuple(file.stat().st_mtime_ns for file in files if file.exists()))


def _kept(request: Request, key: tuple[Any, ...], make: Callable[[], Value]) -> Value:
    """A value that is made once; of several visitors one after the other makes theirs."""
    kept = dashboard_of(request).kept
    values: OrderedDict[tuple[Any, ...], Any] = kept.setdefault("specimens", OrderedDict())
    lock = kept.setdefault("specimens lock", threading.RLock())
    with lock:
        if key not in values:
            values[key] = make()
        values.move_to_end(key)
        while len(values) > MAX_KEPT:
            values.popitem(last=False)
        found: Value = values[key]
        return found
