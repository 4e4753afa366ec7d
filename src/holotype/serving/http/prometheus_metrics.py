"""What `/metrics` gives to Prometheus."""

from collections.abc import Callable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

Gauges = Callable[[], dict[str, tuple[str, float]]]  # name -> what it is, its value now


class Metrics:
    """Counters of this server; its own registry, so that several live in one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a time beside every counter would double the page
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "holotype_requests",
            "Requests, by path and status.",
            ["method", "path", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "holotype_request_seconds",
            "From the headers of a request to the end of its response.",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._images = Counter(
            "holotype_images",
            "Images, by model, version, arm and outcome.",
            ["model", "version", "arm", "outcome"],
            registry=self.registry,
        )
        self._stages = Histogram(
            "holotype_image_seconds",
            "Of an image: waiting (queue), decoding and inference (run).",
            ["model", "stage"],
            buckets=SECONDS,
            registry=self.registry,
        )

    def count_request(self, method: str, path: str, status: int, seconds: float) -> None:
        known = method if method in METHODS else "other"  # a client may invent any number
        self._requests.labels(known, path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_image(self, model: str, version: str, arm: str, outcome: str) -> None:
        self._images.labels(model, version, arm, outcome).inc()

    def time_image(self, model: str, queue_ms: float, run_ms: float) -> None:
        self._stages.labels(model, "queue").observe(queue_ms / 1000)
        self._stages.labels(model, "run").observe(run_ms / 1000)

    def add_gauges(self, gauges: Gauges) -> None:
        """Values that are asked for when Prometheus asks."""
        self.registry.register(_Gauges(gauges))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Gauges(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for name, (what, value) in self._gauges().items():
            yield GaugeMetricFamily(name, what, value=value)
