"""Out-of-distribution (OOD) scores; higher is more in-distribution.

- `energy`: the logarithm of the sum of the exponentials of the head's logits (Liu et al. 2020,
  "Energy-based Out-of-distribution Detection").
- `neighbours`: the cosine to the k-th nearest training image, so that a single outlier among them
  does not decide (Sun et al. 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors").
  It needs the embeddings of the training images.

Both are computed on the plain view, whatever views the probabilities are averaged over.

Shape suffixes: N images, C classes, D embedding, B a block of images.
"""

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.references import References, cosines_NR

NEIGHBOURS = 5  # k
_BLOCK = 256  # images compared at once


def negative_energy_N(logits_NC: NDArray[np.float32]) -> NDArray[np.float64]:
    """The energy of each image, with its sign turned."""
    return np.asarray(np.logaddexp.reduce(logits_NC.astype(np.float64), axis=1))


def knn_similarity_N(
    references: References, embeddings_ND: NDArray[np.float32], neighbours: int = NEIGHBOURS
) -> NDArray[np.float64]:
    """The cosine to the nearest reference but `neighbours` - 1; the furthest where there are fewer.

    Args:
        embeddings_ND: of the same backbone, of any length.
    """
    place = max(0, len(references) - neighbours)
    similarity_N = np.empty(len(embeddings_ND))
    for start in range(0, len(embeddings_ND), _BLOCK):
        cosines_BR = cosines_NR(references, embeddings_ND[start : start + _BLOCK])
        similarity_N[start : start + _BLOCK] = np.partition(cosines_BR, place, axis=1)[:, place]
    return similarity_N
