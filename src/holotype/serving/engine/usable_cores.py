"""How many cores this process may use, by its affinity and the quota of its cgroup."""

import math
from pathlib import Path

from holotype.bundle.onnx_runtime import available_cores

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Whole cores, at least one."""
    quota = cgroup_cores(_OWN, _CGROUPS)
    return max(1, min(available_cores(), math.floor(quota) if quota else available_cores()))


def cgroup_cores(own: Path, root: Path) -> float | None:
    """The smallest quota of CPU time of the cgroups that this process is in; None without one."""
    quotas = []
    for line in _lines(own):
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            folders = [root / path.lstrip("/"), *(root / path.lstrip("/")).parents]
            quotas += [_quota(folder / "cpu.max") for folder in folders if _below(folder, root)]
        elif "cpu" in controllers.split(","):
            for place in (root / "cpu" / path.lstrip("/"), root / "cpu"):
                quotas.append(_quota_of_version_1(place))
    return min((quota for quota in quotas if quota), default=None)


def _below(folder: Path, root: Path) -> bool:
    return folder == root or root in folder.parents


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:  # not Linux, or not shown in this container
        return []


def _quota(file: Path) -> float | None:
    words = " ".join(_lines(file)).split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _quota_of_version_1(folder: Path) -> float | None:
    quota, period = (
        " ".join(_lines(folder / name)) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    )
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None
