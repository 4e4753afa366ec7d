"""Batches of P classes with K images each, which metric learning compares within.

Shape suffixes: N images, C classes.
"""

import numpy as np
from numpy.typing import NDArray


def identity_batches(
    targets_N: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    num_batches: int,
    batch_size: int,
    images_per_identity: int,
) -> list[NDArray[np.int64]]:
    """Rows of each batch: P = batch_size / K different classes, up to K different images of each.

    Classes come in turn, so that over batches all are drawn equally often, whatever their number
    of images; the images of a class come in turn too. A class with fewer than K images brings all.

    Args:
        rng: of the order of classes and images.
        num_batches: how many batches.
        batch_size: P · K.
        images_per_identity: K.

    Source:
        Hermans et al. 2017, "In Defense of the Triplet Loss for Person Re-Identification"
        (batches of P · K).
    """
    classes_C = np.unique(targets_N)
    rows_of = {c: rng.permutation(np.flatnonzero(targets_N == c)) for c in classes_C.tolist()}
    next_image = dict.fromkeys(rows_of, 0)
    per_batch = min(batch_size // images_per_identity, len(classes_C))
    queue: list[int] = []
    batches = []
    for _ in range(num_batches):
        chosen: list[int] = []
        while len(chosen) < per_batch:
            if not queue:
                # Those in this batch already come last, so that none is in it twice.
                order = rng.permutation(classes_C).tolist()
                queue = [c for c in order if c not in chosen] + [c for c in order if c in chosen]
            chosen.append(queue.pop(0))
        rows: list[int] = []
        for c in chosen:
            own, start = rows_of[c], next_image[c]
            count = min(images_per_identity, len(own))
            rows += own[(start + np.arange(count)) % len(own)].tolist()
            next_image[c] = (start + count) % len(own)
        batches.append(np.array(rows, np.int64))
    return batches
