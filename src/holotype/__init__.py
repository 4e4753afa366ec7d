"""Holotype turns a folder of labelled images into a classifier you can trust and ship.

The names below are the whole public API. Each is imported when it is first used, so that
`import holotype` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from holotype.bundle.bundle import load_bundle as load
    from holotype.bundle.inference import predict
    from holotype.dataset.sources.fetch import fetch
    from holotype.errors import HolotypeError
    from holotype.evaluation.build_report import build_report as evaluate
    from holotype.explanation.explanation_figures import explain
    from holotype.pipeline import train
    from holotype.pipeline.audit import Audit, audit
    from holotype.pipeline.split import Split, split
    from holotype.run_directory import RunDirectory as Run

# public name -> where it lives, and what it is called there
_PUBLIC_API = {
    "HolotypeError": ("holotype.errors", "HolotypeError"),
    "Audit": ("holotype.pipeline.audit", "Audit"),
    "Run": ("holotype.run_directory", "RunDirectory"),
    "Split": ("holotype.pipeline.split", "Split"),
    "audit": ("holotype.pipeline.audit", "audit"),
    "evaluate": ("holotype.evaluation.build_report", "build_report"),
    "explain": ("holotype.explanation.explanation_figures", "explain"),
    "fetch": ("holotype.dataset.sources.fetch", "fetch"),
    "load": ("holotype.bundle.bundle", "load_bundle"),
    "predict": ("holotype.bundle.inference", "predict"),
    "split": ("holotype.pipeline.split", "split"),
    "train": ("holotype.pipeline", "train"),
}

__all__ = [
    "Audit",
    "HolotypeError",
    "Run",
    "Split",
    "__version__",
    "audit",
    "evaluate",
    "explain",
    "fetch",
    "load",
    "predict",
    "split",
    "train",
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
