"""`holotype ensemble`: several runs become one, and the answer whether that is worth it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from holotype.cli.options import AsJson
from holotype.cli.output import print_json, print_message, print_next_command, print_result
from holotype.pipeline.ensemble import ensemble as ensemble_runs
from holotype.pipeline.ensemble_report import read_ensemble
from holotype.progress import pluralize, to_stderr


def ensemble(
    runs: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    /,
    *,
    output: Path | None = None,
    method: Literal["auto", "average", "weighted", "greedy", "adaptive"] = "auto",
    as_json: AsJson = False,
) -> int:
    """The result is a run like any other: predict, evaluate, explain and compare take it.

    Args:
        runs: Finished runs of one split, or their stages (RUN@STAGE); at least two.
        output: The run directory; runs/NAME-ensemble-1, -2, … unless said otherwise.
        method: How members are weighed, on validation. average: all the same; weighted: one weight
            each; greedy: taken again and again, each time the one that helps most; adaptive: a
            weight for each class; auto: the best of these on held-out images.
    """
    run = ensemble_runs(runs, output=output, method=method, progress=to_stderr())
    report = run.report
    recipe, comparison = read_ensemble(run.path)
    if as_json:
        print_json(run.to_json() | {"recipe": asdict(recipe), "comparison": comparison.to_json()})
        return 0
    for caveat in report.caveats:
        print_message(caveat)
    print_result(f"method       {recipe.method}")
    for member in recipe.members:
        print_result(f"member       {member.run}, weight {member.weight_text}")
    for name in recipe.dropped_runs:
        print_result(f"left out     {name}, which weighs nothing")
    print_result(
        f"accuracy     {report['accuracy']} on {pluralize(report.num_images, 'image')} "
        f"({report.part})"
    )
    print_result(f"best member  {comparison.best_member}")
    print_result(f"difference   {comparison.reported.in_words()}")
    print_result(f"comparison   {comparison.in_words()}")
    print_result(f"run          {run.path}")
    print_result(f"report       {report.path}")
    taken = run.path if comparison.recommended else comparison.advised_member
    print_next_command("holotype", "predict", taken, "IMAGE")
    return 0
