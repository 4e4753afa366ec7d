"""How much disk kept activations may take.

A gigabyte here is 10⁹ bytes, as disks are sold.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from holotype.cache import cache_directory
from holotype.errors import UsageError

BUDGET_VARIABLE = "HOLOTYPE_DISK_BUDGET"
DEFAULT_BYTES = 20 * 10**9
MIN_FREE_FRACTION = 0.1  # of the disk, which stays free whatever the budget says

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True)
class DiskBudget:
    """What all kept activations together may take.

    Attributes:
        total_bytes: of everything under `features` in the cache.
    """

    total_bytes: int = DEFAULT_BYTES

    def why_too_large(self, more_bytes: int) -> str:
        """Why so much more cannot be kept, and what would help; "" where it can."""
        folder = cache_directory() / "features"
        used = _size_of(folder)
        if used + more_bytes > self.total_bytes:
            return (
                f"{format_bytes(more_bytes)} more would pass the budget of "
                f"{format_bytes(self.total_bytes)}, of "
                f"which {format_bytes(used)} are used: raise {BUDGET_VARIABLE}, or remove old "
                "folders in "
                f"{str(folder)!r}"
            )
        disk = shutil.disk_usage(_existing(folder))
        if disk.free - more_bytes < MIN_FREE_FRACTION * disk.total:
            return (
                f"{format_bytes(more_bytes)} more would leave less than "
                f"{100 * MIN_FREE_FRACTION:g} % of the "
                f"disk free, which has {format_bytes(disk.free)}: make room, or set "
                "HOLOTYPE_CACHE to "
                "another disk"
            )
        return ""


def disk_budget(said: str | None = None) -> DiskBudget:
    """From what the user said, else from `$HOLOTYPE_DISK_BUDGET`, else 20 GB.

    Args:
        said: such as ``500MB``, ``1.5 GB``, ``2TB``, ``0`` for keeping nothing, or plain bytes.

    Raises:
        UsageError: anything else.
    """
    text = os.environ.get(BUDGET_VARIABLE) if said is None else said
    if text is None or text == "":
        return DiskBudget()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower())
    if match is None:
        raise UsageError(
            f"a disk budget of {text!r} makes no sense; expected a size such as 500MB, 20GB or 0."
        )
    return DiskBudget(round(float(match[1]) * _UNITS[match[2]]))


def format_bytes(size: float) -> str:
    """Such as ``460 MB``."""
    for unit in ("G", "M", "k"):
        if size >= _UNITS[unit.lower()]:
            return f"{size / _UNITS[unit.lower()]:.3g} {unit}B"
    return f"{size:.0f} bytes"


def _size_of(folder: Path) -> int:
    total = 0
    for file in folder.glob("*/*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # removed, or renamed into its place, by another process
            continue
    return total


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
