"""`holotype.dashboard`: the pages alone, over the runs below a folder."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from holotype.errors import UsageError
from holotype.extras import with_install_advice
from holotype.serving.server_settings import BehindProxy, ServerSettings
from holotype.serving.traffic.start_traffic import ServedSources
from holotype.serving.traffic.traffic_options import TrafficOptions


def _tell(url: str) -> None:
    print(f"dashboard at {url}/dashboard/", file=sys.stderr, flush=True)


@with_install_advice
def dashboard(
    folder: str | os.PathLike[str] = ".",
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    keys: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    proxy: BehindProxy | None = None,
    on_listening: Callable[[str], None] = _tell,
) -> None:
    """Show runs, data and registered versions in a browser until the process is told to stop.

    Example:
        >>> holotype.dashboard("runs", port=8501)  # doctest: +SKIP

    Args:
        folder: the runs below it are shown. The registry is the one that `holotype registry` uses.
        host: the address to listen on. Other machines reach any but loopback, so keys are needed.
        port: 0 for one that is free.
        keys: a file that `holotype serve keys add NAME --rights look,review,promote` made.
        workers: processes that decode and run; one for each core that may be used by default.
        proxy: how it is reached where another server stands before it.
        on_listening: told the URL of the server; the pages are below `/dashboard/`.

    Raises:
        UsageError: the folder does not exist, or others may reach it and there are no keys.
        MissingExtra: the packages of a server are not installed.
    """
    from holotype.dashboard_pages.include import include_dashboard, require_keys
    from holotype.serving.running_server import run_server

    place = Path(folder)
    if not place.is_dir():
        raise UsageError(f"{str(folder)!r} is no folder; expected one that runs lie below.")
    settings = ServerSettings(
        host=host, port=port, keys=None if keys is None else Path(keys),
        proxy=proxy or BehindProxy(),
    )  # fmt: skip
    require_keys(settings)
    settings = replace(settings, engine=replace(settings.engine, workers=workers))
    nothing_served = ServedSources({}, {}, TrafficOptions())
    run_server(nothing_served, settings, on_listening, include_dashboard(place))
