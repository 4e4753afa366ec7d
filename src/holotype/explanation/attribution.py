"""Attribution maps: the evidence for a class at each place of a model input.

The evidence for class c is the log-odds log(p_c / (1 - p_c)): the logit of c against those of the
competing classes, weighted by their shares of the rest of the probability. Like the softmax it is
unchanged when a constant is added to all logits, so the map shows evidence for c *rather than for
another class*; the map of a single logit (Zhou et al. 2016) would also show evidence for all of
them.

Class activation maps and occlusion need no torch; gradients are in
`architectures.gradient_attribution`.

Shape suffixes: N images, H height, W width, D embedding, C classes, K its competitors; h and w
are cells of a map.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.bundle import Bundle
from holotype.bundle.inference import run_head
from holotype.bundle.onnx_runtime import run_session
from holotype.predictions import softmax

if TYPE_CHECKING:
    from holotype.architectures.torch_classifier import TorchClassifier

OCCLUSION_GRID = 8  # positions along each side; a patch is twice as wide as their distance
PIXEL_CELLS = 28  # along each side of a map of pixel attributions, summed for the eye


def cell_logits(bundle: Bundle, feature_map_hwD: NDArray[np.float32]) -> NDArray[np.float32]:
    """The head's logits (h, w, C) of every cell of a feature map.

    Where the manifest says `exact` their mean over the cells is the logits of the image.
    """
    h, w, D = feature_map_hwD.shape
    return run_head(bundle, feature_map_hwD.reshape(h * w, D)).reshape(h, w, -1)


def embedding_and_feature_map(
    bundle: Bundle, input_CHW: NDArray[np.float32], *, with_feature_map: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """The embedding (D,) and, where they are asked for, the cells (h, w, D)."""
    outputs = ["embedding", "feature_map"] if with_feature_map else ["embedding"]
    embedding_ND, *maps = run_session(bundle.backbone, input_CHW[None], outputs)
    return embedding_ND[0], maps[0][0].transpose(1, 2, 0) if maps else None


def class_activation_map(
    bundle: Bundle, feature_map_hwD: NDArray[np.float32], logits_C: NDArray[Any], class_index: int
) -> NDArray[np.float64]:
    """The logit of the class in each cell against its competitors, by their shares."""
    logits_hwC = cell_logits(bundle, feature_map_hwD).astype(np.float64)
    competitors_hwK = np.delete(logits_hwC, class_index, axis=2)
    shares_K = softmax(np.delete(logits_C, class_index)[None], bundle.temperature)[0]
    return np.asarray(logits_hwC[:, :, class_index] - competitors_hwK @ shares_K)


def occlusion_map(
    bundle: Bundle, input_CHW: NDArray[np.float32], logits_C: NDArray[Any], class_index: int
) -> NDArray[np.float64]:
    """The evidence that is lost when a patch is set to the mean colour, which is 0 here."""
    _, H, W = input_CHW.shape
    grid = OCCLUSION_GRID
    lost_hw = np.empty((grid, grid))
    before = log_odds(logits_C[None], class_index, bundle.temperature)[0]
    for row in range(grid):
        occluded_NCHW = np.repeat(input_CHW[None], grid, axis=0)
        top, bottom = _patch(row, H)
        for column in range(grid):
            left, right = _patch(column, W)
            occluded_NCHW[column, :, top:bottom, left:right] = 0
        (embedding_ND,) = run_session(bundle.backbone, occluded_NCHW, ["embedding"])
        after_N = log_odds(run_head(bundle, embedding_ND), class_index, bundle.temperature)
        lost_hw[row] = before - after_N
    return lost_hw


def _patch(number: int, side: int) -> tuple[int, int]:
    """Where the patch around a place of the grid begins and ends."""
    centre, reach = (number + 0.5) * side / OCCLUSION_GRID, side / OCCLUSION_GRID
    return max(0, round(centre - reach)), min(side, max(1, round(centre + reach)))


def log_odds(logits_NC: NDArray[Any], class_index: int, temperature: float) -> NDArray[np.float64]:
    """log(p / (1 - p)) of a class, exact where p rounds to 1."""
    scaled_NC = logits_NC.astype(np.float64) / temperature
    others_NK = np.delete(scaled_NC, class_index, axis=1)
    return np.asarray(scaled_NC[:, class_index] - np.logaddexp.reduce(others_NK, axis=1))


def gradient_attribution(
    classifier: "TorchClassifier",
    input_CHW: NDArray[np.float32],
    class_index: int,
    temperature: float,
    method: str,
    layer: str | None,
) -> tuple[NDArray[np.float64], str]:
    """The evidence (h, w) by a method that needs torch, and the method in words.

    Args:
        method: one of `available_methods.GRADIENT_METHODS`.
        layer: whose map is looked at; the last one that has a map unless it is named.

    Raises:
        UsageError: the network has no such layer, or no map, or no attention.
    """
    from holotype.architectures import gradient_attribution as gradients

    evidence = gradients.ClassLogOdds(classifier, class_index, temperature)
    if method == "rollout":
        rolled_hw = gradients.attention_rollout(classifier, input_CHW)
        # Skip connections give every patch some attention: the least of it is no evidence.
        return rolled_hw - rolled_hw.min(), "attention rollout, the same for every class"
    if method == "integrated-gradients":
        attribution_CHW = gradients.integrated_gradients(evidence, input_CHW)
        summed_hw = sum_pool(attribution_CHW.sum(axis=0), PIXEL_CELLS)
        return (
            summed_hw,
            f"integrated gradients in {gradients.INTEGRATION_STEPS} steps from the mean colour",
        )
    layer = layer or gradients.last_spatial_layer(evidence, input_CHW)
    if method == "gradcam":
        return gradients.grad_cam(evidence, input_CHW, layer), f"Grad-CAM of {layer}"
    return gradients.grad_cam_plus_plus(evidence, input_CHW, layer), f"Grad-CAM++ of {layer}"


def sum_pool(values_HW: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Sums over at most `cells` x `cells` even rectangles; the whole sum stays what it was."""
    starts = [
        np.unique(np.linspace(0, side, min(cells, side), endpoint=False).astype(np.int64))
        for side in values_HW.shape
    ]
    rows_hW = np.add.reduceat(values_HW, starts[0], axis=0)
    return np.asarray(np.add.reduceat(rows_hW, starts[1], axis=1))
