"""Where to train: `auto` becomes a device that is there."""

import importlib.util
import sys
from pathlib import Path

from holotype.errors import MissingExtra, UsageError

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


def _may_have_a_gpu() -> bool:
    return sys.platform != "linux" or Path("/proc/driver/nvidia/version").exists()
