"""Write a report: one page, the scores as JSON and as text, the figures.

report/
  index.html                  everything in one file; opens offline, loads nothing
  metrics.json                every score: {"accuracy": {"value", "low", "high", "method"}, …}
  classification_report.txt   the same for a terminal
  confusion_matrix.png, roc.png, reliability.png, per_class.png
  learning_curves.png         where there is a history
  group_leakage.png           where images have groups
  confident_mistakes.png, gallery.png   where there are examples
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.evaluation.report_data import Report
from holotype.files import write_json, write_text
from holotype.predictions import Predictions
from holotype.progress import pluralize
from holotype.reporting import plots
from holotype.reporting.example_record import Example
from holotype.reporting.plot_labels import to_single_line, truncate_middle
from holotype.reporting.plot_style import save_all
from holotype.reporting.report_page import ReportContext, page
from holotype.text_tables import text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(
    report: Report,
    directory: Path,
    *,
    predictions: Predictions,
    context: ReportContext,
    examples: Sequence[Example] = (),
    history: Sequence[Mapping[str, Any]] | None = None,
    validation: Report | None = None,
) -> None:
    """Write all files; figures without content are removed.

    Args:
        report: what `build_report` made of `predictions`.
        directory: made if need be; files of an earlier report are replaced.
        predictions: for the curves.
        context: what to print about the run.
        examples: mistakes and correct predictions, in the order to show them.
        history: one row per epoch; keys with `loss` or `accuracy` in them are drawn, and a
            `stage` breaks the lines.
        validation: the scores on the part that the decision was fitted on, for comparison.
    """
    mistakes = [example for example in examples if example.kind == "mistake"]
    correct_examples = [example for example in examples if example.kind == "correct"]
    leakage = context.group_leakage
    figures: dict[str, Figure | None] = {
        "confusion_matrix": plots.confusion_figure(report),
        "per_class": plots.per_class_figure(report),
        "roc": plots.roc_figure(predictions, report),
        "reliability": plots.reliability_figure(predictions, report),
        "group_leakage": plots.group_leakage_figure({"": leakage}) if leakage else None,
        "learning_curves": plots.learning_curves_figure(history) if history else None,
        "confident_mistakes": plots.examples_figure(mistakes) if mistakes else None,
        "gallery": plots.examples_figure(correct_examples) if correct_examples else None,
    }
    plot_images = save_all(figures, directory)
    scores = report.to_json()
    if context.class_weighting is not None:
        scores["class_weighting"] = context.class_weighting.to_json()
    if context.symmetry:
        scores["symmetry"] = [effect.to_json() for effect in context.symmetry]
    if context.truncated_images is not None:
        scores["truncated_images"] = context.truncated_images
    write_json(directory / "metrics.json", scores)
    write_text(directory / "classification_report.txt", classification_report(report))
    html = page(report, context, plot_images, mistakes, correct_examples, validation)
    write_text(directory / "index.html", html)


def classification_report(report: Report) -> str:
    """Every score with its interval, as a table for a terminal."""
    groups = "" if report.num_groups is None else f" from {pluralize(report.num_groups, 'group')}"
    title = (
        f"{report.part}: {pluralize(report.num_images, 'image')}{groups}, "
        f"{pluralize(len(report.classes), 'class', 'classes')}"
        f"{', weighted' if report.weighted else ''}; "
        "95 % intervals in brackets"
    )
    by_class = [
        (
            truncate_middle(one.name, 40), str(one.precision), str(one.recall), str(one.f1),
            one.support,
        )
        for one in report.per_class
    ]  # fmt: skip
    overall = [(name.replace("_", " "), str(report[name])) for name in report]
    caveats = "\n".join(to_single_line(f"- {caveat}") for caveat in report.caveats)
    tables = [
        text_table(("class", "precision", "recall", "F1", "images"), by_class),
        text_table(("score", "value"), overall),
    ]
    return "\n\n".join([title, *tables, caveats]).rstrip() + "\n"
