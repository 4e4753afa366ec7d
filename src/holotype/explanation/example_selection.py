"""Select the example images of a report: confident mistakes, and a sample of correct answers."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import zip_longest
from typing import Literal

import numpy as np

from holotype.bundle.bundle import Bundle
from holotype.dataset.index import Index
from holotype.errors import ImageError
from holotype.explanation.compute_heatmap import heatmap, size_to_decode
from holotype.explanation.heatmap_drawing import overlay, scaled_rgb
from holotype.imaging.decode import decode
from holotype.predictions import Predictions
from holotype.reporting.example_record import Example

Kind = Literal["mistake", "correct"]

LONGEST_SIDE = 320  # pixels: the report is one file


def select_examples(
    bundle: Bundle | Mapping[int, Bundle],
    index: Index,
    predictions: Predictions,
    *,
    mistakes: int = 12,
    correct: int = 12,
    seed: int = 0,
) -> list[Example]:
    """The most confident mistakes, then a sample of correct answers, class by class in turn.

    Each carries the heatmap of its predicted class. An image that can no longer be read is
    left out.

    Args:
        bundle: what made the predictions; of pooled folds, the one of each fold by its number.
        index: where the images of the predictions lie.
        predictions: of labelled images; others, and those of weight 0, are passed over, so that
            what is shown is what was scored.
        mistakes: how many at most.
        correct: how many at most.
        seed: of the sample of correct ones.
    """
    labelled = predictions.scorable()
    chosen: list[tuple[int, Kind]] = [
        *((row, "mistake") for row in _confident_mistakes(labelled)[:mistakes]),
        *((row, "correct") for row in _balanced_correct(labelled, seed)[:correct]),
    ]
    examples = []
    for row, kind in chosen:
        of_row = bundle if isinstance(bundle, Bundle) else bundle[int(labelled.folds_N[row])]
        with suppress(ImageError):
            examples.append(_example(of_row, index, labelled, row, kind))
    return examples


def _example(
    bundle: Bundle, index: Index, predictions: Predictions, row: int, kind: Kind
) -> Example:
    name = predictions.ids[row]
    preprocessing = bundle.preprocessing
    image = decode(
        index.file(name), name=name, minimum_size=size_to_decode(bundle), bits=preprocessing.bits,
        tolerate_truncated=preprocessing.tolerate_truncated,
    )  # fmt: skip
    predicted = int(predictions.predicted_N[row])
    rgb = scaled_rgb(image, bundle.preprocessing.background, longest=LONGEST_SIDE)
    image_HWC = np.asarray(rgb)
    heat_HW = heatmap(bundle, image, predicted).resized_to(rgb.size)
    return Example(
        id=name,
        image_HWC=image_HWC,
        overlay_HWC=overlay(image_HWC, heat_HW),
        true_class=predictions.classes[predictions.targets_N[row]],
        predicted_class=predictions.classes[predicted],
        confidence=float(predictions.probabilities_NC[row, predicted]),
        kind=kind,
    )


def _confident_mistakes(predictions: Predictions) -> list[int]:
    """The rows of all mistakes, the most confident first; by id where confidence is equal."""
    confidence_N = predictions.probabilities_NC.max(axis=1)
    rows = np.flatnonzero(predictions.predicted_N != predictions.targets_N).tolist()
    return sorted(rows, key=lambda row: (-confidence_N[row], predictions.ids[row]))


def _balanced_correct(predictions: Predictions, seed: int) -> list[int]:
    """The rows of all correct answers in random order, one of each class in turn.

    The order of the rows does not matter: they are sorted by id before they are drawn.
    """
    random = np.random.default_rng(seed)
    by_id = sorted(range(len(predictions)), key=lambda row: predictions.ids[row])
    queues = []
    for number in range(len(predictions.classes)):
        rows = [
            row
            for row in by_id
            if predictions.predicted_N[row] == predictions.targets_N[row] == number
        ]
        queues.append([rows[place] for place in random.permutation(len(rows))])
    return [row for turn in zip_longest(*queues) for row in turn if row is not None]
