"""Support vector machines and forests of scikit-learn as ONNX graphs, calibrated.

skl2onnx converts the fitted classifier. It gives one score per class, and the graph ends with
`logits = slope · scores + bias`: the calibration of Platt 1999 for any number of classes, so that
the softmax of the logits is the calibrated probability.

Shape suffixes: N images, D embedding, S classes that were seen in training, C all classes,
P pairs of seen classes.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.building.hog_lbp_graph import IR_VERSION, OPSET

if TYPE_CHECKING:
    from onnx import ModelProto

ABSENT_CLASS_LOGIT = -30.0  # the logit of a class without an image: e^-30 of probability
ML_OPSET = 3
Pair = tuple[int, int]  # the class that a positive margin speaks for, and the other


@dataclass(frozen=True, eq=False)
class PlattCalibration:
    """logits = slope · scores + bias for seen classes, ABSENT_CLASS_LOGIT for the others.

    Attributes:
        slope: above 0.
        seen: the numbers of the seen classes, ascending.
    """

    slope: float
    bias_S: NDArray[np.float64]
    seen: tuple[int, ...]
    num_classes: int

    def logits(self, scores_NS: NDArray[Any]) -> NDArray[np.float64]:
        logits_NC = np.full((len(scores_NS), self.num_classes), ABSENT_CLASS_LOGIT)
        logits_NC[:, list(self.seen)] = self.slope * scores_NS + self.bias_S
        return logits_NC

    def fold_into_weights(self, weight_KS: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """(weight_KC, bias_C) such that x @ weight_KC + bias_C = logits of x @ weight_KS."""
        weight_KC = np.zeros((len(weight_KS), self.num_classes))
        weight_KC[:, list(self.seen)] = self.slope * weight_KS
        bias_C = np.full(self.num_classes, ABSENT_CLASS_LOGIT)
        bias_C[list(self.seen)] = self.bias_S
        return weight_KC, bias_C


def class_pairs(num_seen: int) -> list[Pair]:
    """The pairs behind the columns of `SVC.decision_function` with `ovo`.

    A positive margin speaks for the first of a pair; with two classes, for the second.
    """
    if num_seen == 2:
        return [(1, 0)]
    return list(combinations(range(num_seen), 2))


def margins_to_scores(margins_NP: NDArray[Any], num_seen: int) -> NDArray[np.float64]:
    """The score of a class: the sum of log sigmoid(margin) over its pairs.

    Loss-based decoding with the logistic loss: Allwein, Schapire & Singer 2000, "Reducing
    Multiclass to Binary". With two classes the difference of the scores is the margin itself.
    """
    weight_KS = _pair_matrix(class_pairs(num_seen), num_seen)
    softplus_NP = np.logaddexp(0, -margins_NP)
    return np.asarray(np.concatenate([softplus_NP, margins_NP], axis=1) @ weight_KS)


def _pair_matrix(pairs: Sequence[Pair | None], num_seen: int) -> NDArray[np.float64]:
    """(2P, S) from [softplus(-margins), margins] to scores; None is a column to pass over.

    log sigmoid(m) = -softplus(-m), and log sigmoid(-m) = -softplus(-m) - m.
    """
    count = len(pairs)
    weight_KS = np.zeros((2 * count, num_seen))
    for p, pair in enumerate(pairs):
        if pair is not None:
            winner, loser = pair
            weight_KS[p, [winner, loser]] = -1
            weight_KS[count + p, loser] = -1
    return weight_KS


def votes_to_scores(votes_NS: NDArray[Any], least: float) -> NDArray[np.float64]:
    """The score of a class: the log of its share of the votes, which is never below `least`."""
    return np.asarray(np.log(np.maximum(votes_NS, least)))


def export_svm(svm: Any, embedding_size: int, calibration: PlattCalibration) -> bytes:
    """`embedding` (N, D) -> `logits` (N, C).

    Args:
        svm: a fitted scikit-learn pipeline that ends with an `SVC` of shape `ovo`.
    """
    num_seen = len(calibration.seen)
    pairs: list[Pair | None] = [*class_pairs(num_seen)]
    if num_seen == 2:  # the graph gives the margins of both classes
        pairs = [None, (1, 0)]
    options = {id(svm[-1]): {"raw_scores": True, "zipmap": False}}
    model, margins = _convert(svm, embedding_size, options)
    nodes = [
        ("Neg", [margins], "margins_turned"),
        ("Softplus", ["margins_turned"], "margins_softplus"),
        ("Concat", ["margins_softplus", margins], "both"),
    ]
    weight_KC, bias_C = calibration.fold_into_weights(_pair_matrix(pairs, num_seen))
    return _append_logits(model, nodes, {}, "both", weight_KC, bias_C)


def export_forest(
    forest: Any, embedding_size: int, calibration: PlattCalibration, least: float
) -> bytes:
    """`embedding` (N, D) -> `logits` (N, C).

    Args:
        forest: a fitted scikit-learn `RandomForestClassifier`.
        least: the smallest share of votes, which keeps the logarithm finite.
    """
    model, votes = _convert(forest, embedding_size, {id(forest): {"zipmap": False}})
    nodes = [("Max", [votes, "least"], "votes_kept"), ("Log", ["votes_kept"], "scores")]
    weight_KC, bias_C = calibration.fold_into_weights(np.eye(len(calibration.seen)))
    return _append_logits(model, nodes, {"least": np.array(least)}, "scores", weight_KC, bias_C)


def _convert(
    fitted: Any, embedding_size: int, options: dict[int, dict[str, bool]]
) -> "tuple[ModelProto, str]":
    """What skl2onnx makes of it, and the name of the scores in there."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    with warnings.catch_warnings():
        # It asks for attributes that scikit-learn is about to drop, and we do not use.
        warnings.simplefilter("ignore", FutureWarning)
        model = to_onnx(
            fitted,
            name="head",
            initial_types=[("embedding", FloatTensorType([None, embedding_size]))],
            options=options,
            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
        )
    return model, model.graph.output[1].name


def _append_logits(
    model: "ModelProto",
    nodes: Sequence[tuple[str, list[str], str]],
    constants: dict[str, NDArray[Any]],
    source: str,
    weight_KC: NDArray[Any],
    bias_C: NDArray[Any],
) -> bytes:
    """The graph with these nodes and one product at its end, and `logits` as its only output."""
    from onnx import TensorProto, checker, helper, numpy_helper

    graph = model.graph
    for operator, inputs, output in nodes:
        attributes: dict[str, Any] = {"axis": 1} if operator == "Concat" else {}
        graph.node.append(helper.make_node(operator, inputs, [output], **attributes))
    graph.node.append(helper.make_node("Gemm", [source, "to_logits", "bias"], ["logits"]))
    for name, values in {**constants, "to_logits": weight_KC, "bias": bias_C}.items():
        graph.initializer.append(
            numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
        )
    # skl2onnx lists operator sets in the order of a Python set, which differs between processes.
    opsets = sorted(model.opset_import, key=lambda opset: (opset.domain, opset.version))
    del graph.output[:], graph.value_info[:], model.metadata_props[:], model.opset_import[:]
    model.opset_import.extend(opsets)
    shape = ["batch", weight_KC.shape[1]]
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape))
    model.ir_version = IR_VERSION
    model.producer_version = ""
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
