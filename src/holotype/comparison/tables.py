"""The sections and tables of a comparison, which the page and comparison.md both show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from holotype.comparison.bootstrap import ACCURACY, METRICS
from holotype.comparison.cost import images_per_second_text
from holotype.comparison.leaderboard import Leaderboard
from holotype.comparison.per_class import compare_classes, confused_pairs
from holotype.comparison.result import Candidate, Comparison
from holotype.comparison.retrieval.search_comparison import SearchComparison
from holotype.progress import duration

MAX_PAIRS = 300  # rows of a table; comparison.json has all
MAX_CLASSES = 40
MAX_GAPS = 60  # strengths, and as many weaknesses
LEADERBOARD_SCORES = ("balanced_accuracy", "macro_f1", "log_loss")
# column -> the score that it is: macro recall is another name of balanced accuracy, and the mean
# recall by share of images is accuracy
PRECISION_AND_RECALL = {
    "Macro precision": "macro_precision",
    "Macro recall": "balanced_accuracy",
    "Weighted precision": "weighted_precision",
    "Weighted recall": ACCURACY,
}
MAX_HOLDERS = 3  # runs named in one cell

Kind = Literal["name", "number", "text"]


class Cell(NamedTuple):
    """A cell: its text, and what stands below it in small print, or in brackets."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of formatted cells under titles.

    Attributes:
        columns: what each holds, by its title.
        rows: cells, as many as columns.
        title: the heading; "" where the section has only one table.
        notes: sentences below it.
        highlighted: numbers of the rows to stress.
    """

    columns: Mapping[str, Kind]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    notes: Sequence[str] = ()
    highlighted: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Section:
    """A heading with a figure and tables below it.

    Attributes:
        intro: a sentence above all.
        figure: the name of the figure; "" where there is none.
        caption: of the figure.
        explanation: how to read the tables.
    """

    title: str
    tables: Sequence[Table]
    intro: str = ""
    figure: str = ""
    caption: str = ""
    explanation: str = ""


def sections(comparison: Comparison) -> list[Section]:
    """All that is shown but the summary and the images; a single run has no pairs and no gaps."""
    several = len(comparison.main) > 1
    return [
        _leaderboards(comparison),
        *([] if comparison.searches is None else [_searches(comparison.searches)]),
        *([_pairs(comparison.main)] if several else []),
        _costs(comparison),
        _classes(comparison.main),
        *([_gaps(comparison)] if several else []),
        _confusions(comparison.main),
    ]


def format_p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def format_cost(run: Candidate) -> dict[str, str]:
    """The costs of a run under the titles of their columns; a dash where unknown."""
    cost = run.cost
    speed = cost.images_per_second
    formatted = {
        "Parameters": cost.parameters and f"{cost.parameters:,}",
        "Size on disk": cost.size_bytes and f"{cost.size_bytes / 1e6:,.1f} MB",
        "Training time": None if cost.training_seconds is None else duration(cost.training_seconds),
        "Images/s": speed and images_per_second_text(speed),
        "Latency": cost.latency_seconds and f"{1000 * cost.latency_seconds:,.1f} ms",
        "Memory": cost.memory_bytes and f"{cost.memory_bytes / 1e6:,.0f} MB",
    }
    return {title: text or "–" for title, text in formatted.items()}


def _leaderboards(comparison: Comparison) -> Section:
    main = comparison.main
    methods = sorted({scores.method for scores in main.scores.values()})
    return Section(
        title="Leaderboard",
        figure="leaderboard",
        caption=(
            "Dots: accuracy; lines: its 95 % interval. Whether two runs differ cannot be read off "
            "these intervals, since both were tested on the same images; see the pairwise tests."
        ),
        tables=[
            table
            for one in comparison.leaderboards.values()
            for table in (_leaderboard(comparison, one), _precision_and_recall(one))
        ],
        explanation=(
            "A run ranks below another only where their difference in accuracy is significant; "
            "1–3 means any rank from first to third. With each score stands its difference from "
            "the best run with a 95 % interval (accuracy: Student's t; other scores: "
            f"{', '.join(methods)}), not corrected for multiple comparisons."
        )
        if len(main) > 1
        else "",
    )


def _searches(found: SearchComparison) -> Section:
    columns = ("Run", "mAP", "mAP minus the best", "Rank-1", "Rank-1 minus the best")
    kinds: dict[str, Kind] = {name: "text" if n else "name" for n, name in enumerate(columns)}
    return Section(
        title="Search for the same individual",
        tables=[Table(kinds, [_cells(*row) for row in found.rows()], title=found.title)],
        explanation=(
            "By the cosine of embeddings; images of one encounter do not find each other. "
            "Differences are paired by query; 95 % intervals have individuals as sampling units."
        ),
    )


def _leaderboard(comparison: Comparison, leaderboard: Leaderboard) -> Table:
    columns: dict[str, Kind] = {
        "Rank": "text", "Run": "name", "Accuracy": "number", "95 % interval": "text",
        **{METRICS[name].title: "number" for name in LEADERBOARD_SCORES},
    }  # fmt: skip
    rows, selected = [], set()
    for row, number in enumerate(leaderboard.order):
        run, accuracy = comparison.candidate(leaderboard, number), leaderboard.accuracies[number]
        if run == comparison.selected:
            selected.add(row)
        rows.append(
            [
                Cell(leaderboard.rank_text(number)),
                Cell(run.name, f"{run.model}, selected" if row in selected else run.model),
                _score(leaderboard, ACCURACY, number),
                Cell(f"{accuracy.low:.3f} – {accuracy.high:.3f}"),
                *(_score(leaderboard, name, number) for name in LEADERBOARD_SCORES),
            ]
        )
    title = f"{leaderboard.title}, {leaderboard.sample_size}"
    return Table(columns, rows, title=title, highlighted=frozenset(selected))


def _precision_and_recall(leaderboard: Leaderboard) -> Table:
    """Precision and recall of all classes together."""
    return Table(
        {"Run": "name", **dict.fromkeys(PRECISION_AND_RECALL, "number")},
        [
            [
                Cell(leaderboard.names[number]),
                *(_score(leaderboard, name, number) for name in PRECISION_AND_RECALL.values()),
            ]
            for number in leaderboard.order
        ],
        title=f"{leaderboard.title}: precision and recall of all classes",
        notes=[
            "Macro: the mean over classes; weighted: by their share of images. Macro recall is "
            "balanced accuracy, and weighted recall is accuracy."
        ],
    )


def _score(leaderboard: Leaderboard, name: str, number: int) -> Cell:
    """A score and its difference from the best, where there are several runs."""
    value = leaderboard.value(name, number)
    text = "undefined" if value is None else f"{value:.3f}"
    if len(leaderboard) == 1:
        return Cell(text)
    if name == ACCURACY:
        return Cell(text, str(leaderboard.difference_to_best(number) or "best"))
    scores = leaderboard.scores[name]
    return Cell(
        text, "best" if number == scores.best else str(scores.difference_to_best[number] or "")
    )


def _pairs(main: Leaderboard) -> Section:
    assert main.overall is not None
    correct_MN = main.aligned.correct_MN
    columns: dict[str, Kind] = {
        "More accurate": "name", "Less accurate": "name", "Difference": "number",
        "95 % interval": "text", "Only one correct": "number", "p": "number",
        "p (Holm)": "number", "Significant": "text",
    }  # fmt: skip
    shown = main.pairs[:MAX_PAIRS]
    rows = []
    for test in shown:
        better_N, worse_N = correct_MN[test.second], correct_MN[test.first]
        rows.append(
            _cells(
                main.names[test.second],
                main.names[test.first],
                f"{test.difference:+.3f}",
                f"{test.low:+.3f} to {test.high:+.3f}",
                f"{(better_N & ~worse_N).sum():,} : {(worse_N & ~better_N).sum():,}",
                format_p_value(test.p_value),
                format_p_value(test.adjusted_p_value),
                "yes" if test.is_significant else "no",
            )
        )
    p_value = format_p_value(main.overall.p_value)
    return Section(
        title=f"Pairwise tests on {main.title.lower()}",
        figure="pairs",
        caption=(
            "Accuracy of the row minus that of the column, in percentage points. Coloured where "
            "the difference is significant, in brackets where it is not."
        ),
        tables=[
            Table(
                columns,
                rows,
                notes=_rest(len(shown), len(main.tests), "pairs, by p-value", "comparison.json"),
                highlighted=frozenset(row for row, test in enumerate(shown) if test.is_significant),
            )
        ],
        explanation=(
            f"Each pair by {main.tests[0].method}; Holm's correction keeps the probability of any "
            "false difference below 5 % for all pairs together. All runs at once: "
            f"{main.overall.method}, p {p_value if p_value[0] == '<' else f'= {p_value}'}; no "
            "corrected p-value is lower than this one. “Only one correct”: images that only the "
            "first, and only the second, classified correctly."
        ),
    )


def _costs(comparison: Comparison) -> Section:
    costs = [format_cost(run) for run in comparison.candidates]
    front = ", ".join(comparison.pareto_front)
    return Section(
        title="Cost",
        intro=comparison.measured_on,
        figure="pareto",
        caption=(
            "Accuracy over speed. No other run is better in both than those on the line."
            if front
            else "Accuracy over the size of the bundle."
        ),
        tables=[
            Table(
                {"Run": "name", **dict.fromkeys(costs[0], "number")},
                [
                    [Cell(run.name, run.model), *_cells(*cost.values())]
                    for run, cost in zip(comparison.candidates, costs, strict=True)
                ],
                notes=[f"Pareto front of accuracy and speed: {front}."] if front else [],
            )
        ],
        explanation=(
            "Parameters: numbers in the shipped graphs. Images/s: on all cores; latency: one image "
            "on one core; both with decoding and preprocessing. Memory: the peak of a process that "
            "only predicts. –: unknown."
        ),
    )


def _classes(main: Leaderboard) -> Section:
    several = len(main) > 1
    widest = sorted(compare_classes(main), key=lambda one: (-one.weighted_spread, one.class_number))
    rows = []
    for compared in widest[:MAX_CLASSES]:
        c = compared.class_number
        recalls = (
            [_holders(main, c, holders) for holders in (compared.best, compared.worst)]
            if several
            else _cells(str(main.per_class[0][c].recall))
        )
        rows.append([*_cells(main.aligned.classes[c], f"{compared.support:,}"), *recalls])
    titles = ("Best recall", "Worst recall") if several else ("Recall",)
    return Section(
        title=f"Recall by class on {main.title.lower()}",
        figure="classes",
        caption="Recall of each class by each run; in brackets the number of images.",
        tables=[
            Table(
                {"Class": "name", "Images": "number", **dict.fromkeys(titles, "name")},
                rows,
                notes=_rest(
                    len(rows), len(widest), "classes, by difference in recall", "per_class.csv"
                ),
            )
        ],
    )


def _holders(main: Leaderboard, class_number: int, holders: Sequence[int]) -> Cell:
    """The runs that share the best or the worst recall of a class, and the recall."""
    if not holders:
        has_images = main.per_class[0][class_number].support
        return Cell("all equal" if has_images else "undefined: no images")
    names = ", ".join(main.names[number] for number in holders[:MAX_HOLDERS])
    more = ", …" if len(holders) > MAX_HOLDERS else ""
    return Cell(names + more, str(main.per_class[holders[0]][class_number].recall))


def _gaps(comparison: Comparison) -> Section:
    main = comparison.main
    strong = [("strong", gap, gap.best, gap.value, "lowest") for gap in comparison.strengths]
    weak = [
        ("weak", gap, gap.value, gap.best, main.names[gap.best_classifier])
        for gap in comparison.weaknesses
    ]
    rows = [
        _cells(
            main.names[gap.classifier], finding, main.aligned.classes[gap.class_number], gap.score,
            f"{value:.3f}", f"{whose}: {other:.3f}",
        )
        for finding, gap, value, other, whose in (*strong[:MAX_GAPS], *weak[:MAX_GAPS])
    ]  # fmt: skip
    return Section(
        title="Strengths and weaknesses",
        tables=[
            Table(
                {
                    "Run": "name",
                    "Finding": "text",
                    "Class": "name",
                    "Score": "text",
                    "Value": "number",
                    "Compared with": "name",
                },
                rows,
                notes=_rest(len(rows), len(strong + weak), "by difference", "comparison.json"),
            )
        ],
        explanation=(
            f"Weak: recall at least {100 * comparison.recall_gap:.3g} points, or precision at "
            f"least {100 * comparison.precision_gap:.3g} points, below the best run. Strong: "
            "better than every other run, and at least as far above the worst. These are not "
            "tests: with few images such differences arise by chance. A class that occurs but is "
            "never predicted counts as precision 0."
        ),
    )


def _confusions(main: Leaderboard) -> Section:
    classes = main.aligned.classes
    counted = "Weight" if main.aligned.first.is_weighted else "Images"
    return Section(
        title="Most frequent confusions",
        tables=[
            Table(
                {
                    "Run": "name", "True class": "name", "Predicted class": "name",
                    counted: "number", "Share of the true class": "number",
                },
                [
                    _cells(
                        name, classes[pair.true_class], classes[pair.predicted_class],
                        f"{pair.weight:.4g}", f"{pair.share:.0%}",
                    )
                    for number, name in enumerate(main.names)
                    for pair in confused_pairs(main, number)
                ],
            )
        ],
    )  # fmt: skip


def _cells(*texts: str) -> list[Cell]:
    return [Cell(text) for text in texts]


def _rest(shown: int, total: int, what: str, file: str) -> list[str]:
    return [f"The first {shown} of {total:,} {what}; {file} has all."] if total > shown else []
