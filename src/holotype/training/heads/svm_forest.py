"""Support vector machines and random forests on the embeddings of a frozen backbone.

C, kernel width and dimensions, or depth and size of leaves, are chosen by the log loss of images
that cross-validation holds out. The scores of those images also calibrate the probabilities, so no
image is kept back: Platt 1999, "Probabilistic Outputs for Support Vector Machines".

Shape suffixes: N images, D embedding, S classes seen in training, C all classes.
"""

import copy
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.architectures.sklearn_onnx import (
    PlattCalibration,
    export_forest,
    export_svm,
    margins_to_scores,
    votes_to_scores,
)
from holotype.bundle.onnx_runtime import open_session, run_session
from holotype.errors import MissingExtra, ParityFailed
from holotype.training.config.stage_config import ForestStage, SvmStage
from holotype.training.heads.hyperparameter_search import (
    TUNING_IMAGES,
    CrossValidation,
    EstimatorFamily,
    FitFunction,
    HyperparameterKey,
    Hyperparameters,
    HyperparameterValue,
    ParamGrid,
    coordinate_search,
)
from holotype.training.heads.training_data import TrainingData

PARITY_EMBEDDINGS = 256  # at most, on which the graph is compared with scikit-learn
TOLERANCE = 1e-4  # between the shipped logits and scikit-learn's, relative to their spread


@dataclass(frozen=True, eq=False)
class ClassicalHead:
    """A head that ships, and how it was chosen.

    Attributes:
        graph: ONNX, `embedding` (N, D) -> `logits` (N, C); their softmax is calibrated.
        best_params: the chosen settings.
        losses: mean held-out log loss, calibrated, of all settings that were tried; keyed by
            their values in the order of `best_params`. Empty where no fold can be made.
        note: the settings and their loss in one line.
    """

    graph: bytes
    best_params: dict[str, HyperparameterValue]
    losses: dict[HyperparameterKey, float]
    note: str


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A head as scikit-learn fitted it, with its calibration.

    Attributes:
        family: the kind of classifier.
        fitted: to all images, with the chosen settings.
        calibration: from its scores to logits.
        best_params, losses: see `ClassicalHead`.
    """

    family: EstimatorFamily
    fitted: Any
    calibration: PlattCalibration
    best_params: dict[str, HyperparameterValue]
    losses: dict[HyperparameterKey, float]

    def logits(self, features_ND: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, C); their softmax is calibrated."""
        return self.calibration.logits(self.family.scores(self.fitted, features_ND))


