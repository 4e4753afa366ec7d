"""Explanation methods, and which of them a classifier allows.

A bundle allows class activation maps where its head can be applied to cells of the feature map, and
always occlusion maps. Gradients and attention need the network in torch, which a run gives, see
`torch_models`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from holotype.bundle.bundle import Bundle
from holotype.errors import UsageError, require_one_of

if TYPE_CHECKING:
    from holotype.architectures.torch_classifier import TorchClassifier

ExplainMethodName = Literal[
    "auto", "cam", "gradcam", "gradcam++", "integrated-gradients", "rollout", "occlusion"
]
GRADIENT_METHODS: tuple[ExplainMethodName, ...] = (
    "gradcam",
    "gradcam++",
    "integrated-gradients",
    "rollout",
)
METHODS_WITH_LAYER: tuple[ExplainMethodName, ...] = ("gradcam", "gradcam++")
CAM_DESCRIPTIONS = {
    "exact": "class activation map",
    "approximate": "class activation map, approximate",
}
OCCLUSION_DESCRIPTION = "occlusion map"

# A bundle with graphs of its own -> the same network in torch, frozen; a UsageError where there
# is none.
TorchModelLookup = Callable[[Bundle], "TorchClassifier"]


@dataclass(frozen=True)
class ExplainMethod:
    """A method with its options.

    Attributes:
        method: `auto` is what needs no torch: `cam` where the bundle has one, else `occlusion`.
        layer: of Grad-CAM and Grad-CAM++; the last one with a map unless it is named.
        torch_model_of: finds the network in torch; None where only bundles are at hand.
    """

    method: ExplainMethodName = "auto"
    layer: str | None = None
    torch_model_of: TorchModelLookup | None = None

    def __post_init__(self) -> None:
        require_one_of("method", self.method, get_args(ExplainMethodName))
        if self.layer is not None and self.method not in METHODS_WITH_LAYER:
            raise UsageError(
                f"--layer {self.layer} goes with --method gradcam or gradcam++, not with "
                f"{self.method!r}; leave it out, or name one of those."
            )

    def resolve(self, bundle: Bundle) -> ExplainMethodName:
        """The method for a bundle with graphs of its own, never `auto`.

        Raises:
            UsageError: this bundle cannot be explained this way; the message names what can.
        """
        has_cam = bundle.manifest.cam != "none"
        if self.method == "auto":
            return "cam" if has_cam else "occlusion"
        without_torch = ["auto", "cam", "occlusion"] if has_cam else ["auto", "occlusion"]
        if self.method == "cam" and not has_cam:
            raise UsageError(
                f"{bundle.manifest.model} with this head has no class activation map, since its "
                f"head cannot be run on single cells. {self._alternatives(without_torch)}"
            )
        if self.method in GRADIENT_METHODS and self.torch_model_of is None:
            raise UsageError(
                f"--method {self.method} needs the network in torch, and a bundle alone is ONNX: "
                f"name the run that it came from. {self._alternatives(without_torch)}"
            )
        return self.method

    def _alternatives(self, methods: list[str]) -> str:
        return f"Here these work: {', '.join(methods)}."
