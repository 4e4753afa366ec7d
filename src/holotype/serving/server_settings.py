"""How the server is set up."""

from dataclasses import dataclass, field
from pathlib import Path

from holotype.errors import UsageError
from holotype.serving.engine.worker_pool import EngineSettings

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class RequestLimits:
    """What one request may be.

    Attributes:
        max_body_mib: of one request.
        max_images: in one request.
        max_header_kib: of one request.
        header_timeout_s: from the first byte of a request until its headers are complete.
        body_timeout_s: from then until its body is complete.
        max_connections: open at once; more are closed.
    """

    max_body_mib: int = 32
    max_images: int = 16
    max_header_kib: int = 16
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    max_connections: int = 2000


@dataclass(frozen=True)
class BehindProxy:
    """How the server is reached where another one stands before it, such as nginx.

    Attributes:
        allowed_hosts: further names that requests may be addressed to, besides loopback and `host`.
        proxies: addresses whose forwarded headers are believed.
        root_path: what a proxy takes off the path, such as `/cells`.
    """

    allowed_hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    root_path: str = ""


@dataclass(frozen=True)
class ServerSettings:
    """Where the server listens, and whom it answers.

    Attributes:
        host: the address of the interface.
        port: 0: one that is free.
        keys: the file of hashed keys; None: no key is needed, on loopback only.
        proxy: how it is reached where another server stands before it.
        grace_s: for requests in flight when the server is told to stop.
        limits: of one request.
        engine: workers and queue.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    proxy: BehindProxy = field(default_factory=BehindProxy)
    grace_s: float = 20.0
    limits: RequestLimits = field(default_factory=RequestLimits)
    engine: EngineSettings = field(default_factory=EngineSettings)

    def __post_init__(self) -> None:
        if self.keys is None and self.host not in LOOPBACK:
            raise UsageError(
                f"--host {self.host} can be reached from other machines, so keys are needed: make "
                "one with `holotype serve keys add NAME --keys keys.json`, and give --keys "
                "keys.json; or leave --host out to serve this machine alone."
            )
        if not 0 <= self.port <= 65535:
            raise UsageError(f"--port is {self.port}; expected 0 to 65535.")
        root_path = self.proxy.root_path
        if root_path and (not root_path.startswith("/") or root_path.endswith("/")):
            raise UsageError(f"--root-path is {root_path!r}; expected such as '/cells'.")
