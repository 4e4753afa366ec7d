"""Support vector machines and random forests on the embeddings of a frozen backbone.

What is left open (C, kernel width, dimensions; depth, size of leaves) is chosen by the log
loss of held-out images of the training part. The scores that those images got also calibrate
the probabilities, so no image is kept back: Platt 1999, "Probabilistic Outputs for Support
Vector Machines".

Shape suffixes: N images, D embedding, S classes seen in training, C all classes.
"""

import copy
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from holotype.architectures.sklearn_onnx import (
    PlattCalibration,
    export_forest,
    export_svm,
    margins_to_scores,
    votes_to_scores,
)
from holotype.bundle.onnx_sessions import open_session, run_session
from holotype.errors import MissingExtra, ParityFailed
from holotype.training.heads.hyperparameter_search import (
    TUNING_IMAGES,
    CrossValidation,
    EstimatorFamily,
    FitFunction,
    HyperparameterKey,
    Hyperparameters,
    HyperparameterValue,
    TrainingData,
    coordinate_search,
)

PARITY_IMAGES = 256
TOLERANCE = 1e-4  # between the shipped logits and scikit-learn's


@dataclass(frozen=True, eq=False)
class ClassicalHead:
    """A head that ships, and how it was chosen.

    Attributes:
        graph: ONNX, `embedding` (N, D) -> `logits` (N, C); their softmax is calibrated.
        best_params: the settings.
        losses: mean held-out log loss, calibrated, of all settings that were tried; keyed by
            their values in the order of `best_params`. Empty where no fold can be made.
        note: all that in one line.
    """

    graph: bytes
    best_params: dict[str, HyperparameterValue]
    losses: dict[HyperparameterKey, float]
    note: str


def fit_svm(
    features_ND: NDArray[np.float32],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    groups: Sequence[str],
    *,
    num_classes: int,
    kernel: Literal["linear", "rbf"],
    Cs: Sequence[float],
    gamma: Sequence[float] | None,
    pca: Sequence[int | None],
    folds: int,
    seed: int,
) -> ClassicalHead:
    """Standardisation, principal components, support vector machine, calibrated.

    Args:
        groups: images of one group never stand on both sides of a fold; "" for none.
        Cs: candidates for C, how dearly an image on the wrong side is paid for.
        gamma: candidates for the width of the `rbf` kernel, in units of one over the variance
            of all dimensions together; None for `linear`.
        pca: candidates for the number of principal components; None keeps all dimensions.
        folds: fewer are made where a class or the groups do not allow as many.

    Raises:
        ParityFailed: the graph does not say what scikit-learn says.
        MissingExtra: skl2onnx is not installed.
    """
    most = min(len(features_ND) - 1, features_ND.shape[1])
    sizes = {None if size is None or size >= most else size for size in pca}
    param_grid: dict[str, Sequence[HyperparameterValue]] = {
        "C": sorted(Cs),
        "dimensions": sorted(sizes, key=lambda size: size or most),
    }
    if kernel == "rbf":
        param_grid["gamma"] = sorted(gamma or (1.0,))
    data = TrainingData(features_ND, targets_N, weights_N / weights_N.mean())
    return _fit(_Svm(f"svm ({kernel})", param_grid, kernel, seed), data, groups, num_classes, folds)


def fit_forest(
    features_ND: NDArray[np.float32],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    groups: Sequence[str],
    *,
    num_classes: int,
    trees: int,
    depths: Sequence[int | None],
    leaf_sizes: Sequence[int],
    folds: int,
    seed: int,
) -> ClassicalHead:
    """A random forest (Breiman 2001) whose votes are calibrated.

    Args:
        groups: images of one group never stand on both sides of a fold; "" for none.
        trees: how many; more are never worse, only slower.
        depths: candidates for how deep a tree may grow; None is any depth.
        leaf_sizes: candidates for the fewest images in a leaf.
        folds: fewer are made where a class or the groups do not allow as many.

    Raises:
        ParityFailed: the graph does not say what scikit-learn says.
        MissingExtra: skl2onnx is not installed.
    """
    param_grid: dict[str, Sequence[HyperparameterValue]] = {
        "depth": sorted(set(depths), key=lambda depth: depth or np.inf),
        "leaf": sorted(set(leaf_sizes)),
    }
    data = TrainingData(features_ND, targets_N, weights_N / weights_N.mean())
    return _fit(_Forest("random forest", param_grid, trees, seed), data, groups, num_classes, folds)


@dataclass(frozen=True)
class _Svm:
    name: str
    param_grid: Mapping[str, Sequence[HyperparameterValue]]
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
    param_grid: Mapping[str, Sequence[HyperparameterValue]]
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


def _fit(
    family: EstimatorFamily, data: TrainingData, groups: Sequence[str], num_classes: int, folds: int
) -> ClassicalHead:
    """Choose, calibrate, fit to all, export, prove."""
    if importlib.util.find_spec("skl2onnx") is None:  # asked first: fitting may take minutes
        raise MissingExtra(f"{family.name} needs skl2onnx: pip install 'holotype[train]'")
    from threadpoolctl import threadpool_limits

    # One thread a fold: the products are too small to share, the folds are not.
    with threadpool_limits(limits=1):
        cross_validation = CrossValidation.create(family, data, groups, folds)
        chosen, losses = coordinate_search(family.param_grid, cross_validation.loss)
        calibration = cross_validation.calibration(chosen, data.seen, num_classes)
        fitted = family.fit_function(data)(chosen)
    graph = family.export(fitted, data.features_ND.shape[1], calibration)
    some_ND = data.features_ND[:: 1 + len(data.features_ND) // PARITY_IMAGES]
    _check_parity(graph, some_ND, calibration.logits(family.scores(fitted, some_ND)), family.name)
    note = _note(family.name, chosen, losses, len(data.targets_N))
    return ClassicalHead(graph, chosen, losses, note)


def _check_parity(
    graph: bytes, features_ND: NDArray[np.float32], expected_NC: NDArray[np.float64], name: str
) -> None:
    """The shipped logits are those of scikit-learn; differences count where one could see them."""
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
