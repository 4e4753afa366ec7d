"""Whitening: the frozen embedding in coordinates that are uncorrelated and of equal variance.

Shape suffixes: N images, D dimensions of the frozen embedding, E of the new one, C classes.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.training.heads.training_data import TrainingData

_TINY = 1e-12  # the shortest length that is divided by


@dataclass(frozen=True, eq=False)
class EmbeddingProjection:
    """normalise(weight · normalise(x) + bias), and a direction for every class.

    Attributes:
        weight_ED, bias_E: float32.
        directions_CE: float32, of length 1; 0 for a class without a training image.
        variance: the share of the variance that the new coordinates keep.
    """

    weight_ED: NDArray[np.float32]
    bias_E: NDArray[np.float32]
    directions_CE: NDArray[np.float32]
    variance: float

    def __call__(self, features_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        """The new embeddings (N, E) of frozen ones, of length 1."""
        projected_NE = unit_length(features_ND) @ self.weight_ED.T + self.bias_E
        return unit_length(projected_NE).astype(np.float32)


def fit_whitening(data: TrainingData, dimensions: int, shrinkage: float) -> EmbeddingProjection:
    """Normalise, centre, rotate to the principal components, and divide by their deviations.

    Coordinates beyond the rank of the data, or beyond D, are 0. A further rotation (ZCA) would
    change no cosine, and is left out.

    Args:
        data: embeddings of the training images.
        dimensions: E.
        shrinkage: in [0, 1): every variance is drawn towards the mean variance by this share,
            since the smallest ones are those that the sample says least of.

    Source:
        Jégou and Chum 2012, "Negative evidences and co-occurrences in image retrieval: the benefit
        of PCA and whitening"; Ledoit and Wolf 2004, "A well-conditioned estimator for
        large-dimensional covariance matrices" (shrinkage to the mean variance).
    """
    features_ND = unit_length(data.features_ND.astype(np.float64))
    N, D = features_ND.shape
    mean_D = features_ND.mean(axis=0)
    centred_ND = features_ND - mean_D
    if N > D:
        variances, columns = np.linalg.eigh(centred_ND.T @ centred_ND / N)
        variance_K, rotation_KD = variances[::-1], columns.T[::-1]
    else:
        _, singular_K, rotation_KD = np.linalg.svd(centred_ND, full_matrices=False)
        variance_K = singular_K**2 / N
    variance_K = np.maximum(variance_K, 0)
    total = float(variance_K.sum())
    rank = int((variance_K > 1e-10 * max(total, _TINY)).sum())
    kept = min(dimensions, rank)
    # The largest coefficient of a component is positive: a rotation has no sign of its own.
    strongest_K = np.abs(rotation_KD[:kept]).argmax(axis=1)
    sign_K = np.sign(rotation_KD[np.arange(kept), strongest_K])
    shrunken_K = (1 - shrinkage) * variance_K[:kept] + shrinkage * total / D
    weight_ED = np.zeros((dimensions, D))
    weight_ED[:kept] = rotation_KD[:kept] * (sign_K / np.sqrt(shrunken_K))[:, None]
    projection = EmbeddingProjection(
        weight_ED.astype(np.float32),
        (-weight_ED @ mean_D).astype(np.float32),
        np.zeros((data.num_classes, dimensions), np.float32),
        float(variance_K[:kept].sum()) / max(total, _TINY),
    )
    return replace(projection, directions_CE=class_directions(projection(data.features_ND), data))


def class_directions(embeddings_NE: NDArray[np.float32], data: TrainingData) -> NDArray[np.float32]:
    """The direction of the weighted mean embedding of each class (C, E); 0 without an image.

    Source:
        Mensink et al. 2013, "Distance-Based Image Classification: Generalizing to New Classes at
        Near-Zero Cost" (nearest class mean).
    """
    sums_CE = np.zeros((data.num_classes, embeddings_NE.shape[1]))
    np.add.at(sums_CE, data.targets_N, embeddings_NE * data.weights_N[:, None])
    return unit_length(sums_CE).astype(np.float32)


def unit_length(values_ND: NDArray[Any]) -> NDArray[Any]:
    """Rows divided by their length; a row of zeros stays one."""
    lengths_N = np.linalg.norm(values_ND, axis=1, keepdims=True)
    return np.asarray(values_ND / np.maximum(lengths_N, _TINY))
