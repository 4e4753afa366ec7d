"""The report as one HTML page: images inside, nothing loaded, every name escaped.

Shape suffixes: C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holotype.evaluation.class_weight_effect import COMPARED_SCORES, ClassWeightingEffect
from holotype.evaluation.conformal import PredictionSetScores
from holotype.evaluation.group_leakage import GroupLeakage
from holotype.evaluation.intervals import Estimate
from holotype.evaluation.report_data import MAX_SCORE, Report
from holotype.evaluation.symmetry_effect import SymmetryEffect
from holotype.reporting.example_record import Example
from holotype.reporting.templates import jpeg_url, plot_image, render, thousands

MAX_SIDE_PX = 320  # pixels of an example on the page; the plots beside it keep more
MAX_CONFUSIONS = 10

# The title of each score, and its meaning.
SCORE_LABELS = {
    "accuracy": ("Accuracy", "share of images predicted correctly"),
    "accuracy_unweighted": ("Accuracy, unweighted", "every labelled image counts once"),
    "balanced_accuracy": ("Balanced accuracy", "mean recall of the classes"),
    "top_2_accuracy": ("Top-2 accuracy", "the class is among the two most probable"),
    "top_5_accuracy": ("Top-5 accuracy", "the class is among the five most probable"),
    "macro_precision": ("Precision, macro", "mean over classes"),
    "macro_recall": ("Recall, macro", "mean over classes; equals balanced accuracy"),
    "macro_f1": ("F1, macro", "mean over classes"),
    "weighted_precision": ("Precision, weighted", "mean over classes by their share of images"),
    "weighted_recall": ("Recall, weighted", "equals accuracy"),
    "weighted_f1": ("F1, weighted", "mean over classes by their share of images"),
    "macro_roc_auc": ("ROC AUC, macro", "one class against the rest, mean over classes"),
    "micro_roc_auc": ("ROC AUC, micro", "all decisions of class or rest together"),
    "macro_average_precision": ("Average precision, macro", "area under precision and recall"),
    "log_loss": ("Log loss", "in nats; lower is better"),
    "brier_score": ("Brier score", "0 to 2, summed over classes; lower is better"),
    "expected_calibration_error": ("Calibration error", "expected, 15 bins; lower is better"),
}
_OF_FOLDS = ("accuracy", "balanced_accuracy", "log_loss")
_HEADLINES = ("balanced_accuracy", "macro_f1", "macro_roc_auc", "expected_calibration_error")


@dataclass(frozen=True)
class ReportContext:
    """What a report and a model card say beside the scores; texts are printed as they are.

    Attributes:
        title: the heading of the page, such as the name of the data.
        run_name: the run or bundle that predicted.
        model: the architecture.
        recipe: the name of the recipe.
        data: where the images came from, in a sentence.
        split_sizes: number of images in each part.
        audit: findings of the audit: (what, how many, advice); None where other runs have them.
        notes: caveats, printed beside the score.
        bundle_hash: SHA-256 of the bundle that was evaluated.
        temperature: what logits are divided by.
        command: the command line that repeats this.
        published: published results to compare with: (who, accuracy as a fraction, what differs).
        folds: the scores of each fold, where predictions were pooled.
        group_leakage: accuracy of a random and of a grouped split; None without groups.
        prediction_sets: coverage and size of prediction sets on test; empty without a calibration
            set.
        class_weighting: the effect of class weights or balanced sampling; None without them.
        symmetry: the mirror images and turns that were measured, where the recipe left them open.
        truncated_images: how many images of each part were read though they are cut off; None where
            they are refused.
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
    symmetry: Sequence[SymmetryEffect] = ()
    truncated_images: Mapping[str, int] | None = None


@dataclass(frozen=True)
class ExampleCard:
    """An example with its image and heatmap as data URLs."""

    example: Example
    image: str
    heatmap: str | None


SYMMETRY_NAMES = {
    "none": "the image alone",
    "horizontal": "left and right",
    "vertical": "top and bottom",
    "both": "both",
    "dihedral": "both, and quarter turns",
}


def page(
    report: Report,
    context: ReportContext,
    plot_images: Mapping[str, bytes],
    mistakes: Sequence[Example],
    correct_examples: Sequence[Example],
    validation: Report | None,
) -> str:
    """The page as text.

    Args:
        plot_images: PNG bytes of the figures, by name.
        mistakes: examples that were predicted wrongly.
        correct_examples: examples that were predicted correctly.
        validation: the scores on validation, for comparison.
    """
    return render(
        "report.html.j2",
        {"bar": _bar},
        report=report,
        context=context,
        validation=validation,
        accuracy=report["accuracy"],
        headlines=[(SCORE_LABELS[name][0], report[name]) for name in _HEADLINES],
        scores=[(name, *SCORE_LABELS[name], report[name]) for name in report],
        of_folds=[(SCORE_LABELS[name][0], name) for name in _OF_FOLDS],
        plot_images={name: plot_image(png) for name, png in plot_images.items()},
        confusions=commonest_confusions(report),
        symmetry_names=SYMMETRY_NAMES,
        compared=[(SCORE_LABELS[name][0], name) for name in COMPARED_SCORES],
        mistakes=[_example_card(example) for example in mistakes],
        correct_examples=[_example_card(example) for example in correct_examples],
        notes=[*context.notes, *report.caveats],
        methods=sorted({report[name].method for name in report}),
    )


def commonest_confusions(report: Report) -> list[dict[str, Any]]:
    """The most frequent confusions, with their share of the true class."""
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


def _bar(estimate: Estimate, name: str) -> dict[str, str] | None:
    """The interval and the value in per cent of a bar; None for scores that may exceed 1."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None or name in MAX_SCORE:
        return None
    return {
        "left": f"{100 * low:.2f}%",
        "width": f"{100 * (high - low):.2f}%",
        "value": f"{100 * value:.2f}%",
    }
