"""Attribution maps from gradients and attention in torch.

The evidence for class c is the log-odds log(p_c / (1 - p_c)), as everywhere in explanations: what
speaks for c rather than for another class. Methods:

- Grad-CAM: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via
  Gradient-based Localization".
- Grad-CAM++: Chattopadhay et al. 2018, "Grad-CAM++: Generalized Gradient-Based Visual Explanations
  for Deep Convolutional Networks", equations 10 and 11.
- integrated gradients: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks".
- attention rollout: Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers".

Shape suffixes: N images, C classes, H height, W width, D channels, h and w cells of a map,
T tokens.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holotype.architectures.torch_classifier import TorchClassifier
from holotype.errors import UsageError, did_you_mean

INTEGRATION_STEPS = 64  # of the path from the mean colour to the image
_BATCH = 8  # points of that path at a time
_MAX_PREFIX_TOKENS = 16  # class and register tokens in front of those of the patches


@dataclass(frozen=True)
class ClassLogOdds:
    """What is differentiated: the log-odds of a class at a temperature."""

    classifier: TorchClassifier
    class_index: int
    temperature: float = 1.0

    def from_logits(self, logits_NC: Tensor) -> Tensor:
        """log(p / (1 - p)) of the class, (N,)."""
        scaled_NC = logits_NC / self.temperature
        others = [n for n in range(scaled_NC.shape[1]) if n != self.class_index]
        return scaled_NC[:, self.class_index] - scaled_NC[:, others].logsumexp(dim=1)

    def __call__(self, images_NCHW: Tensor) -> Tensor:
        return self.from_logits(self.classifier(images_NCHW))


def grad_cam(
    log_odds: ClassLogOdds, input_CHW: NDArray[np.float32], layer: str
) -> NDArray[np.float64]:
    """The sum over a layer's channels, each weighted by its mean gradient, (h, w); signed.

    Raises:
        UsageError: the layer has no map.
    """
    activation_Dhw, gradient_Dhw = _activation_and_gradient(log_odds, input_CHW, layer)
    weights_D = gradient_Dhw.mean(axis=(1, 2))
    return np.asarray(np.tensordot(weights_D, activation_Dhw, axes=1))


def grad_cam_plus_plus(
    log_odds: ClassLogOdds, input_CHW: NDArray[np.float32], layer: str
) -> NDArray[np.float64]:
    """The same with weights from the positive gradients of every place, (h, w).

    The paper's score is exp(S), whose higher derivatives are powers of the gradient of S; here S
    is the log-odds, and exp(S) the odds. A place with gradient g of a channel with activations A
    weighs g² / (2 g² + g³ · sum of A), and a channel the sum of weight · max(g, 0).

    Raises:
        UsageError: the layer has no map.
    """
    activation_Dhw, gradient_Dhw = _activation_and_gradient(log_odds, input_CHW, layer)
    sum_D11 = activation_Dhw.sum(axis=(1, 2), keepdims=True)
    square_Dhw = gradient_Dhw**2
    below_Dhw = 2 * square_Dhw + sum_D11 * gradient_Dhw**3
    share_Dhw = np.divide(
        square_Dhw, below_Dhw, out=np.zeros_like(square_Dhw), where=np.abs(below_Dhw) > 1e-30
    )
    weights_D = (share_Dhw * np.maximum(gradient_Dhw, 0)).sum(axis=(1, 2))
    return np.asarray(np.tensordot(weights_D, activation_Dhw, axes=1))


def integrated_gradients(
    log_odds: ClassLogOdds, input_CHW: NDArray[np.float32], *, steps: int = INTEGRATION_STEPS
) -> NDArray[np.float64]:
    """What each value of the input adds to the evidence, (3, H, W), against the mean colour.

    The mean colour is 0 after normalisation. The values sum to the evidence of the image minus that
    of the mean colour, up to the error of the steps.
    """
    from captum.attr import IntegratedGradients

    x = torch.from_numpy(input_CHW)[None]
    attribution = IntegratedGradients(log_odds, multiply_by_inputs=True).attribute(
        x, baselines=torch.zeros_like(x), n_steps=steps, internal_batch_size=_BATCH
    )
    return np.asarray(attribution[0].detach().double().numpy())


def attention_rollout(
    classifier: TorchClassifier, input_CHW: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The share of each patch in the tokens that the head reads, (h, w); independent of the class.

    The mean over the heads of every block, averaged with the identity for the skip connection, and
    multiplied from block to block. The gradient of the embedding shows which tokens the head reads:
    the class token, or all.

    Raises:
        UsageError: the network does not attend from every token to every token.
    """
    x = torch.from_numpy(input_CHW)[None]
    with _recorded_attention(classifier) as found:
        last_NTD, read_T = _tokens_behind_embedding(classifier, x)
    grid = _patch_grid(classifier)
    T = last_NTD.shape[1] if last_NTD.ndim == 3 else 0
    if grid is None or not found or any(one.shape[-2:] != (T, T) for one in found):
        raise UsageError(
            "attention rollout needs a transformer whose blocks attend from every token to every "
            "token (ViT, DINOv2), and this network is none. Take --method gradcam or occlusion."
        )
    rolled_TT = torch.eye(T, dtype=torch.float64)
    for attention in found:
        mean_TT = attention[0].double().mean(dim=0)
        mixed_TT = 0.5 * mean_TT + 0.5 * torch.eye(T, dtype=torch.float64)
        rolled_TT = mixed_TT / mixed_TT.sum(dim=1, keepdim=True) @ rolled_TT
    h, w = grid
    return np.asarray(rolled_TT[read_T].mean(dim=0)[T - h * w :].reshape(h, w).numpy())


