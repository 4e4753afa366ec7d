"""Images -> index -> audit -> embeddings -> labels, outliers, neighbours -> page."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from holotype.architectures.pretrained_weights import find_weights
from holotype.dataset.auditing.findings import Findings
from holotype.dataset.auditing.issues_csv import write_findings
from holotype.dataset.auditing.label_errors import beats_class_prior, find_label_errors, noise_rate
from holotype.dataset.auditing.outliers import (
    find_conflicting_neighbours,
    find_outliers,
    nearest_neighbours,
)
from holotype.dataset.auditing.run_audit import audit as audit_index
from holotype.dataset.index import Index, read_index
from holotype.dataset.splitting.assignment import atomic_group_names
from holotype.errors import MissingExtra, WeightsUnavailable
from holotype.progress import Progress, pluralize
from holotype.reporting.audit_page import write_audit_page
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import resolve_recipe
from holotype.training.config.stage_config import LinearStage
from holotype.training.features.device import resolve_device
from holotype.training.features.frozen_features import cache_features
from holotype.training.features.pretrained_backbone import EMBEDDING, PretrainedBackbone
from holotype.training.heads.cross_val_predict import out_of_fold_predictions
from holotype.training.heads.training_data import TrainingData

if TYPE_CHECKING:
    import numpy as np


FOLDS = 5  # where the recipe names none
RECIPE = "linear"  # its network and its head judge the labels; `train` then finds both computed
REQUIRED_PACKAGES = ("torch", "timm", "onnxscript", "cleanlab")
MIN_IMAGES = 10  # of fewer, an embedding says nothing that a look at them would not


@dataclass(frozen=True, eq=False)
class AuditResult:
    """A data set and what was found in it.

    Attributes:
        index: every image, the unusable ones included.
        findings: all that was found.
        name: what the data is called, from its path.
    """

    index: "Index"
    findings: "Findings"
    name: str

    def write(self, directory: Path) -> None:
        """`audit.json`, `issues.csv` and `index.html` into a directory."""
        write_findings(self.findings, directory)
        write_audit_page(
            self.findings, self.index, directory / "index.html", title=f"Audit of {self.name}"
        )


def audit(
    data: str | Path | Sequence[str | Path],
    *,
    labels: bool | None = None,
    label_pattern: str | None = None,
    group_pattern: str | None = None,
    label_prefix: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> AuditResult:
    """Look at every image, and with a network at every label.

    Args:
        data: one source or several; see `read_index`.
        labels: whether labels, outliers and neighbours are looked at, which takes a pretrained
            network: True insists, False does not, None does if what it takes is there.
        device: where the network runs.

    Raises:
        MissingExtra, WeightsUnavailable: labels were insisted on, and cannot be looked at.
    """
    progress = progress or Progress()
    if labels:
        _require_network()
    index = read_index(
        data, label_pattern=label_pattern, group_pattern=group_pattern, label_prefix=label_prefix,
        allow_class_mismatch=True,
    )  # fmt: skip
    with progress.bar("auditing") as update:
        findings = audit_index(index, on_progress=update)
    usable = index.without(findings.unusable_paths)
    reason = (
        "the quick audit runs no network" if labels is False else _reason_to_skip_network(usable)
    )
    if reason:
        findings = _with_skipped_check(findings, reason)
    else:
        findings = audit_with_network(usable, findings, device=device, progress=progress)
    return AuditResult(index, findings, _name(data))


def _name(data: str | Path | Sequence[str | Path]) -> str:
    sources = [data] if isinstance(data, str | Path) else data
    return ", ".join(Path(source).resolve().name for source in sources)


def _reason_to_skip_network(usable: "Index") -> str:
    """Why labels cannot be looked at; nothing if they can."""
    if len(usable) < MIN_IMAGES:
        return f"there are fewer than {MIN_IMAGES} images"
    try:
        _require_network()
    except (MissingExtra, WeightsUnavailable) as missing:
        return str(missing)
    return ""


def audit_with_network(
    usable: "Index", findings: "Findings", *, device: str = "auto", progress: Progress
) -> "Findings":
    """The findings with labels, outliers and neighbours looked at.

    Args:
        usable: the images that can be read.
        findings: of the audit of the same images.
    """
    recipe = resolve_recipe(RECIPE)
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
    recipe: "Recipe", usable: "Index", device: str, progress: Progress
) -> "NDArray[np.float32]":

    # Whatever their part, all images may serve to prove the graphs.
    everything = replace(usable, table=usable.table.assign(split="train"))
    part = PretrainedBackbone(recipe, everything, progress).feature_extractor(EMBEDDING, device)
    with progress.bar("embedding images") as update:
        kept = cache_features(part, recipe.preprocessing, usable, on_progress=update)
    embeddings_ND: NDArray[np.float32] = kept.first_view()
    return embeddings_ND


def _with_labels(
    recipe: "Recipe",
    usable: "Index",
    findings: "Findings",
    embeddings_ND: "NDArray[np.float32]",
    progress: Progress,
) -> "Findings":
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
    progress.log(f"asking a linear head about {pluralize(len(usable), 'label')}, {folds} folds")
    out_of_fold_answers = out_of_fold_predictions(
        TrainingData(embeddings_ND, targets_N, weights_N, units, len(classes)),
        Cs=stage.Cs, folds=folds, seed=recipe.seed,
    )  # fmt: skip
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
    findings: "Findings", reason: str, *, what: str = "Labels, outliers and neighbours were"
) -> "Findings":
    sentence = f"{what} not looked at: {reason.rstrip('.')}."
    return replace(findings, skipped_checks=(*findings.skipped_checks, sentence))


def _require_network() -> None:
    """
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
