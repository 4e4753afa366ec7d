"""A comparison as files: for a reader, for a spreadsheet, for a program.

OUTPUT/
  index.html        everything on one page; opens offline
  comparison.md     the same for a repository or a paper, without images
  comparison.csv    one row per run and part
  per_class.csv     one row per class and run
  comparison.json   everything, for programs
  selection.json    with --select: the one to ship
  *.png             the plots
"""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from holotype.comparison.bootstrap import METRICS
from holotype.comparison.leaderboard import SIGNIFICANCE_LEVEL, Leaderboard
from holotype.comparison.per_class import compare_classes, confused_pairs
from holotype.comparison.result import Candidate, Comparison
from holotype.comparison.selection import ACCURACY
from holotype.evaluation.intervals import Estimate
from holotype.files import write_json, write_text
from holotype.progress import duration
from holotype.reporting.plot_labels import to_single_line

MAX_CLASSES = 40  # in the text; the table beside it has all
MAX_GAPS = 60
COSTS = (
    ("parameters", "Parameters"),
    ("size_bytes", "Size on disk"),
    ("training_seconds", "Training time"),
    ("images_per_second", "Images/s"),
    ("latency_seconds", "Latency"),
    ("memory_bytes", "Memory"),
)


def write_tables(comparison: Comparison, output: Path) -> None:
    """Write all but the page and its plots."""
    write_json(output / "comparison.json", comparison.to_json())
    write_text(output / "comparison.csv", _csv(_rows(comparison)))
    write_text(output / "per_class.csv", _csv(_class_rows(comparison)))
    write_text(output / "comparison.md", markdown(comparison))
    selection = output / "selection.json"
    if comparison.selection is not None:
        write_json(selection, selection_json(comparison, output))
    else:
        selection.unlink(missing_ok=True)  # of an earlier comparison


def selection_json(comparison: Comparison, output: Path) -> dict[str, Any]:
    """The one to ship, for a backend to read."""
    selection, chosen = comparison.selection, comparison.chosen
    assert selection is not None
    assert chosen is not None
    judged = comparison.leaderboards[selection.part]
    return {
        "format_version": 1,
        "selections": [
            {
                "data": chosen.data,
                "run": chosen.name,
                "model": chosen.model,
                "version": chosen.bundle_sha256[:12],
                "bundle": None if chosen.bundle is None else _place(chosen.bundle, output),
                "bundle_sha256": chosen.bundle_sha256,
                "rule": selection.rule.text,
                "chosen_on": judged.title.lower(),
                "metric": selection.rule.score,
                "value": _chosen_value(comparison),
                ACCURACY: {
                    part: of.accuracies[of.names.index(chosen.name)].to_json()
                    for part, of in comparison.leaderboards.items()
                    if chosen.name in of.names
                },
                **chosen.cost.to_json(),
                "eligible": [judged.names[number] for number in selection.eligible],
            }
        ],
    }


def markdown(comparison: Comparison) -> str:
    """Everything but images and plots."""
    main = comparison.main
    lines = [f"# {_plain(comparison.title)}", "", _plain(main.summary()), ""]
    if comparison.chosen is not None and comparison.selection is not None:
        lines += [chosen_sentence(comparison), ""]
    lines += [f"- {_plain(note)}" for note in comparison.notes]
    for of in comparison.leaderboards.values():
        lines += ["", f"## {of.title}: {format_sample_size(of)}", "", *_leaderboard(of)]
        lines += ["", *(f"- {_plain(caveat)}" for caveat in of.caveats)]
    lines += ["", "## Pair by pair", "", *_pairs(main)]
    lines += ["", "## Cost", "", f"{comparison.measured_on}", "", *_costs(comparison)]
    lines += ["", "## Classes", "", *_classes(comparison)]
    lines += ["", "## Strengths and weaknesses", "", *_gaps(comparison)]
    lines += ["", "## What each takes for what", "", *_confusions(main)]
    return "\n".join(lines) + "\n"


def chosen_sentence(comparison: Comparison) -> str:
    """What the rule chose, in words."""
    selection, chosen = comparison.selection, comparison.chosen
    assert selection is not None
    assert chosen is not None
    judged = comparison.leaderboards[selection.part]
    others = len(selection.eligible) - 1
    return (
        f"Chosen on {judged.title.lower()} by “{selection.rule.text}”: {chosen.name}"
        f"{f', of {others + 1} that were good enough' if others else ''}."
    )


def format_sample_size(of: Leaderboard) -> str:
    """How many images, and of how many groups."""
    images = f"{of.num_images:,} image{'s' if of.num_images != 1 else ''}"
    if of.num_groups is None:
        return images
    return f"{images} from {of.num_groups:,} group{'s' if of.num_groups != 1 else ''}"


def format_rank(of: Leaderboard, number: int) -> str:
    """`1`, or `1–3` where the run may stand anywhere between."""
    best, worst = of.ranks[number]
    return f"{best}" if best == worst else f"{best}–{worst}"


