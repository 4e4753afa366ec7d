"""The recipe: read, changed, resolved, refused."""

from pathlib import Path

import pytest

from holotype.errors import InvalidRatios, InvalidRecipe, UnknownModel, UnknownRecipe
from holotype.training.recipe import GradientStage, Recipe, recipe_names, resolve_recipe


def _last(recipe: Recipe) -> GradientStage:
    stage = recipe.stages[-1]
    assert isinstance(stage, GradientStage)
    return stage


@pytest.mark.parametrize("name", recipe_names())
def test_a_resolved_recipe_repeats_itself(name: str, tmp_path: Path) -> None:
    recipe = resolve_recipe(name, seed=7)
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")
    assert resolve_recipe(file) == recipe
    assert "null" not in recipe.to_yaml()


def test_short_options_reach_the_last_stage() -> None:
    stage = _last(resolve_recipe("finetune", epochs=3, batch_size=8, learning_rate=0.5))
    assert (stage.epochs, stage.batch_size, stage.learning_rate) == (3, 8, 0.5)


def test_any_field_can_be_set_by_its_path() -> None:
    recipe = resolve_recipe(
        "finetune",
        overrides={"stages.1.augmentation.symmetry": "dihedral", "background": "[0, 0, 0]"},
    )
    assert _last(recipe).augmentation.symmetry == "dihedral"
    assert recipe.background == (0, 0, 0)


def test_the_picture_size_and_statistics_are_those_of_the_network() -> None:
    recipe = resolve_recipe("linear", model="efficientnet_lite2")
    assert recipe.preprocessing.height == 260
    assert recipe.preprocessing.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"lerning_rate": "1"}, "unknown key 'lerning_rate'"),
        ({"imagesize": "64"}, "did you mean 'image_size'"),
        ({"stages.1.epoch": "3"}, "did you mean 'epochs'"),
        ({"stages.1.augmentation.zom": "0.1"}, "did you mean 'zoom'"),
        ({"stages.1.epochs": "many"}, "stages.1.epochs"),
        ({"stages.7.epochs": "3"}, "number from 0 to 1"),
        ({"stages.1.epochs": "0"}, "greater than or equal to 1"),
        ({"seed.x": "3"}, "seed"),
        ({"fit": "stretch"}, "'squash', 'crop' or 'pad'"),
        ({"stages.1.learning_rate": ".nan"}, "finite"),
        ({"stages.0.strengths": "[]"}, "strengths"),
        ({"stages": "[1, 2"}, "not YAML"),
    ],
)
def test_a_wrong_field_is_one_clear_line(overrides: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidRecipe) as refusal:
        resolve_recipe("finetune", overrides=overrides)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_epochs_of_a_recipe_without_epochs_are_refused() -> None:
    with pytest.raises(InvalidRecipe, match="has no epochs"):
        resolve_recipe("linear", epochs=3)


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(UnknownRecipe, match="did you mean 'finetune'"):
        resolve_recipe("fine-tune")


def test_an_unknown_model_suggests_the_nearest() -> None:
    with pytest.raises(UnknownModel, match="did you mean 'resnet18'"):
        resolve_recipe("linear", model="resnet81")


@pytest.mark.parametrize("ratios", [(0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5)])
def test_ratios_that_do_not_make_a_split_are_refused(ratios: tuple[float, float, float]) -> None:
    with pytest.raises(InvalidRatios, match="expected three numbers"):
        resolve_recipe("linear", ratios=ratios)


def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "list.yaml"
    file.write_text("- 1\n- 2\n")
    with pytest.raises(InvalidRecipe, match="keys and values"):
        resolve_recipe(file)
