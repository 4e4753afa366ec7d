"""Train every run of a sweep, each in a process of its own, and compare them at the end.

    OUTPUT/<data>/<run>/      an ordinary run
    OUTPUT/<data>/_comparison the comparison of the runs of a data set
    OUTPUT/_tune/<data>-<run> with `tune`: the search before a run
    OUTPUT/_jobs/             the processes; _logs/ what each said
    OUTPUT/selection.json     the recommended run of every data set, for a backend

What is finished is not run again, what was interrupted goes on, and what failed is tried again.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holotype.comparison.result import Comparison
from holotype.errors import HolotypeError, RunExists, RunMismatch, UsageError
from holotype.executors.executor import executor, run_jobs
from holotype.executors.job_sheet import Job, JobResult
from holotype.executors.slurm import wait_for_previous
from holotype.extras import with_install_advice
from holotype.files import read_json, reading, write_json
from holotype.pipeline.compare import compare
from holotype.pipeline.compared.compared_runs import DEFAULT_OUTPUT
from holotype.pipeline.training_run.resume import is_finished, require_same_recipe
from holotype.pipeline.training_run.train import estimate_run
from holotype.pipeline.training_run.warm_start import recipe_with_teacher
from holotype.progress import Progress, default_progress, pluralize
from holotype.run_directory import RunDirectory
from holotype.search.running import Running, threads_per_job
from holotype.search.sweeping.run_table import RunRow, run_table
from holotype.search.sweeping.sweep_plan import (
    PlannedRun,
    SweepPlan,
    check_runs,
    combine_plan,
    only,
    planned_runs,
)
from holotype.search.sweeping.sweep_result import Sweep, SweepEstimate
from holotype.search_directory import SearchDirectory
from holotype.training.config.resolve import Overrides, parse_overrides

RULE = "best"  # by accuracy on validation
SETTINGS = "sweep.json"
DEFAULT_PATH = Path("runs/sweep")


@dataclass(frozen=True, eq=False, kw_only=True)
class SweepRequest:
    """What a caller asks for; see `sweep`."""

    plan: SweepPlan
    output: Path = DEFAULT_PATH
    pattern: str | None = None
    report_only: bool = False
    keep_checkpoints: int | None = None
    running: Running = field(default_factory=Running)
    progress: Progress = field(default_factory=default_progress)

    def __post_init__(self) -> None:
        if self.keep_checkpoints is not None and self.keep_checkpoints < 1:
            raise UsageError(
                f"--keep-checkpoints is {self.keep_checkpoints}, expected a number of runs above 0."
            )

    def runs(self) -> list[PlannedRun]:
        """The runs that are asked for, checked."""
        runs = only(planned_runs(self.plan), self.pattern)
        if not self.report_only:
            check_runs(runs, self.plan)
        return runs


@with_install_advice
def sweep(
    plan: str | Path | Mapping[str, Any] | None = None,
    *,
    data: Sequence[str | Path] = (),
    output: str | Path = DEFAULT_PATH,
    recipe: Sequence[str] = (),
    model: Sequence[str] = (),
    seeds: Sequence[int] = (),
    overrides: Overrides | None = None,
    tune: int = 0,
    only: str | None = None,
    report_only: bool = False,
    keep_checkpoints: int | None = None,
    running: Running = Running(),
) -> Sweep:
    """Train every model with every data set, recipe and seed, and recommend a run for each data.

    One failure stops nothing; called again it does what is missing only.

    Example:
        >>> found = holotype.sweep(
        ...     data=["photos"], model=["hog", "lbp"], recipe=["linear"], output="runs/sweep-1"
        ... )  # doctest: +SKIP
        >>> found.recommended  # doctest: +SKIP
        {'photos': PosixPath('runs/sweep-1/photos/linear-hog')}

    Args:
        plan: a YAML file, or its fields: data, recipes, models, seeds, settings, tune. What is
            said by the parameters below replaces what it says.
        data: folders and tables, each a data set of its own.
        output: the folder of the sweep.
        recipe: names, YAML files, or FILE#VARIANT; the one that suits each model by default.
        model: that of each recipe by default.
        seeds: of everything random in training.
        overrides: keys of the recipe, the same for all runs.
        tune: search so many trials before each run, and train the best.
        only: a pattern of names, such as `*linear*`; the others are left as they are.
        report_only: train nothing; compare what is there.
        keep_checkpoints: afterwards so many runs of each data set keep theirs, the best ones on
            validation; the others keep bundle, predictions and report.
        running: jobs at once, and where; the cores are divided among them.

    Raises:
        HolotypeError: with what arrived, what was expected and what to do.
    """
    axes = {"data": list(map(str, data)), "recipes": recipe, "models": model, "seeds": seeds,
            "settings": parse_overrides(overrides), "tune": tune}  # fmt: skip
    return run_sweep(
        SweepRequest(
            plan=combine_plan(plan, axes), output=Path(output), pattern=only,
            report_only=report_only, keep_checkpoints=keep_checkpoints, running=running,
        )
    )  # fmt: skip


def run_sweep(request: SweepRequest) -> Sweep:
    """What `sweep` and the command do."""
    runs = request.runs()
    on = executor(request.running.on, slots=request.running.jobs)
    output = request.output
    _require_sweep_or_nothing(output)
    output.mkdir(parents=True, exist_ok=True)
    with RunDirectory(output).lock():
        wait_for_previous(output / "_jobs")
        missing = [] if request.report_only else _missing(request, runs)
        write_json(output / SETTINGS, request.plan.model_dump(mode="json"))
        jobs = [_job(run, request) for run in missing]
        done = [RunRow.of(run.full_name, run.directory(output)) for run in runs]
        with run_table(request.progress, done, [run.full_name for run in missing]) as show:
            results = run_jobs(jobs, output / "_jobs", on, show)
        by_name = {run.full_name: one for run, one in zip(missing, results, strict=True)}
        return _finish(request, runs, by_name)


def estimate_sweep(request: SweepRequest) -> SweepEstimate:
    """What is missing, and from one timed batch of each how long it would take."""
    seconds: dict[str, float] = {}
    for run in _missing(request, request.runs()):
        request.progress.log(f"timing {run.full_name}")
        found = estimate_run(run.request(request.plan.settings))
        seconds[run.full_name] = found.seconds * (1 + request.plan.tune)
    return SweepEstimate(seconds, request.running.jobs)


def _job(run: PlannedRun, request: SweepRequest) -> Job:
    """The search before a run, if any, and its training."""
    plan, output = request.plan, request.output
    log = output / "_logs" / f"{run.group}-{run.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    options = _options(run, plan)
    commands = []
    if plan.tune:
        search = _search_before(run, output)
        commands.append(
            ("holotype", "tune", run.data, *options, "--trials", str(plan.tune),
             "--output", str(search.path))
        )  # fmt: skip
        options = ["--recipe", str(search.best_recipe)]
    where = ["--output", str(run.directory(output).path), "--resume"]
    commands.append(("holotype", "train", run.data, *options, *where))
    threads = threads_per_job(request.running)
    return Job(run.full_name, tuple(commands), log, threads)


def _options(run: PlannedRun, plan: SweepPlan) -> list[str]:
    words = ["--recipe", run.recipe] if run.recipe is not None else []
    words += ["--model", run.model] if run.model is not None else []
    words += ["--seed", str(run.seed)] if run.seed is not None else []
    for key, value in plan.settings.items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    return words


def _search_before(run: PlannedRun, output: Path) -> SearchDirectory:
    """The search before a run, where the sweep tunes."""
    return SearchDirectory(output / "_tune" / f"{run.group}-{run.name}")


def _missing(request: SweepRequest, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs that are not finished.

    Raises:
        RunMismatch: a finished one is of other data, of another recipe, or was tuned otherwise.
    """
    plan, output = request.plan, request.output
    done = [run for run in runs if is_finished(run.directory(output))]
    began = _last_plan(output) or plan
    data_of = {run.full_name: run.data for run in planned_runs(began)}
    for run in done:
        data = data_of.get(run.full_name, run.data)
        if Path(data).resolve() != Path(run.data).resolve():
            raise RunMismatch(
                f"{run.full_name} in {str(output)!r} was trained on {data!r}, not on "
                f"{run.data!r}; choose another --output."
            )
        if began.tune != plan.tune:
            raise RunMismatch(
                f"{run.full_name} in {str(output)!r} was trained with --tune {began.tune}, not "
                f"{plan.tune}. Call with the same, or choose another --output."
            )
        recipe = recipe_with_teacher(run.request(plan.settings))
        file = _search_before(run, output).base if plan.tune else run.directory(output).recipe
        require_same_recipe(file, recipe)
    return [run for run in runs if run not in done]


