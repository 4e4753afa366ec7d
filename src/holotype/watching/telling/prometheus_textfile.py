"""`watch.prom`: what watching found, for the textfile collector of Prometheus' node exporter."""

from collections.abc import Iterator
from typing import get_args

from holotype.watching.watch_status import ChangeKind, WatchStatus

WATCH_PROM = "watch.prom"


def prometheus_text(status: WatchStatus) -> str:
    """The metrics in Prometheus' text format."""
    return "\n".join(_lines(status)) + "\n"


def _lines(status: WatchStatus) -> Iterator[str]:
    model = f'model="{_escaped(status.model.name)}"'
    yield from _head("alarm", "1 from an alarm to all clear, by the kind of the change")
    for kind in get_args(ChangeKind):
        value = int(status.alarm and status.kind == kind)
        yield f'holotype_watch_alarm{{{model},kind="{kind}"}} {value}'
    yield from _head("evidence", "Of a change, by monitor; 1 is an alarm")
    for monitor in status.monitors:
        yield (
            f'holotype_watch_evidence{{{model},monitor="{_escaped(monitor.name)}",'
            f'about="{monitor.about}"}} {monitor.evidence:.6g}'
        )
    yield from _head("windows", "Windows of the request log that were looked at")
    yield f"holotype_watch_windows{{{model}}} {status.windows[-1].number if status.windows else 0}"
    yield from _head("accuracy", "Of the newest windows, estimated and from feedback")
    for source, found in status.accuracy.items():
        if found is not None and found["value"] is not None:
            for end in ("value", "low", "high"):
                labels = f'{model},source="{source}",end="{end}"'
                yield f"holotype_watch_accuracy{{{labels}}} {found[end]:.6g}"
    yield from _head("service", "Of the newest window")
    for name, value in status.service.items():
        if value is not None:
            yield f'holotype_watch_service{{{model},what="{name}"}} {value:.6g}'


def _head(name: str, text: str) -> Iterator[str]:
    yield f"# HELP holotype_watch_{name} {text}"
    yield f"# TYPE holotype_watch_{name} gauge"


def _escaped(text: str) -> str:
    """A label's value."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
