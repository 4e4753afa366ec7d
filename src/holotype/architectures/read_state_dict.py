"""Read a file of weights without executing anything, and say what a file is that holds none."""

import pickle
import warnings
from pathlib import Path
from typing import Any

from holotype.errors import WeightsMismatch

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
WRAPPING_KEYS = ("state_dict", "model_state_dict", "model")  # of checkpoints that hold more


def read_state_dict(file: Path) -> dict[str, Any]:
    """Tensors by name from safetensors, or from a torch file of nothing but tensors.

    A state dict under the key `state_dict`, `model_state_dict` or `model` is taken out of it.

    Raises:
        WeightsMismatch: the file is neither, or damaged.
    """
    import safetensors
    import safetensors.torch
    import torch

    require_weights_format(file)
    try:
        if _is_safetensors(file):
            return dict(safetensors.torch.load_file(file))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about old formats
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # torch's own message advises to load the file in a way that runs the code in it.
        raise WeightsMismatch(
            f"{str(file)!r} holds more than plain tensors, which could run code when loaded, or "
            "is damaged; expected safetensors, or a state dict that torch.save wrote."
        ) from None
    except (
        RuntimeError, OSError, EOFError, LookupError, ValueError, TypeError, AttributeError,
        safetensors.SafetensorError,
    ):  # fmt: skip
        raise WeightsMismatch(
            f"{str(file)!r} is damaged or incomplete, or no file of plain tensors; get it again."
        ) from None
    state = loaded
    for key in WRAPPING_KEYS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(hasattr(v, "shape") for v in state.values()):
        raise WeightsMismatch(f"{str(file)!r} holds no state dict: expected names and tensors.")
    return dict(state)


def require_weights_format(file: Path) -> None:
    """Refuse a file that begins as neither torch nor safetensors files do.

    Raises:
        WeightsMismatch: with what the file is.
    """
    with file.open("rb") as opened:
        head = opened.read(64)
    text = head.lstrip().lower()
    if not head:
        what = "is empty (0 bytes): the download may have been interrupted; get it again."
    elif head.startswith(b"version https://git-lfs"):
        what = "is a Git LFS pointer, not the weights: run `git lfs pull` where it came from."
    elif text.startswith((b"<!doctype", b"<html", b"<?xml")):
        what = "is an HTML page, not the weights: download the file that the page links to."
    elif head.startswith((b"PK\x03\x04", b"\x80")) or _is_safetensors(file):
        return
    else:
        what = (
            "is not a file that torch.save or safetensors wrote; expected one of those "
            f"({', '.join(SUFFIXES)})."
        )
    raise WeightsMismatch(f"{str(file)!r} {what}")


def _is_safetensors(file: Path) -> bool:
    """Whether the file begins with the length of a JSON header, in 8 bytes, and with its brace."""
    with file.open("rb") as opened:
        head = opened.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < 2**32
