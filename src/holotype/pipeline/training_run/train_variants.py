"""One recipe file with several variants: a run for each, and a table of what each costs.

    OUTPUT/NAME/          an ordinary run for each variant
    OUTPUT/variants.md    the table
    OUTPUT/variants.json  the same, for programs

Called again with `--resume`, what is finished keeps its row.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from holotype.architectures.pretrained_weights import find_weights
from holotype.evaluation.build_report import build_report
from holotype.files import write_json, write_text
from holotype.pipeline.training_run.resume import is_finished
from holotype.pipeline.training_run.single_run import TrainedRun
from holotype.predictions import read_predictions
from holotype.progress import duration
from holotype.run_directory import RunDirectory
from holotype.training.config.recipe_variants import VARIANT_SEPARATOR, read_variants
from holotype.training.config.resolve import read_fields, resolve_recipe
from holotype.training.finetuning.checkpoint import stage_weights_file

BUFFERS = (".running_mean", ".running_var", ".num_batches_tracked")
TRAINING_ONLY = ("auxiliary_heads.", "backbone.auxiliaries.")


@dataclass(frozen=True)
class VariantRow:
    """What one variant cost, and what validation says of it.

    Attributes:
        parameters: weights and biases of the network and its head; None where no network is
            trained, or where their number is not known.
        seconds: of the call that trained it, audit and report included.
        accuracy: on validation, weighted, with its 95 % interval; None without validation.
    """

    variant: str
    model: str
    parameters: int | None
    seconds: float
    accuracy: str | None

    HEADER: ClassVar = ("variant", "model", "parameters", "training time", "validation accuracy")

    def cells(self) -> tuple[str, ...]:
        parameters = "–" if self.parameters is None else f"{self.parameters:,}"
        return (
            self.variant, self.model, parameters, duration(self.seconds), self.accuracy or "–",
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def list_variants(
    recipe: str | None, recipe_arguments: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """The recipes of a file with variants, by name, as `train` takes them; none of any other.

    Args:
        recipe_arguments: what the caller says otherwise, as `resolve_recipe` takes it; with it all
            variants are looked at now, since a refusal of the last one would come after hours.

    Raises:
        HolotypeError: a variant is not possible, or its weights cannot be had.
    """
    if recipe is None or not Path(recipe).is_file():
        return {}

    names = read_variants(recipe, read_fields(recipe))
    variants = {name: f"{recipe}{VARIANT_SEPARATOR}{name}" for name in names}
    if recipe_arguments is None:
        return variants
    for variant in variants.values():
        resolved = resolve_recipe(variant, **recipe_arguments)
        find_weights(resolved.model, resolved.weights, resolved.model_options)
    return variants


def train_variants(
    variants: Mapping[str, str],
    train: Callable[[str | None, Path | None], TrainedRun],
    output: Path,
) -> list[VariantRow]:
    """Train each into `output/NAME`, and write the table after each.

    Args:
        variants: recipes by name; see `list_variants`.
        train: a recipe and an output -> the run.
    """
    before = _previous_rows(output)
    rows: list[VariantRow] = []
    for name, recipe in variants.items():
        was_finished = name in before and is_finished(RunDirectory(output / name))
        started = time.perf_counter()
        trained = train(recipe, output / name)
        seconds = time.perf_counter() - started
        rows.append(_row(name, trained, before[name].seconds if was_finished else seconds))
        write_text(output / "variants.md", _table(rows))
        write_json(output / "variants.json", [row.to_json() for row in rows])
    return rows


def _previous_rows(output: Path) -> dict[str, VariantRow]:
    """What an earlier call has finished; nothing where it left no table, or one that is odd."""
    file = output / "variants.json"
    if not file.is_file():
        return {}
    try:
        rows = [VariantRow(**row) for row in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, TypeError):
        return {}
    return {row.variant: row for row in rows}


def _row(name: str, trained: TrainedRun, seconds: float) -> VariantRow:
    fields = read_fields(str(trained.run.recipe))  # resolved: every key is there
    return VariantRow(
        variant=name,
        model=fields["model"],
        parameters=_parameters(trained.run, fields),
        seconds=seconds,
        accuracy=_validation_accuracy(trained.run),
    )


def _parameters(run: RunDirectory, fields: Mapping[str, Any]) -> int | None:
    """Counted in what the last stage left: width and head are the recipe's to choose."""
    from safetensors import safe_open

    file = stage_weights_file(run.checkpoints, fields["stages"][-1]["name"])
    if not file.is_file():
        return None
    with safe_open(file, framework="numpy") as tensors:
        sizes = [
            math.prod(tensors.get_slice(name).get_shape())
            for name in tensors.keys()  # noqa: SIM118
            if not name.endswith(BUFFERS) and not name.startswith(TRAINING_ONLY)
        ]
    return int(sum(sizes))


def _validation_accuracy(run: RunDirectory) -> str | None:
    file = run.predictions / "val.parquet"
    if not file.is_file():
        return None
    return str(build_report(read_predictions(file), part="val")["accuracy"])


def _table(rows: list[VariantRow]) -> str:
    lines = ["| " + " | ".join(VariantRow.HEADER) + " |", "|---" * len(VariantRow.HEADER) + "|"]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines) + "\n"
