"""What the routes share: the engine, the traffic, the metrics and the settings."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from holotype.serving.engine.worker_pool import WorkerPool
from holotype.serving.http.keys import Key, Keys
from holotype.serving.http.problems import Problem
from holotype.serving.http.prometheus_metrics import Metrics
from holotype.serving.server_settings import ServerSettings
from holotype.serving.traffic.version_traffic import VersionTraffic

PAGES = "/dashboard/"


@dataclass(eq=False)
class Service:
    """One server; it is `app.state.service`.

    Attributes:
        traffic: which version answers; set once the classifiers are open.
        stopping: it was told to stop; requests in flight are finished.
        refuse_page: how a refusal looks below `PAGES`, where a person reads it; None where there is
            no dashboard, which asks for its keys itself.
    """

    engine: WorkerPool
    traffic: VersionTraffic
    metrics: Metrics
    settings: ServerSettings
    keys: Keys | None
    stopping: bool = False
    refuse_page: Callable[[Scope, Problem], Response] | None = None

    def is_page(self, scope: Scope) -> bool:
        """Whether a request is for the dashboard, or for the address that leads to it."""
        path = scope["path"].removeprefix(self.settings.proxy.root_path)
        return self.refuse_page is not None and (path == "/" or f"{path}/".startswith(PAGES))

    def refusal(self, scope: Scope, problem: Problem) -> Response:
        """A page for a person, JSON for a program."""
        if self.refuse_page is not None and self.is_page(scope):
            return self.refuse_page(scope, problem)
        return problem.response(scope["state"]["request_id"])

    def gauges(self) -> dict[str, tuple[str, float]]:
        """The values of this moment, for `/metrics`."""
        engine = self.engine
        return {
            "holotype_queue_images": ("Images that wait.", engine.waiting),
            "holotype_queue_bytes": ("Bytes of the images that wait.", engine.waiting_bytes),
            "holotype_images_in_workers": ("Images in workers.", engine.running),
            "holotype_workers": ("Workers that can answer.", engine.workers_alive),
            "holotype_worker_deaths": ("Workers that ended and were replaced.", engine.deaths),
            "holotype_ready": ("1 where everything in service is open.", engine.ready),
            **self.traffic.gauges(),
        }


def client_of(request: Request) -> str:
    """The name of the key that came with a request; empty where none is needed."""
    key: Key | None = request.state.key
    return "" if key is None else key.name


def service_of(request: Request) -> Service:
    found: Service = request.app.state.service
    return found
