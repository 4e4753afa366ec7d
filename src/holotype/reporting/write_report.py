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
from unicodedata import east_asian_width

from holotype.evaluation.report_data import Report
from holotype.files import write_json, write_text
from holotype.predictions import Predictions
from holotype.reporting import plots
from holotype.reporting.example_image import Example
from holotype.reporting.plot_labels import to_single_line, truncate_middle
from holotype.reporting.plot_style import save_all
from holotype.reporting.report_page import ReportContext, page

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
    write_json(directory / "metrics.json", scores)
    write_text(directory / "classification_report.txt", classification_report(report))
    html = page(report, context, plot_images, mistakes, correct_examples, validation)
    write_text(directory / "index.html", html)


def classification_report(report: Report) -> str:
    """Every score with its interval, as a table for a terminal."""
    groups = "" if report.num_groups is None else f" from {report.num_groups} groups"
    lines = [
        f"{report.part}: {report.num_images} images{groups}, {len(report.classes)} classes"
        f"{', weighted' if report.weighted else ''}; 95 % intervals in brackets",
        "",
    ]
    rows = [["class", "precision", "recall", "F1", "images"]]
    for scores in report.per_class:
        cells = (scores.precision, scores.recall, scores.f1)
        name = truncate_middle(scores.name, 40)
        rows.append([name, *(str(estimate) for estimate in cells), str(scores.support)])
    lines += _table(rows)
    lines += ["", *_table([[name.replace("_", " "), str(report[name])] for name in report])]
    lines += ["", *(to_single_line(f"- {caveat}") for caveat in report.caveats)]
    return "\n".join(lines) + "\n"


def _table(rows: list[list[str]]) -> list[str]:
    """Columns two spaces apart, the first to the left and the others to the right."""
    widths = [max(_columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for first, *rest in rows:
        cells = [first + " " * (widths[0] - _columns(first))]
        cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join(cells))
    return lines


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes; East Asian letters take two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
