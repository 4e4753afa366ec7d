"""Scores of predictions: accuracy, precision, recall, F1, log loss, Brier score, ROC AUC.

Every function takes labelled predictions and, optionally, other weights for their images: (N,), or
(N, R) for R sets at once, which the bootstrap needs. The default is the predictions' own weights.
Results have shape () or (R,); those per class (C,) or (C, R). NaN means 0/0.

A class without images has no recall, no F1 and no ROC AUC, and macro means are over the other
classes. A class that occurs but is never predicted has no precision (0/0); in means it counts as 0,
as in scikit-learn with `zero_division=0`.

Shape suffixes: N images, C classes, R sets of weights.
Not covered: several labels per image, ordered classes, costs of single confusions.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from holotype.errors import DatasetError
from holotype.evaluation.roc_curves import all_classes_together, one_versus_rest, ratio
from holotype.predictions import UNLABELLED, Predictions

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]

_SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)  # as scikit-learn clips it
MAX_LOG_LOSS = -float(np.log(_SMALLEST_PROBABILITY))


@dataclass(frozen=True, eq=False)
class ConfusionCounts:
    """Sums of weights per class, and the scores that follow from them.

    Attributes:
        true_positives_C: of images of the class that are predicted as it.
        support_C: of images of the class.
        predicted_C: of images that are predicted as the class.
    """

    true_positives_C: Floats
    support_C: Floats
    predicted_C: Floats

    @property
    def accuracy(self) -> Floats:
        """The share of images that are predicted correctly, in [0, 1]."""
        return ratio(self.true_positives_C.sum(axis=0), self.support_C.sum(axis=0))

    @property
    def recall_C(self) -> Floats:
        """In [0, 1]; NaN for a class without images."""
        return ratio(self.true_positives_C, self.support_C)

    @property
    def precision_C(self) -> Floats:
        """In [0, 1]; NaN for a class that is never predicted."""
        return ratio(self.true_positives_C, self.predicted_C)

    @property
    def f1_C(self) -> Floats:
        """The harmonic mean of precision and recall, in [0, 1]; NaN without images.

        Source:
            van Rijsbergen 1979; as 2·TP / (support + predicted), which is 0 and not 0/0 for a
            class that occurs and is never predicted.
        """
        f1_C = ratio(2 * self.true_positives_C, self.support_C + self.predicted_C)
        return np.where(self.support_C > 0, f1_C, np.nan)

    @property
    def balanced_accuracy(self) -> Floats:
        """The mean recall of the classes that occur, in [0, 1]; also called macro recall.

        Source:
            Brodersen et al. 2010; not adjusted for chance.
        """
        return self._macro(self.recall_C)

    @property
    def macro_precision(self) -> Floats:
        """The mean precision of the classes that occur, in [0, 1]."""
        return self._macro(self.precision_C)

    @property
    def macro_f1(self) -> Floats:
        """The mean of the F1 of the classes that occur, in [0, 1].

        Source:
            Opitz and Burst 2019, "Macro F1 and Macro F1": the mean of F1, not the F1 of means.
        """
        return self._macro(self.f1_C)

    @property
    def weighted_precision(self) -> Floats:
        """The mean precision of the classes by their share of the images, in [0, 1]."""
        return self._by_share(self.precision_C)

    @property
    def weighted_f1(self) -> Floats:
        """The mean F1 of the classes by their share of the images, in [0, 1]."""
        return self._by_share(self.f1_C)

    def _macro(self, score_C: Floats) -> Floats:
        occurs_C = self.support_C > 0
        known_C = np.where(occurs_C, np.nan_to_num(score_C), 0.0)
        return ratio(known_C.sum(axis=0), occurs_C.sum(axis=0))

    def _by_share(self, score_C: Floats) -> Floats:
        shared = (np.nan_to_num(score_C) * self.support_C).sum(axis=0)
        return ratio(shared, self.support_C.sum(axis=0))


def confusion_counts(predictions: Predictions, weights: Floats | None = None) -> ConfusionCounts:
    """Sum the weights of true positives, images and predictions of every class."""
    weights = weights_of(predictions, weights)
    targets_N, predicted_N = predictions.targets_N, predictions.predicted_N
    true_positive_N = targets_N == predicted_N
    return ConfusionCounts(
        true_positives_C=_membership(predictions, targets_N, true_positive_N) @ weights,
        support_C=_membership(predictions, targets_N) @ weights,
        predicted_C=_membership(predictions, predicted_N) @ weights,
    )


def in_top_k_N(predictions: Predictions, k: int) -> NDArray[np.bool_]:
    """For every image whether its class is among the k most probable.

    Of equal probabilities the first class ranks first, as for the predicted class.
    """
    of_target_N1 = np.take_along_axis(
        predictions.probabilities_NC, predictions.targets_N[:, None], axis=1
    )
    better_N = (predictions.probabilities_NC > of_target_N1).sum(axis=1)
    earlier_NC = np.arange(len(predictions.classes)) < predictions.targets_N[:, None]
    tied_N = ((predictions.probabilities_NC == of_target_N1) & earlier_NC).sum(axis=1)
    return np.asarray(better_N + tied_N < k)


def confusion_matrix(predictions: Predictions) -> Floats:
    """Sums of weights (C, C): rows are true classes, columns are predicted ones."""
    C = len(predictions.classes)
    pair_N = predictions.targets_N * C + predictions.predicted_N
    counts = np.bincount(pair_N, weights_of(predictions, None), minlength=C * C)
    return counts.reshape(C, C).astype(np.float64)


def log_loss(predictions: Predictions, weights: Floats | None = None) -> Floats:
    """The mean of -log(probability of the true class), in nats, in [0, 36.04].

    Probabilities are clipped at 2.2e-16, as in scikit-learn; equal probabilities give log(C).

    Source:
        Good 1952, "Rational Decisions".
    """
    row_N = np.arange(len(predictions))
    of_target_N = predictions.probabilities_NC[row_N, predictions.targets_N]
    losses_N = -np.log(np.clip(of_target_N, _SMALLEST_PROBABILITY, 1.0))
    mean = mean_over_images(predictions, losses_N, weights)
    return np.asarray(np.minimum(mean, MAX_LOG_LOSS))  # a mean may round above its largest


def brier_score(predictions: Predictions, weights: Floats | None = None) -> Floats:
    """The mean squared distance between probabilities and one-hot targets, in [0, 2].

    Squares are summed over classes, as by Brier: for two classes twice the binary form.

    Source:
        Brier 1950, "Verification of forecasts expressed in terms of probability".
    """
    truth_NC = predictions.targets_N[:, None] == np.arange(len(predictions.classes))
    squares_N = ((predictions.probabilities_NC - truth_NC) ** 2).sum(axis=1)
    return mean_over_images(predictions, squares_N, weights)


def one_versus_rest_scores(
    predictions: Predictions, weights: Floats | None = None
) -> tuple[Floats, Floats]:
    """ROC AUC and average precision of every class against the rest, in [0, 1].

    Returns:
        Two arrays (C,) or (C, R). Chance is 0.5 for the first, the share of the class for the
        second.

    Source:
        Hanley and McNeil 1982; one against the rest as in Provost and Domingos 2000.
    """
    weights = weights_of(predictions, weights)
    areas, average_precisions = [], []
    for class_number in range(len(predictions.classes)):
        ranking = one_versus_rest(predictions, class_number).with_weights(weights)
        areas.append(ranking.roc_auc)
        average_precisions.append(ranking.average_precision)
    return np.stack(areas), np.stack(average_precisions)


def micro_roc_auc(predictions: Predictions, weights: Floats | None = None) -> Floats:
    """ROC AUC of all N·C decisions of an image and a class together."""
    return all_classes_together(predictions).with_weights(weights_of(predictions, weights)).roc_auc


def macro(score_C: Floats) -> Floats:
    """The mean over the classes that have a score; NaN if none has."""
    known_C = np.isfinite(score_C)
    return ratio(np.where(known_C, score_C, 0.0).sum(axis=0), known_C.sum(axis=0))


def mean_over_images(
    predictions: Predictions, values_N: Floats, weights: Floats | None = None
) -> Floats:
    """The weighted mean of one number per image."""
    weights = weights_of(predictions, weights)
    return ratio(values_N @ weights, weights.sum(axis=0))


def weights_of(predictions: Predictions, weights: Floats | None) -> Floats:
    """The given weights, or the predictions' own.

    Raises:
        DatasetError: an image has no label.
    """
    if (predictions.targets_N == UNLABELLED).any():
        raise DatasetError(
            "a score needs images whose class is known, but some have no label; pass "
            "`predictions.labelled()`"
        )
    return predictions.weights_N if weights is None else weights


def _membership(
    predictions: Predictions,
    classes_N: NDArray[np.int64],
    subset_N: NDArray[np.bool_] | None = None,
) -> "csr_array":
    """(C, N): 1 where an image belongs to a class (and to the subset)."""
    from scipy.sparse import csr_array

    N = len(predictions)
    ones_N = np.ones(N) if subset_N is None else subset_N.astype(np.float64)
    return csr_array((ones_N, (classes_N, np.arange(N))), shape=(len(predictions.classes), N))
