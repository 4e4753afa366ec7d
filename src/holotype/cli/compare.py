"""`holotype compare`: which run is better, and how sure that is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from holotype.cli.options import AsJson
from holotype.cli.output import show, show_json, text_table
from holotype.narration import to_stderr

if TYPE_CHECKING:
    from holotype.comparison.outcome import Outcome
    from holotype.comparison.standing import Standing


def compare(
    runs: Annotated[tuple[str, ...], Parameter(negative=())],
    /,
    *,
    output: Path | None = None,
    select: str | None = None,
    recall_gap: float = 0.15,
    precision_gap: float = 0.15,
    speed_images: int = 48,
    as_json: AsJson = False,
) -> int:
    """Paired tests on the same pictures; ties are shown as ties. Test only reports.

    Args:
        runs: Runs, stages (RUN@STAGE), or a folder with runs in it.
        output: Write the comparison into this directory; FOLDER/_comparison for one folder.
        select: Name the run to ship, chosen on validation, such as
            'within 1 point of the best, then fastest' (or smallest, lowest latency, least memory).
        recall_gap: A class is a weakness where recall lies so far below the best run's.
        precision_gap: The same for precision.
        speed_images: Validation pictures on which speed and memory are measured; 0: none.
    """
    from holotype.road.compared import compare as compare_runs
    from holotype.road.compared import output_of

    place = output_of(runs, output)
    outcome = compare_runs(
        runs, output=place, select=select, recall_gap=recall_gap, precision_gap=precision_gap,
        speed_images=speed_images, narrator=to_stderr(),
    )  # fmt: skip
    if as_json:
        show_json(outcome.to_json())
        return 0
    for of in outcome.standings.values():
        show(_leaderboard(outcome, of))
        show("")
    show(outcome.main.verdict())
    if outcome.choice is not None:
        from holotype.comparison.writing import chosen_sentence

        show(chosen_sentence(outcome))
        show(f"selection   {place / 'selection.json'}")
    show(f"comparison  {place / 'index.html'}")
    return 0


def _leaderboard(outcome: "Outcome", of: "Standing") -> str:
    from holotype.comparison.writing import cost_of, rank_of, size_of
    from holotype.evaluation.lettering import shortened

    rows = [
        (
            rank_of(of, number),
            shortened(of.names[number], 40),
            str(of.accuracies[number]),
            of.scores["log_loss"].values[number],
            cost_of(outcome.contestant(of, number))["images_per_second"],
        )
        for number in of.order
    ]
    header = ("rank", "run", "accuracy", "log loss", "pictures/s")
    return f"{of.title}, {size_of(of)}\n" + text_table(header, rows)