def last_spatial_layer(log_odds: ClassLogOdds, input_CHW: NDArray[np.float32]) -> str:
    """The name of the last layer whose output is a map of several cells that the evidence uses.

    In a transformer whose head reads the class token alone that is the norm before the last
    attention: above it the patches have no effect.

    Raises:
        UsageError: there is none.
    """
    seen: dict[str, Tensor] = {}

    def remember(name: str) -> Callable[[nn.Module, Any, Any], Tensor | None]:
        def hook(module: nn.Module, given: Any, output: Any) -> Tensor | None:
            if _as_feature_map(output, grid) is None:
                return None
            seen.pop(name, None)  # so that names stand in the order of their last call
            seen[name] = output
            # A copy, since what comes next may change its input in place.
            return cast(Tensor, output.clone())

        return hook

    grid = _patch_grid(log_odds.classifier)
    layers = {n: m for n, m in _layers(log_odds.classifier).items() if not _within_attention(n)}
    x = torch.from_numpy(input_CHW)[None].requires_grad_()
    with _hooks((layer, remember(name)) for name, layer in layers.items()):
        score = log_odds(x).sum()
    outputs = list(seen.values())
    gradients = torch.autograd.grad(score, outputs, allow_unused=True) if outputs else ()
    for name, output, gradient in reversed(list(zip(seen, outputs, gradients, strict=True))):
        map_NDhw = _as_feature_map(output, grid)
        assert map_NDhw is not None
        if gradient is None or map_NDhw.shape[-1] * map_NDhw.shape[-2] == 1:
            continue
        gradient_NDhw = _as_feature_map(gradient, grid)
        if gradient_NDhw is not None and bool((gradient_NDhw != 0).any()):
            return name
    raise UsageError(
        "this network has no layer with a map of several cells at this image size; "
        "take --method integrated-gradients or occlusion."
    )


def require_layer(classifier: TorchClassifier, layer: str) -> None:
    """Refuse a name that no layer has.

    Raises:
        UsageError: with the nearest names.
    """
    names = list(_layers(classifier))
    if layer not in names:
        raise UsageError(
            f"the network has no layer {layer!r}{did_you_mean(layer, names)} "
            f"Its groups: {', '.join(classifier.backbone.group_names)}; "
            "`GROUP.0` and the like name what lies in them."
        )


def frozen(classifier: TorchClassifier) -> TorchClassifier:
    """The same in evaluation mode, without gradients of its weights."""
    return classifier.eval().requires_grad_(False)