def format_metric(of: Leaderboard, name: str, number: int) -> tuple[str, str]:
    """A score and its difference to the best, as they are printed."""
    scores = of.scores[name]
    value, difference_to_best = scores.values[number], scores.difference_to_best[number]
    shown = "undefined" if value is None else f"{value:.3f}"
    return shown, "best" if number == scores.best else "" if difference_to_best is None else str(
        difference_to_best
    )


def format_p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def format_cost(one: Candidate) -> dict[str, str]:
    """The costs of a run, as they are printed."""
    cost = one.cost
    return {
        "parameters": "–" if cost.parameters is None else f"{cost.parameters:,}",
        "size_bytes": "–" if cost.size_bytes is None else f"{cost.size_bytes / 1e6:,.1f} MB",
        "training_seconds": "–"
        if cost.training_seconds is None
        else duration(cost.training_seconds),
        "images_per_second": "–"
        if cost.images_per_second is None
        else f"{cost.images_per_second:,.{0 if cost.images_per_second >= 100 else 1}f}",
        "latency_seconds": "–"
        if cost.latency_seconds is None
        else f"{1000 * cost.latency_seconds:,.1f} ms",
        "memory_bytes": "–" if cost.memory_bytes is None else f"{cost.memory_bytes / 1e6:,.0f} MB",
    }


def _chosen_value(comparison: Comparison) -> float | None:
    selection = comparison.selection
    assert selection is not None
    judged = comparison.leaderboards[selection.part]
    if selection.rule.score == ACCURACY:
        return judged.accuracy(selection.chosen)
    return judged.scores[selection.rule.score].values[selection.chosen]


def _leaderboard(of: Leaderboard) -> list[str]:
    header = [
        "Rank",
        "Run",
        "Accuracy",
        "to the best",
        *(metric.title for metric in METRICS.values()),
    ]
    rows = []
    for number in of.order:
        scores = (" ".join(format_metric(of, name, number)).strip() for name in METRICS)
        rows.append(
            [
                format_rank(of, number),
                of.names[number],
                str(of.accuracies[number]),
                str(of.difference_to_best(number) or "best"),
                *scores,
            ]
        )
    methods = {of.scores[name].method for name in METRICS}
    told = (
        "Runs that cannot be told apart share their ranks. Beside the other scores stands the "
        f"difference to the best, with a 95 % interval of its own ({', '.join(sorted(methods))})."
    )
    return [*_table(header, rows), "", told]


def _pairs(of: Leaderboard) -> list[str]:
    if of.overall is None:
        return ["One run alone."]
    header = ["More accurate", "than", "by", "p", "p (Holm)", "Told apart"]
    rows = [
        [
            of.names[test.second], of.names[test.first],
            f"{test.difference:+.3f} [{test.low:+.3f}, {test.high:+.3f}]",
            format_p_value(test.p_value), format_p_value(test.adjusted_p_value),
            "yes" if test.adjusted_p_value < SIGNIFICANCE_LEVEL else "not shown",
        ]
        for test in of.pairs
    ]  # fmt: skip
    told = (
        f"Accuracy by {of.tests[0].method}. All together: {of.overall.method}, "
        f"p {_p_equals(of.overall.p_value)}. No pair is clearer than that."
    )
    return [*_table(header, rows), "", told]


def _p_equals(value: float) -> str:
    shown = format_p_value(value)
    return shown if shown.startswith("<") else f"= {shown}"


def _costs(comparison: Comparison) -> list[str]:
    rows = []
    for one in comparison.candidates:
        cost = format_cost(one)
        rows.append([one.name, one.model, *(cost[key] for key, _ in COSTS)])
    front = ", ".join(map(_plain, comparison.pareto_front))
    told = f"None is both more accurate and faster than: {front}." if front else ""
    return [*_table(["Run", "Model", *(title for _, title in COSTS)], rows), "", told]


def _classes(comparison: Comparison) -> list[str]:
    main = comparison.main
    widest = sorted(compare_classes(main), key=lambda of: -of.weighted_spread)[:MAX_CLASSES]
    rows = []
    for of in widest:
        rows.append(
            [
                main.aligned.classes[of.class_number], f"{of.support:,}",
                *(
                    _with_recall(main, holders, of.class_number)
                    for holders in (of.best, of.worst)
                ),
            ]
        )  # fmt: skip
    count = len(main.aligned.classes)
    shown = f" The {MAX_CLASSES} of {count} with the clearest gap; per_class.csv has all."
    return [
        *_table(["Class", "Images", "Best recall", "Worst recall"], rows), "",
        f"Recall on {main.title.lower()}.{shown if count > MAX_CLASSES else ''}",
    ]  # fmt: skip


