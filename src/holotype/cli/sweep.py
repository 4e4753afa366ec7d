"""`holotype sweep`: models, data sets, recipes and seeds, each with each."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from holotype.cli.options import RECIPE, SEARCH, AsJson, Settings, Several, Switch
from holotype.cli.output import (
    print_found,
    print_json,
    print_message,
    print_next_command,
    print_result,
)
from holotype.progress import to_stderr
from holotype.search.running import Running
from holotype.search.sweeping.sweep import DEFAULT_PATH, SweepRequest, estimate_sweep, run_sweep
from holotype.search.sweeping.sweep_plan import combine_plan
from holotype.search.sweeping.sweep_result import HEADER
from holotype.text_tables import text_table
from holotype.training.config.resolve import parse_overrides


def sweep(
    plan: Annotated[Path | None, Parameter(show_default=False)] = None,
    /,
    *,
    data: Annotated[tuple[Path, ...], Several] = (),
    output: Path = DEFAULT_PATH,
    recipe: Annotated[tuple[str, ...], Parameter(group=RECIPE), Several] = (),
    model: Annotated[tuple[str, ...], Parameter(group=RECIPE), Several] = (),
    seeds: Annotated[tuple[int, ...], Parameter(group=RECIPE), Several] = (),
    settings: Settings = (),
    tune: Annotated[int, Parameter(group=SEARCH, show_default=False)] = 0,
    jobs: Annotated[int, Parameter(group=SEARCH)] = 1,
    on: Annotated[str, Parameter(group=SEARCH)] = "local",
    only: str | None = None,
    report_only: Switch = False,
    keep_checkpoints: int | None = None,
    dry_run: Switch = False,
    as_json: AsJson = False,
) -> int:
    """One failure stops nothing; called again it does what is missing only.

    Args:
        plan: A YAML file with data, recipes, models, seeds, settings and tune; or say them here.
        data: Folders and tables, each a data set of its own.
        output: The folder of the sweep.
        recipe: Names, YAML files, or FILE#VARIANT.
        model: Names that `holotype models` lists; that of each recipe unless said otherwise.
        seeds: Of everything random in training.
        tune: Search so many trials before each run, and train the best.
        jobs: Runs at once; the cores are divided among them.
        on: Where runs train: local, ray, ray://HOST:PORT or slurm.
        only: A pattern of names, such as '*linear*'.
        report_only: Train nothing; compare what is there.
        keep_checkpoints: Afterwards so many runs of each data set keep theirs, the best ones.
        dry_run: Say what would run and, from one timed batch each, for how long; and stop.
    """
    request = SweepRequest(
        plan=combine_plan(
            plan,
            {
                "data": list(map(str, data)), "recipes": recipe, "models": model, "seeds": seeds,
                "settings": parse_overrides(list(settings)), "tune": tune,
            },
        ),
        output=output, pattern=only, report_only=report_only, keep_checkpoints=keep_checkpoints,
        running=Running(jobs=jobs, on=on), progress=to_stderr(),
    )  # fmt: skip
    if dry_run:
        estimate = estimate_sweep(request)
        print_found(estimate, estimate.lines(), as_json=as_json)
        return 0
    found = run_sweep(request)
    if as_json:
        print_json(found.to_json())
    else:
        print_result(text_table(HEADER, found.table()))
        for sentence in found.sentences():
            print_result(sentence)
        print_result(f"selection   {found.path / 'selection.json'}")
        for name in found.comparisons:
            print_result(f"comparison  {found.path / name / '_comparison' / 'index.html'}")
    if found.failed:
        print_message(f"{len(found.failed)} of {len(found.rows)} runs failed; see _logs.")
        return 1
    if found.recommended and not as_json:
        print_next_command("holotype", "predict", next(iter(found.recommended.values())), "IMAGE")
    return 0