def logits_of(classifier: TorchClassifier, images_NCHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (N, C) of model inputs."""
    with torch.no_grad():
        return np.asarray(classifier(torch.from_numpy(images_NCHW)).numpy())


def _layers(classifier: TorchClassifier) -> dict[str, nn.Module]:
    """All modules below the pooling, by the names that `holotype models NAME --groups` prints."""
    return {name: m for name, m in classifier.backbone.groups.named_modules() if name}


def _within_attention(name: str) -> bool:
    """Whether a layer is part of an attention, whose outputs are no maps of the image."""
    return any(part.startswith("attn") for part in name.split("."))


def _activation_and_gradient(
    log_odds: ClassLogOdds, input_CHW: NDArray[np.float32], layer: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A layer's map, and the gradient of the evidence with respect to it, both (D, h, w)."""
    require_layer(log_odds.classifier, layer)
    caught: list[Tensor] = []

    def catch(module: nn.Module, given: Any, output: Any) -> Tensor | None:
        if not isinstance(output, Tensor):
            return None
        caught.append(output.detach().requires_grad_())
        return caught[-1].clone()  # what comes next may change its input in place

    with _hooks([(_layers(log_odds.classifier)[layer], catch)]):
        score = log_odds(torch.from_numpy(input_CHW)[None]).sum()
    grid = _patch_grid(log_odds.classifier)
    if not caught or _as_feature_map(caught[-1], grid) is None:
        shape = tuple(caught[-1].shape[1:]) if caught else "nothing that can be read"
        raise UsageError(
            f"layer {layer!r} gives {shape}, which is no map over the image; leave --layer out, "
            "and the last one that is will be found."
        )
    gradient = torch.zeros_like(caught[-1])
    if score.requires_grad:  # else the answer does not depend on this layer
        (gradient,) = torch.autograd.grad(score, caught[-1])
    maps = [_as_feature_map(tensor, grid) for tensor in (caught[-1], gradient)]
    first, second = [cast(Tensor, one)[0].detach().double().numpy() for one in maps]
    return first, second


def _as_feature_map(output: Any, grid: tuple[int, int] | None) -> Tensor | None:
    """A layer's output for a square image as (1, D, h, w); None where it is no map."""
    if not isinstance(output, Tensor) or len(output) != 1:
        return None
    if output.ndim == 4 and output.shape[2] == output.shape[3]:
        return output
    if output.ndim == 4 and output.shape[1] == output.shape[2]:  # channels last, as in Swin
        return output.permute(0, 3, 1, 2)
    if output.ndim == 3 and grid is not None:
        h, w = grid
        if 0 <= output.shape[1] - h * w <= _MAX_PREFIX_TOKENS:
            patches_NTD = output[:, output.shape[1] - h * w :]
            return cast(Tensor, patches_NTD.transpose(1, 2).unflatten(2, (h, w)))
    return None


def _patch_grid(classifier: TorchClassifier) -> tuple[int, int] | None:
    """Rows and columns of a transformer's patches; None for other networks."""
    for module in classifier.backbone.modules():
        grid = getattr(module, "grid_size", None)
        if isinstance(grid, tuple) and len(grid) == 2:
            return int(grid[0]), int(grid[1])
    return None


def _tokens_behind_embedding(classifier: TorchClassifier, x: Tensor) -> tuple[Tensor, Tensor]:
    """The output of the last group, and which of its tokens the embedding depends on (T,)."""
    features = classifier.backbone.run_groups(x).detach().requires_grad_()
    embedding = classifier.backbone.pool(features)
    # Not the plain sum, whose gradient a norm makes 0.
    random = torch.randn(embedding.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((embedding * random).sum(), features)
    return features, gradient[0].abs().flatten(1).sum(dim=1) > 0


@contextmanager
def _recorded_attention(classifier: TorchClassifier) -> Iterator[list[Tensor]]:
    """Collects every attention (1, heads, T, T), from the first block to the last."""
    found: list[Tensor] = []
    blocks: list[Any] = [m for m in classifier.backbone.modules() if hasattr(m, "fused_attn")]
    before = [block.fused_attn for block in blocks]

    def hook(module: nn.Module, given: Any, output: Tensor) -> None:
        found.append(output.detach())

    for block in blocks:
        block.fused_attn = False  # the fused operation does not return its attention
    try:
        with _hooks((block.attn_drop, hook) for block in blocks):
            yield found
    finally:
        for block, was in zip(blocks, before, strict=True):
            block.fused_attn = was


@contextmanager
def _hooks(pairs: Iterable[tuple[nn.Module, Any]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module, hook in pairs]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
