"""What a classifier says of images, in the names of classes.

Shape suffixes: N images, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dashboard_pages.classifiers import Found, OpenedClassifier
from holotype.evaluation.conformal import DEFAULT_METHOD
from holotype.predictions import UNLABELLED, Predictions, PredictionSets
from holotype.serving.engine.job import EngineError, ImageRefused, JobAnswer
from holotype.serving.http.problems import PROBLEMS, problem_of


@dataclass(frozen=True, eq=False)
class ImageAnswer:
    """What one classifier says of one image.

    Attributes:
        problem: why there is no answer, and what to do; empty where there is one.
        classes: the names, the likeliest first.
        probabilities: of these classes.
        unknown: whether it is of no known class; None where the classifier does not say.
        set: the prediction set; None where none was asked for.
        warnings: what of the image is not used.
    """

    problem: str = ""
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    unknown: bool | None = None
    set: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, float]]:
        return list(zip(self.classes, self.probabilities, strict=True))


def image_answer(classifier: OpenedClassifier, found: Found) -> ImageAnswer:
    """An answer in the names of classes."""
    if isinstance(found, EngineError):
        problem = problem_of(found)
        return ImageAnswer(f"{PROBLEMS[problem.problem][1]}. {problem.detail}")
    names = classifier.version.classes
    probabilities_C = np.frombuffer(found.parts[0], np.float64)
    order = np.argsort(-probabilities_C, kind="stable")
    included = found.facts["set"]
    return ImageAnswer(
        classes=tuple(names[c] for c in order),
        probabilities=tuple(probabilities_C[order].tolist()),
        unknown=found.facts["unknown"],
        set=None if included is None else tuple(names[c] for c in included),
        warnings=tuple(found.facts["warnings"]),
    )


def as_predictions(
    classifier: OpenedClassifier,
    names: Sequence[str],
    found: Sequence[Found],
    coverage: float | None,
) -> Predictions:
    """The images that can be used, as `holotype predict` has them; its `to_csv` is the table.

    Raises:
        Problem: an image was not answered, since the workers are busy or one of them ended.
    """
    for one in found:
        if isinstance(one, EngineError) and not isinstance(one, ImageRefused):
            raise problem_of(one)  # a table without it would look whole
    rows = [
        (name, one) for name, one in zip(names, found, strict=True) if isinstance(one, JobAnswer)
    ]
    N, classes = len(rows), classifier.version.classes
    probabilities_NC = np.zeros((N, len(classes)))
    included_NC = np.zeros((N, len(classes)), np.bool_)
    for row, (_, one) in enumerate(rows):
        probabilities_NC[row] = np.frombuffer(one.parts[0], np.float64)
        included_NC[row, one.facts["set"] or []] = True
    sets = None
    decision = classifier.version.manifest.decision
    if coverage is not None and N and rows[0][1].facts["set"] is not None:
        assert decision is not None
        assert decision.calibration_set is not None
        size = decision.calibration_set.num_images
        sets = PredictionSets(included_NC, coverage, DEFAULT_METHOD, False, size)
    unknown: list[bool | None] = [one.facts["unknown"] for _, one in rows]
    unknown_N: NDArray[np.bool_] | None = None
    if None not in unknown:
        unknown_N = np.array(unknown, np.bool_)
    return Predictions(
        classes=classes,
        ids=tuple(name for name, _ in rows),
        sha256=("",) * N,
        targets_N=np.full(N, UNLABELLED, np.int64),
        weights_N=np.ones(N),
        groups=("",) * N,
        folds_N=np.full(N, -1, np.int64),
        # Workers answer with probabilities; these logits have them at the temperature 1.
        logits_NC=np.log(np.maximum(probabilities_NC, np.finfo(np.float32).tiny), dtype=np.float32),
        probabilities_NC=probabilities_NC,
        unknown_N=unknown_N,
        prediction_sets=sets,
        bundle_sha256=classifier.digest,
    )
