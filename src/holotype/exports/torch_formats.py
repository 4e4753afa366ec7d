"""PyTorch: TorchScript, `torch.export`, and plain weights for timm."""

from pathlib import Path
from typing import Any

import numpy as np

from holotype.architectures.catalog import architecture
from holotype.bundle.bundle import Bundle
from holotype.errors import ExportRefused, HolotypeError
from holotype.explanation.torch_models import WITHOUT_TORCH, TorchModels
from holotype.exports.export_format import ExportOptions, WrittenModel, require_one_input

SCRIPT = """
MODEL = torch.jit.load(HERE / "model.pt").eval()


def probabilities(x):
    with torch.inference_mode():
        return MODEL(torch.from_numpy(x)).numpy()
"""
PROGRAM = """
MODEL = torch.export.load(HERE / "model.pt2").module()


def probabilities(x):
    with torch.inference_mode():
        return MODEL(torch.from_numpy(x)).numpy()
"""
STATE = """
{network}
MODEL.load_state_dict(torch.load(HERE / "weights.pth", weights_only=True))


def probabilities(x):
    with torch.inference_mode():
        logits = MODEL(torch.from_numpy(x))
        return (logits / {temperature!r}).softmax(dim=1).numpy()
"""
SCRIPT_NOTES = (
    "TorchScript is at its end: PyTorch no longer develops it, and Python 3.14 cannot run it. The "
    "format pt2 (`torch.export`) takes its place.",
)
STATE_NOTES = (
    "`weights.safetensors` holds the same tensors: `MODEL.load_state_dict("
    'safetensors.torch.load_file("weights.safetensors"))`.',
)


def write_torchscript(bundle: Bundle, directory: Path, options: ExportOptions) -> WrittenModel:
    """`model.pt`, traced."""
    from holotype.architectures import torch_export

    options.require_no_size("torchscript")
    torch_export.write_torchscript(
        _network(bundle, options.run), _example(bundle), directory / "model.pt"
    )
    return WrittenModel(SCRIPT, "import torch", "torch", SCRIPT_NOTES)


def write_pt2(bundle: Bundle, directory: Path, options: ExportOptions) -> WrittenModel:
    """`model.pt2`, an exported program."""
    from holotype.architectures import torch_export

    options.require_no_size("pt2")
    torch_export.write_exported_program(
        _network(bundle, options.run), _example(bundle), directory / "model.pt2"
    )
    return WrittenModel(PROGRAM, "import torch", "torch")


def write_state_dict(bundle: Bundle, directory: Path, options: ExportOptions) -> WrittenModel:
    """`weights.safetensors` and `weights.pth`, under timm's names.

    Raises:
        ExportRefused: an ensemble, averaged views, or a network that timm does not have.
    """
    from holotype.architectures import torch_export

    options.require_no_size("state_dict")
    if bundle.members or bundle.views != "one":
        what = "the members of an ensemble" if bundle.members else f"the views {bundle.views!r}"
        raise ExportRefused(
            f"{bundle.name}: state_dict holds the weights of one network and cannot average "
            f"{what}; export pt2."
        )
    try:
        classifier = _torch_models(bundle, options.run)(bundle)
    except HolotypeError as error:
        raise _no_weights(bundle, error) from None
    row = architecture(bundle.manifest.model)
    state, network = torch_export.weights_in_timm(classifier, row, bundle.preprocessing.height)
    torch_export.write_state(state, directory)
    code = STATE.format(network=network, temperature=bundle.temperature)
    return WrittenModel(code, "import timm\nimport torch", "timm torch", STATE_NOTES)


def _network(bundle: Bundle, run: str) -> Any:
    """The module: model input -> probabilities."""
    from holotype.architectures.torch_export import ShippedEnsemble, ShippedNetwork

    models = _torch_models(bundle, run)

    def build(one: Bundle) -> Any:
        if not one.members:
            return ShippedNetwork(models(one), one.views, one.temperature)
        assert one.ensemble_weights is not None
        weights_CM = one.ensemble_weights.weights_for(len(one.classes))
        members = [build(member) for member in one.members]
        return ShippedEnsemble(members, np.asarray(weights_CM).T, one.temperature)

    require_one_input(bundle)
    try:
        return build(bundle).eval()
    except ExportRefused:
        raise
    except HolotypeError as error:
        raise _no_weights(bundle, error) from None


def _torch_models(bundle: Bundle, run: str) -> TorchModels:
    return TorchModels(run or bundle.path)


def _no_weights(bundle: Bundle, error: HolotypeError) -> ExportRefused:
    reason = str(error)
    for advice in (WITHOUT_TORCH, "Take --method occlusion."):  # of explaining, not of exporting
        reason = reason.removesuffix(advice).rstrip()
    return ExportRefused(
        f"{bundle.name}: this format needs its network in torch, which cannot be had; export onnx. "
        f"Why: {reason}"
    )


def _example(bundle: Bundle) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    size = bundle.preprocessing
    return np.zeros((2, 3, size.height, size.width), np.float32)
