"""Sets of classes hold the true one as often as promised, over 200 re-splits of real digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from holotype.evaluation.conformal import Method
from holotype.predictions import Predictions, softmax
from tests.evaluation.calibrated import calibrate


@pytest.fixture(scope="module")
def said() -> Predictions:
    """What a hasty classifier, and far too sure of itself, says of digits that it never saw."""
    pixels_ND, targets_N = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(targets_N))
    fit, rest = order[:200], order[200:]
    model = LogisticRegression(C=0.001, max_iter=300).fit(pixels_ND[fit], targets_N[fit])
    logits_NC = model.decision_function(pixels_ND[rest]).astype(np.float32) * 3
    N = len(rest)
    return Predictions(
        classes=tuple("0123456789"), ids=tuple(map(str, rest)), sha256=("0" * 64,) * N,
        targets_N=targets_N[rest].astype(np.int64), weights_N=np.ones(N), groups=("",) * N,
        folds_N=np.full(N, -1), logits_NC=logits_NC, probabilities_NC=softmax(logits_NC),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("coverage", [0.9, 0.95])
@pytest.mark.parametrize("class_conditional", [False, True])
@pytest.mark.parametrize("method", ["lac", "raps"])
def test_the_promise_holds_on_average_over_re_splits(
    said: Predictions, method: Method, class_conditional: bool, coverage: float
) -> None:
    rng = np.random.default_rng(1)
    n, hits, bare_hits, of_class = 600, [], [], []
    for _ in range(200):
        order = rng.permutation(len(said))
        fitted = calibrate(
            said.select(order[:n]), coverage, method=method, class_conditional=class_conditional
        )
        new = said.select(order[n:])
        rows = np.arange(len(new)), new.targets_N
        bare_N = fitted.prediction_sets_NC(new.probabilities_NC, never_empty=False)[rows]
        hit_N = fitted.prediction_sets_NC(new.probabilities_NC)[rows]
        bare_hits.append(bare_N.mean())
        hits.append(hit_N.mean())
        of_class.append([hit_N[new.targets_N == c].mean() for c in range(10)])
    error = np.std(bare_hits, ddof=1) / np.sqrt(200)
    assert np.mean(bare_hits) >= coverage - 3 * error
    assert np.mean(hits) >= np.mean(bare_hits)
    if method == "lac" and not class_conditional:
        assert np.mean(bare_hits) <= coverage + 1 / (n + 1) + 3 * error
    if class_conditional:
        errors_C = np.std(of_class, axis=0, ddof=1) / np.sqrt(200)
        assert (np.mean(of_class, axis=0) >= coverage - 3 * errors_C).all()
