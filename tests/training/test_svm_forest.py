"""Support vector machines and forests on embeddings, calibrated and exported."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from holotype.architectures.sklearn_onnx import ABSENT_CLASS_LOGIT
from holotype.bundle.building.hog_lbp_graph import MEAN, STD, descriptor_graph
from holotype.bundle.onnx_runtime import open_session, run_session
from holotype.errors import ParityFailed
from holotype.imaging.preprocessing import Preprocessing
from holotype.predictions import softmax
from holotype.training.config.stage_config import ForestStage, SvmStage
from holotype.training.heads.hyperparameter_search import (
    HyperparameterValue,
    coordinate_search,
    fit_platt_scaling,
)
from holotype.training.heads.svm_forest import ClassicalHead, _check_parity, fit_classical_head
from tests.training.tiny import unweighted

Features = NDArray[np.float32]
Targets = NDArray[np.int64]


@pytest.fixture(scope="module")
def digits() -> tuple[Features, Targets]:
    """HOG of real digits that people wrote, brought to 64 px; 700 of them."""
    images, targets = load_digits(return_X_y=True)
    preprocessing = Preprocessing(64, 64, "squash", "bicubic", MEAN, STD)
    session = open_session(descriptor_graph("hog", 64, 64))
    embeddings = []
    for image in images[:700]:
        levels = (image.reshape(8, 8) * (255 / 16)).astype(np.uint8)
        framed = Image.fromarray(levels).resize((64, 64), Image.Resampling.BICUBIC)
        embeddings.append(
            run_session(session, preprocessing.tensor(framed)[None], ["embedding"])[0]
        )
    return np.concatenate(embeddings), targets[:700].astype(np.int64)


def _clouds(
    classes: int, each: int, size: int = 12, noise: float = 3.0
) -> tuple[Features, Targets]:
    rng = np.random.default_rng(classes)
    centres = rng.normal(size=(classes, size))
    targets = np.tile(np.arange(classes), each)
    features = centres[targets] + rng.normal(size=(len(targets), size)) * noise / 3 + 7
    return features.astype(np.float32), targets


def _fit(
    kind: str,
    features: Features,
    targets: Targets,
    data: Mapping[str, Any] = MappingProxyType({}),
    **changes: Any,
) -> ClassicalHead:
    """With other settings (`changes`), or with other weights, groups or classes (`data`)."""
    images = replace(unweighted(features, targets), **data)
    if kind == "forest":
        forest = {"method": "random_forest", "trees": 10, "folds": 3, **changes}
        return fit_classical_head(images, ForestStage.model_validate(forest), 0)
    svm = {"method": "svm", "kernel": kind, "Cs": (1.0,), "folds": 3, **changes}
    return fit_classical_head(images, SvmStage.model_validate(svm), 0)


_DIGESTS = """
import hashlib
from tests.training.test_svm_forest import _clouds, _fit
features, targets = _clouds(3, 12)
for kind in ("linear", "rbf", "forest"):
    print(hashlib.sha256(_fit(kind, features, targets).graph).hexdigest())
