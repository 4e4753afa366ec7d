"""The comparison as one HTML page: pictures inside, nothing loaded, every name escaped.

Shape suffixes: H height, W width, C colour channels (red, green, blue).
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from holotype.comparison import figures
from holotype.comparison.outcome import Outcome
from holotype.comparison.resampled import METRICS
from holotype.comparison.standing import LEVEL, Standing
from holotype.comparison.strengths import Gap, OfClass, by_class, confused_pairs
from holotype.comparison.writing import (
    COSTS,
    MOST_CLASSES,
    MOST_GAPS,
    chosen_sentence,
    cost_of,
    p_value,
    rank_of,
    score_of,
    size_of,
    write_tables,
)
from holotype.evaluation import plots
from holotype.evaluation.intervals import Estimate
from holotype.evaluation.page import PIXELS_PER_POINT
from holotype.evaluation.rendering import data_url, jpeg_url, render, thousands
from holotype.files import write_text

LARGEST_SIDE = 240  # pixels of a picture on the page
MOST_PAIRS = 300


def write_comparison(
    outcome: Outcome, output: Path, pictures: Mapping[str, NDArray[np.uint8]] | None = None
) -> None:
    """Write the page, the tables and the plots; a plot without content is removed, if there.

    Args:
        outcome: what was found.
        output: made if need be.
        pictures: uint8 (H, W, 3) by the id of a disagreement; those that can be shown.
    """
    write_tables(outcome, output)
    images = {}
    for name, figure in figures.all_figures(outcome).items():
        file = output / f"{name}.png"
        if figure is None:
            file.unlink(missing_ok=True)
        else:
            plots.save(figure, file)
            images[name] = _plot(file.read_bytes())
    write_text(output / "index.html", _page(outcome, images, pictures or {}))


def _page(
    outcome: Outcome, images: Mapping[str, Any], pictures: Mapping[str, NDArray[np.uint8]]
) -> str:
    main = outcome.main
    return render(
        "comparison.html.j2",
        {"thousands": thousands, "points": lambda share: f"{100 * share:.3g}"},
        outcome=outcome,
        main=main,
        size_of=size_of,
        chosen="" if outcome.choice is None else chosen_sentence(outcome),
        notes=[*outcome.notes, *main.caveats],
        images=images,
        leaderboards=[(of, _leaderboard(outcome, of)) for of in outcome.standings.values()],
        metrics=[metric.title for metric in METRICS.values()],
        methods=sorted({of.method for of in main.scores.values()}),
        pairs=_pairs(main)[:MOST_PAIRS],
        overall_p=None if main.overall is None else p_value(main.overall.p_value),
        cost_titles=[title for _, title in COSTS],
        costs=[(one, list(cost_of(one).values())) for one in outcome.contestants],
        classes=_classes(main),
        most_classes=MOST_CLASSES,
        gaps=[(name, *_gaps_of(outcome, number)) for number, name in enumerate(main.names)],
        confusions=[(name, _confusions(main, number)) for number, name in enumerate(main.names)],
        agreement=outcome.agreement,
        cards=[
            (one, jpeg_url(pictures[one.id], LARGEST_SIDE) if one.id in pictures else None)
            for one in outcome.disagreements
        ],
    )


def _leaderboard(outcome: Outcome, of: Standing) -> list[dict[str, Any]]:
    return [
        {
            "rank": rank_of(of, number),
            "name": of.names[number],
            "model": outcome.contestant(of, number).model,
            "chosen": outcome.chosen is not None and outcome.chosen.name == of.names[number],
            "accuracy": f"{of.accuracy(number):.3f}",
            "interval": _interval(of.accuracies[number]),
            "to_best": _on_lines(str(of.to_best(number) or "best")),
            "scores": [
                (value, _on_lines(to_best))
                for value, to_best in (score_of(of, name, number) for name in METRICS)
            ],
        }
        for number in of.order
    ]


def _pairs(main: Standing) -> list[dict[str, Any]]:
    correct_MN = main.answers.correct_MN
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
            "p": p_value(test.p_value),
            "adjusted": p_value(test.adjusted),
            "differ": test.adjusted < LEVEL,
        }
        for test in main.pairs
    ]


def _classes(main: Standing) -> list[dict[str, Any]]:
    def named(of: OfClass, holders: tuple[int, ...]) -> tuple[str, str]:
        if len(main.names) == 1:
            return "", str(main.per_class[0][of.class_number].recall)
        if not holders:
            return ("all the same" if of.support else "undefined: no pictures"), ""
        recall = main.per_class[holders[0]][of.class_number].recall
        names = ", ".join(main.names[number] for number in holders[:3])
        return names + (", …" if len(holders) > 3 else ""), str(recall)

    widest = sorted(by_class(main), key=lambda of: (-of.clearness, of.class_number))
    return [
        {
            "name": main.answers.classes[of.class_number],
            "support": of.support,
            "best": named(of, of.best),
            "worst": named(of, of.worst),
        }
        for of in widest[:MOST_CLASSES]
    ]


def _gaps_of(outcome: Outcome, number: int) -> tuple[list[str], list[str], int]:
    """Strengths and weaknesses of one run in words, and how many more there are."""
    main = outcome.main

    def says(gap: Gap, strong: bool) -> str:
        name = main.answers.classes[gap.class_number]
        if strong:
            return f"{name}: {gap.score} {gap.best:.3f}, the last has {gap.value:.3f}"
        holder = main.names[gap.holder]
        return f"{name}: {gap.score} {gap.value:.3f}, {holder} has {gap.best:.3f}"

    strong = [says(gap, True) for gap in outcome.strengths if gap.classifier == number]
    weak = [says(gap, False) for gap in outcome.weaknesses if gap.classifier == number]
    each = max(3, MOST_GAPS // max(1, len(main.names)))
    more = max(0, len(strong) - each) + max(0, len(weak) - each)
    return strong[:each], weak[:each], more


def _confusions(main: Standing, number: int) -> list[str]:
    classes = main.answers.classes
    return [
        f"{classes[pair.true_class]} → {classes[pair.called]}: {pair.weight:.4g}, "
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
