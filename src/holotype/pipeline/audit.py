"""Audit a data set: files, duplicates and leakage, and with a network labels and outliers."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from holotype.architectures.pretrained_weights import find_weights
from holotype.arguments import require_directory_place
from holotype.dataset.atomic_directory import require_apart_from_images
from holotype.dataset.auditing.audit_without_network import audit as audit_index
from holotype.dataset.auditing.embedding_neighbors import (
    find_conflicting_neighbours,
    find_outliers,
    nearest_neighbours,
)
from holotype.dataset.auditing.findings import KINDS, NEED_NETWORK, Findings
from holotype.dataset.auditing.issues_csv import (
    COLUMNS,
    Issue,
    issues_of,
    previous_answers,
    write_findings,
)
from holotype.dataset.auditing.label_errors import beats_class_prior, find_label_errors, noise_rate
from holotype.dataset.auditing.quality import QUALITY_ADVICE
from holotype.dataset.index import Index, read_index
from holotype.dataset.reading.source_types import DataSource, as_sources, source_name
from holotype.dataset.splitting.assignment import atomic_group_names
from holotype.errors import (
    DatasetError,
    MissingExtra,
    UsageError,
    WeightsUnavailable,
    did_you_mean,
    require_one_of,
)
from holotype.extras import with_install_advice
from holotype.files import require_writable
from holotype.imaging.image_warnings import warning_notes
from holotype.notebook import data_frame, html_result, html_table
from holotype.progress import Progress, default_progress, pluralize
from holotype.reporting.audit_page import write_audit_page
from holotype.text_tables import short_text, text_table
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import resolve_recipe
from holotype.training.config.stage_config import LinearStage
from holotype.training.features.device import DEVICES, resolve_device
from holotype.training.features.frozen_features import cache_features
from holotype.training.features.initial_backbone import EMBEDDING, PretrainedBackbone
from holotype.training.heads.cross_val_predict import out_of_fold_predictions
from holotype.training.heads.training_data import TrainingData

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FOLDS = 5  # where the recipe names none
RECIPE = "linear"  # its network and its head judge the labels; `train` then finds both computed
REQUIRED_PACKAGES = ("torch", "timm", "onnxscript", "cleanlab")
QUALITY = "quality"  # `fail_on` takes this for all that `dataset.auditing.quality` finds
MIN_IMAGES = 10  # of fewer, an embedding says nothing that a look at them would not


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """A data set and what was found in it.

    Attributes:
        index: every image, the unusable ones included.
        findings: all that was found, by kind.
        name: what the data is called, from its path.
        fail_on: the kinds of findings that make `failed` true; all that deserve action if empty.
    """

    index: Index
    findings: Findings
    name: str
    fail_on: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """How many images were looked at."""
        return self.findings.num_images

    @property
    def usable(self) -> int:
        """How many of them can be read."""
        return self.images - len(self.findings.unusable)

    @property
    def classes(self) -> dict[str, int]:
        """Usable images of every class."""
        return self.findings.class_counts

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each kind, 0 included."""
        return self.findings.counts()

    @cached_property
    def issues(self) -> list[Issue]:
        """Every image with a problem, sorted by path."""
        return issues_of(self.findings)

    @property
    def failed(self) -> bool:
        """Whether there is a finding of `fail_on`; without `fail_on`, one that deserves action."""
        if not self.fail_on:
            return self.findings.has_findings
        return any(self.counts[kind] for kind in self.fail_on)

    def to_frame(self) -> "pd.DataFrame":
        """The rows of issues.csv: what was found, and `confirmed` and `new_label`, both empty."""
        rows = [(i.path, i.problem, i.evidence, i.suggestion, "", "") for i in self.issues]
        return data_frame(
            {name: [row[number] for row in rows] for number, name in enumerate(COLUMNS)}
        )

    def write(self, directory: str | Path) -> list[str]:
        """Write audit.json, issues.csv, index.html and index.parquet into a directory.

        Answers in an issues.csv that is there are kept; those about problems that were not found
        again in a copy beside it.

        Returns:
            A sentence that names such a copy; nothing without one.
        """
        notes = self.write_findings(Path(directory))
        self.index.write(Path(directory) / "index.parquet")
        return notes

    def write_findings(self, directory: Path) -> list[str]:
        """As `write`, without the index, as in a run, which has its own."""
        notes = write_findings(self.findings, directory)
        write_audit_page(
            self.findings, self.index, directory / "index.html", title=f"Audit of {self.name}"
        )
        return notes

    def __repr__(self) -> str:
        return short_text(self._title, self._table(text_table) or "nothing found")

    def _repr_html_(self) -> str:
        return html_result(
            self._title, self._table(html_table) or "<p>nothing found</p>",
            notes=self.findings.skipped_checks,
        )  # fmt: skip

    @property
    def _title(self) -> str:
        classes = pluralize(len(self.classes), "class", "classes")
        return f"Audit of {self.name}: {pluralize(self.images, 'image')} of {classes}"

    def _table(self, table: Callable[..., str]) -> str:
        rows = self.findings.summary_rows()
        return table(("found", "count", "what to do"), rows) if rows else ""


