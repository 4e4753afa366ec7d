"""The files say what the projects did, number by number."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from holotype.architectures.catalog import architecture
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import resolve_recipe
from holotype.training.config.stage_config import ForestStage, GradientStage, SvmStage
from tests.examples.reduced import FOLDER, NAMES, VARIANTS, resolved

EVERY_VARIANT = [(name, variant) for name in NAMES for variant in VARIANTS[name]]
PRETRAINED = [
    (name, variant)
    for name, variant in EVERY_VARIANT
    if architecture(resolved(name, variant).model).kind == "pretrained"
]


def gradient_stages(recipe: Recipe) -> list[GradientStage]:
    assert len(recipe.gradient_stages) == len(recipe.stages)
    return recipe.gradient_stages


def values(stage: object, *keys: str) -> list[Any]:
    return [getattr(stage, key) for key in keys]


def models(name: str) -> dict[str, str]:
    return {variant: resolved(name, variant).model for variant in VARIANTS[name]}


@pytest.mark.parametrize(("name", "variant"), EVERY_VARIANT)
def test_every_variant_resolves_and_is_split_in_three(name: str, variant: str) -> None:
    recipe = resolved(name, variant)
    assert recipe.name == f"{name}_{variant}"
    assert recipe.split.ratios == (0.70, 0.15, 0.15)
    assert resolve_recipe(FOLDER / f"{name}.yaml#{variant}", seed=recipe.seed) == recipe


@pytest.mark.parametrize(("name", "variant"), PRETRAINED)
def test_removing_one_line_brings_the_real_weights(name: str, variant: str, tmp_path: Path) -> None:
    as_it_is = (FOLDER / f"{name}.yaml").read_text("utf-8")
    assert "weights" not in yaml.safe_load(as_it_is)
    random = tmp_path / "random.yaml"
    # A head alone on random numbers is refused: materials#mobilenetv2 needs the real ones.
    alone = all(stage.trainable == 0 for stage in gradient_stages(resolved(name, variant)))
    more = {"stages.0.trainable": "all", "stages.0.learning_rate": "0.001"} if alone else {}
    random.write_text(f"weights: none\n{as_it_is}", encoding="utf-8")
    assert resolve_recipe(f"{random}#{variant}", overrides=more).weights == "none"
    random.write_text(as_it_is, encoding="utf-8")
    assert resolve_recipe(f"{random}#{variant}").weights == "pretrained"


def test_fossils() -> None:
    assert models("fossils") == {
        "convnext_base": "convnext_base", "convnext_large": "convnext_large",
        "efficientnetv2_s": "efficientnetv2_s", "efficientnetv2_l": "efficientnetv2_l",
        "mobilenet": "mobilenetv1", "nasnet_large": "nasnet_large", "resnet101_v2": "resnet101_v2",
    }  # fmt: skip
    for variant in VARIANTS["fossils"]:
        recipe = resolved("fossils", variant)
        assert recipe.image_size == (384 if variant.endswith(("_large", "_l")) else 224)
        assert recipe.content == "crop"
        frozen, finetune = gradient_stages(recipe)
        assert values(frozen, "trainable", "epochs", "batch_size") == [0, 10, 32]
        assert values(finetune, "trainable", "epochs", "batch_size") == ["all", 20, 32]
        assert values(finetune, "learning_rate", "head_learning_rate") == [1e-4, 1e-4]
        assert frozen.head_learning_rate == 1e-4
        assert finetune.patience is None  # all of the twenty
        assert finetune.cutmix is not None
        assert finetune.cutmix.probability == 0.5
        for stage in (frozen, finetune):
            assert stage.mixup is not None
            assert stage.mixup.probability == 0.2


def test_materials() -> None:
    assert models("materials") == {
        "resnet50": "resnet50", "vgg19_scratch": "vgg19_scratch", "mobilenetv2": "mobilenetv2",
        "googlenet": "googlenet",
    }  # fmt: skip
    for variant in VARIANTS["materials"]:
        recipe = resolved("materials", variant)
        assert values(recipe, "image_size", "seed") == [224, 42]
        assert recipe.split.seed == 42
        for stage in gradient_stages(recipe):
            assert values(stage, "epochs", "batch_size", "optimiser") == [4, 64, "adam"]
            assert values(stage, "schedule", "plateau_patience", "patience") == ["plateau", 3, 5]
            assert stage.augmentation is not None
            assert stage.augmentation.model_dump() == {
                "symmetry": "horizontal", "rotation_degrees": 36, "zoom": 0.1, "shift": 0.1,
                "contrast": 0.1, "brightness": 0, "saturation": 0, "hue": 0, "erasing": 0,
                "crop": 1,
            }  # fmt: skip


def test_the_four_networks_of_materials() -> None:
    resnet = resolved("materials", "resnet50")
    head, finetune = gradient_stages(resnet)
    assert resnet.head is not None
    assert values(resnet.head, "hidden", "dropout") == [(512,), (0, 0.5)]
    assert head.trainable == 0
    assert values(finetune, "trainable", "learning_rate", "head_learning_rate") == [
        "40 layers", 1e-5, 1e-5,
    ]  # fmt: skip

    vgg = resolved("materials", "vgg19_scratch")
    (scratch,) = gradient_stages(vgg)
    assert vgg.weights == "none"
    assert vgg.head is not None
    assert values(vgg.head, "hidden", "dropout") == [(4096, 4096), (0, 0.5, 0.5)]
    assert values(scratch, "trainable", "learning_rate", "l2") == ["all", 1e-4, 1e-4]

    mobilenet = resolved("materials", "mobilenetv2")
    assert mobilenet.head is not None
    assert values(mobilenet.head, "hidden", "dropout") == [(512,), (0, 0.6)]
    assert mobilenet.model_options == {"alpha": 1.0}
    assert [stage.head_learning_rate for stage in gradient_stages(mobilenet)] == [1e-3]

    (full,) = gradient_stages(resolved("materials", "googlenet"))
    assert values(full, "trainable", "learning_rate", "head_learning_rate") == ["all", 1e-3, 1e-3]


def test_turtles() -> None:
    assert models("turtles") == {
        name: name
        for name in ("resnet18", "resnet50", "efficientnet_b0", "efficientnet_b3", "mobilenetv2")
    }
    for variant in VARIANTS["turtles"]:
        frozen, *progressive = gradient_stages(resolved("turtles", variant))
        assert frozen.trainable == 0
        assert [stage.trainable for stage in progressive] == [1, 2, 3]
        assert {stage.learning_rate for stage in progressive} == {1e-4}
        for stage in (frozen, *progressive):
            assert stage.schedule == "cosine"
            assert stage.warmup > 0


def test_eye_vs_ai() -> None:
    networks = (
        "cnn_v1", "cnn_v1_residual", "cnn_v2_residual", "cnn_v2_dense", "cnn_v2_hybrid", "vgg16",
        "resnet50", "resnet101", "densenet121", "mobilenetv2", "efficientnet_b0",
        "efficientnet_b1",
    )  # fmt: skip
    classical = {"classical_svm": "hog+lbp+colour", "classical_forest": "hog+lbp+colour"}
    assert models("eye_vs_ai") == {**classical, **{name: name for name in networks}}
    assert isinstance(resolved("eye_vs_ai", "classical_svm").stages[0], SvmStage)
    assert isinstance(resolved("eye_vs_ai", "classical_forest").stages[0], ForestStage)
    for name in networks[:5]:
        recipe = resolved("eye_vs_ai", name)
        assert recipe.weights == "none"
        assert [stage.trainable for stage in gradient_stages(recipe)] == ["all"]


def test_cats_and_dogs() -> None:
    assert models("cats_and_dogs") == {"resnet50": "resnet50", "cnn_baseline": "cnn_baseline"}
    recipe = resolved("cats_and_dogs", "resnet50")
    head, finetune = gradient_stages(recipe)
    assert recipe.head is not None
    assert values(recipe.head, "hidden", "dropout") == [(), 0.4]
    assert recipe.preprocessing.mean == (0.485, 0.456, 0.406)
    assert values(head, "trainable", "epochs", "head_learning_rate") == [0, 3, 3e-4]
    assert values(finetune, "trainable", "epochs") == ["10 layers", 5]
    assert values(finetune, "learning_rate", "head_learning_rate") == [1e-5, 3e-4]
    (baseline,) = gradient_stages(resolved("cats_and_dogs", "cnn_baseline"))
    for stage in (head, finetune, baseline):
        assert values(stage, "optimiser", "weight_decay") == ["adamw", 1e-4]
        assert values(stage, "schedule", "plateau_factor", "plateau_patience", "patience") == [
            "plateau", 0.5, 2, 5,
        ]  # fmt: skip
        assert stage.accumulation > 1
        assert stage.augmentation is not None
        assert values(stage.augmentation, "symmetry", "rotation_degrees") == ["horizontal", 10]
        assert values(stage.augmentation, "brightness", "contrast", "saturation") == [0.1] * 3


@pytest.mark.parametrize("name", NAMES)
def test_a_file_says_how_it_is_called(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text("utf-8")
    assert re.search(rf"^#   holotype train .*--recipe examples/{name}\.yaml$", text, re.MULTILINE)
    assert f"[{name}.yaml]" in (FOLDER / "README.md").read_text("utf-8")