def fit_classical_head(
    data: TrainingData, stage: SvmStage | ForestStage, seed: int
) -> ClassicalHead:
    """What `fit_head` fits, as a graph.

    Raises:
        ParityFailed: the logits of the graph are not those of scikit-learn.
    """
    head = fit_head(data, stage, seed)
    graph = head.family.export(head.fitted, data.features_ND.shape[1], head.calibration)
    some_ND = data.features_ND[:: 1 + len(data) // PARITY_EMBEDDINGS]
    _check_parity(graph, some_ND, head.logits(some_ND), head.family.name)
    note = _note(head.family.name, head.best_params, head.losses, len(data))
    return ClassicalHead(graph, head.best_params, head.losses, note)


def fit_head(data: TrainingData, stage: SvmStage | ForestStage, seed: int) -> FittedHead:
    """A support vector machine on principal components, or a random forest (Breiman 2001).

    Args:
        stage: names the candidates for each setting. `gamma` is in units of one over the variance
            of all dimensions together.
        seed: of the folds, and of the rotation or the trees.
    """
    data = data.counted
    if isinstance(stage, ForestStage):
        param_grid: ParamGrid = {
            "depth": sorted(set(stage.depths), key=lambda depth: depth or np.inf),
            "leaf": sorted(set(stage.leaf_sizes)),
        }
        return _fit(_Forest("random forest", param_grid, stage.trees, seed), data, stage.folds)
    most = min(len(data) - 1, data.features_ND.shape[1])
    sizes = {None if size is None or size >= most else size for size in stage.pca}
    param_grid = {
        "C": sorted(stage.Cs),
        "dimensions": sorted(sizes, key=lambda size: size or most),
    }
    if stage.kernel == "rbf":
        param_grid["gamma"] = sorted(stage.gamma or (1.0,))
    return _fit(_Svm(f"svm ({stage.kernel})", param_grid, stage.kernel, seed), data, stage.folds)


@dataclass(frozen=True)
class _Svm:
    name: str
    param_grid: ParamGrid
    kernel: str
    seed: int

    def fit_function(self, data: TrainingData) -> FitFunction:
        """Standardised and rotated once; fewer dimensions are the first ones of that rotation."""
        from sklearn.decomposition import PCA
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(data.features_ND)
        standard_ND = scaler.transform(data.features_ND)
        wanted = [int(size) for size in self.param_grid["dimensions"] if size is not None]
        rotation = None
        if wanted:
            most = min(max(wanted), *standard_ND.shape)
            with np.errstate(invalid="ignore"):  # features without any variance have no shares
                rotation = PCA(most, random_state=self.seed).fit(standard_ND)
        return partial(self._fitted, data, scaler, standard_ND, rotation)

    def _fitted(
        self,
        data: TrainingData,
        scaler: Any,
        standard_ND: NDArray[np.float32],
        rotation: Any,
        settings: Hyperparameters,
    ) -> Any:
        from sklearn.pipeline import Pipeline
        from sklearn.svm import SVC

        steps: list[tuple[str, Any]] = [("scaler", scaler)]
        size = settings["dimensions"]
        if size is not None:
            first = _first_dimensions(rotation, int(size))
            standard_ND = first.transform(standard_ND)
            steps.append(("dimensions", first))
        variance = float(standard_ND.var(axis=0, dtype=np.float64).sum())
        gamma = float(settings.get("gamma") or 1.0) / max(variance, 1e-12)
        machine = SVC(
            C=settings["C"], kernel=self.kernel, gamma=gamma, decision_function_shape="ovo"
        )
        machine.fit(standard_ND, data.targets_N, sample_weight=data.weights_N)
        return Pipeline([*steps, ("machine", machine)])

    def scores(self, fitted: Any, features_ND: NDArray[np.float32]) -> NDArray[np.float64]:
        margins_NP = fitted.decision_function(features_ND).reshape(len(features_ND), -1)
        return margins_to_scores(margins_NP, len(fitted[-1].classes_))

    def export(self, fitted: Any, embedding_size: int, calibration: PlattCalibration) -> bytes:
        return export_svm(fitted, embedding_size, calibration)


def _first_dimensions(rotation: Any, size: int) -> Any:
    """A fitted PCA cut down to its first dimensions."""
    first = copy.copy(rotation)
    first.components_ = rotation.components_[:size]
    first.explained_variance_ = rotation.explained_variance_[:size]
    first.n_components_ = len(first.components_)
    return first


@dataclass(frozen=True)
class _Forest:
    name: str
    param_grid: ParamGrid
    trees: int
    seed: int

    @property
    def min_vote(self) -> float:
        """Half a tree's vote."""
        return 0.5 / self.trees

    def fit_function(self, data: TrainingData) -> FitFunction:
        from sklearn.ensemble import RandomForestClassifier

        def fitted(settings: Hyperparameters) -> Any:
            forest = RandomForestClassifier(
                self.trees,
                max_depth=settings["depth"],
                min_samples_leaf=settings["leaf"],
                random_state=self.seed,
            )
            return forest.fit(data.features_ND, data.targets_N, sample_weight=data.weights_N)

        return fitted

    def scores(self, fitted: Any, features_ND: NDArray[np.float32]) -> NDArray[np.float64]:
        return votes_to_scores(fitted.predict_proba(features_ND), self.min_vote)

    def export(self, fitted: Any, embedding_size: int, calibration: PlattCalibration) -> bytes:
        return export_forest(fitted, embedding_size, calibration, self.min_vote)


def require_skl2onnx(method: str) -> None:
    """Refuse to fit what could not be exported.

    Raises:
        MissingExtra: skl2onnx is not installed.
    """
    if importlib.util.find_spec("skl2onnx") is None:
        raise MissingExtra(f"{method} needs skl2onnx: pip install 'holotype[train]'")


def _fit(family: EstimatorFamily, data: TrainingData, folds: int) -> FittedHead:
    """Choose the settings, calibrate, and fit to all images."""
    from threadpoolctl import threadpool_limits

    data = replace(data, weights_N=data.weights_N / data.weights_N.mean())
    # One thread a fold: the products are too small to share, the folds are not.
    with threadpool_limits(limits=1):
        cross_validation = CrossValidation.create(family, data, folds)
        chosen, losses = coordinate_search(family.param_grid, cross_validation.loss)
        calibration = cross_validation.calibration(chosen, data.seen_classes)
        fitted = family.fit_function(data)(chosen)
    return FittedHead(family, fitted, calibration, chosen, losses)


def _check_parity(
    graph: bytes, features_ND: NDArray[np.float32], expected_NC: NDArray[np.float64], name: str
) -> None:
    """Require the logits of the graph to be those of scikit-learn.

    Raises:
        ParityFailed: they differ by more than TOLERANCE times their spread over the images.
    """
    (actual_NC,) = run_session(open_session(graph), np.ascontiguousarray(features_ND), ["logits"])
    spread = max(1.0, float(np.ptp(expected_NC, axis=0).max()))
    error = float(np.abs(expected_NC - actual_NC).max()) / spread
    if not error <= TOLERANCE:  # also where it is not a number
        raise ParityFailed(
            f"{name}: scikit-learn and ONNX differ by a relative error of {error:.2g}, expected "
            f"at most {TOLERANCE:g}. Nothing was written; please report this with the recipe."
        )


def _note(
    name: str, chosen: Hyperparameters, losses: Mapping[HyperparameterKey, float], count: int
) -> str:
    values = ["any" if value is None else f"{value:g}" for value in chosen.values()]
    words = ", ".join(f"{key} = {value}" for key, value in zip(chosen, values, strict=True))
    if not losses:
        return f"{name}: {words}; too few images to choose, or calibrate, by cross-validation"
    of = f" on {TUNING_IMAGES:,} of {count:,} images" if count > TUNING_IMAGES else ""
    loss = losses[tuple(chosen.values())]
    return f"{name}: {words} by cross-validation{of}; held-out log loss {loss:.3f}"
