"""Search for a better recipe: trials on validation, and test read once, by the winner.

Preparation reads and audits all images and splits them. Trials see the images of train and
validation only. At the end the winner is trained as a run on the same split, and its test score is
read.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holotype.architectures.catalog import architecture
from holotype.dataset.index import Index, read_index_file
from holotype.dataset.reading.source_types import DataSource, as_sources, describe_source
from holotype.errors import (
    DatasetError,
    HolotypeError,
    MissingExtra,
    RunExists,
    RunMismatch,
    UsageError,
)
from holotype.executors.executor import Executor, executor
from holotype.executors.slurm import wait_for_previous
from holotype.extras import with_install_advice
from holotype.files import write_json, write_text
from holotype.pipeline.training_run.excluded_images import exclude_and_log, require_trainable
from holotype.pipeline.training_run.train import make_runtime, read_and_audit
from holotype.pipeline.training_run.train_and_seal import require_validation
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.pipeline.training_run.training_options import ReadingOptions, Resources
from holotype.progress import Progress, ProgressCallback
from holotype.run_directory import RunDirectory, next_run_path
from holotype.search.full_trials import FullTrials
from holotype.search.head_trials import HeadTrials
from holotype.search.report.search_page import write_search_report
from holotype.search.run_trial import train_on
from holotype.search.running import Running, threads_per_job
from holotype.search.search_result import Search, judge
from holotype.search.search_space import SearchSpace, family_space, read_space
from holotype.search.trial_record import TrialRecord, best_record
from holotype.search.trials import TrialLoop, TrialRunner, describe, read_asked
from holotype.search_directory import SearchDirectory
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import Overrides, RecipeLike
from holotype.training.interruption import StopSignal
from holotype.training.training_resources import Runtime

HEADS = "heads"
HEADS_RECIPE = "linear"  # the default of a search over heads


@dataclass(frozen=True, eq=False, kw_only=True)
class SearchRequest:
    """What a caller asks for; see `tune`.

    Attributes:
        training: data, recipe and how images are read; its output is the directory of the search.
        trials: beside the default recipe.
        heads: whether only heads are searched.
        space: a file that replaces the table of the family.
        running: jobs, and where they run.
    """

    training: TrainingRequest
    trials: int = 30
    heads: bool = False
    space: str | Path | None = None
    running: Running = field(default_factory=Running)

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UsageError(f"--trials is {self.trials}, expected a number above 0.")

    @property
    def progress(self) -> Progress:
        return self.training.progress

    def base(self) -> Recipe:
        """The default recipe, resolved."""
        training = self.training
        if self.heads and training.recipe is None:
            training = replace(training, recipe=HEADS_RECIPE)
        return training.resolve_recipe()

    def search_space(self, base: Recipe) -> SearchSpace:
        if self.space is not None:
            return read_space(self.space, base)
        return family_space(HEADS if self.heads else _family(base), base)


@with_install_advice
def tune(
    data: "DataSource | Sequence[DataSource]",
    *,
    output: str | Path | None = None,
    trials: int = 30,
    heads: bool = False,
    space: str | Path | None = None,
    recipe: RecipeLike | None = None,
    model: str | None = None,
    seed: int | None = None,
    overrides: Overrides | None = None,
    reading: ReadingOptions = ReadingOptions(),
    resources: Resources = Resources(),
    running: Running = Running(),
) -> Search:
    """Search for a better recipe on validation, and read the winner's test score once.

    Called again with the same output it goes on: what was tried is not tried again.

    Example:
        >>> search = holotype.tune("photos", trials=200, heads=True)  # doctest: +SKIP
        >>> search.best_recipe  # doctest: +SKIP
        PosixPath('runs/photos-search-1/best.yaml')

    Args:
        data: as `train` takes it.
        output: the directory of the search; `runs/NAME-search-1`, `-2`, … by default.
        trials: so many, beside the default recipe, which is trial 0.
        heads: search heads on the features of the frozen network only, hundreds a minute.
        space: a YAML file of what is searched, instead of the table of the model's family.
        recipe, model, seed, overrides: of the default recipe, as `train` takes them; the size of
            images is an override, `image_size`. The seed is that of the search too.
        reading: how labels and groups are read, and which images train.
        resources: device and disk, as `train` takes them.
        running: how many trials at once, where, and for how long.

    Raises:
        HolotypeError: with what arrived, what was expected and what to do.
    """
    training = TrainingRequest(
        data=data, output=output, recipe=recipe, model=model, seed=seed, overrides=overrides,
        reading=reading, resources=resources,
    )  # fmt: skip
    return run_search(
        SearchRequest(training=training, trials=trials, heads=heads, space=space, running=running)
    )


def run_search(request: SearchRequest) -> Search:
    """What `tune` and the command do."""
    _require_optuna()
    on = executor(request.running.on, slots=request.running.jobs)
    path = request.training.output or next_run_path(f"{request.training.data_name}-search")
    search = SearchDirectory(Path(path))
    base = request.base()
    space = request.search_space(base)
    _require_new_or_same(search, request, base, space)
    search.path.mkdir(parents=True, exist_ok=True)
    stop_signal = StopSignal()
    with RunDirectory(search.path).lock(), stop_signal.handling_sigterm():
        progress = replace(
            request.progress, check=stop_signal.raise_if_requested, log_file=search.log
        )
        training = replace(request.training, progress=progress)
        request = replace(request, training=training)
        runtime = make_runtime(training, base, search.path / "checkpoints", stop_signal)
        if not search.settings.is_file():
            prepare(search, request, base, space, runtime)
        runner = _runner(search, request, base, on, runtime)
        records = run_trials(search, request, base, space, runner)
        return finish(search, records, space, runtime)


def prepare(
    search: SearchDirectory,
    request: SearchRequest,
    base: Recipe,
    space: SearchSpace,
    runtime: Runtime,
) -> None:
    """Read, audit and split all images; after this no image of test is opened by a trial.

    Raises:
        DatasetError: there is nothing to train or to choose on.
    """
    training = request.training
    index, job = read_and_audit(training, base, runtime)
    index, job = job.split(index)
    require_trainable(index, training.reading.exclude)
    index, _ = exclude_and_log(index, training.reading.exclude, request.progress)
    require_validation(base, index)
    if len(index.part("val")) == 0:
        raise DatasetError("validation has no images, so nothing can be chosen on it.")
    request.progress.log_all(job.audit.write_findings(search.audit))
    index.write(search.index)
    seen = index.table["split"].isin(["train", "val"])
    replace(index, table=index.table[seen].reset_index(drop=True)).write(search.train_val)
    write_text(search.base, base.to_yaml())
    # Written last: a search that has settings is prepared.
    write_json(search.settings, settings_of(request, base, space))


def settings_of(request: SearchRequest, base: Recipe, space: SearchSpace) -> dict[str, Any]:
    """What a later call must say too."""
    resources = vars(request.training.resources)
    return {
        "name": request.training.data_name,
        "data": [describe_source(source) for source in as_sources(request.training.data)],
        "heads": request.heads,
        "jobs": request.running.jobs,
        "base": base.model_dump(mode="json"),
        "space": space.to_json(),
        "resources": resources,
        "reading": {
            name: value and str(value) for name, value in vars(request.training.reading).items()
        },
    }


def run_trials(
    search: SearchDirectory,
    request: SearchRequest,
    base: Recipe,
    space: SearchSpace,
    runner: TrialRunner,
) -> list[TrialRecord]:
    """The loop over trials; those on record are not run again."""
    progress, jobs = request.progress, request.running.jobs
    with progress.bar("searching") as update:
        on_batch = _narrator(request, progress, update)
        loop = TrialLoop(search, base, space, base.seed, jobs, runner, on_batch)
        return loop.run(request.trials, request.running.budget_seconds)


def _runner(
    search: SearchDirectory, request: SearchRequest, base: Recipe, on: Executor, runtime: Runtime
) -> TrialRunner:
    """What runs the trials; heads are fitted here, wherever other jobs run."""
    if request.heads:
        index = read_index_file(search.train_val)
        heads = HeadTrials(search, index, runtime, request.running.jobs)
        heads.keep_features(base)
        return heads
    wait_for_previous(search.jobs)
    stop = runtime.stop_signal.raise_if_requested
    return FullTrials(search, on, threads_per_job(request.running), stop)


def _narrator(request: SearchRequest, progress: Progress, update: ProgressCallback) -> Any:
    """Says how each trial ended; of heads, of which there are many, only a bar."""

    def on_batch(records: Sequence[TrialRecord]) -> None:
        if not request.heads:
            for record in records[-request.running.jobs :]:
                progress.log(describe(record, records))
        update(len(records) - 1, request.trials)

    return on_batch


def finish(
    search: SearchDirectory, records: Sequence[TrialRecord], space: SearchSpace, runtime: Runtime
) -> Search:
    """Write the winner's recipe, train it as a run, and write the report.

    Raises:
        HolotypeError: no trial is complete.
    """
    winner = best_record(records)
    if winner is None:
        raise HolotypeError(
            f"none of {len(records)} trials could be trained; the first says: {records[0].reason}"
        )
    recipe = read_asked(search.trial(winner.number)).recipe
    write_text(search.best_recipe, recipe.to_yaml())
    runtime.progress.log(f"training the winner, trial {winner.number}, as a run; reading test once")
    index = read_index_file(search.index)
    _train_winner(search, index, winner, recipe, runtime)
    found = judge(search, records, space)
    write_search_report(found, search.read_settings()["name"])
    return found


def _train_winner(
    search: SearchDirectory, index: Index, winner: TrialRecord, recipe: Recipe, runtime: Runtime
) -> None:
    """Train it on the same images; what its trial left is not trained again."""
    best, trial = search.best, search.trial(winner.number).run
    if best.recipe.is_file() and best.recipe.read_text(encoding="utf-8") != recipe.to_yaml():
        shutil.rmtree(best.path)  # of an earlier call with fewer trials
    if trial.checkpoints.is_dir() and not best.path.exists():
        partial = best.path.with_name(".tmp-best")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(trial.checkpoints, partial / best.checkpoints.name)
        partial.rename(best.path)
    train_on(search, index, best, recipe, replace(runtime, checkpoints=best.checkpoints))


def _require_new_or_same(
    search: SearchDirectory, request: SearchRequest, base: Recipe, space: SearchSpace
) -> None:
    """Refuse a directory that holds something else, or a search of something else.

    Raises:
        RunExists: it is no search.
        RunMismatch: it searches other data, another space, from another recipe or with other jobs.
    """
    known = {search.settings.name, search.log.name, ".lock", "audit", "checkpoints",
             search.index.name, search.train_val.name, search.base.name}  # fmt: skip
    if not search.settings.is_file():
        if search.path.exists() and (
            not search.path.is_dir()
            or {entry.name for entry in search.path.iterdir() if entry.name[:5] != ".tmp-"} - known
        ):
            raise RunExists(
                f"{str(search.path)!r} already holds something that is no search; choose another "
                "--output."
            )
        return
    began, now = search.read_settings(), settings_of(request, base, space)
    # Searches of earlier versions do not say how their data were read.
    asked = [key for key in now if key in began and key != "resources"]
    different = [key for key in asked if began[key] != now[key]]
    if different:
        raise RunMismatch(
            f"{str(search.path)!r} began with another {', '.join(different)}. Call with the same, "
            "or choose another --output."
        )


def _family(base: Recipe) -> str:
    """The table of the recipe's family; pretrained networks without weights train from nothing."""
    kind = architecture(base.model).kind
    if kind == "pretrained" and base.weights == "none":
        return "scratch"
    return kind


def _require_optuna() -> None:
    try:
        import optuna
    except ModuleNotFoundError:
        raise MissingExtra("tune needs Optuna: pip install 'holotype[search]'") from None
    if int(optuna.__version__.split(".")[0]) < 5:
        raise MissingExtra(
            f"tune needs Optuna 5 or newer, and {optuna.__version__} is installed: "
            "pip install 'holotype[search]'"
        )