@with_install_advice
def audit(
    data: "DataSource | Sequence[DataSource]",
    *,
    output: str | Path | None = None,
    fail_on: str | Sequence[str] = (),
    labels: bool = False,
    quick: bool = False,
    label_pattern: str | None = None,
    group_pattern: str | None = None,
    label_prefix: bool = False,
    tolerate_truncated: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Audit:
    """Look at every image, and with a pretrained network at every label.

    Labels, outliers and neighbours are looked at if the network and its packages are there; else
    `findings.skipped_checks` says what is missing.

    Example:
        >>> audit = holotype.audit("photos", output="audit")  # doctest: +SKIP
        >>> audit.to_frame().query("problem == 'label_conflict'")  # doctest: +SKIP

    Args:
        data: a folder with one folder per class, a CSV or Parquet table or a DataFrame; or
            several of these.
        output: write index.html, audit.json, issues.csv and index.parquet into this directory.
        fail_on: kinds of findings, as a list or with commas between them, that alone make
            `failed` true.
        labels: refuse to go on where labels cannot be looked at.
        quick: run no network.
        label_pattern: a regular expression that finds the label in a file's name, or
            `column:NAME` of a table.
        group_pattern: where the group of an image is read from; see `holotype audit --help`.
        label_prefix: put the name of its source before each label.
        tolerate_truncated: read files that are cut off as far as they go, as a training with the
            same option does: they are named as warnings, not as unusable.
        device: where the network runs: auto, cpu, cuda or mps.

    Raises:
        UsageError: options that exclude each other, an unknown kind of finding, or an output that
            is a file or lies among the images.
        InvalidTable: the output holds an issues.csv that cannot be read.
        MissingExtra, WeightsUnavailable, DatasetError: labels, or what `fail_on` names, were asked
            for and cannot be looked at; the last comes once the output is written.
    """
    kinds = parse_kinds(fail_on)
    require_one_of("device", device, DEVICES)
    if labels and quick:
        raise UsageError("--labels and --quick exclude each other; name one of them.")
    if output is not None:
        require_directory_place(output)
        require_apart_from_images(Path(output), as_sources(data))
        require_writable(Path(output) / "index.html")
        previous_answers(Path(output) / "issues.csv")
    needs_network = labels or _needs_network(kinds, quick=quick)
    if needs_network:
        _require_network()
    progress = progress or default_progress()
    index = read_index(
        data, label_pattern=label_pattern, group_pattern=group_pattern, label_prefix=label_prefix,
        allow_class_mismatch=True,
    )  # fmt: skip
    progress.log_all(index.reading_notes())
    with progress.bar("auditing") as update:
        findings = audit_index(index, tolerate_truncated=tolerate_truncated, on_progress=update)
    progress.log_all(warning_notes(findings.warnings))
    usable = index.without(findings.unusable_paths)
    reason = "the quick audit runs no network" if quick else _reason_to_skip_network(usable)
    if reason:
        findings = _with_skipped_check(findings, reason)
    else:
        findings = audit_with_network(usable, findings, device=device, progress=progress)
    name = ", ".join(source_name(source) for source in as_sources(data))
    found = Audit(index, findings, name, kinds)
    if output is not None:
        progress.log_all(found.write(output))
    needs_labels = labels or "label_error" in kinds
    if (needs_network and reason) or (needs_labels and findings.noise_rate is None):
        raise DatasetError(
            f"{' '.join(findings.skipped_checks)} --labels and --fail-on ask for it; leave them "
            "out, or give images that can be judged."
        )
    return found


def parse_kinds(fail_on: str | Sequence[str]) -> tuple[str, ...]:
    """The kinds of findings that were named, `quality` spelled out, each once.

    Raises:
        UsageError: there is no such kind.
    """
    kinds: list[str] = []
    for word in fail_on.split(",") if isinstance(fail_on, str) else fail_on:
        kind = word.strip().lower().replace("-", "_")
        if kind not in (*KINDS, QUALITY):
            known = [QUALITY, *KINDS]
            hint = did_you_mean(kind, known)
            raise UsageError(
                f"--fail-on {word.strip()!r} is no kind of finding{hint} "
                f"Expected some of {', '.join(known)}, with commas between them."
            )
        kinds += QUALITY_ADVICE if kind == QUALITY else [kind]
    return tuple(dict.fromkeys(kinds))


def _needs_network(kinds: Sequence[str], *, quick: bool) -> bool:
    """Whether a network must run, so that a kind that is named has been looked for."""
    named = [kind for kind in kinds if kind in NEED_NETWORK]
    if named and quick:
        raise UsageError(
            f"--fail-on {named[0]} takes a network, which --quick does not run; leave one of "
            "them out."
        )
    return bool(named)


def _reason_to_skip_network(usable: Index) -> str:
    """Why labels cannot be looked at; nothing if they can."""
    if len(usable) < MIN_IMAGES:
        return f"there are fewer than {MIN_IMAGES} images"
    try:
        _require_network()
    except (MissingExtra, WeightsUnavailable) as missing:
        return str(missing)
    return ""


def audit_with_network(
    usable: Index, findings: Findings, *, device: str = "auto", progress: Progress
) -> Findings:
    """The findings with labels, outliers and neighbours looked at.

    Args:
        usable: the images that can be read.
        findings: of the audit of the same images.
    """
    overrides = {"tolerate_truncated": findings.tolerate_truncated}
    recipe = resolve_recipe(RECIPE, overrides=overrides).with_bits(findings.significant_bits)
    embeddings_ND = _embeddings(recipe, usable, resolve_device(device), progress)
    paths = usable.table["path"].tolist()
    found = nearest_neighbours(embeddings_ND, paths, findings.duplicate_clusters)
    findings = replace(
        findings,
        outliers=tuple(find_outliers(found, paths)),
        conflicting_neighbours=tuple(find_conflicting_neighbours(found, usable)),
    )
    return _with_labels(recipe, usable, findings, embeddings_ND, progress)


def _embeddings(
    recipe: Recipe, usable: Index, device: str, progress: Progress
) -> "NDArray[np.float32]":
    # The exported graphs are compared with torch on images of the part train: all of them here.
    everything = replace(usable, table=usable.table.assign(split="train"))
    part = PretrainedBackbone(recipe, everything, progress).feature_extractor(EMBEDDING, device)
    with progress.bar("embedding images") as update:
        kept = cache_features(part, recipe.preprocessing, usable, on_progress=update)
    embeddings_ND: NDArray[np.float32] = kept.first_view()
    return embeddings_ND


def _with_labels(
    recipe: Recipe,
    usable: Index,
    findings: Findings,
    embeddings_ND: "NDArray[np.float32]",
    progress: Progress,
) -> Findings:
    import numpy as np

    table = usable.table
    classes = sorted(set(table["label"]))
    targets_N = replace(usable, classes=tuple(classes)).targets_N
    weights_N = table["weight"].to_numpy(np.float64)
    if len(np.unique(targets_N[weights_N > 0])) < 2:
        return _with_skipped_check(findings, "images of one class only", what="Labels were")
    units = atomic_group_names(usable.table, findings.duplicate_clusters)
    (stage,) = (stage for stage in recipe.stages if isinstance(stage, LinearStage))
    folds = stage.folds or FOLDS
    data = TrainingData(embeddings_ND, targets_N, weights_N, units, len(classes))
    with progress.busy(f"predicting {pluralize(len(usable), 'label')} out of fold, {folds} folds"):
        out_of_fold_answers = out_of_fold_predictions(
            data, Cs=stage.Cs, folds=folds, seed=recipe.seed
        )
    rows = np.flatnonzero(out_of_fold_answers.class_was_seen_N & (weights_N > 0))
    chosen: dict[str, Any] = {
        "probabilities_NC": out_of_fold_answers.probabilities_NC[rows],
        "targets_N": targets_N[rows],
        "weights_N": weights_N[rows],
    }
    if not beats_class_prior(**chosen):
        reason = "a linear head on this network does not tell these classes apart"
        return _with_skipped_check(findings, reason, what="Labels were")
    paths = table["path"].tolist()
    findings = replace(
        findings,
        label_errors=tuple(
            find_label_errors(**chosen, paths=[paths[row] for row in rows], classes=classes)
        ),
        noise_rate=noise_rate(**chosen, atomic_groups=[units[row] for row in rows]),
    )
    unjudged = len(table) - len(rows)
    if not unjudged:
        return findings
    reason = "weight 0, or no other image of their class to learn from"
    were = "was" if unjudged == 1 else "were"
    return _with_skipped_check(findings, reason, what=f"{pluralize(unjudged, 'label')} {were}")


def _with_skipped_check(
    findings: Findings, reason: str, *, what: str = "Labels, outliers and neighbours were"
) -> Findings:
    sentence = f"{what} not looked at: {reason.rstrip('.')}."
    return replace(findings, skipped_checks=(*findings.skipped_checks, sentence))


def _require_network() -> None:
    """Check that the network can run.

    Raises:
        MissingExtra: packages of the extra `train` are not installed.
        WeightsUnavailable: no source has the weights of the network.
    """
    missing = [name for name in REQUIRED_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"a look at labels needs {', '.join(missing)}: pip install 'holotype[train]'"
        )
    recipe = resolve_recipe(RECIPE)
    find_weights(recipe.model, recipe.weights)
