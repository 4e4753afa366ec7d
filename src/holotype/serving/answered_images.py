"""The answers of a server to single images, as `Predictions`.

Shape suffixes: N images, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from holotype.bundle.image_sources import ImageSource
from holotype.predictions import UNLABELLED, Predictions, PredictionSets


def predictions_of(
    classes: tuple[str, ...],
    answers: Sequence[tuple[ImageSource, Mapping[str, Any]]],
    coverage: float | None,
) -> Predictions:
    """One row for each image and the answer to its own request, a `PredictAnswer`.

    Args:
        classes: C names, in the order of the columns.
        coverage: that was asked for; None for no prediction sets.
    """
    found = [answer["predictions"][0] for _, answer in answers]
    N, C = len(answers), len(classes)
    probabilities = [[one["probabilities"][name] for name in classes] for one in found]
    probabilities_NC = np.array(probabilities, np.float64).reshape(N, C)
    sets = None
    if coverage is not None:
        rows = [[name in one["set"] for name in classes] for one in found]
        sets = PredictionSets(np.array(rows, np.bool_).reshape(N, C), coverage, "lac", False, 0)
    said = [one["unknown"] for one in found]
    ids = tuple(source.id for source, _ in answers)
    return Predictions(
        classes=classes,
        ids=ids,
        sha256=("",) * N,
        targets_N=np.full(N, UNLABELLED, np.int64),
        weights_N=np.ones(N),
        groups=("",) * N,
        folds_N=np.full(N, -1, np.int64),
        logits_NC=np.log(np.maximum(probabilities_NC, 1e-300)).astype(np.float32),
        probabilities_NC=probabilities_NC,
        unknown_N=None if None in said or not said else np.array(said, np.bool_),
        prediction_sets=sets,
        warnings={
            name: tuple(one["warnings"])
            for name, one in zip(ids, found, strict=True)
            if one["warnings"]
        },
        notes=tuple(dict.fromkeys(note for _, answer in answers for note in answer["notes"])),
        request_ids=tuple(answer["request_id"] for _, answer in answers),
    )
