"""Sets agree with those of MAPIE where it is deterministic: another hand, the same theorem.

LAC has no randomness there. APS and RAPS draw a uniform number for every image; a generator that
always draws 1 leaves the mass of the likelier classes, which is our score (the paper's u is one
minus MAPIE's), and its sets take in the class that crosses the limit. RAPS would look for its
penalty on a part of the calibration images; it is told ours instead. Its sets penalise a class by
the rank of the one before it, its scores by its own: told one free class less, they agree.
"""

from typing import Any

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from mapie.conformity_scores import RAPSConformityScore
from mapie.utils import _compute_classification_quantile
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

import holotype.evaluation.conformal as ours
from tests.evaluation.calibrated import calibrate
from tests.evaluation.made import made


class _Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose probabilities are its input."""

    def __init__(self, num_classes: int = 4) -> None:
        self.num_classes = num_classes

    def fit(self, X: NDArray[np.float64], y: NDArray[np.int64]) -> "_Given":
        self.classes_ = np.arange(self.num_classes)
        return self

    def predict_proba(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return X

    def predict(self, X: NDArray[np.float64]) -> NDArray[np.int64]:
        return X.argmax(axis=1)


class _AlwaysOne(np.random.RandomState):
    def uniform(self, *args: Any, **kwargs: Any) -> Any:
        return np.ones_like(super().uniform(*args, **kwargs))


class _OurPenalty(RAPSConformityScore):  # type: ignore[misc]
    """RAPS with the penalty and the free classes given instead of looked for."""

    def split_data(self, X: Any, y: Any, y_enc: Any, *args: Any, **kwargs: Any) -> Any:
        self.n_samples_ = len(y_enc)
        return X, y, y_enc, None, None

    def get_conformity_scores(self, y: Any, y_pred: Any, y_enc: Any = None, **kwargs: Any) -> Any:
        return super(RAPSConformityScore, self).get_conformity_scores(y, y_pred, y_enc=y_enc)

    def get_conformity_score_quantiles(
        self, conformity_scores: Any, alpha_np: Any, *args: Any, **kwargs: Any
    ) -> Any:
        self.k_star = np.full(len(alpha_np), ours.K_REG)
        self.lambda_star = ours.RAPS_PENALTY
        regularised = self._regularize_conformity_score(
            self.k_star, self.lambda_star, conformity_scores, self.cutoff
        )
        self.k_star = self.k_star - 1
        return _compute_classification_quantile(regularised, alpha_np)


def _theirs(
    score: Any, coverage: float, num_classes: int, calibration: Any, new: Any
) -> NDArray[np.bool_]:
    probabilities_NC = calibration.probabilities_NC
    model = SplitConformalClassifier(
        _Given(num_classes).fit(probabilities_NC, calibration.targets_N),
        confidence_level=coverage, conformity_score=score, prefit=True,
        random_state=_AlwaysOne(0),
    )  # fmt: skip
    model.conformalize(probabilities_NC, calibration.targets_N)
    params = {} if score == "lac" else {"include_last_label": True}
    _, sets = model.predict_set(new.probabilities_NC, conformity_score_params=params)
    return np.asarray(sets[:, :, 0])


@pytest.mark.parametrize("num_classes", [2, 4, 12])
@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("images", [57, 400])
def test_lac_agrees_with_mapie(num_classes: int, coverage: float, images: int) -> None:
    calibration = made(images, num_classes, seed=images)
    new = made(500, num_classes, seed=7)
    fitted = calibrate(calibration, coverage, method="lac")
    theirs_NC = _theirs("lac", coverage, num_classes, calibration, new)
    mine_NC = fitted.prediction_sets_NC(new.probabilities_NC, never_empty=False)
    np.testing.assert_array_equal(mine_NC, theirs_NC)
    assert 0 < mine_NC.mean() < 1


@pytest.mark.parametrize("num_classes", [3, 12])  # MAPIE takes two classes for lac alone
@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("penalty", [0.0, 0.01, 0.2])
def test_raps_agrees_with_mapie(
    num_classes: int, coverage: float, penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a penalty it is APS (Romano et al. 2020)."""
    monkeypatch.setattr(ours, "RAPS_PENALTY", penalty)
    calibration = made(300, num_classes, seed=3)
    new = made(500, num_classes, seed=8)
    fitted = calibrate(calibration, coverage, method="raps")
    mine_NC = fitted.prediction_sets_NC(new.probabilities_NC)
    score = _OurPenalty() if penalty else "aps"
    np.testing.assert_array_equal(mine_NC, _theirs(score, coverage, num_classes, calibration, new))
    assert 0 < mine_NC.mean() < 1
