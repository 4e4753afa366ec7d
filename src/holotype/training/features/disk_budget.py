"""How much disk the cache of features may take; a gigabyte is 10⁹ bytes."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from holotype.errors import UsageError
from holotype.files import cache_directory

BUDGET_VARIABLE = "HOLOTYPE_DISK_BUDGET"
DEFAULT_BYTES = 20 * 10**9
MIN_FREE_FRACTION = 0.1  # of the disk, which stays free whatever the budget says

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True)
class DiskBudget:
    """The largest size of the `features` folder of the cache."""

    total_bytes: int = DEFAULT_BYTES

    def why_too_large(self, more_bytes: int) -> str:
        """Why `more_bytes` do not fit, and what would help; "" where they do."""
        folder = cache_directory() / "features"
        used = _size_of(folder)
        if used + more_bytes > self.total_bytes:
            return (
                f"{format_bytes(more_bytes)} more would pass the budget of "
                f"{format_bytes(self.total_bytes)}, of which {format_bytes(used)} are used: "
                f"raise {BUDGET_VARIABLE}, or remove old folders in {str(folder)!r}"
            )
        disk = shutil.disk_usage(_existing(folder))
        if disk.free - more_bytes < MIN_FREE_FRACTION * disk.total:
            return (
                f"{format_bytes(more_bytes)} more would leave less than "
                f"{100 * MIN_FREE_FRACTION:g} % of the disk free, which has "
                f"{format_bytes(disk.free)}: make room, or set HOLOTYPE_CACHE to another disk"
            )
        return ""


def disk_budget(said: str | None = None) -> DiskBudget:
    """The option's value, else that of `$HOLOTYPE_DISK_BUDGET`, else 20 GB.

    Args:
        said: such as ``500MB``, ``1.5 GB``, ``2TB``, ``0`` to cache nothing, or plain bytes.

    Raises:
        UsageError: it is no size.
    """
    text = os.environ.get(BUDGET_VARIABLE) if said is None else said
    if text is None or text == "":
        return DiskBudget()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower())
    if match is None:
        raise UsageError(
            f"a disk budget of {text!r} is no size; expected one such as 500MB, 20GB or 0."
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
