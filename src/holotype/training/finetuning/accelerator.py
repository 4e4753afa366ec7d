"""Accelerate for one stage: device, precision, and the state of the loss scaler in fp16."""

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils.memory import should_reduce_batch_size

from holotype.training.features.device import use_fastest_convolutions

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
SCALER_KEYS = ("scale", "_growth_tracker")  # what changes in torch's gradient scaler


def make_accelerator(device: str, precision: str) -> Accelerator:
    """An accelerator of this device and precision, whatever the previous stage had."""
    # The state belongs to the process and refuses a second precision.
    AcceleratorState._reset_state()
    use_fastest_convolutions()
    return Accelerator(cpu=device == "cpu", mixed_precision=PRECISIONS[precision])


def scaler_state(accelerator: Accelerator) -> dict[str, float | int]:
    """The loss scale of fp16 and the steps since it changed; empty for other precisions."""
    scaler: Any = accelerator.scaler
    if scaler is None:
        return {}
    return {key: value for key, value in scaler.state_dict().items() if key in SCALER_KEYS}


def load_scaler_state(accelerator: Accelerator, numbers: dict[str, float | int]) -> None:
    """Restore what `scaler_state` returned."""
    scaler: Any = accelerator.scaler
    if scaler is not None and "scale" in numbers:
        scaler.load_state_dict(
            {**scaler.state_dict(), **{key: numbers[key] for key in SCALER_KEYS}}
        )


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation of torch failed, on any device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or should_reduce_batch_size(
        error
    )
