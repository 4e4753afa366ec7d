"""From `registry://NAME@ALIAS` to a path, wherever a run or a bundle may be named."""

import os
from pathlib import Path

from holotype.registry.registered_name import is_registered_name
from holotype.registry.registry import Registry

PathLike = str | os.PathLike[str]


def registered_path(run: PathLike) -> Path:
    """The path of a registered version; any other path as it is.

    Its bundle is compared with its digest. The registry is that of `HOLOTYPE_REGISTRY`.

    Raises:
        UnknownVersion: nothing is registered so.
        CorruptBundle: its bundle is missing or was changed.
        MissingExtra: the extra `registry` is not installed.
    """
    if not is_registered_name(run):
        return Path(run)
    registry = Registry()
    try:
        return registry.version(os.fspath(run)).path
    finally:
        registry.close()
