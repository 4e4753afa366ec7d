"""Images by outcome and how long they took, as `/metrics` counts them."""

from dataclasses import dataclass, field

from holotype.serving.http.prometheus_metrics import Metrics

IMAGES, SECONDS = "holotype_images_total", "holotype_image_seconds"


@dataclass
class ModelCounts:
    """What one model did since the server started.

    Attributes:
        outcomes: version, arm, outcome and number of images.
        latency: for each stage (queue, run) the number of images and their mean in milliseconds.
    """

    outcomes: list[tuple[str, str, str, int]] = field(default_factory=list)
    latency: dict[str, tuple[int, float]] = field(default_factory=dict)


def counts_by_model(metrics: Metrics) -> dict[str, ModelCounts]:
    """The counts of every model that has answered."""
    found: dict[str, ModelCounts] = {}
    sums: dict[tuple[str, str], float] = {}
    numbers: dict[tuple[str, str], int] = {}
    for metric in metrics.registry.collect():
        for sample in metric.samples:
            labels = sample.labels
            if sample.name == IMAGES:
                row = (labels["version"], labels["arm"], labels["outcome"], int(sample.value))
                found.setdefault(labels["model"], ModelCounts()).outcomes.append(row)
            elif sample.name == f"{SECONDS}_sum":
                sums[labels["model"], labels["stage"]] = sample.value
            elif sample.name == f"{SECONDS}_count":
                numbers[labels["model"], labels["stage"]] = int(sample.value)
    for (model, stage), number in numbers.items():
        if number:
            mean_ms = 1000 * sums[model, stage] / number
            found.setdefault(model, ModelCounts()).latency[stage] = number, mean_ms
    return found