"""


@pytest.mark.slow  # three interpreters
def test_the_bytes_of_a_graph_do_not_depend_on_the_process() -> None:
    """Sets of texts have another order in each, unless the seed of their hashes is given."""
    found = [
        subprocess.run(
            [sys.executable, "-c", _DIGESTS], check=True, capture_output=True, text=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout.split()
        for seed in ("1", "2", "3")
    ]  # fmt: skip
    assert len(found[0]) == len(set(found[0])) == 3
    assert found[0] == found[1] == found[2]


def _logits(head: ClassicalHead, features: Features) -> NDArray[np.float32]:
    return run_session(open_session(head.graph), features, ["logits"])[0]


def _svc_margins(features: Features, targets: Targets, pca: int | None, C: float) -> object:
    steps = [StandardScaler(), *([PCA(pca, random_state=0)] if pca else [])]
    turned = make_pipeline(*steps).fit_transform(features)
    machine = SVC(C=C, kernel="rbf", gamma=1 / turned.var(axis=0).sum())
    return machine.fit(turned, targets).decision_function(turned)


@pytest.mark.parametrize("kind", ["rbf", "linear", "forest"])
def test_digits_by_hog_are_told_apart(digits: tuple[Features, Targets], kind: str) -> None:
    features, targets = digits
    train, test = np.split(np.random.default_rng(0).permutation(700), [450])
    changes: dict[str, object] = {"trees": 50} if kind == "forest" else {"pca": (64,)}
    head = _fit(kind, features[train], targets[train], **changes)
    logits = _logits(head, features[test])
    assert (logits.argmax(axis=1) == targets[test]).mean() > 0.95
    # Calibrated: as sure as it is right, to what 250 images can show.
    sure = softmax(logits).max(axis=1).mean()
    assert abs(sure - (logits.argmax(axis=1) == targets[test]).mean()) < 0.06


@pytest.mark.parametrize("pca", [None, 16])
def test_with_two_classes_logits_follow_scikit_learns_margin(
    digits: tuple[Features, Targets], pca: int | None
) -> None:
    features, targets = digits
    two = np.isin(targets, (3, 8))
    features, targets = features[two], (targets[two] == 8).astype(np.int64)
    head = _fit("rbf", features, targets, pca=(pca,), Cs=(2.0,))
    logits = _logits(head, features).astype(np.float64)
    margins = np.asarray(_svc_margins(features, targets, pca, 2.0))
    slope, offset = np.polyfit(margins, logits[:, 1] - logits[:, 0], 1)
    assert slope > 0
    error = np.abs(slope * margins + offset - (logits[:, 1] - logits[:, 0])).max()
    # Two fits of one machine differ by the tolerance at which libsvm stops.
    assert error / np.ptp(logits[:, 1] - logits[:, 0]) < 1e-3


def test_forest_logits_are_the_log_of_its_votes_scaled_and_shifted() -> None:
    features, targets = _clouds(3, 40)
    head = _fit("forest", features, targets)
    forest = RandomForestClassifier(10, random_state=0)
    forest.fit(features, targets, sample_weight=np.ones(len(targets)))
    votes = np.log(np.maximum(forest.predict_proba(features), 0.5 / 10))
    logits = _logits(head, features)
    difference, expected = logits - logits[:, :1], votes - votes[:, :1]
    for c in (1, 2):
        slope, offset = np.polyfit(expected[:, c], difference[:, c], 1)
        assert np.abs(slope * expected[:, c] + offset - difference[:, c]).max() < 1e-4


def test_a_graph_that_says_otherwise_is_not_written() -> None:
    features, targets = _clouds(3, 20)
    head = _fit("rbf", features, targets)
    _check_parity(head.graph, features, _logits(head, features).astype(np.float64), "svm")
    with pytest.raises(ParityFailed, match="scikit-learn and ONNX differ"):
        _check_parity(head.graph, features, _logits(head, features) + 0.01, "svm")


def test_calibration_of_two_classes_is_logistic_regression_on_the_margin() -> None:
    """Platt's sigmoid; with many images his smoothed targets are 0 and 1."""
    rng = np.random.default_rng(0)
    margins = rng.normal(size=20_000)
    targets = (rng.uniform(size=20_000) < 1 / (1 + np.exp(-(1.7 * margins - 0.6)))).astype(int)
    scores = np.stack([np.zeros_like(margins), margins], axis=1)
    slope, biases = fit_platt_scaling(scores, targets, np.ones(20_000))
    oracle = LogisticRegression(C=1e6).fit(margins[:, None], targets)
    assert slope == pytest.approx(oracle.coef_[0, 0], rel=0.01)
    assert biases[1] - biases[0] == pytest.approx(oracle.intercept_[0], abs=0.02)


def test_calibration_without_a_mistake_stays_finite() -> None:
    scores = np.array([[0.0, 9.0], [9.0, 0.0]] * 4)
    slope, biases = fit_platt_scaling(scores, np.array([1, 0] * 4), np.ones(8))
    sure = softmax(slope * scores + biases).max(axis=1)
    assert sure == pytest.approx(np.full(8, 5 / 6), abs=0.01)  # (4 + 1) / (4 + 2)


def test_noise_is_called_noise() -> None:
    rng = np.random.default_rng(1)
    features, targets = rng.normal(size=(120, 10)).astype(np.float32), np.arange(120) % 2
    sure = softmax(_logits(_fit("rbf", features, targets, folds=5), features)).max(axis=1)
    assert sure.mean() < 0.65  # the machine itself has learnt these images by heart


def test_the_search_walks_down_to_the_lowest_of_a_bowl() -> None:
    param_grid: dict[str, list[HyperparameterValue]] = {
        "a": [1, 2, 3, 4, 5, 6, 7],
        "b": [10, 20, 30, None],
    }
    asked = []

    def loss(settings: object) -> float:
        asked.append(dict(settings))  # type: ignore[call-overload]
        one = asked[-1]
        return abs(one["a"] - 6) + abs((one["b"] or 40) - 10) / 10

    chosen, losses = coordinate_search(param_grid, loss)
    assert chosen == {"a": 6, "b": 10}
    assert len(asked) == len(losses) < 28


def test_the_chosen_settings_have_the_lowest_held_out_loss() -> None:
    features, targets = _clouds(3, 30, noise=6)
    head = _fit("rbf", features, targets, Cs=(0.01, 1.0, 100.0), gamma=(0.01, 1.0, 100.0))
    assert head.losses[tuple(head.best_params.values())] == min(head.losses.values())
    assert f"{min(head.losses.values()):.3f}" in head.note


