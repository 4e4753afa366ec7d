"""`holotype models`: the catalogue as a table, or one network in detail."""

from typing import Annotated

from cyclopts import Parameter

from holotype.cli.options import AsJson
from holotype.cli.output import (
    print_json,
    print_message,
    print_next_command,
    print_pairs,
    print_result,
)
from holotype.pipeline.model_catalog import BATCH_SIZE, NARROW_HEADER, Model
from holotype.pipeline.model_catalog import models as list_models
from holotype.text_tables import text_table

LEGEND = (
    "Millions of parameters and of multiply-adds (MACs), of the backbone at its native size in "
    f"pixels. GB: a rough need to train all of it, {BATCH_SIZE} images a batch. (not now): the "
    "server does not answer, or the package is not installed. `holotype models MODEL` has its "
    "family, its licence and the rest, --json the exact numbers of all."
)


def models(
    name: Annotated[
        str | None,
        Parameter(help="One of them in detail; also timm:NAME, or FILE.py:FUNCTION, which is run."),
    ] = None,
    /,
    *,
    groups: Annotated[
        bool, Parameter(help="The groups and layers of NAME: what `trainable` in a recipe counts.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Any other timm network is written timm:NAME."""
    found = list_models(name, groups=groups)
    if as_json:
        print_json(found.to_json())
    elif isinstance(found, Model):
        _print_one(found)
    else:
        print_result(text_table(NARROW_HEADER, [model.narrow_cells() for model in found]))
        print_message(LEGEND)
        print_message(f"{found.default} is the default; any other timm network is timm:NAME.")
        print_next_command("holotype", "train", "DATA", "--model", "MODEL")
    return 0


def _print_one(model: Model) -> None:
    rows = model.rows()
    print_pairs(rows)
    for group in model.groups or ():
        print_result(f"\n{group['name']}  ({group['parameters']:,} parameters)")
        for layer in group["layers"]:
            print_result(f"  {layer['name']}  {layer['kind']}  {layer['parameters']:,}")
    if model.groups == ():
        print_message(f"{model.name} is no network: it has neither groups nor layers.")
