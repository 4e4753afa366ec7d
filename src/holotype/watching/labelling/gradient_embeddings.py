"""Images that are uncertain and unlike each other: k-means++ on gradient embeddings (BADGE).

The gradient embedding of an image is the gradient of its loss with respect to the last layer, if
the predicted class were its label: (probabilities - one-hot of the predicted class) ⊗ embedding.
It is long where the classifier is uncertain, and its direction says about what. Seeding k-means++
on it picks images that are both uncertain and diverse.

Nothing of length C·D is ever built: the scalar product of two gradient embeddings is the product of
those of their two factors.

Shape suffixes: N images, C classes, D embedding.

Source:
    Ash et al. 2020, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds";
    Arthur and Vassilvitskii 2007, "k-means++: The Advantages of Careful Seeding".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ALIKE = 1e-6  # of the longest squared length: a distance below it is none


@dataclass(frozen=True, eq=False)
class GradientEmbeddings:
    """The gradient embeddings of N images, as their two factors.

    Attributes:
        residuals_NC: float32, probabilities minus the one-hot vector of the predicted class.
        embeddings_ND: float32, centred, and of mean squared length 1.
    """

    residuals_NC: NDArray[np.float32]
    embeddings_ND: NDArray[np.float32]

    @property
    def squared_length_N(self) -> NDArray[np.float32]:
        residual_N = np.einsum("nc,nc->n", self.residuals_NC, self.residuals_NC)
        embedding_N = np.einsum("nd,nd->n", self.embeddings_ND, self.embeddings_ND)
        return np.asarray(residual_N * embedding_N, np.float32)

    def squared_distance_N(self, row: int) -> NDArray[np.float32]:
        """Of all images to one."""
        length_N = self.squared_length_N
        product_N = (self.residuals_NC @ self.residuals_NC[row]) * (
            self.embeddings_ND @ self.embeddings_ND[row]
        )
        return np.asarray(np.maximum(length_N + length_N[row] - 2 * product_N, 0), np.float32)


def gradient_embeddings(
    probabilities_NC: NDArray[np.floating],
    embeddings_ND: NDArray[np.floating],
    unknown_N: NDArray[np.bool_] | None = None,
) -> GradientEmbeddings:
    """The gradient embeddings of images.

    Args:
        probabilities_NC: rows sum to 1.
        embeddings_ND: of the same classifier, on any scale.
        unknown_N: images of no known class: whatever the probabilities of such an image say, it
            counts as one for which all classes are equally likely.

    Example:
        >>> import numpy as np
        >>> sure, unsure = [0.99, 0.01], [0.5, 0.5]
        >>> embeddings_ND = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> found = gradient_embeddings(np.array([sure, unsure]), embeddings_ND)
        >>> found.squared_length_N.round(4).tolist()
        [0.0002, 0.5]
    """
    probabilities = np.array(probabilities_NC, np.float32)
    if unknown_N is not None:
        probabilities[unknown_N] = 1 / probabilities.shape[1]
    residuals = probabilities.copy()
    residuals[np.arange(len(residuals)), probabilities.argmax(axis=1)] -= 1
    embeddings = np.array(embeddings_ND, np.float32)
    embeddings -= embeddings.mean(axis=0)
    length = np.sqrt((embeddings**2).sum(axis=1).mean())
    return GradientEmbeddings(residuals, embeddings / length if length > 0 else embeddings)


def kmeans_plus_plus(
    gradients: GradientEmbeddings,
    count: int,
    *,
    seed: int,
    centres: Sequence[int] = (),
    excluded: Sequence[int] = (),
) -> list[int]:
    """Rows that are far from each other, each drawn by its squared distance to those before it.

    Args:
        count: how many; fewer are found where the others do not differ from those found.
        centres: rows that are taken already; what is like them is not drawn.
        excluded: rows that are not to be drawn.

    Returns:
        The rows in the order in which they were drawn; without centres the first is the longest.
    """
    rng = np.random.default_rng(seed)
    length_N = gradients.squared_length_N
    smallest = _ALIKE * float(length_N.max(initial=0))
    nearest_N = length_N.astype(np.float64)
    free_N = np.ones(len(length_N), np.bool_)
    free_N[[*centres, *excluded]] = False
    for number, row in enumerate(centres):
        to_row_N = gradients.squared_distance_N(row)
        nearest_N = to_row_N.astype(np.float64) if number == 0 else np.minimum(nearest_N, to_row_N)
    drawn: list[int] = []
    while len(drawn) < count:
        share_N = np.where(free_N & (nearest_N > smallest), nearest_N, 0.0)
        if share_N.sum() == 0:
            break
        is_first = not drawn and not len(centres)
        row = int(
            share_N.argmax() if is_first else rng.choice(len(share_N), p=share_N / share_N.sum())
        )
        to_row_N = gradients.squared_distance_N(row)
        nearest_N = to_row_N.astype(np.float64) if is_first else np.minimum(nearest_N, to_row_N)
        free_N[row] = False
        drawn.append(row)
    return drawn
