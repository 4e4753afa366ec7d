"""`holotype tune`: a search for a better recipe."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from holotype.cli.options import (
    RECIPE,
    RESOURCES,
    SEARCH,
    AsJson,
    Device,
    GroupPattern,
    LabelPattern,
    LabelPrefix,
    OnLeak,
    Settings,
    Switch,
)
from holotype.cli.output import print_json, print_next_command, print_result
from holotype.errors import UsageError
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.pipeline.training_run.training_options import ReadingOptions, Resources
from holotype.progress import to_stderr
from holotype.search.running import Running
from holotype.search.search_result import HEADER
from holotype.search.tune import SearchRequest, run_search
from holotype.text_tables import text_table

SHOWN_TRIALS = 5


def tune(
    data: Annotated[tuple[Path, ...], Parameter(show_default=False)] = (),
    /,
    *,
    output: Path | None = None,
    trials: Annotated[int, Parameter(group=SEARCH)] = 30,
    budget: Annotated[str | None, Parameter(group=SEARCH)] = None,
    heads: Annotated[Switch, Parameter(group=SEARCH)] = False,
    space: Annotated[Path | None, Parameter(group=SEARCH)] = None,
    print_space: Annotated[Switch, Parameter(group=SEARCH)] = False,
    jobs: Annotated[int, Parameter(group=SEARCH)] = 1,
    on: Annotated[str, Parameter(group=SEARCH)] = "local",
    model: Annotated[str | None, Parameter(group=RECIPE)] = None,
    recipe: Annotated[str | None, Parameter(group=RECIPE)] = None,
    seed: Annotated[int | None, Parameter(group=RECIPE)] = None,
    image_size: Annotated[int | None, Parameter(group=RECIPE)] = None,
    settings: Settings = (),
    label_pattern: LabelPattern = None,
    group_pattern: GroupPattern = None,
    label_prefix: LabelPrefix = False,
    on_leak: OnLeak = "keep",
    device: Device = "auto",
    disk_budget: Annotated[str | None, Parameter(group=RESOURCES)] = None,
    as_json: AsJson = False,
) -> int:
    """Trials see train and validation only; the winner is trained as a run and reads test once.

    Args:
        data: Folders with one folder per class, or CSV or Parquet tables; several are combined.
        output: The directory of the search; runs/NAME-search-1, -2, … unless said otherwise. Of a
            search that is there it goes on with what is missing.
        trials: So many, beside the default recipe, which is trial 0.
        budget: Time for trials, such as 90m or 1h30m.
        heads: Search heads on the features of the frozen network: hundreds of trials a minute.
        space: A YAML file of what is searched, instead of the table of the model's family.
        print_space: Print that table, to edit, and stop.
        jobs: Trials at once; the cores are divided among them.
        on: Where trials run: local, ray, ray://HOST:PORT or slurm. Heads are searched here.
        model: A name that `holotype models` lists.
        recipe: The default recipe, which the trials change: a name, a YAML file or FILE#VARIANT.
        seed: Of everything random in training, and of what is asked.
        image_size: Height and width that the network sees, in pixels.
        disk_budget: For what is computed once and kept, such as 20G.
    """
    request = SearchRequest(
        training=TrainingRequest(
            data=data, output=output, recipe=recipe, model=model, seed=seed,
            image_size=image_size, overrides=list(settings),
            reading=ReadingOptions(
                label_pattern=label_pattern, group_pattern=group_pattern,
                label_prefix=label_prefix, on_leak=on_leak,
            ),
            resources=Resources(device=device, disk_budget=disk_budget),
            progress=to_stderr(),
        ),
        trials=trials, heads=heads, space=space,
        running=Running(jobs=jobs, on=on, budget=budget),
    )  # fmt: skip
    if print_space:
        if as_json:
            raise UsageError("--print-space prints YAML; leave out --json.")
        print_result(request.search_space(request.base()).to_yaml().rstrip())
        return 0
    if not data:
        raise UsageError("no data was named: holotype tune DATA, a folder or a table.")
    found = run_search(request)
    if as_json:
        print_json(found.to_json())
        return 0
    print_result(text_table(HEADER, found.rows(), max_rows=SHOWN_TRIALS))
    print_result("")
    print_result(found.summary())
    print_result(f"recipe    {found.best_recipe}")
    print_result(f"run       {found.run.path}")
    print_result(f"report    {found.files.report / 'index.html'}")
    print_next_command("holotype", "predict", found.run.path, "IMAGE")
    return 0
