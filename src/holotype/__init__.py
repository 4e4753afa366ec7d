"""Holotype turns a folder of labelled images into a classifier you can trust and ship.

The names below are the whole public API. Each is imported when it is first used, so that
`import holotype` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from holotype.bundle.bundle import load_bundle as load
    from holotype.bundle.bundle import write_bundle
    from holotype.bundle.inference import predict
    from holotype.dataset.auditing.run_audit import audit
    from holotype.dataset.index import read_index
    from holotype.dataset.sources.fetch import fetch
    from holotype.dataset.splitting.splitter import split
    from holotype.errors import HolotypeError
    from holotype.evaluation.build_report import build_report as evaluate
    from holotype.evaluation.post_hoc_calibration import fit_decision
    from holotype.explanation.example_selection import select_examples
    from holotype.explanation.explanation_figures import explain
    from holotype.pipeline import train
    from holotype.reporting.write_report import write_report
    from holotype.run_directory import RunDirectory as Run

# public name -> where it lives, and what it is called there
_PUBLIC_API = {
    "HolotypeError": ("holotype.errors", "HolotypeError"),
    "Run": ("holotype.run_directory", "RunDirectory"),
    "audit": ("holotype.dataset.auditing.run_audit", "audit"),
    "fit_decision": ("holotype.evaluation.post_hoc_calibration", "fit_decision"),
    "evaluate": ("holotype.evaluation.build_report", "build_report"),
    "explain": ("holotype.explanation.explanation_figures", "explain"),
    "fetch": ("holotype.dataset.sources.fetch", "fetch"),
    "select_examples": ("holotype.explanation.example_selection", "select_examples"),
    "load": ("holotype.bundle.bundle", "load_bundle"),
    "predict": ("holotype.bundle.inference", "predict"),
    "read_index": ("holotype.dataset.index", "read_index"),
    "split": ("holotype.dataset.splitting.splitter", "split"),
    "train": ("holotype.pipeline", "train"),
    "write_bundle": ("holotype.bundle.bundle", "write_bundle"),
    "write_report": ("holotype.reporting.write_report", "write_report"),
}

__all__ = [
    "HolotypeError",
    "Run",
    "__version__",
    "audit",
    "evaluate",
    "explain",
    "fetch",
    "fit_decision",
    "load",
    "predict",
    "read_index",
    "select_examples",
    "split",
    "train",
    "write_bundle",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC_API:
        raise AttributeError(f"module 'holotype' has no attribute {name!r}")
    module, attribute = _PUBLIC_API[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
