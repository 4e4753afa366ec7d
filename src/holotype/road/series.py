"""One recipe file with several variants: a run for each, and a table of what each costs."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from holotype.files import write_text
from holotype.road.trained import TrainedRun
from holotype.run import Run


@dataclass(frozen=True)
class VariantRow:
    """What one variant cost, and what validation says of it.

    Attributes:
        parameters: of the network and its head; None where that is not known.
        seconds: of the whole run, audit and report included.
        accuracy: on validation, weighted, with its 95 % interval; None without validation.
    """

    variant: str
    model: str
    parameters: int | None
    seconds: float
    accuracy: str | None

    HEADER: ClassVar = ("variant", "model", "parameters", "seconds", "validation accuracy")

    def cells(self) -> tuple[str, ...]:
        parameters = "unknown" if self.parameters is None else f"{self.parameters:,}"
        return (
            self.variant, self.model, parameters, f"{self.seconds:.0f}", self.accuracy or "none",
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def variants_of(recipe: str | None) -> dict[str, str]:
    """The recipes of a file with variants, by name, as `train` takes them; none of any other."""
    if recipe is None or not Path(recipe).is_file():
        return {}
    from holotype.training.recipe import read_fields
    from holotype.training.variants import SIGN, require_variants

    names = require_variants(recipe, read_fields(recipe))
    return {name: f"{recipe}{SIGN}{name}" for name in names}


def train_variants(
    variants: dict[str, str],
    train: Callable[[str | None, Path | None], TrainedRun],
    output: Path,
) -> list[VariantRow]:
    """Train each into `output/NAME`, and write the table as `output/variants.md`.

    Args:
        variants: recipes by name; see `variants_of`.
        train: a recipe and an output -> the run.
    """
    rows = []
    for name, recipe in variants.items():
        started = time.perf_counter()
        trained = train(recipe, output / name)
        rows.append(_row(name, trained, time.perf_counter() - started))
        write_text(output / "variants.md", _table(rows))
    return rows


def _row(name: str, trained: TrainedRun, seconds: float) -> VariantRow:
    from holotype.models.catalog import architecture
    from holotype.training.recipe import resolve_recipe

    recipe = resolve_recipe(trained.run.recipe)
    row = architecture(recipe.model)
    classes = len(trained.findings.class_counts)
    return VariantRow(
        variant=name,
        model=recipe.model,
        parameters=row.parameters_with_head(classes),
        seconds=seconds,
        accuracy=_validation_accuracy(trained.run),
    )


def _validation_accuracy(run: Run) -> str | None:
    from holotype.evaluation.report import evaluate
    from holotype.predictions import read_predictions

    file = run.predictions / "val.parquet"
    if not file.is_file():
        return None
    return str(evaluate(read_predictions(file), part="val")["accuracy"])


def _table(rows: list[VariantRow]) -> str:
    lines = ["| " + " | ".join(VariantRow.HEADER) + " |", "|---" * len(VariantRow.HEADER) + "|"]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines) + "\n"
