"""What one call of `train` asks for, once its images are known."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from holotype.architectures.catalog import is_custom_model
from holotype.dataset.auditing.findings import Findings
from holotype.dataset.index import Index
from holotype.dataset.splitting.leakage import OnLeak, resolve_leaks
from holotype.dataset.splitting.splitter import split
from holotype.evaluation.report_data import Report
from holotype.files import write_json
from holotype.pipeline.audit import Audit
from holotype.progress import Progress
from holotype.run_directory import RunDirectory
from holotype.training.config.recipe import Recipe
from holotype.training.features.cache_budget import DiskBudget
from holotype.training.interruption import StopSignal
from holotype.training.train_stages import package_versions

Published = Sequence[tuple[str, float, str]]  # who, accuracy as a fraction, what differs


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingJob:
    """What one call of `train` asks for, once its images are known.

    Attributes:
        recipe: resolved.
        name: what the classifier is called.
        sources: the images, as they were named.
        audit_result: the images, unusable ones too, and what the audit found.
        data_options: how labels and groups are read, by the option's name.
        leak_caveats: what is to be known of a split that came with the data, before its score is
            quoted.
        others: see `train`.
    """

    recipe: "Recipe"
    name: str
    sources: Sequence[str]
    audit_result: Audit
    device: str
    progress: Progress
    on_leak: "OnLeak" = "keep"
    exclude: str | None = None
    save_memory: bool = False
    budget: "DiskBudget | None" = None
    resume: bool = False
    stop_signal: "StopSignal | None" = None
    published: Published = ()
    notes: Sequence[str] = ()
    data_options: Mapping[str, str | bool | None] = field(default_factory=dict)
    leak_caveats: Sequence[str] = ()

    @property
    def findings(self) -> "Findings":
        """Of the audit."""
        return self.audit_result.findings

    @property
    def data(self) -> str:
        """The images, in words."""
        return ", ".join(self.sources)

    @property
    def seeds(self) -> dict[str, int]:
        """What each seed is for, and the seed."""
        return {"training": self.recipe.seed, "split": self.recipe.split.seed}

    def resolve_leaks(self, index: "Index") -> "tuple[Index, TrainingJob]":
        """The images after the choice about leaks, which is said; and the job that knows it."""
        index, leak_caveats = resolve_leaks(
            index, on_leak=self.on_leak, keep_together=self.findings.duplicate_clusters
        )
        for line in leak_caveats:
            self.progress.log(line)
        return index, replace(self, leak_caveats=leak_caveats)

    def split(self, index: "Index") -> "tuple[Index, TrainingJob]":
        """The images in their parts; and the job, which knows of a split that leaks."""
        index, job = self.resolve_leaks(index)
        how, keep_together = self.recipe.split, self.findings.duplicate_clusters
        return split(index, ratios=how.ratios, seed=how.seed, keep_together=keep_together), job

    def with_caveats(self, report: "Report") -> "Report":
        """The report with what is to be known of the split among its caveats."""
        return replace(report, caveats=(*self.leak_caveats, *report.caveats))

    def command(self, run: RunDirectory, *more: str) -> str:
        """What repeats the run; a file of the user's is run only where it is named."""
        words = ["holotype", "train", *self.sources, "--recipe", str(run.recipe), *more]
        words += ["--model", self.recipe.model] if is_custom_model(self.recipe.model) else []
        words += ["--on-leak", self.on_leak] if self.on_leak != "keep" else []
        words += ["--exclude", self.exclude] if self.exclude else []
        for option, value in self.data_options.items():
            words += [option] if value is True else [option, value] if value else []
        return shlex.join(words)


def write_environment(run: RunDirectory, device: str) -> None:
    """What the run is done with; what it cost is added by `record_training_cost`."""
    write_json(
        run.environment,
        {
            "command": shlex.join(sys.argv),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "device": device,
            "versions": package_versions(),
        },
    )


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
    known = json.loads(run.environment.read_text(encoding="utf-8"))
    cost = {
        "training_seconds": None if training_seconds is None else round(training_seconds, 2),
        "training_resumed": resumed,
        "peak_memory_mb": peak_memory_mb(),
    }
    write_json(run.environment, {**known, **cost})


def total_training_seconds(runs: Sequence[RunDirectory]) -> tuple[float | None, bool]:
    """The seconds of several runs together, and whether some are missing; None: one is unknown."""
    known = [json.loads(run.environment.read_text(encoding="utf-8")) for run in runs]
    seconds = [one.get("training_seconds") for one in known]
    resumed = any(one.get("training_resumed", False) for one in known)
    return (None if None in seconds else sum(seconds)), resumed


def peak_memory_mb() -> float | None:
    """The most memory that this process has held so far, in MB of 10^6 bytes; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    num_bytes = peak if sys.platform == "darwin" else 1024 * peak
    return round(num_bytes / 1e6, 1)
