"""Holotype turns a folder of labelled images into a classifier you can trust and ship.

The names below are the whole public API. Each is imported when it is first used, so that
`import holotype` costs nothing.
"""

import importlib
import inspect
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# What libraries would send to their makers. Each looks when it is first imported, by whatever.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

if TYPE_CHECKING:
    from holotype.comparison.result import Comparison
    from holotype.dashboard_pages.dashboard import dashboard
    from holotype.dashboard_pages.serve import serve
    from holotype.dataset.sources.fetch import fetch
    from holotype.dataset.volumes.slicing import Slices
    from holotype.errors import HolotypeError
    from holotype.evaluation.report_data import Report
    from holotype.explanation.explainer import Explanation, Explanations
    from holotype.identification.gallery import Gallery
    from holotype.identification.gallery_result import Addition, Individuals
    from holotype.identification.query_result import Identifications
    from holotype.pipeline.audit import Audit, audit
    from holotype.pipeline.augment import ContactSheet, augment
    from holotype.pipeline.classifier import Classifier, load
    from holotype.pipeline.cleaning.clean import Cleaning, clean
    from holotype.pipeline.compare import compare
    from holotype.pipeline.doctor import Diagnosis, doctor
    from holotype.pipeline.ensemble import ensemble
    from holotype.pipeline.evaluate import evaluate
    from holotype.pipeline.explain import explain
    from holotype.pipeline.exporting.export import Export, Exports, export
    from holotype.pipeline.model_catalog import Model, Models, models
    from holotype.pipeline.predict import predict
    from holotype.pipeline.run import Run
    from holotype.pipeline.slice import slice
    from holotype.pipeline.split import Split, split
    from holotype.pipeline.training_run.train import estimate, train
    from holotype.pipeline.training_run.training_estimate import TrainingEstimate
    from holotype.pipeline.training_run.training_options import ReadingOptions, Resources, Resuming
    from holotype.predictions import Predictions
    from holotype.registry.registered_version import (
        RegisteredModel,
        RegisteredModels,
        RegisteredVersion,
    )
    from holotype.registry.registry import Registry
    from holotype.registry.registry_events import RegistryEvent
    from holotype.search.running import Running
    from holotype.search.search_result import Search
    from holotype.search.sweeping.sweep import sweep
    from holotype.search.sweeping.sweep_result import Sweep
    from holotype.search.tune import tune
    from holotype.serving.client import Client
    from holotype.serving.sent_feedback import Feedback
    from holotype.single_prediction import Prediction
    from holotype.tracking.track import Tracking, track
    from holotype.training.config.recipe import Recipe
    from holotype.watching.labelling.label_next import ImagesToLabel, label_next
    from holotype.watching.retraining.retrain import retrain
    from holotype.watching.retraining.retraining_result import Retraining
    from holotype.watching.retraining.retraining_schedule import RetrainingSchedule
    from holotype.watching.watch import watch
    from holotype.watching.watch_result import Watch

# module -> the public names in it
_PUBLIC_API = {
    "comparison.result": ("Comparison",),
    "dashboard_pages.dashboard": ("dashboard",),
    "dashboard_pages.serve": ("serve",),
    "dataset.sources.fetch": ("fetch",),
    "dataset.volumes.slicing": ("Slices",),
    "errors": ("HolotypeError",),
    "evaluation.report_data": ("Report",),
    "explanation.explainer": ("Explanation", "Explanations"),
    "identification.gallery": ("Gallery",),
    "identification.gallery_result": ("Addition", "Individuals"),
    "identification.query_result": ("Identifications",),
    "pipeline.audit": ("Audit", "audit"),
    "pipeline.augment": ("ContactSheet", "augment"),
    "pipeline.classifier": ("Classifier", "load"),
    "pipeline.cleaning.clean": ("Cleaning", "clean"),
    "pipeline.compare": ("compare",),
    "pipeline.doctor": ("Diagnosis", "doctor"),
    "pipeline.ensemble": ("ensemble",),
    "pipeline.evaluate": ("evaluate",),
    "pipeline.explain": ("explain",),
    "pipeline.exporting.export": ("Export", "Exports", "export"),
    "pipeline.model_catalog": ("Model", "Models", "models"),
    "pipeline.predict": ("predict",),
    "pipeline.run": ("Run",),
    "pipeline.slice": ("slice",),
    "pipeline.split": ("Split", "split"),
    "pipeline.training_run.train": ("estimate", "train"),
    "pipeline.training_run.training_estimate": ("TrainingEstimate",),
    "pipeline.training_run.training_options": ("ReadingOptions", "Resources", "Resuming"),
    "predictions": ("Predictions",),
    "registry.registered_version": ("RegisteredModel", "RegisteredModels", "RegisteredVersion"),
    "registry.registry": ("Registry",),
    "registry.registry_events": ("RegistryEvent",),
    "serving.client": ("Client",),
    "serving.sent_feedback": ("Feedback",),
    "search.running": ("Running",),
    "search.search_result": ("Search",),
    "search.sweeping.sweep": ("sweep",),
    "search.sweeping.sweep_result": ("Sweep",),
    "search.tune": ("tune",),
    "single_prediction": ("Prediction",),
    "tracking.track": ("Tracking", "track"),
    "training.config.recipe": ("Recipe",),
    "watching.watch": ("watch",),
    "watching.watch_result": ("Watch",),
    "watching.labelling.label_next": ("ImagesToLabel", "label_next"),
    "watching.retraining.retrain": ("retrain",),
    "watching.retraining.retraining_result": ("Retraining",),
    "watching.retraining.retraining_schedule": ("RetrainingSchedule",),
}
_MODULE_OF = {name: module for module, names in _PUBLIC_API.items() for name in names}

__all__ = [
    "Addition",
    "Audit",
    "Classifier",
    "Cleaning",
    "Client",
    "Comparison",
    "ContactSheet",
    "Diagnosis",
    "Explanation",
    "Explanations",
    "Export",
    "Exports",
    "Feedback",
    "Gallery",
    "HolotypeError",
    "Identifications",
    "ImagesToLabel",
    "Individuals",
    "Model",
    "Models",
    "Prediction",
    "Predictions",
    "ReadingOptions",
    "Recipe",
    "RegisteredModel",
    "RegisteredModels",
    "RegisteredVersion",
    "Registry",
    "RegistryEvent",
    "Report",
    "Resources",
    "Resuming",
    "Retraining",
    "RetrainingSchedule",
    "Run",
    "Running",
    "Search",
    "Slices",
    "Split",
    "Sweep",
    "Tracking",
    "TrainingEstimate",
    "Watch",
    "__version__",
    "audit",
    "augment",
    "clean",
    "compare",
    "dashboard",
    "doctor",
    "ensemble",
    "estimate",
    "evaluate",
    "explain",
    "export",
    "fetch",
    "label_next",
    "load",
    "models",
    "predict",
    "retrain",
    "serve",
    "slice",
    "split",
    "sweep",
    "track",
    "train",
    "tune",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'holotype' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"holotype.{_MODULE_OF[name]}"), name)
    if inspect.isfunction(value):
        value = importlib.import_module("holotype.arguments").check_arguments(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
