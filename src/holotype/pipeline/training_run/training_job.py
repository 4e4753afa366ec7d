"""What a caller asks for, and what is known once the images are read."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from holotype.architectures.catalog import is_custom_model
from holotype.comparison.cost import peak_memory_bytes
from holotype.dataset.auditing.findings import Findings
from holotype.dataset.auditing.relabel_confirmed import relabel_images
from holotype.dataset.index import Index
from holotype.dataset.reading.source_types import (
    DataSource,
    as_sources,
    describe_source,
    pattern_words,
    source_name,
)
from holotype.dataset.splitting.encounter_split import describe_time_leaks
from holotype.dataset.splitting.leakage import resolve_leaks
from holotype.dataset.splitting.splitter import parts_of, split
from holotype.dataset.splitting.unseen_individuals import hold_out_individuals
from holotype.errors import DatasetError, UsageError
from holotype.evaluation.group_leakage import GroupLeakage
from holotype.evaluation.report_data import Report
from holotype.files import read_json, reading, sha256_of, write_json
from holotype.imaging.image_warnings import truncated_images, truncated_note
from holotype.pipeline.audit import Audit
from holotype.pipeline.training_run.training_options import ReadingOptions, Resources, Resuming
from holotype.progress import Progress, default_progress, pluralize
from holotype.reporting.report_page import ReportContext
from holotype.run_directory import RunDirectory
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import Overrides, RecipeLike, resolve_recipe
from holotype.training.epoch_metrics import EpochMetrics
from holotype.training.finetuning.history import history_writer
from holotype.training.train_stages import package_versions
from holotype.training.training_resources import Runtime

Published = Sequence[tuple[str, float, str]]  # who, accuracy as a fraction, what differs


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingRequest:
    """What a caller asks for; see `train` for the fields that are its parameters.

    Attributes:
        published: scores of others to print beside the own.
        notes: sentences to print near the score.
        name: what the data is called, where its path does not say it.
    """

    data: "DataSource | Sequence[DataSource]"
    output: str | Path | None = None
    recipe: RecipeLike | None = None
    model: str | None = None
    seed: int | None = None
    image_size: int | None = None
    overrides: Overrides | None = None
    ratios: Sequence[float] | None = None
    folds: int | None = None
    reading: ReadingOptions = ReadingOptions()
    resources: Resources = Resources()
    resuming: Resuming = Resuming()
    progress: Progress = field(default_factory=default_progress)
    published: Published = ()
    notes: Sequence[str] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        for name, kind in (
            ("reading", ReadingOptions), ("resources", Resources), ("resuming", Resuming)
        ):  # fmt: skip
            if not isinstance(getattr(self, name), kind):
                given = type(getattr(self, name)).__name__
                raise UsageError(
                    f"{name} is a value of type {given}; expected holotype.{kind.__name__}(…)."
                )

    @property
    def data_name(self) -> str:
        """What the data, the run and the classifier are called unless something else is said."""
        return self.name or "-".join(map(source_name, as_sources(self.data)))

    def resolve_recipe(self) -> Recipe:
        """The recipe with every other option of the request in it; see `resolve_recipe`."""
        recipe = resolve_recipe(
            self.recipe, model=self.model, seed=self.seed, image_size=self.image_size,
            ratios=self.ratios, overrides=self.overrides,
        )  # fmt: skip
        if self.reading.tolerate_truncated:
            recipe = recipe.model_copy(update={"tolerate_truncated": True})
        return recipe


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """A request whose recipe is resolved and whose images are known.

    Attributes:
        audit: the images, unusable ones too, and what the audit found.
        notes: sentences to print near the score, beside those of the request.
        leak_caveats: what is to be known of a split that came with the data, before its score is
            quoted.
        is_audited_elsewhere: whether a parent directory holds the audit, so that the report of the
            run says nothing of it.
        unseen: images of the classes that were held out whole; None before the split.
        labels_before: the labels that `--relabel` changed, by path.
        tables: the digests of the tables of `--exclude` and `--relabel`, as they were read.
    """

    request: TrainingRequest
    recipe: Recipe
    runtime: Runtime
    audit: Audit
    notes: Sequence[str] = ()
    leak_caveats: Sequence[str] = ()
    is_audited_elsewhere: bool = False
    unseen: Index | None = None
    labels_before: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)

    def in_run(self, run: RunDirectory) -> "TrainingJob":
        """The job with its checkpoints and its log in a run."""
        progress = replace(self.progress, log_file=run.log)
        runtime = replace(self.runtime, checkpoints=run.checkpoints, progress=progress)
        return replace(self, runtime=runtime)

    def with_history(self, run: RunDirectory) -> "TrainingJob":
        """The job that writes every epoch into the history of a run, as well as what it did."""
        write_epoch, on_epoch = history_writer(run.history), self.runtime.on_epoch

        def keep_and_tell(epoch: EpochMetrics) -> None:
            write_epoch(epoch)
            on_epoch(epoch)

        return replace(self, runtime=replace(self.runtime, on_epoch=keep_and_tell))

    @property
    def name(self) -> str:
        """What the classifier is called."""
        return self.request.data_name

    @property
    def progress(self) -> Progress:
        return self.runtime.progress

    @property
    def findings(self) -> Findings:
        """Of the audit."""
        return self.audit.findings

    @property
    def data(self) -> str:
        """What the images were named by, in words."""
        return ", ".join(map(describe_source, as_sources(self.request.data)))

    @property
    def seeds(self) -> dict[str, int]:
        """What each seed is for, and the seed."""
        return {"training": self.recipe.seed, "split": self.recipe.split.seed}

    def resolve_leaks(self, index: Index) -> "tuple[Index, TrainingJob]":
        """The images after the choice about leaks, which is said; and the job that knows it."""
        index, leak_caveats = resolve_leaks(
            index,
            on_leak=self.request.reading.on_leak,
            keep_together=self.findings.duplicate_clusters,
        )
        self.progress.log_all(leak_caveats)
        return index, replace(self, leak_caveats=leak_caveats)

    def split(self, index: Index) -> "tuple[Index, TrainingJob]":
        """The images in their parts, relabelled; and the job, which knows of a split that leaks."""
        index, job = self.resolve_leaks(index)
        how, keep_together = self.recipe.split, self.findings.duplicate_clusters
        seen, unseen = hold_out_individuals(
            index, how.unseen, how.seed, keep_together=keep_together
        )
        if len(unseen):
            self.progress.log(
                f"{pluralize(len(unseen.classes), 'class', 'classes')} with "
                f"{pluralize(len(unseen), 'image')} held out whole, never to be seen in training"
            )
        divided = split(seen, ratios=how.ratios, seed=how.seed, keep_together=keep_together)
        notes = describe_time_leaks(divided)
        self.progress.log_all(notes)
        return replace(job, unseen=unseen, notes=[*job.notes, *notes]).relabel(divided)

    def relabel(self, index: Index) -> "tuple[Index, TrainingJob]":
        """The images of a split with their confirmed new labels; and the job that knows the old."""
        if self.request.reading.relabel is None:
            return index, self
        relabelled = relabel_images(index, self.request.reading.relabel)
        self.progress.log_all(relabelled.notes)
        return relabelled.index, replace(self, labels_before=relabelled.labels_before)

    def named_tables(self) -> dict[str, dict[str, str]]:
        """The tables of `--exclude` and `--relabel`, with path and digest, by option.

        Raises:
            DatasetError: one was changed after it was read first.
        """
        reading_options = self.request.reading
        if table_digests(reading_options) != self.tables:
            raise DatasetError(
                "the table of --exclude or --relabel was changed while it was read, as by a review "
                "that goes on; train again."
            )
        return {
            name: {"path": str(getattr(reading_options, name)), "sha256": digest}
            for name, digest in self.tables.items()
        }

    def with_caveats(self, report: Report) -> Report:
        """The report with what is to be known of split and images among its caveats."""
        truncated = truncated_note(self.findings.warnings)
        return replace(report, caveats=(*self.leak_caveats, *truncated, *report.caveats))

    def report_context(
        self, index: Index, command: str, *, group_leakage: GroupLeakage | None
    ) -> ReportContext:
        """What the report says of recipe, data and audit."""
        return ReportContext(
            title="",
            recipe=self.recipe.name,
            data=f"{index.size_summary} in {self.data}",
            audit=None if self.is_audited_elsewhere else self.findings.summary_rows(),
            command=command,
            published=self.request.published,
            group_leakage=group_leakage,
            truncated_images=self._truncated_by_part(index),
        )

    def _truncated_by_part(self, index: Index) -> dict[str, int] | None:
        """How many images of each part were read though cut off; None where none would be."""
        if not self.recipe.tolerate_truncated:
            return None
        cut_off = set(truncated_images(self.findings.warnings))
        return {
            part: len(cut_off.intersection(index.part(part).table["path"]))
            for part in parts_of(index)
        }

    def command(self, run: RunDirectory, *more: str) -> str:
        """What repeats the run; a Python file of the user's is run only where it is named."""
        reading = self.request.reading
        sources = [
            str(each if isinstance(each, Path) else run.index)
            for each in as_sources(self.request.data)
        ]
        words = ["holotype", "train", *sources, "--recipe", str(run.recipe), *more]
        words += ["--model", self.recipe.model] if is_custom_model(self.recipe.model) else []
        words += ["--on-leak", reading.on_leak] if reading.on_leak != "keep" else []
        words += ["--exclude", str(reading.exclude)] if reading.exclude else []
        words += ["--relabel", str(reading.relabel)] if reading.relabel else []
        words += pattern_words(reading.label_pattern, reading.group_pattern, reading.label_prefix)
        return shlex.join(words)


