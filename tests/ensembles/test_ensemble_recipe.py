"""What an ensemble is made of is written down, and read back by whoever opens its run."""

from pathlib import Path

import pytest

from holotype.ensembles.ensemble_recipe import EnsembleRecipe, MemberRecipe, read_ensemble_recipe
from holotype.errors import InvalidRecipe

RECIPE = EnsembleRecipe(
    name="shapes",
    requested_method="auto",
    method="adaptive",
    fitted_on="validation",
    best_member="runs/b",
    members=(
        MemberRecipe("runs/a@frozen", "0" * 64, "tiny", {"disc": 0.25, "2": 0.5}),
        MemberRecipe("runs/b", "1" * 64, "tiny", {"disc": 0.75, "2": 0.5}),
    ),
    dropped_runs=("runs/c",),
    losses={"average": 0.5, "adaptive": 0.4},
)


def test_it_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.to_yaml(), encoding="utf-8")
    assert read_ensemble_recipe(path) == RECIPE
    assert [member.weight_text for member in RECIPE.members] == [
        "0.25 to 0.50 by class",
        "0.50 to 0.75 by class",
    ]


def test_the_recipe_of_a_training_is_none(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: finetune\nmodel: resnet18\n", encoding="utf-8")
    assert read_ensemble_recipe(path) is None


@pytest.mark.parametrize(
    "text",
    [
        "kind: ensemble\n",
        RECIPE.to_yaml().replace("method: adaptive", "method: magic"),
        RECIPE.to_yaml() + "more: 1\n",
        RECIPE.to_yaml().replace("requested_method: auto\n", ""),
        RECIPE.to_yaml().replace("    disc: 0.25\n    '2': 0.5\n", "    disc: much\n"),
        RECIPE.to_yaml().replace("  bundle: " + "'" + "0" * 64 + "'\n", ""),
        "kind: [\n",
    ],
)
def test_what_is_no_recipe_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidRecipe) as caught:
        read_ensemble_recipe(path)
    assert "\n" not in str(caught.value)
