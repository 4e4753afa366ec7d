"""The recipe: read, changed, resolved, refused."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from holotype.architectures.catalog import architecture
from holotype.errors import InvalidRatios, InvalidRecipe, UnknownModel, UnknownRecipe
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import (
    recipe_for_directory,
    recipe_names,
    recipe_paths,
    resolve_recipe,
)
from holotype.training.config.stage_config import GradientStage
from holotype.training.config.yaml_files import parse_yaml

SUITS = {"scratch": "cnn_v1", "svm": "hog", "forest": "hog+lbp"}


def _last(recipe: Recipe) -> GradientStage:
    stage = recipe.stages[-1]
    assert isinstance(stage, GradientStage)
    return stage


@pytest.mark.parametrize("name", recipe_names())
def test_a_resolved_recipe_repeats_itself(name: str, tmp_path: Path) -> None:
    recipe = resolve_recipe(name, seed=7, model=SUITS.get(name))
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")
    assert resolve_recipe(file) == recipe


@pytest.mark.parametrize("name", recipe_names())
def test_a_resolved_recipe_says_every_key(name: str) -> None:
    recipe = resolve_recipe(name, model=SUITS.get(name))
    fields = yaml.safe_load(recipe.to_yaml())
    assert set(fields) == set(Recipe.model_fields)
    for stage, said in zip(recipe.stages, fields["stages"], strict=True):
        assert set(said) == set(type(stage).model_fields)


@pytest.mark.parametrize(
    ("model", "name"),
    [(None, "finetune"), ("resnet18", "finetune"), ("cnn_v1", "scratch"), ("hog", "svm")],
)
def test_a_model_brings_its_recipe(model: str | None, name: str) -> None:
    recipe = resolve_recipe(model=model)
    assert recipe.name == name
    assert recipe.weights == ("pretrained" if name == "finetune" else "none")


def test_a_network_brings_its_own_head_unless_one_is_fitted_to_embeddings() -> None:
    assert resolve_recipe(model="cnn_v1").head_spec == architecture("cnn_v1").head
    assert (
        resolve_recipe(
            "progressive", model="cnn_v1", overrides={"weights": __file__}
        ).head_spec.hidden
        == ()
    )
    assert resolve_recipe("two_phase").head_spec.hidden == ()


def test_progressive_frees_one_group_more_in_every_stage() -> None:
    stages = resolve_recipe("progressive").gradient_stages
    assert [stage.trainable for stage in stages] == [1, 2, 3]
    assert [stage.layer_decay for stage in stages] == [None, 0.5, 0.5]


def test_the_rate_of_a_stage_of_the_head_alone_is_that_of_the_head(tmp_path: Path) -> None:
    dropped = {"stages": "[{method: gradient_descent, trainable: 0, epochs: 2, batch_size: 4}]"}
    with pytest.raises(InvalidRecipe, match="head_learning_rate' is missing"):
        resolve_recipe("two_phase", overrides=dropped)
    fields = yaml.safe_load(resolve_recipe("two_phase").to_yaml())
    fields["stages"].pop()
    (tmp_path / "head.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    stage = _last(resolve_recipe(tmp_path / "head.yaml", overrides={"learning_rate": 0.5}))
    assert (stage.learning_rate, stage.head_learning_rate) == (None, 0.5)


def test_stages_that_share_an_anchor_are_changed_one_by_one() -> None:
    changed = {"stages.0.augmentation.zoom": "0.3"}
    first, second = resolve_recipe("two_phase", overrides=changed).gradient_stages
    assert first.augmentation is not None
    assert second.augmentation is not None
    assert (first.augmentation.zoom, second.augmentation.zoom) == (0.3, 0.1)


def test_short_options_reach_the_last_stage() -> None:
    stage = _last(
        resolve_recipe("finetune", overrides=["epochs=3", "batch_size=8", "learning_rate=0.5"])
    )
    assert (stage.epochs, stage.batch_size, stage.learning_rate) == (3, 8, 0.5)


def test_any_field_can_be_set_by_its_path() -> None:
    recipe = resolve_recipe(
        "finetune",
        overrides={"stages.1.augmentation.symmetry": "dihedral", "background": "[0, 0, 0]"},
    )
    augmentation = _last(recipe).augmentation
    assert augmentation is not None
    assert augmentation.symmetry == "dihedral"
    assert recipe.background == (0, 0, 0)


def test_the_image_size_and_statistics_are_those_of_the_network() -> None:
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
        ({"stages.1.epochs": "many"}, "expected a whole number"),
        ({"stages.7.epochs": "3"}, "number from 0 to 1"),
        ({"stages.1.epochs": "0"}, "a number of at least 1"),
        ({"seed.x": "3"}, "expected a whole number"),
        ({"fit": "stretch"}, "one of squash, crop, pad"),
        ({"stages.1.learning_rate": ".nan"}, "expected a finite number"),
        ({"stages.0.Cs": "[]"}, "expected at least 1 of them"),
        ({"stages": "[1, 2"}, "not YAML"),
        ({"stages.1.trainable": "-1"}, "expected a number of groups (3), of layers ('40 layers')"),
        ({"stages.1.trainable": "ten layers"}, "of layers ('40 layers'), 'all', 0"),
        ({"stages.1.momentum": "0.9"}, "momentum does nothing here: the optimiser is not sgd"),
        ({"stages.1.step_factor": "0.5"}, "the schedule is not step"),
        ({"stages.1.views": "1"}, "the first view is the image itself"),
        (
            {
                "stages.1.augmentation": "{symmetry: none, rotation_degrees: 0, zoom: 0, shift: 0, "
                "brightness: 0, contrast: 0}"
            },
            "the augmentation changes nothing",
        ),
        (
            {
                "stages.1.mixup": "{alpha: 0.2, probability: 0.6}",
                "stages.1.cutmix": "{alpha: 1, probability: 0.6}",
            },
            "sum to at most 1, got 1.2",
        ),
        ({"stages.1.optimiser": "adm"}, "one of adamw, sgd, adam"),
        ({"stages.1.method": "gradient"}, "expected for 'method' one of"),
        ({"stages.0.method": "svm"}, "'stages.0.kernel' is missing"),
        ({"stages.1.name": "head"}, "different names"),
        ({"stages.1.name": "../up"}, "letters, digits and '_'"),
        ({"head": "{hiden: [5]}"}, "did you mean 'hidden'"),
        ({"head": "{hidden: [64]}"}, "logistic_regression fits a linear head"),
        ({"head": "{dropout: 2}"}, "a number below 1"),
        ({"head": "{hidden: [8], dropout: [0.5]}"}, "dropout has 1 number, and the head 2 layers"),
        ({"test_time_augmentation": "many"}, "one of none, auto, mirror, flips, dihedral, scales"),
        ({"image_size": "16"}, "image_size 16 is refused by efficientnet_lite0"),
        ({"model_options": "{alpha: 0.5}"}, "no option 'alpha'"),
    ],
)
def test_a_wrong_field_is_one_clear_line(overrides: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidRecipe) as refusal:
        resolve_recipe("finetune", overrides=overrides)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("recipe", "options", "words"),
    [
        (
            "linear",
            {"overrides": {"weights": "none"}},
            "trains only the head, and weights: none leaves random weights",
        ),
        ("linear", {"model": "cnn_v1"}, "Take `--recipe scratch`."),
        ("linear", {"overrides": {"head": "{dropout: 0.5}"}}, "dropout does nothing here"),
        ("finetune", {"model": "hog"}, "nothing to train by gradient_descent"),
        ("svm", {"model": "hog", "overrides": {"head": "{hidden: [8]}"}}, "is itself the head"),
        ("svm", {"model": "hog", "image_size": 20}, "the nearest is 24"),
        ("scratch", {"model": "cnn_v1", "overrides": {"stages.0.precision": "fp8"}}, "fp32"),
    ],
)
def test_what_cannot_work_together_is_one_clear_line(
    recipe: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRecipe) as refusal:
        resolve_recipe(recipe, **options)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_python_file_is_run_only_where_the_caller_names_it(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    own = f"{tmp_path / 'net.py'}:build"
    file.write_text(resolve_recipe("scratch", model=own).to_yaml(), encoding="utf-8")
    with pytest.raises(InvalidRecipe, match="name it yourself: --model"):
        resolve_recipe(file)
    assert resolve_recipe(file, model=own).model == own


def test_epochs_of_a_recipe_without_epochs_are_refused() -> None:
    with pytest.raises(InvalidRecipe, match="has no epochs"):
        resolve_recipe("linear", overrides={"epochs": 3})


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


def test_weights_that_a_recipe_names_are_found_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a run's own recipe names them from its directory, so that it can be called from any."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "own.safetensors").touch()
    fields = yaml.safe_load(resolve_recipe("linear").to_yaml())
    file = tmp_path / "recipes" / "mine.yaml"
    file.write_text(yaml.safe_dump({**fields, "weights": "own.safetensors"}))
    monkeypatch.chdir(tmp_path)
    assert Path(resolve_recipe(file).weights) == tmp_path / "recipes" / "own.safetensors"
    recipe = resolve_recipe("recipes/mine.yaml")
    assert recipe.weights == "recipes/own.safetensors"
    written = recipe_for_directory(recipe, tmp_path / "runs" / "one")
    assert written.weights == "../../recipes/own.safetensors"
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "one" / "recipe.yaml").write_text(written.to_yaml())
    again = resolve_recipe(tmp_path / "runs" / "one" / "recipe.yaml")
    assert Path(again.weights).resolve() == tmp_path / "recipes" / "own.safetensors"


def test_a_teacher_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("teacher", "student", "elsewhere"):
        (tmp_path / name).mkdir()
    for named in ("teacher", "teacher@head"):
        monkeypatch.chdir(tmp_path)
        recipe = resolve_recipe("scratch", model="cnn_v1", overrides={"teacher.run": named})
        written = recipe_for_directory(recipe, tmp_path / "student")
        file = tmp_path / "student" / "recipe.yaml"
        file.write_text(written.to_yaml())
        monkeypatch.chdir(tmp_path / "elsewhere")
        again = resolve_recipe(file).teacher
        assert again is not None
        assert Path(again.run).resolve() == tmp_path / named
        assert recipe_paths(file) == [tmp_path / "teacher"]


@pytest.mark.parametrize("text", ["[" * 20_000, "{a: " * 20_000, "[" * 900 + "]" * 900])
def test_brackets_without_end_are_refused_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidRecipe, match="more than 50 brackets within each other"):
        parse_yaml(text, "it")
    assert time.process_time() - began < 0.5
