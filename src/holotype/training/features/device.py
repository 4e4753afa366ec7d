"""The device to train on, and the frozen part of a network on a GPU.

On a CPU the frozen part runs in ONNX Runtime; on a GPU torch is faster.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from holotype.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from torch import nn

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(wanted: str) -> str:
    """`cpu`, `cuda` or `mps`.

    Raises:
        UsageError: not one of `DEVICES`, or a device that this machine does not have.
        MissingExtra: a GPU is asked for, and torch is not installed.
    """
    if wanted not in DEVICES:
        raise UsageError(f"no device called {wanted!r}; expected one of {', '.join(DEVICES)}.")
    if wanted == "cpu" or (wanted == "auto" and not _may_have_a_gpu()):
        return "cpu"  # decided without importing torch, which takes seconds
    if importlib.util.find_spec("torch") is None:
        if wanted == "auto":
            return "cpu"
        raise MissingExtra(f"--device {wanted} needs torch: pip install 'holotype[train]'")
    import torch

    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next((name for name, there in has.items() if there), "cpu")
    if not has[wanted]:
        raise UsageError(
            f"--device {wanted}: torch {torch.__version__} finds no such device here; "
            "`holotype doctor` says what it finds. Use --device auto."
        )
    return wanted


def memory_mb(device: str) -> float | None:
    """Peak memory of a device so far, in MB of 10^6 bytes; None where it cannot be read."""
    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    if device == "mps":
        return torch.mps.driver_allocated_memory() / 1e6
    return None


def utilisation(device: str) -> float | None:
    """Utilisation of a GPU in per cent; None where it cannot be read."""
    if device != "cuda":
        return None
    import torch

    return _from_pynvml(torch.cuda.utilization)


def temperature(device: str, number: int | None = None) -> float | None:
    """Temperature of a GPU in degrees Celsius; None where it cannot be read.

    Args:
        number: of the GPU among those that torch sees; the current one unless given.
    """
    if device != "cuda":
        return None
    import torch

    celsius = _from_pynvml(partial(torch.cuda.temperature, number))
    command = shutil.which("nvidia-smi")
    if celsius is not None or command is None:
        return celsius
    return _from_nvidia_smi(command, str(torch.cuda.get_device_properties(number).uuid))


def _from_pynvml(read: Callable[[], int]) -> float | None:
    if importlib.util.find_spec("pynvml") is None:
        return None
    pynvml = importlib.import_module("pynvml")
    try:
        return float(read())
    except (pynvml.NVMLError, RuntimeError):  # such as a slice of a GPU (MIG)
        return None


def _from_nvidia_smi(command: str, uuid: str) -> float | None:
    query = ["--query-gpu=temperature.gpu", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(
            [command, f"--id=GPU-{uuid}", *query], capture_output=True, text=True, timeout=10
        )
        return float(answer.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):  # "[N/A]", or what it failed with
        return None


def use_deterministic_algorithms() -> None:
    """Make torch refuse operations whose result may differ from run to run.

    Results repeat on one machine with the same number of threads; another processor may round
    differently.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    import torch

    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def use_fastest_convolutions() -> None:
    """Let cuDNN try its algorithms on each new shape, unless results are to repeat bit for bit."""
    import torch

    torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()


def _may_have_a_gpu() -> bool:
    return sys.platform != "linux" or Path("/proc/driver/nvidia/version").exists()


class TorchSession:
    """A module on a device with the methods of an ONNX Runtime session.

    Args:
        module: image tensor (N, 3, H, W) -> one output; it is moved to the device.
        output: the name of the output.
        device: `cuda`, `mps` or `cpu`.
    """

    def __init__(self, module: "nn.Module", output: str, device: str) -> None:
        import torch

        use_fastest_convolutions()
        self._module = module.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._output = output
        self._device = device

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="image")]

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        import torch

        if list(outputs) != [self._output]:
            raise ValueError(f"the output of this session is {self._output!r}, got {list(outputs)}")
        with torch.inference_mode():
            x = torch.from_numpy(feeds["image"]).to(
                self._device, non_blocking=self._device == "cuda"
            )
            y = self._module(x.contiguous(memory_format=torch.channels_last))
            return [y.float().cpu().numpy()]
