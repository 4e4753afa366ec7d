"""Every variant of every example trains layers that its network has; told without building it."""

from pathlib import Path

import pytest

from holotype.training.config.recipe_variants import read_variants
from holotype.training.config.resolve import read_fields, resolve_recipe
from tests.training.test_preflight import _groups_of_models

EXAMPLES = Path(__file__).parents[2] / "examples"
VARIANTS = [
    f"{file}#{name}"
    for file in sorted(EXAMPLES.glob("*.yaml"))
    for name in read_variants(str(file), read_fields(str(file)))
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda one: Path(one).name)
def test_a_variant_trains_no_more_groups_than_its_network_has(variant: str) -> None:
    groups = _groups_of_models()
    recipe = resolve_recipe(variant)
    for stage in recipe.gradient_stages:
        if isinstance(stage.trainable, int):
            assert stage.trainable <= groups[recipe.model]
