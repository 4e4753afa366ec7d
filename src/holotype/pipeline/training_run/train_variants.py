"""One recipe file with several variants: a run for each, and a table of what each costs.

    OUTPUT/NAME/          an ordinary run for each variant
    OUTPUT/variants.md    the table
    OUTPUT/variants.json  the same, for programs

Called again with `--resume`, what is finished keeps its row.
"""

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from holotype.architectures.pretrained_weights import find_weights
from holotype.evaluation.build_report import build_report
from holotype.files import write_json, write_text
from holotype.pipeline.training_run.resume import is_finished
from holotype.pipeline.training_run.train import run_training
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.predictions import read_predictions
from holotype.progress import duration
from holotype.reporting.templates import escape_markdown
from holotype.run_directory import RunDirectory
from holotype.training.config.recipe_variants import VARIANT_SEPARATOR, read_variants
from holotype.training.config.resolve import read_fields
from holotype.training.finetuning.checkpoint import stage_weights_file
from holotype.training.interruption import naming_resume

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


def list_variants(request: TrainingRequest) -> dict[str, str]:
    """The recipes of a file with variants, by name, as `train` takes them; none of any other.

    All of them are resolved now, since a refusal of the last one would come after hours.

    Raises:
        HolotypeError: a variant is not possible, or its weights cannot be had.
    """
    recipe = request.recipe
    if not isinstance(recipe, str | os.PathLike) or not Path(recipe).is_file():
        return {}
    recipe = os.fspath(recipe)
    names = read_variants(recipe, read_fields(recipe))
    variants = {name: f"{recipe}{VARIANT_SEPARATOR}{name}" for name in names}
    for variant in variants.values():
        resolved = replace(request, recipe=variant).resolve_recipe()
        find_weights(resolved.model, resolved.weights, resolved.model_options)
    return variants


def train_variants(
    request: TrainingRequest, variants: Mapping[str, str], output: Path
) -> list[VariantRow]:
    """Train each into `output/NAME`, and write the table after each.

    Args:
        request: what is the same for all.
        variants: recipes by name; see `list_variants`.
    """
    before = _previous_rows(output)
    rows: list[VariantRow] = []
    for name, recipe in variants.items():
        run = RunDirectory(output / name)
        was_finished = name in before and is_finished(run)
        started = time.perf_counter()
        with naming_resume(output):
            run_training(replace(request, recipe=recipe, output=run.path))
        seconds = before[name].seconds if was_finished else time.perf_counter() - started
        rows.append(_row(name, run, seconds))
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


def _row(name: str, run: RunDirectory, seconds: float) -> VariantRow:
    fields = read_fields(str(run.recipe))  # resolved: every key is there
    return VariantRow(
        variant=name,
        model=fields["model"],
        parameters=_parameters(run, fields),
        seconds=seconds,
        accuracy=_validation_accuracy(run),
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
    lines += ["| " + " | ".join(map(escape_markdown, row.cells())) + " |" for row in rows]
    return "\n".join(lines) + "\n"
