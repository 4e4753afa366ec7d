"""The report as one HTML page: pictures inside, nothing loaded, every name escaped.

Shape suffixes: C classes.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from holotype.evaluation.conformal import SetScores
from holotype.evaluation.exhibits import Exhibit
from holotype.evaluation.flattery import Flattery
from holotype.evaluation.intervals import Estimate
from holotype.evaluation.rendering import data_url, jpeg_url, render, thousands
from holotype.evaluation.scores import LARGEST, Report
from holotype.evaluation.weighing import COMPARED, WeighingEffect

LARGEST_SIDE = 320  # pixels of an exhibit on the page; the plots beside it keep more
PIXELS_PER_POINT = 1.45  # plots have more pixels than the page shows, for sharp screens
MOST_CONFUSIONS = 10

# What each score is called and means.
MEANING = {
    "accuracy": ("Accuracy", "pictures whose class was named"),
    "accuracy_unweighted": ("Accuracy, unweighted", "every labelled picture counts once"),
    "balanced_accuracy": ("Balanced accuracy", "mean recall: every class counts the same"),
    "top_2_accuracy": ("Top-2 accuracy", "the class is among the two most probable"),
    "top_5_accuracy": ("Top-5 accuracy", "the class is among the five most probable"),
    "macro_precision": ("Precision, macro", "of what was called a class, how much was"),
    "macro_recall": ("Recall, macro", "of a class, how much was found"),
    "macro_f1": ("F1, macro", "harmonic mean of the two, by class"),
    "weighted_precision": ("Precision, weighted", "by the share of each class"),
    "weighted_recall": ("Recall, weighted", "the same number as accuracy"),
    "weighted_f1": ("F1, weighted", "by the share of each class"),
    "macro_roc_auc": ("ROC AUC, macro", "how often a picture of a class outranks another"),
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
        data: where the pictures came from, in a sentence.
        split_sizes: pictures in each part.
        audit: what the audit found: (what, how many, advice); None where others have been told.
        notes: honest caveats, printed beside the score.
        bundle_hash: SHA-256 of the bundle that was evaluated.
        temperature: what logits were divided by.
        command: the line that repeats this.
        published: figures of others to stand beside: (who, accuracy as a fraction, what differs).
        folds: the scores of each fold, where predictions were pooled.
        flattery: what the score would seem to be if groups were ignored; None without groups.
        sets: what sets of classes are worth on test; none where nothing was held back for them.
        weighing: what class weights or balanced sampling did; None where training had none.
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
    flattery: Flattery | None = None
    sets: Sequence[SetScores] = ()
    weighing: WeighingEffect | None = None


@dataclass(frozen=True)
class Card:
    """An exhibit as the page shows it."""

    exhibit: Exhibit
    picture: str
    heatmap: str | None


def page(
    report: Report,
    context: ReportContext,
    images: Mapping[str, bytes],
    mistakes: Sequence[Exhibit],
    hits: Sequence[Exhibit],
    validation: Report | None,
) -> str:
    """The whole page as text.

    Args:
        report: the scores.
        context: what to print about the run.
        images: PNG bytes of the plots, by name.
        mistakes: exhibits that were called wrongly.
        hits: exhibits that were called rightly.
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
        headlines=[(MEANING[name][0], report[name]) for name in _HEADLINES],
        scores=[(name, *MEANING[name], report[name]) for name in report],
        of_folds=[(MEANING[name][0], name) for name in _OF_FOLDS],
        images={name: _plot(png) for name, png in images.items()},
        confusions=commonest_confusions(report),
        compared=[(MEANING[name][0], name) for name in COMPARED],
        mistakes=[_card(exhibit) for exhibit in mistakes],
        hits=[_card(exhibit) for exhibit in hits],
        notes=[*context.notes, *report.caveats],
        methods=sorted({report[name].method for name in report}),
    )


def commonest_confusions(report: Report) -> list[dict[str, Any]]:
    """The commonest confusions, with their share of the true class."""
    off_CC = report.confusion_CC.copy()
    np.fill_diagonal(off_CC, 0)
    shares_CC = report.normalised_confusion_CC
    commonest = np.argsort(-off_CC, axis=None, kind="stable")[:MOST_CONFUSIONS]
    pairs = zip(*np.unravel_index(commonest, off_CC.shape), strict=True)
    return [
        {
            "true": report.classes[row],
            "called": report.classes[column],
            "weight": thousands(float(off_CC[row, column])),
            "share": float(shares_CC[row, column]),
        }
        for row, column in pairs
        if off_CC[row, column] > 0
    ]


def _card(exhibit: Exhibit) -> Card:
    heated_HWC = exhibit.heated_HWC
    heatmap = None if heated_HWC is None else jpeg_url(heated_HWC, LARGEST_SIDE)
    return Card(exhibit, jpeg_url(exhibit.picture_HWC, LARGEST_SIDE), heatmap)


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
    if value is None or low is None or high is None or name in LARGEST:
        return None
    return {
        "left": f"{100 * low:.2f}%",
        "width": f"{100 * (high - low):.2f}%",
        "value": f"{100 * value:.2f}%",
    }
