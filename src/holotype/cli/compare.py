"""`holotype compare`: which run is better, and how sure that is."""

from pathlib import Path

from holotype.cli.options import AsJson
from holotype.cli.output import print_json, print_next_command, print_result
from holotype.comparison.leaderboard import Leaderboard
from holotype.comparison.result import LEADERBOARD_HEADER, Comparison
from holotype.comparison.retrieval.search_comparison import SEARCH_HEADER
from holotype.comparison.tables import format_cost
from holotype.pipeline.compare import compare as compare_runs
from holotype.pipeline.compare import comparison_directory
from holotype.progress import to_stderr
from holotype.reporting.plot_labels import truncate_middle
from holotype.text_tables import text_table


def compare(
    runs: tuple[str, ...],
    /,
    *,
    output: Path | None = None,
    select: str | None = None,
    recall_gap: float = 0.15,
    precision_gap: float = 0.15,
    speed_images: int = 48,
    as_json: AsJson = False,
) -> int:
    """Paired tests on the same images; ties are shown as ties. Test only reports.

    Args:
        runs: Runs, stages (RUN@STAGE), or a folder with runs in it.
        output: Write the comparison into this directory. Without it, that of one folder is written
            into FOLDER/_comparison, and that of several runs is only printed.
        select: Name the run to ship, chosen on validation, such as
            'within 1 point of the best, then fastest' (or smallest, lowest latency, least memory).
        recall_gap: A class is a weakness where recall lies so far below the best run's.
        precision_gap: The same for precision.
        speed_images: Validation images on which speed and memory are measured; 0: none.
    """
    comparison = compare_runs(
        runs, output=output, select=select, recall_gap=recall_gap, precision_gap=precision_gap,
        speed_images=speed_images, progress=to_stderr(),
    )  # fmt: skip
    if as_json:
        print_json(comparison.to_json())
        return 0
    for leaderboard in comparison.leaderboards.values():
        print_result(_leaderboard(comparison, leaderboard))
        print_result("")
    if comparison.searches is not None:
        print_result(comparison.searches.title)
        print_result(text_table(SEARCH_HEADER, comparison.searches.rows()))
        print_result("")
    print_result(comparison.main.summary())
    if comparison.selection is not None:
        print_result(comparison.selection_sentence())
    place = comparison_directory(runs, output)
    if place is None:
        chosen = ["--select", select] if select else []
        print_next_command("holotype", "compare", *runs, "--output", "comparison", *chosen)
        return 0
    if comparison.selection is not None:
        print_result(f"selection   {place / 'selection.json'}")
    print_result(f"comparison  {place / 'index.html'}")
    return 0


def _leaderboard(comparison: Comparison, leaderboard: Leaderboard) -> str:
    rows = [
        (rank, truncate_middle(name, 40), accuracy, log_loss, format_cost(run)["Images/s"])
        for rank, name, accuracy, log_loss in comparison.rows(leaderboard)
        for run in [comparison.by_name[name]]
    ]
    header = (*LEADERBOARD_HEADER, "images/s")
    return f"{leaderboard.title}, {leaderboard.sample_size}\n" + text_table(header, rows)
