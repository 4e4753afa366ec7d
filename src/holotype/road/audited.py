"""Pictures -> index -> audit -> embeddings -> labels, outliers, neighbours -> page."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.errors import MissingExtra, WeightsUnavailable
from holotype.narration import Narrator, counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from holotype.dataset.findings import Findings
    from holotype.dataset.index import Index
    from holotype.training.recipe import Recipe

FOLDS = 5  # where the recipe names none
RECIPE = "linear"  # its network and its head judge the labels; `train` then finds both computed
NEEDED = ("torch", "timm", "onnxscript", "cleanlab")
LEAST_IMAGES = 10  # of fewer, an embedding says nothing that a look at them would not


@dataclass(frozen=True, eq=False)
class Audited:
    """A data set and what was found in it.

    Attributes:
        index: every picture, the unusable ones included.
        findings: all that was found.
        name: what the data is called, from its path.
    """

    index: "Index"
    findings: "Findings"
    name: str

    def write(self, directory: Path) -> None:
        """`audit.json`, `issues.csv` and `index.html` into a directory."""
        from holotype.evaluation.audit_page import write_audit_page

        self.findings.write(directory)
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
    narrator: Narrator | None = None,
) -> Audited:
    """Look at every picture, and with a network at every label.

    Args:
        data: one source or several; see `read_index`.
        labels: whether labels, outliers and neighbours are looked at, which takes a pretrained
            network: True insists, False does not, None does if what it takes is there.
        device: where the network runs.

    Raises:
        MissingExtra, WeightsUnavailable: labels were insisted on, and cannot be looked at.
    """
    from holotype.dataset.audit import audit as audit_index
    from holotype.dataset.index import read_index

    narrator = narrator or Narrator()
    if labels:
        _require_network()
    index = read_index(
        data, label_pattern=label_pattern, group_pattern=group_pattern, label_prefix=label_prefix,
        parts_may_differ=True,
    )  # fmt: skip
    with narrator.progress("auditing") as progress:
        findings = audit_index(index, on_progress=progress)
    usable = index.without(findings.broken)
    reason = "the quick audit runs no network" if labels is False else _reason_not_to(usable)
    if reason:
        findings = _not_looked_at(findings, reason)
    else:
        findings = judged(usable, findings, device=device, narrator=narrator)
    return Audited(index, findings, _name(data))


def _name(data: str | Path | Sequence[str | Path]) -> str:
    sources = [data] if isinstance(data, str | Path) else data
    return ", ".join(Path(source).resolve().name for source in sources)


def _reason_not_to(usable: "Index") -> str:
    """Why labels cannot be looked at; nothing if they can."""
    if len(usable) < LEAST_IMAGES:
        return f"there are fewer than {LEAST_IMAGES} pictures"
    try:
        _require_network()
    except (MissingExtra, WeightsUnavailable) as missing:
        return str(missing)
    return ""


def judged(
    usable: "Index", findings: "Findings", *, device: str = "auto", narrator: Narrator
) -> "Findings":
    """The findings with labels, outliers and neighbours looked at.

    Args:
        usable: the pictures that can be read.
        findings: of the audit of the same pictures.
    """
    from holotype.dataset.outliers import nearest, neighbours_across, outliers
    from holotype.training.device import resolve_device
    from holotype.training.recipe import resolve_recipe

    recipe = resolve_recipe(RECIPE)
    embeddings_ND = _embeddings(recipe, usable, resolve_device(device), narrator)
    paths = usable.table["path"].tolist()
    found = nearest(embeddings_ND, paths, findings.copies)
    findings = replace(
        findings,
        outliers=tuple(outliers(found, paths)),
        neighbours=tuple(neighbours_across(found, usable)),
    )
    return _with_labels(recipe, usable, findings, embeddings_ND, narrator)


def _embeddings(
    recipe: "Recipe", usable: "Index", device: str, narrator: Narrator
) -> "NDArray[np.float32]":
    from holotype.training.features import keep_features
    from holotype.training.start import EMBEDDING, Start

    # Whatever their part, all pictures may serve to prove the graphs.
    everything = replace(usable, table=usable.table.assign(split="train"))
    part = Start(recipe, everything, narrator).frozen_part(EMBEDDING, device)
    with narrator.progress("embedding pictures") as progress:
        kept = keep_features(part, recipe.preprocessing, usable, on_progress=progress)
    embeddings_ND: NDArray[np.float32] = kept.first_view()
    return embeddings_ND


def _with_labels(
    recipe: "Recipe",
    usable: "Index",
    findings: "Findings",
    embeddings_ND: "NDArray[np.float32]",
    narrator: Narrator,
) -> "Findings":
    import numpy as np

    from holotype.dataset.dealing import unit_names
    from holotype.dataset.labels import label_issues, noise_rate, tells_apart
    from holotype.training.out_of_fold import out_of_fold
    from holotype.training.stages import LinearStage

    table = usable.table
    classes = sorted(set(table["label"]))
    targets_N = np.searchsorted(classes, table["label"].to_numpy(str)).astype(np.int64)
    weights_N = table["weight"].to_numpy(np.float64)
    if len(np.unique(targets_N[weights_N > 0])) < 2:
        return _not_looked_at(findings, "pictures of one class only", what="Labels were")
    units = unit_names(usable.table, findings.copies)
    (stage,) = (stage for stage in recipe.stages if isinstance(stage, LinearStage))
    folds = stage.folds or FOLDS
    narrator.say(f"asking a linear head about {counted(len(usable), 'label')}, {folds} folds")
    said = out_of_fold(
        embeddings_ND, targets_N, weights_N, units,
        num_classes=len(classes), strengths=stage.strengths, folds=folds, seed=recipe.seed,
    )  # fmt: skip
    rows = np.flatnonzero(said.is_judged_N & (weights_N > 0))
    chosen: dict[str, Any] = {
        "probabilities_NC": said.probabilities_NC[rows],
        "targets_N": targets_N[rows],
        "weights_N": weights_N[rows],
    }
    if not tells_apart(**chosen):
        reason = "a linear head on this network does not tell these classes apart"
        return _not_looked_at(findings, reason, what="Labels were")
    paths = table["path"].tolist()
    findings = replace(
        findings,
        label_issues=tuple(
            label_issues(**chosen, paths=[paths[row] for row in rows], classes=classes)
        ),
        noise=noise_rate(**chosen, units=[units[row] for row in rows]),
    )
    unjudged = len(table) - len(rows)
    if not unjudged:
        return findings
    reason = "weight 0, or no other picture of their class to learn from"
    were = "was" if unjudged == 1 else "were"
    return _not_looked_at(findings, reason, what=f"{counted(unjudged, 'label')} {were}")


def _not_looked_at(
    findings: "Findings", reason: str, *, what: str = "Labels, outliers and neighbours were"
) -> "Findings":
    sentence = f"{what} not looked at: {reason.rstrip('.')}."
    return replace(findings, not_looked_at=(*findings.not_looked_at, sentence))


def _require_network() -> None:
    """
    Raises:
        MissingExtra: packages of the extra `train` are not installed.
        WeightsUnavailable: no source has the weights of the network.
    """
    from holotype.models.weights import find_weights
    from holotype.training.recipe import resolve_recipe

    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"a look at labels needs {', '.join(missing)}: pip install 'holotype[train]'"
        )
    recipe = resolve_recipe(RECIPE)
    find_weights(recipe.model, recipe.weights)
