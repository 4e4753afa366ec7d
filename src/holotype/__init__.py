"""Holotype turns a folder of labelled images into a classifier you can trust and ship.

The names below are the whole public API. Each is imported when it is first used, so that
`import holotype` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from holotype.comparison.result import Comparison
    from holotype.dataset.sources.fetch import fetch
    from holotype.dataset.volumes.slicing import Slices
    from holotype.errors import HolotypeError
    from holotype.evaluation.report_data import Report
    from holotype.explanation.explainer import Explanation, Explanations
    from holotype.pipeline.audit import Audit, audit
    from holotype.pipeline.augment import ContactSheet, augment
    from holotype.pipeline.classifier import Classifier, load
    from holotype.pipeline.compare import compare
    from holotype.pipeline.doctor import Diagnosis, doctor
    from holotype.pipeline.ensemble import ensemble
    from holotype.pipeline.evaluate import evaluate
    from holotype.pipeline.explain import explain
    from holotype.pipeline.model_catalog import Model, Models, models
    from holotype.pipeline.predict import predict
    from holotype.pipeline.run import Run
    from holotype.pipeline.slice import slice
    from holotype.pipeline.split import Split, split
    from holotype.pipeline.training_run.train import estimate, train
    from holotype.pipeline.training_run.training_estimate import TrainingEstimate
    from holotype.pipeline.training_run.training_options import ReadingOptions, Resources, Resuming
    from holotype.predictions import Predictions
    from holotype.single_prediction import Prediction
    from holotype.training.config.recipe import Recipe

# public name -> where it lives, and what it is called there
_PUBLIC_API = {
    "ensemble": ("holotype.pipeline.ensemble", "ensemble"),
    "compare": ("holotype.pipeline.compare", "compare"),
    "Comparison": ("holotype.comparison.result", "Comparison"),
    "Report": ("holotype.evaluation.report_data", "Report"),
    "doctor": ("holotype.pipeline.doctor", "doctor"),
    "Diagnosis": ("holotype.pipeline.doctor", "Diagnosis"),
    "models": ("holotype.pipeline.model_catalog", "models"),
    "Models": ("holotype.pipeline.model_catalog", "Models"),
    "Model": ("holotype.pipeline.model_catalog", "Model"),
    "slice": ("holotype.pipeline.slice", "slice"),
    "Slices": ("holotype.dataset.volumes.slicing", "Slices"),
    "augment": ("holotype.pipeline.augment", "augment"),
    "ContactSheet": ("holotype.pipeline.augment", "ContactSheet"),
    "HolotypeError": ("holotype.errors", "HolotypeError"),
    "Audit": ("holotype.pipeline.audit", "Audit"),
    "ReadingOptions": ("holotype.pipeline.training_run.training_options", "ReadingOptions"),
    "Recipe": ("holotype.training.config.recipe", "Recipe"),
    "Resources": ("holotype.pipeline.training_run.training_options", "Resources"),
    "Resuming": ("holotype.pipeline.training_run.training_options", "Resuming"),
    "Run": ("holotype.pipeline.run", "Run"),
    "Split": ("holotype.pipeline.split", "Split"),
    "audit": ("holotype.pipeline.audit", "audit"),
    "evaluate": ("holotype.pipeline.evaluate", "evaluate"),
    "Classifier": ("holotype.pipeline.classifier", "Classifier"),
    "explain": ("holotype.pipeline.explain", "explain"),
    "Explanation": ("holotype.explanation.explainer", "Explanation"),
    "Explanations": ("holotype.explanation.explainer", "Explanations"),
    "fetch": ("holotype.dataset.sources.fetch", "fetch"),
    "load": ("holotype.pipeline.classifier", "load"),
    "predict": ("holotype.pipeline.predict", "predict"),
    "Prediction": ("holotype.single_prediction", "Prediction"),
    "Predictions": ("holotype.predictions", "Predictions"),
    "split": ("holotype.pipeline.split", "split"),
    "TrainingEstimate": ("holotype.pipeline.training_run.training_estimate", "TrainingEstimate"),
    "estimate": ("holotype.pipeline.training_run.train", "estimate"),
    "train": ("holotype.pipeline.training_run.train", "train"),
}

__all__ = [
    "Audit",
    "Classifier",
    "Comparison",
    "ContactSheet",
    "Diagnosis",
    "Explanation",
    "Explanations",
    "HolotypeError",
    "Model",
    "Models",
    "Prediction",
    "Predictions",
    "ReadingOptions",
    "Recipe",
    "Report",
    "Resources",
    "Resuming",
    "Run",
    "Slices",
    "Split",
    "TrainingEstimate",
    "__version__",
    "audit",
    "augment",
    "compare",
    "doctor",
    "ensemble",
    "estimate",
    "evaluate",
    "explain",
    "fetch",
    "load",
    "models",
    "predict",
    "slice",
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
