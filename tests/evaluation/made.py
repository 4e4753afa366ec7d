"""Predictions whose truth is known, since they are drawn here."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from holotype.predictions import Predictions, softmax


def made(
    num_images: int = 300,
    num_classes: int = 3,
    *,
    seed: int = 0,
    signal: float = 2.0,
    weighted: bool = False,
    groups: Sequence[str] | None = None,
    rounded: bool = False,
) -> Predictions:
    """Gaussian logits, shifted by `signal` at the true class; `rounded` makes many ties."""
    rng = np.random.default_rng(seed)
    N, C = num_images, num_classes
    targets_N = rng.integers(0, C, N)
    logits_NC = rng.normal(size=(N, C))
    logits_NC[np.arange(N), targets_N] += signal
    logits_NC = np.round(logits_NC, 1) if rounded else logits_NC
    weights_N = rng.choice([0.0, 1 / 3, 2 / 3, 1.0], N) if weighted else np.ones(N)
    return Predictions(
        classes=tuple(f"class {c}" for c in range(C)),
        ids=tuple(f"folder/{n}.png" for n in range(N)),
        sha256=("0" * 64,) * N,
        targets_N=targets_N,
        weights_N=weights_N,
        groups=tuple(groups) if groups is not None else ("",) * N,
        folds_N=np.full(N, -1),
        logits_NC=logits_NC.astype(np.float32),
        probabilities_NC=softmax(logits_NC.astype(np.float32)),
    )


def called(targets: Sequence[int], predicted: Sequence[int], num_classes: int) -> Predictions:
    """Predictions that call every image what is given, with a probability of 0.9."""
    rest = 0.1 / (num_classes - 1)
    probabilities_NC = np.full((len(targets), num_classes), rest)
    probabilities_NC[np.arange(len(targets)), list(predicted)] = 0.9
    return replace(
        made(len(targets), num_classes),
        targets_N=np.array(targets, np.int64),
        logits_NC=np.log(probabilities_NC).astype(np.float32),
        probabilities_NC=probabilities_NC,
    )
