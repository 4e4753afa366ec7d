"""Predictions of several classifiers for the same images, in one order.

Shape suffixes: N images, C classes, M classifiers.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.class_names import class_differences
from holotype.errors import NotComparable
from holotype.evaluation.build_report import select_scorable
from holotype.evaluation.intervals import SamplingUnits
from holotype.predictions import Predictions

MAX_NAMED = 3  # differences named in an error
_ADVICE = (
    "Only runs of one split can be compared: train them with the same --split-seed and the same "
    "images, or name one set of runs at a time."
)


@dataclass(frozen=True, eq=False)
class AlignedPredictions:
    """Predictions of M classifiers for the same N images.

    Attributes:
        names: of the classifiers, M.
        predictions: of each, with rows and columns in one order; scorable images only.
        units: the independent units of the images.
    """

    names: tuple[str, ...]
    predictions: tuple[Predictions, ...]
    units: SamplingUnits

    def __len__(self) -> int:
        return len(self.names)

    @property
    def first(self) -> Predictions:
        """The first predictions: images, targets, weights, groups and classes are those of all."""
        return self.predictions[0]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.first.classes

    @property
    def weights_N(self) -> NDArray[np.float64]:
        return self.first.weights_N

    @cached_property
    def predicted_MN(self) -> NDArray[np.int64]:
        """The class number that each classifier predicts for each image."""
        return np.stack([each.predicted_N for each in self.predictions])

    @cached_property
    def correct_MN(self) -> NDArray[np.bool_]:
        return np.asarray(self.predicted_MN == self.first.targets_N, np.bool_)


def align_predictions(predictions: Mapping[str, Predictions], part: str) -> AlignedPredictions:
    """Bring predictions into one order of images and classes.

    Images are matched by their SHA-256, since a folder may have moved between two trainings.
    Images without a label or with weight 0 are left out.

    Args:
        predictions: of each classifier, by its name; at least one.
        part: the name of the part, for the error.

    Raises:
        NotComparable: the images, their classes, labels, weights or groups differ.
    """
    names = tuple(predictions)
    _require_same_classes(predictions)
    classes = predictions[names[0]].classes
    ordered = [_in_order(select_scorable(each), classes) for each in predictions.values()]
    _require_same_images(dict(zip(names, ordered, strict=True)), part)
    return AlignedPredictions(names, tuple(ordered), SamplingUnits.of(ordered[0]))


def _in_order(predictions: Predictions, classes: Sequence[str]) -> Predictions:
    """Rows by the hash of the image, columns as in `classes`."""
    rows = sorted(
        range(len(predictions)), key=lambda n: (predictions.sha256[n], predictions.ids[n])
    )
    chosen = predictions.select(np.array(rows, np.int64))
    if chosen.classes == tuple(classes):
        return chosen
    columns = [chosen.classes.index(name) for name in classes]
    number_of = {column: number for number, column in enumerate(columns)}
    return replace(
        chosen,
        classes=tuple(classes),
        targets_N=np.array([number_of[int(target)] for target in chosen.targets_N], np.int64),
        logits_NC=chosen.logits_NC[:, columns],
        probabilities_NC=chosen.probabilities_NC[:, columns],
    )


def _require_same_classes(predictions: Mapping[str, Predictions]) -> None:
    first, *others = predictions
    for other in others:
        classes_of = [(name, predictions[name].classes) for name in (first, other)]
        if difference := class_differences(*classes_of):
            raise NotComparable(
                f"the runs {first!r} and {other!r} have different classes: {difference}. "
                "Compare runs that were trained on the same classes."
            )


def _require_same_images(ordered: Mapping[str, Predictions], part: str) -> None:
    alike: dict[str, list[str]] = {}
    for name, predictions in ordered.items():
        alike.setdefault(_digest(predictions), []).append(name)
    if len(alike) == 1:
        return
    groups = list(alike.values())
    first, other = groups[0][0], groups[1][0]
    shown = enumerate(groups[:MAX_NAMED], start=1)
    sets = "; ".join(f"{n}: {first_few(names)}" for n, names in shown)
    more = f"; and {len(groups) - MAX_NAMED} more" if len(groups) > MAX_NAMED else ""
    raise NotComparable(
        f"the {part} images of these runs are not the same: "
        f"{_difference(first, ordered[first], other, ordered[other])}. "
        f"Runs with equal images: {sets}{more}. {_ADVICE}"
    )


def _digest(predictions: Predictions) -> str:
    """A hash of what must be equal: bytes, labels, weights and groups of the images."""
    rows = [
        predictions.sha256,
        predictions.targets_N.tolist(),
        predictions.weights_N.tolist(),
        _partition(predictions.groups),
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _partition(groups: Sequence[str]) -> list[int]:
    """Groups as numbers in the order of their first image, since names may differ."""
    number_of: dict[str, int] = {"": -1}
    return [number_of.setdefault(group, len(number_of) - 1) for group in groups]


def _difference(first: str, a: Predictions, other: str, b: Predictions) -> str:
    """The first difference between two sets of images, in words."""
    if a.sha256 != b.sha256:
        in_a, in_b = set(a.sha256), set(b.sha256)
        only = [
            (name, [id for id, sha256 in zip(p.ids, p.sha256, strict=True) if sha256 not in rest])
            for name, p, rest in ((first, a, in_b), (other, b, in_a))
        ]
        lacking = [
            f"{len(ids):,} of {name!r} only ({first_few(sorted(ids))})" for name, ids in only if ids
        ]
        return f"{len(in_a & in_b):,} are in both, " + (
            ", ".join(lacking) or f"but {first!r} and {other!r} have other numbers of copies"
        )
    labels = [
        f"{a.ids[n]!r} is {a.classes[a.targets_N[n]]!r} in {first!r} "
        f"and {b.classes[b.targets_N[n]]!r} in {other!r}"
        for n in np.flatnonzero(a.targets_N != b.targets_N)
    ]
    if labels:
        return f"{len(labels):,} have different labels: {'; '.join(labels[:MAX_NAMED])}"
    weights = [
        f"{a.ids[n]!r} weighs {a.weights_N[n]:g} in {first!r} and {b.weights_N[n]:g} in {other!r}"
        for n in np.flatnonzero(a.weights_N != b.weights_N)
    ]
    if weights:
        return f"{len(weights):,} have different weights: {'; '.join(weights[:MAX_NAMED])}"
    return f"{first!r} and {other!r} put the images into different groups"


def first_few(names: Sequence[str]) -> str:
    """Names for an error: so many, and a sign that there are more."""
    return ", ".join(map(repr, names[:MAX_NAMED])) + (", …" if len(names) > MAX_NAMED else "")
