"""Options of a training that belong together: reading the data, resources, resuming."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from holotype.arguments import check_fields
from holotype.dataset.splitting.leakage import OnLeak
from holotype.errors import UsageError
from holotype.tracking.tracking_target import parse_targets
from holotype.training.interruption import CHECKPOINT_MINUTES

Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How labels and groups are read, and which images train.

    Attributes:
        label_pattern: a regular expression that finds the label in a file's name, such as
            `(?P<label>[a-z]+)`, or `column:NAME` of a table.
        group_pattern: where the specimen, patient, … is read from: a regular expression on a
            file's path, `parent-folder`, or `column:NAME` of a table. A group is in one split only.
        label_prefix: put the name of its source before each label.
        on_leak: what becomes of a split that came with the data and has groups or copies in two
            splits: `refuse` it, `repair` it by moving them to train, or `keep` it and say so
            beside the score.
        exclude: a table such as the audit's issues.csv: images with yes under `confirmed`, or all
            where there is no such column, do not train; the score is given with and without them.
        relabel: a table with the columns path and new_label, such as an issues.csv reviewed in the
            dashboard: images whose new label is confirmed get it, after the split; the score is
            given with the labels before, too. No file of the data is changed.
        tolerate_truncated: read files that are cut off as far as they go, in this training and by
            its bundle ever after; else they are left out and refused. The report counts them.

    Raises:
        UsageError: an unknown value of `on_leak`.
    """

    label_pattern: str | None = None
    group_pattern: str | None = None
    label_prefix: bool = False
    on_leak: OnLeak = "keep"
    exclude: str | Path | None = None
    relabel: str | Path | None = None
    tolerate_truncated: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a training may use of the machine; none of it changes the result.

    Attributes:
        device: where to train; `auto` takes a GPU if there is one.
        save_memory: compute activations twice instead of keeping them in memory.
        disk_budget: for activations that are computed once and kept, with its unit, such as `20G`;
            else `$HOLOTYPE_DISK_BUDGET`, else 20 GB.
        deterministic: refuse operations whose result could differ from one time to the next.
        track: where the finished run is sent too: `mlflow=URI`, `mlflow` (the server that
            `MLFLOW_TRACKING_URI` names), `tensorboard`. One that cannot be reached costs the run
            nothing; `holotype.track` sends it later.

    Raises:
        UsageError: an unknown value of `device`, or of `track`.
        MissingExtra: `track` needs the extra `tracking`.
    """

    device: Device = "auto"
    save_memory: bool = False
    disk_budget: str | None = None
    deterministic: bool = False
    track: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        parse_targets(self.track)


@dataclass(frozen=True, kw_only=True)
class Resuming:
    """What a training goes on from, and how often it writes a checkpoint.

    Attributes:
        resume: go on with the run at `output`, if there is one, as if nothing had happened.
        init_from: a run, or RUN@STAGE, whose weights this training starts from; its head too,
            where it has the same classes and the recipe begins with no linear head.
        checkpoint_minutes: between two checkpoints within an epoch; above 0. One is written after
            every epoch too, and when the process receives SIGTERM.

    Raises:
        UsageError: `checkpoint_minutes` is not above 0.
    """

    resume: bool = False
    init_from: str | Path | None = None
    checkpoint_minutes: float = CHECKPOINT_MINUTES

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.checkpoint_minutes > 0:
            raise UsageError(
                f"checkpoint_minutes is {self.checkpoint_minutes:g}, expected a number above 0."
            )