def _with_recall(main: Leaderboard, holders: Sequence[int], class_number: int) -> str:
    if len(main.names) == 1:
        return str(main.per_class[0][class_number].recall)
    if not holders:
        support = main.per_class[0][class_number].support
        return "all the same" if support else "undefined"
    names = ", ".join(main.names[number] for number in holders[:3])
    recall = main.per_class[holders[0]][class_number].recall
    return f"{names}{', …' if len(holders) > 3 else ''}: {recall}"


def _gaps(comparison: Comparison) -> list[str]:
    main = comparison.main
    lines = [
        f"Weak: recall {comparison.recall_gap:g} or precision {comparison.precision_gap:g} "
        "below the "
        "best. Strong: alone at the top, and another that far below. Single classes, not tested."
    ]
    for title, gaps in (("strong", comparison.strengths), ("weak", comparison.weaknesses)):
        for gap in gaps[:MAX_GAPS]:
            other = (
                f"the last has {gap.value:.3f}"
                if title == "strong"
                else f"{_plain(main.names[gap.best_classifier])} has {gap.best:.3f}"
            )
            value = gap.best if title == "strong" else gap.value
            lines.append(
                f"- {_plain(main.names[gap.classifier])} is {title} at "
                f"{_plain(main.aligned.classes[gap.class_number])}: "
                f"{gap.score} {value:.3f}, {other}"
            )
        if len(gaps) > MAX_GAPS:
            lines.append(f"- … and {len(gaps) - MAX_GAPS} more; comparison.json has all")
    return lines if len(lines) > 1 else [*lines, "- none"]


def _confusions(main: Leaderboard) -> list[str]:
    classes, lines = main.aligned.classes, []
    for number, name in enumerate(main.names):
        pairs = [
            f"{_plain(classes[pair.true_class])} → {_plain(classes[pair.predicted_class])} "
            f"({pair.weight:.4g}, {pair.share:.0%} of the class)"
            for pair in confused_pairs(main, number)
        ]
        lines.append(f"- {_plain(name)}: {'; '.join(pairs) or 'nothing'}")
    return lines


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return lines + ["| " + " | ".join(map(_plain, row)) + " |" for row in rows]


def _plain(text: str) -> str:
    """On one line, and neither a table's border nor markup."""
    plain = to_single_line(text)
    for sign in ("\\", "|", "*", "`", "<"):
        plain = plain.replace(sign, "\\" + sign)
    return plain


def _rows(comparison: Comparison) -> list[dict[str, Any]]:
    rows = []
    for part, of in comparison.leaderboards.items():
        for number in of.order:
            one = comparison.candidate(of, number)
            row: dict[str, Any] = {
                "part": part,
                "rank_best": of.ranks[number][0],
                "rank_worst": of.ranks[number][1],
                "run": one.name,
                "model": one.model,
                **_interval_columns("accuracy", of.accuracies[number]),
            }
            for name in (ACCURACY, *METRICS):
                difference_to_best = of.difference_to_best(number)
                if name != ACCURACY:
                    scores = of.scores[name]
                    row[name], difference_to_best = (
                        scores.values[number],
                        scores.difference_to_best[number],
                    )
                for key in ("value", "low", "high"):
                    column = f"{name}_difference_to_best" + ("" if key == "value" else f"_{key}")
                    row[column] = (
                        None if difference_to_best is None else getattr(difference_to_best, key)
                    )
            rows.append({**row, **one.cost.to_json(), "bundle_sha256": one.bundle_sha256})
    return rows


def _class_rows(comparison: Comparison) -> list[dict[str, Any]]:
    main = comparison.main
    weak = {(g.classifier, g.class_number, g.score) for g in comparison.weaknesses}
    strong = {(g.classifier, g.class_number, g.score) for g in comparison.strengths}
    rows = []
    for of in compare_classes(main):
        for number, name in enumerate(main.names):
            scores = main.per_class[number][of.class_number]
            where = {score: (number, of.class_number, score) for score in ("recall", "precision")}
            rows.append(
                {
                    "class": scores.name, "run": name, "support": scores.support,
                    "predicted": scores.predicted, **_interval_columns("recall", scores.recall),
                    **_interval_columns("precision", scores.precision),
                    "best_recall": number in of.best, "worst_recall": number in of.worst,
                    **{f"weak_{score}": where[score] in weak for score in where},
                    **{f"strong_{score}": where[score] in strong for score in where},
                }
            )  # fmt: skip
    return rows


def _interval_columns(name: str, estimate: Estimate) -> dict[str, float | str | None]:
    """Value and ends; a score that is 0/0 says so."""
    value = "undefined" if estimate.value is None else estimate.value
    return {name: value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    content = io.StringIO(newline="")
    writer = csv.DictWriter(content, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return content.getvalue()


def _place(bundle: Path, output: Path) -> str:
    """Relative to the file's folder where both lie in one folder of runs, so that it may move."""
    bundle, output = bundle.resolve(), output.resolve()
    if bundle.is_relative_to(output.parent):
        return Path(os.path.relpath(bundle, output)).as_posix()
    return bundle.as_posix()
