"""`holotype.serve`: classifiers behind HTTP, and on request the dashboard beside them."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from holotype.errors import UsageError
from holotype.extras import with_install_advice
from holotype.identification.gallery import Gallery
from holotype.serving.galleries.served_gallery import ServedGallery
from holotype.serving.model_sources import served_sources
from holotype.serving.server_settings import BehindProxy, ServerSettings
from holotype.serving.traffic.traffic_options import TrafficOptions

if TYPE_CHECKING:
    from fastapi import FastAPI


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
    proxy: BehindProxy | None = None,
    grace: float = 20.0,
    dashboard: bool = False,
    gallery: str | os.PathLike[str] | None = None,
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
        proxy: how it is reached where another server stands before it.
        grace: seconds for requests in flight when told to stop.
        dashboard: pages for people below `/dashboard/`, with the runs below the working directory.
        gallery: individuals that `/v1/models/NAME/identify` asks, of one of the classifiers.
        traffic: a challenger and how it is compared, and the request log; neither by default.
        on_listening: told the URL.

    Raises:
        UsageError: nothing to serve, no worker, or another interface without keys.
        BundleError: a classifier cannot be opened.
        MissingExtra: the packages of a server are not installed.
    """
    from holotype.serving.running_server import run_server

    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; expected 1 or more, or nothing for all cores.")
    settings = ServerSettings(
        host=host,
        port=port,
        keys=None if keys is None else Path(keys),
        grace_s=grace,
        proxy=proxy or BehindProxy(),
    )
    shadow = traffic is not None and traffic.shadow
    engine = replace(settings.engine, workers=workers, deadline_s=deadline, shadow_worker=shadow)
    named = [classifiers] if isinstance(classifiers, str | os.PathLike) else list(classifiers)
    sources = served_sources(named, traffic or TrafficOptions())
    settings = replace(settings, engine=engine)
    extensions = [] if gallery is None else [_include_gallery(gallery)]
    if dashboard:
        from holotype.dashboard_pages.include import include_dashboard, require_keys

        require_keys(settings)
        extensions.append(include_dashboard(Path()))

    def extend(app: "FastAPI") -> None:
        for extension in extensions:
            extension(app)

    run_server(sources, settings, on_listening, extend)


def _include_gallery(place: str | os.PathLike[str]) -> "Callable[[FastAPI], None]":
    """What adds the paths of a gallery to an application."""
    from holotype.serving.galleries.identification_routes import gallery_router

    served = ServedGallery(Gallery(place))
    return lambda app: app.include_router(gallery_router(served))
