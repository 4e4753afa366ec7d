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
    from holotype.dataset.audit import audit
    from holotype.dataset.index import read_index
    from holotype.dataset.sources import fetch
    from holotype.dataset.split import split
    from holotype.errors import HolotypeError
    from holotype.evaluation.decision import fit_decision
    from holotype.evaluation.report import evaluate, write_report
    from holotype.explanation.gallery import select_examples
    from holotype.explanation.sheets import explain
    from holotype.road import train
    from holotype.run import Run

# public name -> where it lives, and what it is called there
_PUBLIC_API = {
    "HolotypeError": ("holotype.errors", "HolotypeError"),
    "Run": ("holotype.run", "Run"),
    "audit": ("holotype.dataset.audit", "audit"),
    "fit_decision": ("holotype.evaluation.decision", "fit_decision"),
    "evaluate": ("holotype.evaluation.report", "evaluate"),
    "explain": ("holotype.explanation.sheets", "explain"),
    "fetch": ("holotype.dataset.sources", "fetch"),
    "select_examples": ("holotype.explanation.gallery", "select_examples"),
    "load": ("holotype.bundle.bundle", "load_bundle"),
    "predict": ("holotype.bundle.inference", "predict"),
    "read_index": ("holotype.dataset.index", "read_index"),
    "split": ("holotype.dataset.split", "split"),
    "train": ("holotype.road", "train"),
    "write_bundle": ("holotype.bundle.bundle", "write_bundle"),
    "write_report": ("holotype.evaluation.report", "write_report"),
}

__all__ = [
    "HolotypeError",
    "Run",
    "__version__",
    "audit",
    "fit_decision",
    "evaluate",
    "explain",
    "fetch",
    "select_examples",
    "load",
    "predict",
    "read_index",
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
