"""The server as a process: it opens the classifiers, listens, and ends in good order."""

import asyncio
import contextlib
import logging
import math
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from holotype.errors import HolotypeError
from holotype.serving.deployment import ModelVersion, model_version
from holotype.serving.engine.worker_pool import WorkerPool
from holotype.serving.http.app import build_app
from holotype.serving.http.guarded_protocol import guarded_protocol
from holotype.serving.http.keys import Keys
from holotype.serving.http.prometheus_metrics import Metrics
from holotype.serving.http.service import Service
from holotype.serving.model_sources import run_facts
from holotype.serving.server_settings import ServerSettings
from holotype.serving.traffic.start_traffic import RunningTraffic, ServedSources

BACKLOG = 2048
KEEP_ALIVE_S = 15

OnListening = Callable[[str], None]  # told the URL
Extension = Callable[[FastAPI], None]  # includes further routers


def include_nothing(app: FastAPI) -> None:
    """Serve the API alone."""


class CannotListen(HolotypeError):
    """The address cannot be listened on."""


def run_server(
    sources: ServedSources,
    settings: ServerSettings,
    on_listening: OnListening,
    extend: Extension = include_nothing,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight.

    Args:
        sources: what is served, and how versions are compared; nothing for pages alone.
        extend: called with the application before it listens, such as to add the dashboard.

    Raises:
        BundleError: a classifier cannot be opened.
        CannotListen: the address is taken, or not of this machine.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_serve(sources, settings, on_listening, extend))


async def _serve(
    sources: ServedSources, settings: ServerSettings, on_listening: OnListening, extend: Extension
) -> None:
    keys = Keys(settings.keys) if settings.keys is not None else None
    listening = _listen(settings)
    engine = WorkerPool(settings.engine)
    running = RunningTraffic(engine, sources, partial(_open, engine), _linger_s(settings))
    left_s = settings.grace_s
    try:
        await engine.start()
        await running.start()
        service = Service(engine, running.traffic, Metrics(), settings, keys)
        app = build_app(service)
        extend(app)
        server = _Server(service, _config(app, settings))
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        on_listening(f"http://{host}:{listening.getsockname()[1]}{settings.proxy.root_path}")
        await server.serve(sockets=[listening])
        left_s -= time.monotonic() - server.stopped_s
    finally:
        listening.close()
        await engine.stop(left_s)
        await running.stop()


async def _open(engine: WorkerPool, name: str, path: Path, version: str) -> ModelVersion:
    opened = await engine.open(str(path))
    metrics, card = run_facts(opened.path)
    return replace(model_version(name, opened, version), metrics=metrics, card=card)


def _linger_s(settings: ServerSettings) -> float:
    """How long after it was routed a request may still come in."""
    return settings.limits.body_timeout_s + settings.engine.deadline_s


def _listen(settings: ServerSettings) -> socket.socket:
    """Taken before the classifiers are opened, so that a mistake is told at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}. "
            "Choose another --port, or --port 0 for any that is free."
        ) from error


def _config(app: FastAPI, settings: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=guarded_protocol(settings.limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxy.proxies),
        forwarded_allow_ips=list(settings.proxy.proxies),
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.grace_s)),
    )


class _Server(uvicorn.Server):
    """uvicorn, told to stop by a signal, which it does not raise again when it has stopped."""

    def __init__(self, service: Service, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._service = service
        self.stopped_s = math.inf

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.force_exit = self.should_exit and self.force_exit
        self.should_exit = self._service.stopping = True
        self.stopped_s = min(self.stopped_s, time.monotonic())


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, which takes half the time for a request; asyncio's own where there is none."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
