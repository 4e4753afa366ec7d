"""The comparison as one HTML page: images inside, nothing loaded, every name escaped.

Shape suffixes: H height, W width, C colour channels (red, green, blue).
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from holotype.comparison import comparison_figures
from holotype.comparison.bootstrap import METRICS
from holotype.comparison.leaderboard import SIGNIFICANCE_LEVEL, Leaderboard
from holotype.comparison.per_class import ClassComparison, Gap, compare_classes, confused_pairs
from holotype.comparison.result import Comparison
from holotype.comparison.tables import (
    COSTS,
    MAX_CLASSES,
    MAX_GAPS,
    chosen_sentence,
    format_cost,
    format_metric,
    format_p_value,
    format_rank,
    format_sample_size,
    write_tables,
)
from holotype.evaluation.intervals import Estimate
from holotype.files import write_text
from holotype.reporting import plots
from holotype.reporting.report_page import PIXELS_PER_POINT
from holotype.reporting.templates import data_url, jpeg_url, render, thousands

MAX_SIDE_PX = 240  # pixels of an image on the page
MAX_PAIRS = 300


def write_comparison(
    comparison: Comparison, output: Path, images: Mapping[str, NDArray[np.uint8]] | None = None
) -> None:
    """Write the page, the tables and the plots; a plot without content is removed, if there.

    Args:
        comparison: what was found.
        output: made if need be.
        images: uint8 (H, W, 3) by the id of a disagreement; those that can be shown.
    """
    write_tables(comparison, output)
    plot_images = {}
    for name, figure in comparison_figures.all_figures(comparison).items():
        file = output / f"{name}.png"
        if figure is None:
            file.unlink(missing_ok=True)
        else:
            plots.save(figure, file)
            plot_images[name] = _plot(file.read_bytes())
    write_text(output / "index.html", _page(comparison, plot_images, images or {}))


def _page(
    comparison: Comparison, plot_images: Mapping[str, Any], images: Mapping[str, NDArray[np.uint8]]
) -> str:
    main = comparison.main
    return render(
        "comparison.html.j2",
        {"thousands": thousands, "points": lambda share: f"{100 * share:.3g}"},
        comparison=comparison,
        main=main,
        format_sample_size=format_sample_size,
        chosen="" if comparison.selection is None else chosen_sentence(comparison),
        notes=[*comparison.notes, *main.caveats],
        plot_images=plot_images,
        leaderboards=[
            (of, _leaderboard(comparison, of)) for of in comparison.leaderboards.values()
        ],
        metrics=[metric.title for metric in METRICS.values()],
        methods=sorted({of.method for of in main.scores.values()}),
        pairs=_pairs(main)[:MAX_PAIRS],
        overall_p=None if main.overall is None else format_p_value(main.overall.p_value),
        cost_titles=[title for _, title in COSTS],
        costs=[(one, list(format_cost(one).values())) for one in comparison.candidates],
        classes=_classes(main),
        most_classes=MAX_CLASSES,
        gaps=[(name, *_gaps_of(comparison, number)) for number, name in enumerate(main.names)],
        confusions=[(name, _confusions(main, number)) for number, name in enumerate(main.names)],
        agreement=comparison.agreement,
        cards=[
            (one, jpeg_url(images[one.id], MAX_SIDE_PX) if one.id in images else None)
            for one in comparison.disagreements
        ],
    )


def _leaderboard(comparison: Comparison, of: Leaderboard) -> list[dict[str, Any]]:
    return [
        {
            "rank": format_rank(of, number),
            "name": of.names[number],
            "model": comparison.candidate(of, number).model,
            "chosen": comparison.chosen is not None and comparison.chosen.name == of.names[number],
            "accuracy": f"{of.accuracy(number):.3f}",
            "interval": _interval(of.accuracies[number]),
            "difference_to_best": _on_lines(str(of.difference_to_best(number) or "best")),
            "scores": [
                (value, _on_lines(difference_to_best))
                for value, difference_to_best in (
                    format_metric(of, name, number) for name in METRICS
                )
            ],
        }
        for number in of.order
    ]


def _pairs(main: Leaderboard) -> list[dict[str, Any]]:
    correct_MN = main.aligned.correct_MN
    return [
        {
            "better": main.names[test.second],
            "other": main.names[test.first],
            "difference": f"{test.difference:+.3f}",
            "interval": f"{test.low:+.3f} … {test.high:+.3f}",
            "only": (
                int((correct_MN[test.second] & ~correct_MN[test.first]).sum()),
                int((correct_MN[test.first] & ~correct_MN[test.second]).sum()),
            ),
            "p": format_p_value(test.p_value),
            "adjusted_p_value": format_p_value(test.adjusted_p_value),
            "significant": test.adjusted_p_value < SIGNIFICANCE_LEVEL,
        }
        for test in main.pairs
    ]


def _classes(main: Leaderboard) -> list[dict[str, Any]]:
    def named(of: ClassComparison, holders: tuple[int, ...]) -> tuple[str, str]:
        if len(main.names) == 1:
            return "", str(main.per_class[0][of.class_number].recall)
        if not holders:
            return ("all the same" if of.support else "undefined: no images"), ""
        recall = main.per_class[holders[0]][of.class_number].recall
        names = ", ".join(main.names[number] for number in holders[:3])
        return names + (", …" if len(holders) > 3 else ""), str(recall)

    widest = sorted(compare_classes(main), key=lambda of: (-of.weighted_spread, of.class_number))
    return [
        {
            "name": main.aligned.classes[of.class_number],
            "support": of.support,
            "best": named(of, of.best),
            "worst": named(of, of.worst),
        }
        for of in widest[:MAX_CLASSES]
    ]


def _gaps_of(comparison: Comparison, number: int) -> tuple[list[str], list[str], int]:
    """Strengths and weaknesses of one run in words, and how many more there are."""
    main = comparison.main

    def says(gap: Gap, strong: bool) -> str:
        name = main.aligned.classes[gap.class_number]
        if strong:
            return f"{name}: {gap.score} {gap.best:.3f}, the last has {gap.value:.3f}"
        best_classifier = main.names[gap.best_classifier]
        return f"{name}: {gap.score} {gap.value:.3f}, {best_classifier} has {gap.best:.3f}"

    strong = [says(gap, True) for gap in comparison.strengths if gap.classifier == number]
    weak = [says(gap, False) for gap in comparison.weaknesses if gap.classifier == number]
    each = max(3, MAX_GAPS // max(1, len(main.names)))
    more = max(0, len(strong) - each) + max(0, len(weak) - each)
    return strong[:each], weak[:each], more


def _confusions(main: Leaderboard, number: int) -> list[str]:
    classes = main.aligned.classes
    return [
        f"{classes[pair.true_class]} → {classes[pair.predicted_class]}: {pair.weight:.4g}, "
        f"{pair.share:.0%} of the class"
        for pair in confused_pairs(main, number)
    ]


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.3f} – {estimate.high:.3f}"


def _on_lines(difference: str) -> str:
    """A difference and its interval, which may stand below it but is not torn apart."""
    return difference.replace(", ", ",\u00a0")


def _plot(png: bytes) -> dict[str, Any]:
    """A plot and the width at which its letters are as large as those of the page."""
    width = Image.open(io.BytesIO(png)).width
    return {"url": data_url(png, "png"), "width": round(width / PIXELS_PER_POINT)}
