"""`holotype.serve`: classifiers behind HTTP."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from holotype.extras import with_install_advice
from holotype.serving.model_sources import served_sources
from holotype.serving.server_settings import ServerSettings
from holotype.serving.traffic.traffic_options import TrafficOptions


def _tell(url: str) -> None:
    print(f"serving at {url}", file=sys.stderr, flush=True)


@with_install_advice
def serve(
    classifiers: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    deadline: float = 10.0,
    allowed_hosts: Sequence[str] = (),
    proxies: Sequence[str] = (),
    root_path: str = "",
    grace: float = 20.0,
    traffic: TrafficOptions | None = None,
    on_listening: Callable[[str], None] = _tell,
) -> None:
    """Answer HTTP requests with classifiers until the process is told to stop.

    Example:
        >>> holotype.serve("runs/photos-1", port=8000)  # doctest: +SKIP

    Args:
        classifiers: one or several runs, stages (`RUN@NAME`), bundles or `registry://NAME@ALIAS`,
            which is followed when the alias moves; `NAME=RUN` says what
            requests call it, its own name by default.
        host: the address to listen on. Other machines reach any but loopback, so keys are needed.
        port: 0 for one that is free.
        keys: a file that `holotype serve keys add` made.
        workers: processes that decode and run; one for each core that may be used by default.
        deadline: seconds that an image may wait.
        allowed_hosts: further names that requests may be addressed to.
        proxies: addresses whose forwarded headers are believed.
        root_path: what a proxy takes off the path, such as `/cells`.
        grace: seconds for requests in flight when told to stop.
        traffic: a challenger and how it is compared, and the request log; neither by default.
        on_listening: told the URL.

    Raises:
        UsageError: nothing to serve, or another interface without keys.
        BundleError: a classifier cannot be opened.
        MissingExtra: the packages of a server are not installed.
    """
    from holotype.serving.running_server import run_server

    settings = ServerSettings(
        host=host,
        port=port,
        keys=None if keys is None else Path(keys),
        allowed_hosts=tuple(allowed_hosts),
        proxies=tuple(proxies),
        root_path=root_path,
        grace_s=grace,
    )
    shadow = traffic is not None and traffic.shadow
    engine = replace(settings.engine, workers=workers, deadline_s=deadline, shadow_worker=shadow)
    named = [classifiers] if isinstance(classifiers, str | os.PathLike) else list(classifiers)
    sources = served_sources(named, traffic or TrafficOptions())
    run_server(sources, replace(settings, engine=engine), on_listening)
