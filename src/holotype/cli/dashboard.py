"""`holotype dashboard`: pages for people, over the runs below a folder."""

from pathlib import Path
from typing import Annotated

from holotype.cli.options import Several
from holotype.cli.output import print_message
from holotype.dashboard_pages import dashboard as verb
from holotype.serving.server_settings import BehindProxy


def dashboard(
    folder: Path = Path(),
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    keys: Path | None = None,
    workers: int | None = None,
    allowed_hosts: Annotated[tuple[str, ...], Several] = (),
    proxies: Annotated[tuple[str, ...], Several] = (),
    root_path: str = "",
) -> int:
    """Until SIGTERM or Ctrl-C; `holotype serve --dashboard` has the same pages beside the API.

    Args:
        folder: The runs below it are shown; the registry is that of `holotype registry`.
        host: The address to listen on. Other machines reach any but loopback, so keys are needed.
        port: 0 for one that is free.
        keys: A file that `holotype serve keys add NAME --rights look,review,promote` made.
        workers: Processes that decode and run; one for each core that may be used by default.
        allowed_hosts: Further names that requests may be addressed to.
        proxies: Addresses whose forwarded headers are believed.
        root_path: What a proxy takes off the path, such as /cells.
    """
    verb.dashboard(
        folder, host=host, port=port, keys=keys, workers=workers,
        proxy=BehindProxy(allowed_hosts, proxies, root_path),
        on_listening=lambda url: print_message(f"dashboard at {url}/dashboard/; Ctrl-C stops."),
    )  # fmt: skip
    return 0