def _last_plan(output: Path) -> SweepPlan | None:
    """That of the last call; None before the first."""
    file = output / SETTINGS
    if not file.is_file():
        return None
    with reading(file):
        return SweepPlan.model_validate(read_json(file))


def _finish(
    request: SweepRequest, runs: Sequence[PlannedRun], results: Mapping[str, JobResult]
) -> Sweep:
    """Compare the runs of every data set, and write which is recommended."""
    output, progress = request.output, request.progress
    comparisons: dict[str, Comparison] = {}
    notes = []
    for group in dict.fromkeys(run.group for run in runs):
        here = [run for run in runs if run.group == group and is_finished(run.directory(output))]
        if not here:
            notes.append(f"{group}: no run is finished, so nothing is compared.")
            continue
        progress.log(f"comparing {pluralize(len(here), 'run')} on {group}")
        try:
            comparisons[group] = compare(
                [run.directory(output).path for run in here],
                output=output / group / DEFAULT_OUTPUT, select=RULE, progress=Progress(),
            )  # fmt: skip
        except HolotypeError as error:
            notes.append(f"{group}: {error}")
    _write_selection(output, comparisons)
    if request.keep_checkpoints is not None:
        for comparison in comparisons.values():
            _remove_checkpoints(comparison, request.keep_checkpoints)
    rows = [
        RunRow.of(run.full_name, run.directory(output), results.get(run.full_name)) for run in runs
    ]
    return Sweep(output, tuple(rows), comparisons, tuple(notes))


