"""Program 7: a recipe by name, from a file, as a dict and as an object; and single keys changed."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import holotype
from tests.api.programs import QUICK, stored_probabilities
from tests.conftest import Cli

RECIPE: dict[str, object] = {
    "name": "quick",
    "model": "hog",
    "stages": [{"method": "logistic_regression", "Cs": [1.0], "folds": None}],
}


def written(run: holotype.Run) -> dict[str, object]:
    recipe = yaml.safe_load((run.path / "recipe.yaml").read_text())
    assert isinstance(recipe, dict)
    return recipe


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path / "mine.yaml"


@pytest.mark.parametrize("form", ["string", "path", "dict", "object"])
def test_a_recipe_is_the_same_in_every_form(
    form: str, file: Path, run: holotype.Run, shapes: Path, tmp_path: Path
) -> None:
    recipe = {
        "string": str(file),
        "path": file,
        "dict": RECIPE,
        "object": holotype.Recipe(**RECIPE),
    }[form]
    trained = holotype.train(shapes, recipe=recipe, output=tmp_path / "run")
    assert written(trained) == {**written(run), "name": "quick"}
    assert trained.classifier.digest == run.classifier.digest


def test_a_name_is_the_recipe_of_that_name(shapes: Path, tmp_path: Path, cli: Cli) -> None:
    trained = holotype.train(shapes, model="hog", recipe="linear", output=tmp_path / "run")
    code, out, _ = cli("train", "--print-recipe", "--recipe", "linear", "--model", "hog")
    assert code == 0
    # What a run records is resolved: the bits of its images are known.
    assert written(trained) == {**yaml.safe_load(out), "bits": 16}


def test_a_run_repeats_from_its_own_recipe(run: holotype.Run, shapes: Path, tmp_path: Path) -> None:
    assert isinstance(run.recipe, holotype.Recipe)
    assert run.recipe.model == "hog"
    for number, recipe in enumerate((run.recipe, run.path / "recipe.yaml", written(run))):
        again = holotype.train(shapes, recipe=recipe, output=tmp_path / str(number))
        assert again.classifier.digest == run.classifier.digest


def test_a_recipe_object_cannot_be_changed_by_accident(run: holotype.Run) -> None:
    with pytest.raises((AttributeError, TypeError, ValueError)):
        run.recipe.seed = 7


def test_a_dict_is_left_as_it_was(shapes: Path, tmp_path: Path) -> None:
    recipe = json.loads(json.dumps(RECIPE))
    holotype.train(shapes, recipe=recipe, overrides={"stages.0.Cs": [3.0]}, output=tmp_path / "run")
    assert recipe == RECIPE


@pytest.mark.parametrize(
    "overrides",
    [
        {"stages.0.Cs": [3.0], "fit": "pad", "background": [0, 0, 0], "seed": 5},
        {"stages.0.Cs": (3.0,), "fit": "pad", "background": (0, 0, 0), "seed": 5},
        ["stages.0.Cs=[3.0]", "fit=pad", "background=[0, 0, 0]", "seed=5"],
    ],
    ids=["a dict", "a dict with tuples", "strings as on the command line"],
)
def test_overrides_change_single_keys(overrides: object, shapes: Path, tmp_path: Path) -> None:
    trained = holotype.train(shapes, recipe=RECIPE, overrides=overrides, output=tmp_path / "run")
    recipe = written(trained)
    assert recipe["stages"][0]["Cs"] == [3.0]
    assert recipe["fit"] == "pad"
    assert recipe["background"] == [0, 0, 0]
    assert recipe["seed"] == 5
    manifest = json.loads((trained.path / "bundle" / "manifest.json").read_text())
    assert manifest["preprocessing"]["fit"] == "pad"


def test_overrides_are_the_command_lines_set(shapes: Path, tmp_path: Path, cli: Cli) -> None:
    ours = holotype.train(
        shapes,
        model="hog",
        recipe="linear",
        overrides={**QUICK, "image_size": 48, "interpolation": "lanczos"},
        output=tmp_path / "a" / "run",
    )
    cli(
        "train", shapes, "--model", "hog", "--recipe", "linear",
        "--set", "stages.0.Cs=[1.0]", "--set", "stages.0.folds=null",
        "--set", "image_size=48", "--set", "interpolation=lanczos",
        "--output", tmp_path / "b" / "run",
    )  # fmt: skip
    assert (ours.path / "recipe.yaml").read_text() == (
        tmp_path / "b" / "run" / "recipe.yaml"
    ).read_text()
    np.testing.assert_array_equal(
        stored_probabilities(ours.path, "test"),
        stored_probabilities(tmp_path / "b" / "run", "test"),
    )


def test_an_option_and_an_override_of_one_key_agree(shapes: Path, tmp_path: Path) -> None:
    option = holotype.train(shapes, recipe=RECIPE, seed=9, image_size=48, output=tmp_path / "a")
    override = holotype.train(
        shapes, recipe=RECIPE, overrides={"seed": 9, "image_size": 48}, output=tmp_path / "b"
    )
    assert written(option) == written(override)
    assert option.classifier.digest == override.classifier.digest


def test_a_variant_of_a_file_is_trained_by_its_name(shapes: Path, tmp_path: Path) -> None:
    file = tmp_path / "several.yaml"
    variants = {"small": {"image_size": 48}, "large": {"image_size": 64}}
    file.write_text(yaml.safe_dump({**RECIPE, "variants": variants}))
    trained = holotype.train(shapes, recipe=f"{file}#small", output=tmp_path / "run")
    assert written(trained)["image_size"] == 48


@pytest.mark.parametrize(
    ("overrides", "advice"),
    [
        ({"stages.0.Css": [1.0]}, "Cs"),
        ({"refrences": True}, "references"),
        (["stages.0.Css=[1.0]"], "Cs"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_one_that_was_meant(
    overrides: object, advice: str, shapes: Path, tmp_path: Path
) -> None:
    with pytest.raises(holotype.HolotypeError, match=advice):
        holotype.train(shapes, recipe=RECIPE, overrides=overrides, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_misspelt_key_of_a_recipe_object_is_refused_when_it_is_made() -> None:
    with pytest.raises(holotype.HolotypeError, match="seed"):
        holotype.Recipe(**RECIPE, sead=7)  # type: ignore[call-arg]


def test_a_string_without_an_equals_sign_is_no_override(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(holotype.HolotypeError, match="KEY=VALUE"):
        holotype.train(shapes, recipe=RECIPE, overrides=["seed"], output=tmp_path / "run")


def test_a_recipe_that_does_not_exist_is_refused_with_those_that_do(
    shapes: Path, tmp_path: Path
) -> None:
    with pytest.raises(holotype.HolotypeError, match="linear"):
        holotype.train(shapes, model="hog", recipe="linaer", output=tmp_path / "run")
