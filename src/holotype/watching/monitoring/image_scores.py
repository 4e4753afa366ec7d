"""What of an image is watched: one number for each monitor.

The scores are fixed before the images that calibrate them are seen: they are fitted on known
images, those that trained the head where the bundle keeps them, else on half of the reference.

Shape suffixes: N images, K known images, D embedding, P directions, C classes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.references import l2_normalized
from holotype.watching.monitoring.monitors import Watched
from holotype.watching.watched_images import WatchedImages

Floats = NDArray[np.float64]

DIRECTIONS = 8
NEIGHBOURS = 5
# Parts of the chance of a false alarm.
INPUT_PART, OUTPUT_PART, CLASSES_PART, SERVICE_PART = 0.4, 0.2, 0.2, 0.2
MAX_KNOWN = 5000  # known images that distances are measured to; of more, a sample


@dataclass(frozen=True, eq=False)
class ImageScores:
    """The scores of images, fitted on known images.

    Attributes:
        known_KD: embeddings of length 1; None without embeddings.
        shares_C: of answers among the known images.
        common_format: of the known images.
        format_share, unknown_share: of images in another format; of unknown images.
    """

    known_KD: NDArray[np.float32] | None
    shares_C: Floats
    common_format: str
    format_share: float
    unknown_share: float

    @cached_property
    def _centre_and_directions(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The mean (D) and the first principal directions (P, D) of the known images."""
        assert self.known_KD is not None
        centre_D = self.known_KD.mean(axis=0)
        _, _, directions_PD = np.linalg.svd(self.known_KD - centre_D, full_matrices=False)
        return centre_D, directions_PD[:DIRECTIONS]

    def directions_NP(self, embeddings_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images along the principal directions of the known ones."""
        centre_D, directions_PD = self._centre_and_directions
        return np.asarray((l2_normalized(embeddings_ND) - centre_D) @ directions_PD.T)

    def distance_N(self, embeddings_ND: NDArray[np.float32]) -> Floats:
        """1 minus the cosine to the fifth of the nearest known images."""
        assert self.known_KD is not None
        cosines_NK = l2_normalized(embeddings_ND) @ self.known_KD.T
        place = max(0, len(self.known_KD) - NEIGHBOURS)
        return np.asarray(1 - np.partition(cosines_NK, place, axis=1)[:, place], np.float64)

    def of(self, images: WatchedImages) -> dict[str, Floats]:
        """Name -> score (N), nan where an image has none."""
        scores = images.fact_scores
        other_N = (images.format_N != self.common_format).astype(np.float64)
        scores["format"] = np.where(images.format_N == "", np.nan, other_N)
        if self.known_KD is not None:
            scores |= self._of_embeddings(images)
        probabilities_NC = np.clip(images.probabilities_NC, 1e-12, 1)
        scores["confidence"] = np.log(images.confidence_N / (1 - images.confidence_N + 1e-6))
        scores["entropy"] = -(probabilities_NC * np.log(probabilities_NC)).sum(axis=1)
        scores["unknown"], scores["set size"] = images.unknown_N, images.set_size_N
        for number in range(len(self.shares_C)):
            scores[f"class {number}"] = (images.predicted_N == number).astype(np.float64)
        return scores

    def _of_embeddings(self, images: WatchedImages) -> dict[str, Floats]:
        names = ["distance", *(f"direction {number + 1}" for number in range(self._num_directions))]
        if images.embeddings_ND is None:
            return {name: np.full(len(images), np.nan) for name in names}
        columns = np.column_stack(
            [self.distance_N(images.embeddings_ND), self.directions_NP(images.embeddings_ND)]
        )
        return dict(zip(names, columns.T.astype(np.float64), strict=True))

    @property
    def _num_directions(self) -> int:
        return len(self._centre_and_directions[1])

    def watched(self) -> list[Watched]:
        """What there is to monitor of images."""
        inputs: dict[str, float | None] = {
            "brightness": None, "sharpness": None, "size": None, "bytes per pixel": None,
            "format": self.format_share,
        }  # fmt: skip
        if self.known_KD is not None:
            inputs["distance"] = None
            inputs |= {f"direction {number + 1}": None for number in range(self._num_directions)}
        outputs = {
            "confidence": None, "entropy": None, "unknown": self.unknown_share, "set size": None,
        }  # fmt: skip
        C = len(self.shares_C)
        return [
            *(Watched(n, "input", INPUT_PART / len(inputs), s) for n, s in inputs.items()),
            *(Watched(n, "output", OUTPUT_PART / len(outputs), s) for n, s in outputs.items()),
            *(
                Watched(f"class {number}", "output", CLASSES_PART / C, float(share))
                for number, share in enumerate(self.shares_C)
            ),
        ]


def fit_scores(known: WatchedImages, known_KD: NDArray[np.float32] | None) -> ImageScores:
    """Scores fitted on known images.

    Args:
        known: which no monitor sees.
        known_KD: embeddings of the images that trained the head, which are better known; those of
            `known` by default.
    """
    embeddings = known.embeddings_ND if known_KD is None else known_KD
    if embeddings is not None:
        rows = np.random.default_rng(0).permutation(len(embeddings))[:MAX_KNOWN]
        embeddings = l2_normalized(embeddings[np.sort(rows)])
    C, K = known.probabilities_NC.shape[1], len(known)
    counts_C = np.bincount(known.predicted_N, minlength=C)
    formats, counts = np.unique(known.format_N[known.format_N != ""], return_counts=True)
    common = str(formats[counts.argmax()]) if len(formats) else "JPEG"
    unknown_N = known.unknown_N[np.isfinite(known.unknown_N)]
    return ImageScores(
        known_KD=embeddings,
        shares_C=_smoothed(counts_C, K, 1 / C),
        common_format=common,
        format_share=float(_smoothed(counts.sum() - counts.max(initial=0), counts.sum(), 0.02)),
        unknown_share=float(_smoothed(unknown_N.sum(), len(unknown_N), 0.05)),
    )


def _smoothed(count: NDArray[np.int64] | float, total: float, expected: float) -> Floats:
    """A share with two images of what is expected added, so that it is never 0 or 1."""
    return np.asarray((count + 2 * expected) / (total + 2), np.float64)
