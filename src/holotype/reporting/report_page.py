"""The report as one HTML page: images inside, nothing loaded, every name escaped.

Shape suffixes: C classes.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from holotype.evaluation.class_weight_effect import COMPARED_SCORES, ClassWeightingEffect
from holotype.evaluation.conformal import PredictionSetScores
from holotype.evaluation.group_leakage import GroupLeakage
from holotype.evaluation.intervals import Estimate
from holotype.evaluation.report_data import MAX_SCORE, Report
from holotype.reporting.example_image import Example
from holotype.reporting.templates import data_url, jpeg_url, render, thousands

MAX_SIDE_PX = 320  # pixels of an example on the page; the plots beside it keep more
PIXELS_PER_POINT = 1.45  # plots have more pixels than the page shows, for sharp screens
MAX_CONFUSIONS = 10

# What each score is called and means.
SCORE_LABELS = {
    "accuracy": ("Accuracy", "images whose class was named"),
    "accuracy_unweighted": ("Accuracy, unweighted", "every labelled image counts once"),
    "balanced_accuracy": ("Balanced accuracy", "mean recall: every class counts the same"),
    "top_2_accuracy": ("Top-2 accuracy", "the class is among the two most probable"),
    "top_5_accuracy": ("Top-5 accuracy", "the class is among the five most probable"),
    "macro_precision": ("Precision, macro", "of what was called a class, how much was"),
    "macro_recall": ("Recall, macro", "of a class, how much was found"),
    "macro_f1": ("F1, macro", "harmonic mean of the two, by class"),
    "weighted_precision": ("Precision, weighted", "by the share of each class"),
    "weighted_recall": ("Recall, weighted", "the same number as accuracy"),
    "weighted_f1": ("F1, weighted", "by the share of each class"),
    "macro_roc_auc": ("ROC AUC, macro", "how often an image of a class outranks another"),
    "micro_roc_auc": ("ROC AUC, micro", "the same over all decisions together"),
    "macro_average_precision": ("Average precision, macro", "area under precision and recall"),
    "log_loss": ("Log loss", "in nats; lower is better"),
    "brier_score": ("Brier score", "0 to 2, summed over classes; lower is better"),
    "expected_calibration_error": ("Calibration error", "15 bins; lower is better"),
}
_OF_FOLDS = ("accuracy", "balanced_accuracy", "log_loss")
_HEADLINES = ("balanced_accuracy", "macro_f1", "macro_roc_auc", "expected_calibration_error")


@dataclass(frozen=True)
class ReportContext:
    """What the predictions cannot say about themselves; all of it is printed as it is.

    Attributes:
        title: the heading of the page, such as the name of the data.
        run_name: the run or bundle that predicted.
        model: the architecture.
        recipe: the name of the recipe.
        data: where the images came from, in a sentence.
        split_sizes: images in each part.
        audit: what the audit found: (what, how many, advice); None where others have been told.
        notes: honest caveats, printed beside the score.
        bundle_hash: SHA-256 of the bundle that was evaluated.
        temperature: what logits were divided by.
        command: the line that repeats this.
        published: figures of others to stand beside: (who, accuracy as a fraction, what differs).
        folds: the scores of each fold, where predictions were pooled.
        group_leakage: what the score would seem to be if groups were ignored; None without groups.
        prediction_sets: what sets of classes are worth on test; none where nothing was held back
            for them.
        class_weighting: what class weights or balanced sampling did; None where training had none.
    """

    title: str
    run_name: str = ""
    model: str = ""
    recipe: str = ""
    data: str = ""
    split_sizes: Mapping[str, int] = field(default_factory=dict)
    audit: Sequence[tuple[str, int, str]] | None = ()
    notes: Sequence[str] = ()
    bundle_hash: str = ""
    temperature: float | None = None
    command: str = ""
    published: Sequence[tuple[str, float, str]] = ()
    folds: Sequence[Report] = ()
    group_leakage: GroupLeakage | None = None
    prediction_sets: Sequence[PredictionSetScores] = ()
    class_weighting: ClassWeightingEffect | None = None


@dataclass(frozen=True)
class ExampleCard:
    """An example as the page shows it."""

    example: Example
    image: str
    heatmap: str | None


def page(
    report: Report,
    context: ReportContext,
    plot_images: Mapping[str, bytes],
    mistakes: Sequence[Example],
    correct_examples: Sequence[Example],
    validation: Report | None,
) -> str:
    """The whole page as text.

    Args:
        report: the scores.
        context: what to print about the run.
        plot_images: PNG bytes of the plots, by name.
        mistakes: examples that were called wrongly.
        correct_examples: examples that were called rightly.
        validation: scores to stand beside.
    """
    return render(
        "report.html.j2",
        {
            "fixed": _fixed,
            "signed": _signed,
            "interval": _interval,
            "bar": _bar,
            "thousands": thousands,
        },
        report=report,
        context=context,
        validation=validation,
        accuracy=report["accuracy"],
        headlines=[(SCORE_LABELS[name][0], report[name]) for name in _HEADLINES],
        scores=[(name, *SCORE_LABELS[name], report[name]) for name in report],
        of_folds=[(SCORE_LABELS[name][0], name) for name in _OF_FOLDS],
        plot_images={name: _plot(png) for name, png in plot_images.items()},
        confusions=commonest_confusions(report),
        compared=[(SCORE_LABELS[name][0], name) for name in COMPARED_SCORES],
        mistakes=[_example_card(example) for example in mistakes],
        correct_examples=[_example_card(example) for example in correct_examples],
        notes=[*context.notes, *report.caveats],
        methods=sorted({report[name].method for name in report}),
    )


def commonest_confusions(report: Report) -> list[dict[str, Any]]:
    """The commonest confusions, with their share of the true class."""
    off_CC = report.confusion_CC.copy()
    np.fill_diagonal(off_CC, 0)
    shares_CC = report.normalised_confusion_CC
    commonest = np.argsort(-off_CC, axis=None, kind="stable")[:MAX_CONFUSIONS]
    pairs = zip(*np.unravel_index(commonest, off_CC.shape), strict=True)
    return [
        {
            "true": report.classes[row],
            "predicted_class": report.classes[column],
            "weight": thousands(float(off_CC[row, column])),
            "share": float(shares_CC[row, column]),
        }
        for row, column in pairs
        if off_CC[row, column] > 0
    ]


def _example_card(example: Example) -> ExampleCard:
    overlay_HWC = example.overlay_HWC
    heatmap = None if overlay_HWC is None else jpeg_url(overlay_HWC, MAX_SIDE_PX)
    return ExampleCard(example, jpeg_url(example.image_HWC, MAX_SIDE_PX), heatmap)


def _plot(png: bytes) -> dict[str, Any]:
    """A plot and the width at which its letters are as large as those of the page."""
    width = Image.open(io.BytesIO(png)).width
    return {"url": data_url(png, "png"), "width": round(width / PIXELS_PER_POINT)}


def _fixed(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.3f} – {estimate.high:.3f}"


def _bar(estimate: Estimate, name: str) -> dict[str, str] | None:
    """Where the interval lies between 0 and 1, in per cent; None for scores that may exceed 1."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None or name in MAX_SCORE:
        return None
    return {
        "left": f"{100 * low:.2f}%",
        "width": f"{100 * (high - low):.2f}%",
        "value": f"{100 * value:.2f}%",
    }