def test_copies_in_groups_are_not_taken_for_evidence() -> None:
    """With copies on both sides of a fold a machine that knows each by heart looks perfect."""
    rng = np.random.default_rng(2)
    features = np.repeat(rng.normal(size=(30, 8)), 6, axis=0).astype(np.float32)
    targets = np.repeat(np.arange(30) % 2, 6)
    groups = [str(n // 6) for n in range(180)]
    settings = {"Cs": (100.0,), "gamma": (3.0,)}
    (unnoticed,) = _fit("rbf", features, targets, **settings).losses.values()
    (grouped,) = _fit("rbf", features, targets, {"groups": groups}, **settings).losses.values()
    assert unnoticed < 0.1
    assert grouped > 0.5


@pytest.mark.parametrize("kind", ["rbf", "linear", "forest"])
def test_an_image_of_weight_three_counts_as_three(kind: str) -> None:
    features, targets = _clouds(2, 30, noise=8)
    weights = np.ones(60)
    weights[targets == 1] = 3.0
    plain, weighted = (
        _fit(kind, features, targets, {"weights_N": w}) for w in (np.ones(60), weights)
    )
    share = [softmax(_logits(head, features))[:, 1].mean() for head in (plain, weighted)]
    assert share[1] > share[0] + 0.1


@pytest.mark.parametrize("kind", ["rbf", "linear", "forest"])
def test_a_class_without_images_is_never_predicted(kind: str) -> None:
    features, targets = _clouds(3, 20)
    head = _fit(kind, features, targets * 2, {"num_classes": 6})
    logits = _logits(head, features)
    assert np.allclose(logits[:, [1, 3, 5]], ABSENT_CLASS_LOGIT)
    assert set(logits.argmax(axis=1)) == {0, 2, 4}


def _one_image_of_a_class(features: Features, targets: Targets) -> tuple[Features, Targets]:
    return features[:61], np.array([*np.arange(60) % 2, 2])


def _two_images_a_class(features: Features, targets: Targets) -> tuple[Features, Targets]:
    return features[:6], targets[:6]


def _one_image_a_class(features: Features, targets: Targets) -> tuple[Features, Targets]:
    return features[:3], targets[:3]


def _constant_features(features: Features, targets: Targets) -> tuple[Features, Targets]:
    features = features.copy()
    features[:, 1:6] = 0.1
    return features, targets


def _nothing_but_constants(features: Features, targets: Targets) -> tuple[Features, Targets]:
    return np.full_like(features, 0.3), targets


def _a_class_in_one_group(features: Features, targets: Targets) -> tuple[Features, Targets]:
    return features, targets


@pytest.mark.parametrize("kind", ["rbf", "linear", "forest"])
@pytest.mark.parametrize(
    "make",
    [
        _one_image_of_a_class, _two_images_a_class, _one_image_a_class,
        _constant_features, _nothing_but_constants, _a_class_in_one_group,
    ],
)  # fmt: skip
def test_scarce_and_odd_data_makes_a_head_with_finite_logits(
    kind: str, make: Callable[[Features, Targets], tuple[Features, Targets]]
) -> None:
    features, targets = make(*_clouds(3, 25))
    groups = [""] * len(targets)
    if make is _a_class_in_one_group:
        groups = ["only" if target == 2 else "" for target in targets]
    changes = {} if kind == "forest" else {"pca": (2, 8, 500)}
    head = _fit(kind, features, targets, {"groups": groups, "num_classes": 3}, **changes)
    logits = _logits(head, features)
    assert logits.shape == (len(targets), 3)
    assert np.isfinite(logits).all()
    if make is _one_image_a_class:
        assert head.losses == {}
        assert "too few images" in head.note


@pytest.mark.parametrize("kind", ["rbf", "forest"])
def test_the_same_images_and_seed_give_the_same_bytes(kind: str) -> None:
    features, targets = _clouds(3, 20)
    graph = _fit(kind, features, targets).graph
    assert _fit(kind, features, targets).graph == graph
    # Between processes strings hash differently, and with them the order of a set.
    domains = [opset.domain for opset in onnx.load_from_string(graph).opset_import]
    assert domains == sorted(domains)


def test_images_of_weight_0_are_as_if_they_were_not_there() -> None:
    """Of one class some fold would hold none but those, and libsvm would drop the class."""
    features, targets = _clouds(3, 12)
    data = unweighted(features, targets)
    weighted = replace(
        data, weights_N=np.tile([1.0, 1.0, 0.0], 12), groups=[str(n // 6) for n in range(36)]
    )
    stage = SvmStage(method="svm", kernel="rbf", Cs=(1.0,), folds=3)
    without = replace(weighted).rows(np.flatnonzero(weighted.weights_N > 0))
    first, second = (fit_classical_head(data, stage, 0) for data in (weighted, without))
    assert first.graph == second.graph
