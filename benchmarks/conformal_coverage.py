"""Do sets of classes hold the true class as often as promised? 200 re-splits of two data sets.

    .venv/bin/python benchmarks/conformal_coverage.py --output runs/conformal

Embeddings of `efficientnet_lite0` at 224 pixels, computed once and kept. A linear head is fitted on
40 % of the images and its temperature on 10 %; what they say of the other half is fixed. That
half is dealt into calibration and test 200 times. Each dealing is exchangeable, so the mean
coverage must be at least 1 - α, and that of `lac` at most 1 - α + 1 / (n + 1), but for the error of
a mean over 200. `lac` is shown as the theorem has it, where a set may be empty, and as `predict`
answers, with the likeliest class in every set.

Exits with 1 where a promise is broken. The table goes to stdout, all numbers to coverage.json.
"""

import argparse
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.index import Index, read_index
from holotype.dataset.sources.fetch import fetch
from holotype.evaluation.calibration import fit_temperature
from holotype.evaluation.conformal import Method, conformal_calibration, conformal_predictor
from holotype.files import write_json
from holotype.predictions import Predictions, softmax
from holotype.progress import to_stderr
from holotype.training.config.resolve import resolve_recipe
from holotype.training.config.stage_config import LinearStage
from holotype.training.features.frozen_features import cache_features
from holotype.training.features.initial_backbone import EMBEDDING, PretrainedBackbone
from holotype.training.heads.logistic_regression import fit_linear_head
from holotype.training.heads.training_data import TrainingData

SETS = ("elpv", "digits")
COVERAGES = (0.9, 0.95)
DEALINGS = 200
SEED = 100
C_VALUES = (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0)
CASES: tuple[tuple[Method, bool, bool], ...] = (  # method, by class, never empty
    ("lac", False, False), ("lac", False, True), ("raps", False, True), ("lac", True, True),
    ("raps", True, True),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One method on one set.

    Attributes:
        covered, error: mean over the dealings, and its standard error.
        most: what `lac` may reach at most; None for the others.
        worst_class: the mean coverage of the class that has the least; promised only by class.
        worst_error: its standard error.
        size: mean number of classes in a set.
    """

    data: str
    method: str
    class_conditional: bool
    never_empty: bool
    promised: float
    calibration_size: int
    num_tested: int
    covered: float
    error: float
    most: float | None
    worst_class: float
    worst_error: float
    size: float

    @property
    def holds(self) -> bool:
        least = self.covered >= self.promised - 3 * self.error
        if self.class_conditional:
            least = least and self.worst_class >= self.promised - 3 * self.worst_error
        return least and (self.most is None or self.covered <= self.most + 3 * self.error)


def said_of_half(name: str, folder: Path) -> Predictions:
    """What a linear head says of the half of the images that it has not seen."""
    data = folder / name
    if not data.exists():
        fetch(name, data)
    table = data / "table.csv"
    index = read_index(table if table.exists() else data)
    progress = to_stderr()
    table_of = index.table.assign(split="train")  # an export would be proved on some of them
    index = Index(index.root, table_of, index.classes)
    recipe = resolve_recipe("linear", model="efficientnet_lite0")
    pretrained = PretrainedBackbone(recipe, index, progress)
    with progress.bar(f"embedding {name}") as update:
        kept = cache_features(
            pretrained.feature_extractor(EMBEDDING, "cpu"),
            recipe.preprocessing,
            index,
            on_progress=update,
        )
    features_ND = kept.first_view()
    number = {label: n for n, label in enumerate(index.classes)}
    targets_N = np.array([number[label] for label in index.table["label"]], np.int64)
    order = np.random.default_rng(SEED).permutation(len(index))
    fit, warm, rest = np.split(order, [int(0.4 * len(index)), len(index) // 2])
    data = TrainingData(
        features_ND[fit], targets_N[fit], np.ones(len(fit)), [""] * len(fit), len(index.classes)
    )
    head = fit_linear_head(data, LinearStage(method="logistic_regression", Cs=C_VALUES), 0)

    def predictions(rows: NDArray[np.int64], temperature: float = 1.0) -> Predictions:
        logits_NC = (features_ND[rows] @ head.weight_CD.T + head.bias_C).astype(np.float32)
        return Predictions(
            classes=index.classes, ids=tuple(index.table["path"].iloc[rows]),
            sha256=tuple(index.table["sha256"].iloc[rows]), targets_N=targets_N[rows],
            weights_N=np.ones(len(rows)), groups=("",) * len(rows),
            folds_N=np.full(len(rows), -1), logits_NC=logits_NC,
            probabilities_NC=softmax(logits_NC, temperature),
        )  # fmt: skip

    return predictions(rest, fit_temperature(predictions(warm)))


def judged(
    name: str,
    said: Predictions,
    method: Method,
    class_conditional: bool,
    never_empty: bool,
    coverage: float,
) -> Row:
    """One method over all dealings."""
    n = len(said) // 2
    rng = np.random.default_rng(SEED + 1)
    covered, sizes, by_classes = [], [], []
    for _ in range(DEALINGS):
        order = rng.permutation(len(said))
        calibration = conformal_calibration(said.select(order[:n]), "cal")
        assert calibration is not None
        calibration_set, scores = calibration
        conformal = conformal_predictor(
            scores, coverage, num_classes=len(said.classes), calibration_set=calibration_set,
            method=method, class_conditional=class_conditional,
        )  # fmt: skip
        new = said.select(order[n:])
        included_NC = conformal.prediction_sets_NC(new.probabilities_NC, never_empty=never_empty)
        hit_N = included_NC[np.arange(len(new)), new.targets_N]
        covered.append(hit_N.mean())
        sizes.append(included_NC.sum(axis=1).mean())
        by_classes.append([hit_N[new.targets_N == c].mean() for c in range(len(said.classes))])
    means_C = np.nanmean(by_classes, axis=0)
    worst = int(means_C.argmin())
    is_bounded = method == "lac" and not class_conditional and not never_empty
    return Row(
        name, method, class_conditional, never_empty, coverage, n, len(said) - n,
        covered=float(np.mean(covered)), error=_error(covered),
        most=coverage + 1 / (n + 1) if is_bounded else None,
        worst_class=float(means_C[worst]), worst_error=_error([row[worst] for row in by_classes]),
        size=float(np.mean(sizes)),
    )  # fmt: skip


def _error(values: list[float]) -> float:
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows = []
    for name in SETS:
        said = said_of_half(name, arguments.output / "data")
        accuracy = float((said.predicted_N == said.targets_N).mean())
        print(f"{name}: {len(said)} images, accuracy {accuracy:.3f}", file=sys.stderr)
        for method, class_conditional, never_empty in CASES:
            for coverage in COVERAGES:
                rows.append(judged(name, said, method, class_conditional, never_empty, coverage))
    print("| data | method | promised | covered | standard error | at most | worst class "
          "| classes in a set | holds |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for row in rows:
        kind = row.method + (", by class" if row.class_conditional else "")
        kind += "" if row.never_empty else ", may be empty"
        most = "" if row.most is None else f"{row.most:.4f}"
        print(
            f"| {row.data} | {kind} | {row.promised:g} | {row.covered:.4f} | {row.error:.4f} "
            f"| {most} | {row.worst_class:.4f} | {row.size:.3f} | {'yes' if row.holds else 'NO'} |"
        )
    write_json(arguments.output / "coverage.json", [asdict(row) for row in rows])
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
