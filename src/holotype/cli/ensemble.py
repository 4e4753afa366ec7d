"""`holotype ensemble`: several runs become one, and the answer whether that is worth it."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from holotype.cli.options import AsJson
from holotype.cli.output import show, show_json, tell, tell_next
from holotype.narration import to_stderr


def ensemble(
    runs: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
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
            weight for each class; auto: the best of these on held-out pictures.
    """
    from holotype import road

    made = road.ensemble(runs, output=output, method=method, narrator=to_stderr())
    if as_json:
        show_json(made.summary())
        return 0
    report, verdict = made.metrics, made.verdict
    for caveat in report.caveats:
        tell(caveat)
    show(f"method       {made.recipe.method}")
    for member in made.recipe.members:
        show(f"member       {member.run}, weight {member.share}")
    for name in made.recipe.left_out:
        show(f"left out     {name}, which weighs nothing")
    show(f"accuracy     {report['accuracy']} on {report.num_images:,} pictures ({report.part})")
    show(f"best member  {verdict.best}")
    show(f"difference   {verdict.judged.words()}")
    show(f"verdict      {verdict.words()}")
    show(f"run          {made.run.path}")
    show(f"report       {made.run.report / 'index.html'}")
    taken = made.run.path if verdict.recommended else verdict.best
    tell_next("holotype", "predict", taken, "PICTURE")
    return 0
