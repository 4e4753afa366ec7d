"""The YAML header of a model card, which the Hugging Face hub reads."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from holotype.bundle.bundle import Bundle
from holotype.evaluation.report_data import Report
from holotype.reporting.plot_labels import to_single_line
from holotype.reporting.report_page import SCORE_LABELS, ReportContext
from holotype.reporting.templates import interval

# The names of scores on the hub.
_ON_HUB = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "macro_f1": "f1",
    "macro_roc_auc": "roc_auc",
    "log_loss": "log_loss",
    "brier_score": "brier_score",
    "expected_calibration_error": "expected_calibration_error",
}
_HUB_METRICS = ("accuracy", "f1", "roc_auc", "brier_score")  # those that have a page there
# Licences that the hub knows by their SPDX names in lower case.
_HUB_LICENCES = (
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0",
    "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "gpl-3.0",
)  # fmt: skip
_NO_DATASET = "imagefolder"  # how the hub calls images in folders that are not on it
_PART_NAMES = {"val": "validation", "train": "training", "cal": "calibration"}


def header(
    report: Report, second_report: Report | None, context: ReportContext, bundle: "Bundle"
) -> str:
    """The fields of huggingface.co/docs/hub/model-cards."""
    data: dict[str, Any] = {"name": to_single_line(bundle.manifest.name), "type": _NO_DATASET}
    results: list[dict[str, Any]] = [
        {
            "task": {"type": "image-classification", "name": "Image classification"},
            "dataset": {**data, "split": part_name(one.part)},
            "metrics": list(_hub_metrics(one)),
        }
        for one in (report, second_report)
        if one is not None
    ]
    fields = {
        **_hub_licence(bundle),
        "library_name": "holotype",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "holotype", "onnx"],
        "datasets": [_NO_DATASET],
        "metrics": list(_HUB_METRICS),
        "model-index": [{"name": to_single_line(context.run_name), "results": results}],
    }
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=10_000)


def _hub_metrics(report: Report) -> Iterator[dict[str, Any]]:
    """The defined scores; the interval is part of the name, since the hub has no field for it."""
    for name, kind in _ON_HUB.items():
        estimate = report[name]
        if estimate.value is not None:
            weighted = ", weighted" if report.weighted else ""
            yield {
                "type": kind,
                "value": round(estimate.value, 6),
                "name": f"{SCORE_LABELS[name][0]}{weighted} (95 % interval {interval(estimate)})",
            }


def _hub_licence(bundle: "Bundle") -> dict[str, Any]:
    """The licence of the pretrained weights as the hub spells it; `unknown` where it is."""
    licences = sorted({licence.lower() for licence in licences_of(bundle)}) or ["unknown"]
    if "unknown" in licences or "yours" in licences:
        return {"license": "unknown"}
    if len(licences) == 1 and licences[0] in _HUB_LICENCES:
        return {"license": licences[0]}
    name = "-and-".join(re.sub(r"[^a-z0-9.]+", "-", licence) for licence in licences)
    return {"license": "other", "license_name": name}


def licences_of(bundle: "Bundle") -> set[str]:
    """Licences of the pretrained weights of all members."""
    weights = (base.manifest.weights for base in bundle.base_models)
    return {one.licence for one in weights if one is not None}


def part_name(part: str) -> str:
    """`validation` for `val` and so on; any other name, such as `out of fold`, as it is."""
    return _PART_NAMES.get(part, part)