def _remove_checkpoints(comparison: Comparison, keep: int) -> None:
    """Of all but the best on validation, and never of the recommended run."""
    assert comparison.selection is not None
    leaderboard = comparison.leaderboards[comparison.selection.part]
    for number in leaderboard.order[keep:]:
        candidate = comparison.by_name[leaderboard.names[number]]
        if candidate is not comparison.selected:
            shutil.rmtree(RunDirectory(candidate.path).checkpoints, ignore_errors=True)


def _write_selection(output: Path, comparisons: Mapping[str, Comparison]) -> None:
    """The selections of all data sets in one file; paths are relative to it."""
    selections = []
    for group in comparisons:
        place = output / group / DEFAULT_OUTPUT
        written = json.loads((place / "selection.json").read_text(encoding="utf-8"))
        for one in written["selections"]:
            bundle = one["bundle"] and (place / one["bundle"]).resolve()
            if bundle and bundle.is_relative_to(output.resolve()):
                bundle = bundle.relative_to(output.resolve())
            selections.append({**one, "bundle": bundle and bundle.as_posix()})
    write_json(output / "selection.json", {"format_version": 1, "selections": selections})


def _require_sweep_or_nothing(output: Path) -> None:
    """
    Raises:
        RunExists: there is something that is no sweep.
    """
    is_free = not output.exists() or (
        output.is_dir() and all(entry.name == ".lock" for entry in output.iterdir())
    )
    if not is_free and not (output / SETTINGS).is_file():
        raise RunExists(
            f"{str(output)!r} already holds something that is no sweep; choose another --output."
        )
