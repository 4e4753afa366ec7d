"""ROC curves, the areas under them, and average precision.

Areas are computed for many sets of weights at once, since the bootstrap needs a thousand: images
are sorted once, and the rest is a sparse product with the weights.

Shape suffixes: N images, C classes, R sets of weights, K distinct scores of positives,
M scores (N, or N times C where all classes are ranked together), B brackets.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from holotype.predictions import Predictions

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class Ranking:
    """Sorted scores of positives and negatives, to which weights can be applied.

    The K distinct scores of positives divide all scores into B = 2K + 1 brackets: below the first,
    equal to it, between it and the second, and so on. An area needs only the weight in each.

    Attributes:
        positives_KN: which images have a positive at the k-th score, lowest first.
        negatives_BN: the number of negatives of each image in each bracket.
    """

    positives_KN: "csr_array"
    negatives_BN: "csr_array"

    @classmethod
    def of(
        cls,
        scores_M: NDArray[np.float64],
        positive_M: NDArray[np.bool_],
        image_M: NDArray[np.int64],
        num_images: int,
    ) -> "Ranking":
        """Sort scores; `image_M` is the number of the image that each belongs to."""
        cuts_K = np.unique(scores_M[positive_M])
        K = len(cuts_K)
        bracket_M = np.searchsorted(cuts_K, scores_M, "left")
        bracket_M += np.searchsorted(cuts_K, scores_M, "right")
        cut = (bracket_M[positive_M] - 1) // 2
        negative_M = ~positive_M
        return cls(
            _incidence(cut, image_M[positive_M], (K, num_images)),
            _incidence(bracket_M[negative_M], image_M[negative_M], (2 * K + 1, num_images)),
        )

    def with_weights(self, weights: NDArray[np.float64]) -> "WeightedRanking":
        """Sum weights, (N,) or (N, R), in each bracket."""
        return WeightedRanking(self.positives_KN @ weights, self.negatives_BN @ weights)


@dataclass(frozen=True, eq=False)
class WeightedRanking:
    """A ranking under one or R sets of weights.

    Attributes:
        positives_K: the weight of positives at each of their scores; (K,) or (K, R).
        negatives_B: the weight of negatives in each bracket; (B,) or (B, R).
    """

    positives_K: NDArray[np.float64]
    negatives_B: NDArray[np.float64]

    @property
    def roc_auc(self) -> NDArray[np.float64]:
        """The area under the ROC curve: the share of pairs ranked correctly, ties counted half.

        Returns:
            () or (R,), in [0, 1]; NaN without positives or without negatives.

        Source:
            Hanley and McNeil 1982; with weights as in scikit-learn's `roc_auc_score`.
        """
        up_to_B = np.cumsum(self.negatives_B, axis=0)
        below_K = up_to_B[:-1:2] + self.negatives_B[1::2] / 2
        won = (self.positives_K * below_K).sum(axis=0)
        return ratio(won, self.positives_K.sum(axis=0) * up_to_B[-1])

    @property
    def average_precision(self) -> NDArray[np.float64]:
        """The precision at every positive's score, averaged over positives; not interpolated.

        Returns:
            () or (R,), in [0, 1]; NaN without positives. Chance is the share of positives.

        Source:
            As scikit-learn's `average_precision_score`: sum over k of (R_k - R_(k-1)) P_k.
        """
        true_K = np.cumsum(self.positives_K[::-1], axis=0)[::-1]
        false_K = np.cumsum(self.negatives_B[::-1], axis=0)[::-1][1::2]
        precision_K = np.nan_to_num(ratio(true_K, true_K + false_K))
        won = (self.positives_K * precision_K).sum(axis=0)
        return ratio(won, self.positives_K.sum(axis=0))


def one_versus_rest(predictions: Predictions, class_number: int) -> Ranking:
    """Images ranked by the probability of one class."""
    images_N = np.arange(len(predictions), dtype=np.int64)
    scores_N = np.ascontiguousarray(predictions.probabilities_NC[:, class_number])
    return Ranking.of(scores_N, predictions.targets_N == class_number, images_N, len(images_N))


def all_classes_together(predictions: Predictions) -> Ranking:
    """All probabilities of all images in one ranking, for micro averages."""
    N, C = predictions.probabilities_NC.shape
    positive_NC = predictions.targets_N[:, None] == np.arange(C)
    image_M = np.repeat(np.arange(N, dtype=np.int64), C)
    return Ranking.of(predictions.probabilities_NC.ravel(), positive_NC.ravel(), image_M, N)


@dataclass(frozen=True, eq=False)
class RocCurve:
    """A ROC curve from (0, 0) to (1, 1): one point per distinct score.

    Attributes:
        false_positive_rate_K: rising, in [0, 1].
        true_positive_rate_K: rising, in [0, 1].
    """

    false_positive_rate_K: NDArray[np.float64]
    true_positive_rate_K: NDArray[np.float64]


def roc_curve(
    scores_M: NDArray[np.float64], positive_M: NDArray[np.bool_], weights_M: NDArray[np.float64]
) -> RocCurve | None:
    """True against false positive rate; None unless there are positives and negatives."""
    from sklearn import metrics

    if not weights_M[positive_M].any() or not weights_M[~positive_M].any():
        return None
    false_K, true_K, _ = metrics.roc_curve(
        positive_M, scores_M, sample_weight=weights_M, drop_intermediate=False
    )
    return RocCurve(false_K, true_K)


def _incidence(
    rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]
) -> "csr_array":
    """How often each pair (row, column) occurs."""
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)


def ratio(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64] | NDArray[np.int_]
) -> NDArray[np.float64]:
    """numerator / denominator, and NaN for 0/0."""
    numerator = np.asarray(numerator, np.float64)
    quotient = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=np.asarray(denominator) > 0)
    return quotient