def table_digests(reading_options: ReadingOptions) -> dict[str, str]:
    """SHA-256 of the tables of `--exclude` and `--relabel`, by option; none where none is named."""
    named = {name: getattr(reading_options, name) for name in ("exclude", "relabel")}
    return {name: sha256_of(Path(table)) for name, table in named.items() if table is not None}


def write_environment(
    run: RunDirectory, device: str, tables: Mapping[str, Mapping[str, str]] | None = None
) -> None:
    """What the run is done with; what it cost is added by `record_training_cost`."""
    write_json(
        run.environment,
        {
            **({"tables": tables} if tables else {}),
            "command": shlex.join(sys.argv),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "device": device,
            "versions": package_versions(),
            "git_commit": git_commit(),
        },
    )


def git_commit() -> str | None:
    """The commit that is checked out in the working directory; None where there is none."""
    command = ["git", "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):  # no git here, or no repository
        return None
    return done.stdout.strip() or None


def record_training_cost(
    run: RunDirectory, training_seconds: float | None, *, resumed: bool = False
) -> None:
    """Add to `environment.json` what training took.

    Args:
        run: whose environment was written.
        training_seconds: from the first look at training images to the sealed bundle; what was
            kept from another run took no time. None where it is not known.
        resumed: whether the seconds of an earlier process are missing, since it was killed.
    """
    known = read_json(run.environment)
    cost = {
        "training_seconds": None if training_seconds is None else round(training_seconds, 2),
        "training_resumed": resumed,
        "peak_memory_mb": peak_memory_mb(),
    }
    write_json(run.environment, {**known, **cost})


def total_training_seconds(runs: Sequence[RunDirectory]) -> tuple[float | None, bool]:
    """The seconds of several runs together, and whether some are missing; None: one is unknown."""
    seconds: list[float] = []
    resumed = False
    for run in runs:
        known = read_json(run.environment)
        if known.get("training_seconds") is None:
            return None, resumed
        with reading(run.environment):
            seconds.append(float(known["training_seconds"]))
        resumed |= bool(known.get("training_resumed", False))
    return sum(seconds), resumed


def peak_memory_mb() -> float | None:
    """The most memory that this process has held so far, in MB of 10^6 bytes; None on Windows."""
    num_bytes = peak_memory_bytes()
    return None if num_bytes is None else round(num_bytes / 1e6, 1)
