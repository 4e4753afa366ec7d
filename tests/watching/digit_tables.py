"""scikit-learn's digits as a classifier of pixels answers them: as they are, and changed."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, laplace
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from holotype.dataset.image_facts import FACTS
from holotype.watching.watched_images import WatchedImages

UNSEEN = 9


@cache
def digit_tables() -> dict[str, WatchedImages]:
    """Held-out digits 0 to 8, and the unseen 9, by what was changed of them."""
    found = load_digits()
    images, targets = found.images / 16, found.target
    known = np.flatnonzero(targets != UNSEEN)
    training, held_out = np.split(np.random.default_rng(0).permutation(known), [500])
    model = LogisticRegression(C=1.0, max_iter=500)
    model.fit(images[training].reshape(-1, 64), targets[training])

    def table(pixels: NDArray[np.float64], labels: NDArray[np.int64]) -> WatchedImages:
        N = len(pixels)
        facts = {name: np.full(N, np.nan) for name in FACTS}
        facts["brightness"] = pixels.mean(axis=(1, 2))
        facts["sharpness"] = np.array([np.abs(laplace(each)).mean() for each in pixels])
        return WatchedImages(
            probabilities_NC=model.predict_proba(pixels.reshape(-1, 64)),
            embeddings_ND=pixels.reshape(-1, 64).astype(np.float32),
            unknown_N=np.full(N, np.nan),
            set_size_N=np.full(N, np.nan),
            facts=facts,
            format_N=np.full(N, "PNG"),
            targets_N=labels,
            groups_N=np.arange(N).astype(np.str_),
            names_N=np.full(N, ""),
        )

    pixels, labels = images[held_out], targets[held_out]
    nothing = np.full((targets == UNSEEN).sum(), -1)
    return {
        "none": table(pixels, labels),
        "blur": table(np.array([gaussian_filter(each, 0.6) for each in pixels]), labels),
        "brightness": table(pixels * 0.8, labels),
        "unseen": table(images[targets == UNSEEN], nothing),
    }
