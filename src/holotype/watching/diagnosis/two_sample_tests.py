"""Do two sets of independent images come from one distribution? Tests, once there is an alarm.

Shape suffixes: N images of the window, R of the reference, D numbers an image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.references import l2_normalized

Floats = NDArray[np.float64]

PERMUTATIONS = 500
FOLDS = 5
DIMENSIONS = 32  # principal components that the domain classifier sees
MAX_IMAGES = 1000  # of each set; of more, a sample


@dataclass(frozen=True)
class TestOutcome:
    """A two-sample test.

    Attributes:
        name: of the test.
        statistic: larger is more different.
        p_value: the chance of such a statistic where nothing differs.
    """

    name: str
    statistic: float
    p_value: float


@dataclass(frozen=True, eq=False)
class DomainClassifier:
    """How well a logistic regression tells window and reference apart, by cross-validation.

    Attributes:
        auc: area under the ROC curve; 0.5 where they cannot be told apart.
        z: standard errors that it lies above 0.5.
        odds_N, odds_R: how much more probable an image is in the window than in the reference,
            by a model that had not seen it.
    """

    auc: float
    z: float
    odds_N: Floats
    odds_R: Floats


def mmd_test(
    window_ND: NDArray[np.float32], reference_RD: NDArray[np.float32], seed: int = 0
) -> TestOutcome:
    """The maximum mean discrepancy of embeddings, with a Gaussian kernel and permutations.

    Source:
        Gretton et al. 2012, "A Kernel Two-Sample Test"; the width is the median distance.
    """
    rng = np.random.default_rng(seed)
    window_ND, reference_RD = _sampled(window_ND, rng), _sampled(reference_RD, rng)
    both = l2_normalized(np.concatenate([window_ND, reference_RD])).astype(np.float64)
    squared = np.maximum(2 - 2 * both @ both.T, 0)
    kernel = np.exp(-squared / max(float(np.median(squared)), 1e-12))
    np.fill_diagonal(kernel, 0)
    N, M = len(window_ND), len(both)
    signs = np.empty((PERMUTATIONS + 1, M))
    in_window = np.arange(M) < N
    for row in range(PERMUTATIONS + 1):
        chosen = in_window if row == 0 else rng.permutation(in_window)
        signs[row] = np.where(chosen, 1 / N, -1 / (M - N))
    statistics = np.einsum("pm,mk,pk->p", signs, kernel, signs, optimize=True)
    p_value = float((statistics >= statistics[0] - 1e-15).mean())
    return TestOutcome("MMD of embeddings", float(statistics[0]), p_value)


def ks_test(name: str, window_N: Floats, reference_R: Floats) -> TestOutcome | None:
    """Kolmogorov and Smirnov's test of one score; None where one side has no values."""
    from scipy.stats import ks_2samp

    window_N = window_N[np.isfinite(window_N)]
    reference_R = reference_R[np.isfinite(reference_R)]
    if not len(window_N) or not len(reference_R):
        return None
    method = "exact" if len(window_N) < 10 else "asymp"  # of few, the asymptotic p is too small
    found = ks_2samp(window_N, reference_R, method=method)
    return TestOutcome(f"KS of {name}", float(found.statistic), float(found.pvalue))


def domain_classifier(
    window_ND: NDArray[np.float64],
    reference_RD: NDArray[np.float64],
    reference_weights_R: Floats | None = None,
) -> DomainClassifier:
    """Tell window and reference apart by a logistic regression.

    Args:
        window_ND, reference_RD: features.
        reference_weights_R: what each reference image counts; 1 by default.

    Source:
        Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests"; as density ratio,
        Bickel, Brückner and Scheffer 2009, "Discriminative Learning Under Covariate Shift".
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    N, R = len(window_ND), len(reference_RD)
    weights_R = np.ones(R) if reference_weights_R is None else reference_weights_R
    features = np.concatenate([window_ND, reference_RD])
    is_window = np.arange(N + R) < N
    weights = np.concatenate([np.ones(N), weights_R * N / weights_R.sum()])
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-12)
    log_odds = np.empty(N + R)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for training, held_out in folds.split(features, is_window):
        model = LogisticRegression(C=0.1, max_iter=300)
        model.fit(features[training], is_window[training], sample_weight=weights[training])
        log_odds[held_out] = model.decision_function(features[held_out])
    auc = float(roc_auc_score(is_window, log_odds, sample_weight=weights))
    effective = weights_R.sum() ** 2 / (weights_R**2).sum()
    error = np.sqrt((N + effective + 1) / (12 * N * effective))
    odds = np.exp(np.clip(log_odds, -20, 20))
    return DomainClassifier(auc, float((auc - 0.5) / error), odds[:N], odds[N:])


def principal_components(
    fitted_on_KD: NDArray[np.float32], *sets: NDArray[np.float32]
) -> list[Floats]:
    """Sets of embeddings along the first principal directions of one of them."""
    unit_KD = l2_normalized(fitted_on_KD).astype(np.float64)
    centre_D = unit_KD.mean(axis=0)
    _, _, directions = np.linalg.svd(unit_KD - centre_D, full_matrices=False)
    directions = directions[:DIMENSIONS]
    return [(l2_normalized(one).astype(np.float64) - centre_D) @ directions.T for one in sets]


def _sampled(embeddings_ND: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    if len(embeddings_ND) <= MAX_IMAGES:
        return embeddings_ND
    return embeddings_ND[rng.choice(len(embeddings_ND), MAX_IMAGES, replace=False)]
