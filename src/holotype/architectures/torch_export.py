"""A shipped classifier in torch: TorchScript, `torch.export`, and plain weights.

Shape suffixes: N images, C classes, V views, M members, H and W of the model input.
"""

import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from holotype.architectures.architecture import Architecture
from holotype.architectures.torch_classifier import EmbeddingHead, TorchClassifier
from holotype.bundle.views import VIEWS, FixedView, ViewSet, magnified_places
from holotype.errors import ExportRefused

TORCHSCRIPT_ENDS = (3, 14)  # torch.jit does not work from this Python on


class ShippedNetwork(nn.Module):
    """A network with the views and the temperature that were sealed.

    Args:
        views: whose probabilities are averaged.
        temperature: logits are divided by it.
    """

    def __init__(self, classifier: TorchClassifier, views: ViewSet, temperature: float) -> None:
        super().__init__()
        self.classifier = classifier.eval()
        self.views = VIEWS[views]
        self.temperature = temperature

    def forward(self, image: Tensor) -> Tensor:
        """Model input (N, 3, H, W) -> probabilities (N, C)."""
        if len(self.views) == 1:
            logits_NC = self.classifier(image)
        else:
            logits_NC = torch.stack(
                [self.classifier(_seen(image, view)).log_softmax(dim=1) for view in self.views]
            ).logsumexp(dim=0)
        return cast(Tensor, (logits_NC / self.temperature).softmax(dim=1))


class ShippedEnsemble(nn.Module):
    """The weighted mean of members that take the same input.

    Args:
        members: model input -> probabilities (N, C).
        weights_MC: columns sum to 1.
    """

    def __init__(
        self, members: Sequence[nn.Module], weights_MC: NDArray[np.float64], temperature: float
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.temperature = temperature
        weights = torch.from_numpy(np.asarray(weights_MC, np.float32))
        self.register_buffer("weights_M1C", weights[:, None, :])
        self.weights_M1C: Tensor

    def forward(self, image: Tensor) -> Tensor:
        """Model input (N, 3, H, W) -> probabilities (N, C)."""
        answers_MNC = torch.stack([member(image) for member in self.members])
        mean_NC = (answers_MNC * self.weights_M1C).sum(dim=0)
        return (mean_NC.clamp_min(1e-38).log() / self.temperature).softmax(dim=1)


def _seen(image: Tensor, view: FixedView) -> Tensor:
    """What `FixedView.apply` does, on (N, 3, H, W)."""
    if view.mirrored:
        image = image.flip(3)
    if view.magnified != 1:
        for axis in (3, 2):
            first, second, share = magnified_places(image.shape[axis], view.magnified)
            weight = torch.from_numpy(share).reshape(-1, *(1,) * (3 - axis))
            image = (
                image.index_select(axis, torch.from_numpy(first)) * (1 - weight)
                + image.index_select(axis, torch.from_numpy(second)) * weight
            )
    return torch.rot90(image, view.quarter_turns, (2, 3))


def write_torchscript(network: nn.Module, example: NDArray[np.float32], file: Path) -> None:
    """Trace the network; the number of images stays free.

    Raises:
        ExportRefused: this Python has no TorchScript any more.
    """
    if sys.version_info >= TORCHSCRIPT_ENDS:
        raise ExportRefused(
            "TorchScript does not work on Python 3.14 and later; export pt2, which takes its "
            "place, or use Python 3.13."
        )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, torch.from_numpy(example))
        torch.jit.save(torch.jit.freeze(traced), str(file))


def write_exported_program(network: nn.Module, example: NDArray[np.float32], file: Path) -> None:
    """Write what `torch.export` gives, without the local paths of its traces."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            network, (torch.from_numpy(example),),
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), strict=False,
        )  # fmt: skip
        for module in program.graph_module.modules():
            for node in getattr(getattr(module, "graph", None), "nodes", ()):
                for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "custom"):
                    node.meta.pop(key, None)
        torch.export.save(program, file)


def weights_in_timm(
    classifier: TorchClassifier, row: Architecture, image_size: int
) -> tuple[Mapping[str, Tensor], str]:
    """The weights under timm's own names, and the code that builds the network for them.

    Returns:
        The state of `nn.Sequential(network, head)`, and the code that defines it as `MODEL`.

    Raises:
        ExportRefused: timm does not have this network, or the head is no row of plain layers.
    """
    import timm

    from holotype.architectures.build_backbone import set_input_size
    from holotype.architectures.layer_groups import split_into_groups

    if row.published.timm_name is None or row.kind != "pretrained":
        raise ExportRefused(
            f"state_dict: {row.name} is not in timm, so there is no code but Holotype's that its "
            "weights fit; export pt2, which holds the network too."
        )
    if isinstance(classifier.head, EmbeddingHead):
        raise ExportRefused(
            "state_dict: a head that embeds is Holotype's own, so there is no other code that its "
            "weights fit; export pt2, which holds the network too."
        )
    network = timm.create_model(row.published.timm_name, num_classes=0)
    resized = set_input_size(network, image_size)
    try:
        # The modules are shared, so that this fills the network under its own names.
        split_into_groups(network, image_size).load_state_dict(classifier.backbone.state_dict())
    except RuntimeError:
        raise ExportRefused(
            f"state_dict: this {row.name} was pruned, or has another width than timm's, so there "
            "is no other code that its weights fit; export pt2, which holds the network too."
        ) from None
    model = nn.Sequential(network, classifier.head)
    lines = [f'NETWORK = timm.create_model("{row.published.timm_name}", num_classes=0)']
    if resized:
        lines.append(f"NETWORK.set_input_size(img_size=({image_size}, {image_size}))")
    lines.append(f"MODEL = torch.nn.Sequential(NETWORK, {_head_code(classifier.head)}).eval()")
    return dict(model.state_dict()), "\n".join(lines)


def _head_code(head: nn.Module) -> str:
    """The code that builds a head of dense layers, which is how torch prints its parts."""
    layers = list(head) if isinstance(head, nn.Sequential) else [head]
    code = [
        f"torch.nn.Linear({one.in_features}, {one.out_features})"
        if isinstance(one, nn.Linear)
        else f"torch.nn.{one}"
        for one in layers
    ]
    return code[0] if len(code) == 1 else f"torch.nn.Sequential({', '.join(code)})"


def write_state(state: Mapping[str, Tensor], directory: Path) -> None:
    """`weights.safetensors`, and `weights.pth` for `torch.load(…, weights_only=True)`."""
    from safetensors.torch import save_file

    plain = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    save_file(plain, directory / "weights.safetensors")
    torch.save(plain, directory / "weights.pth")
