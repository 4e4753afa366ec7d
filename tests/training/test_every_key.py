"""No key of a recipe is a dead letter: changing it changes what ships, or is refused.

The keys are read from the schema, so a new key without a case here fails.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml
from pydantic import BaseModel

from holotype.architectures.torch_classifier import hash_weights
from holotype.bundle.bundle import write_bundle
from holotype.dataset.index import Index
from holotype.dataset.splitting.splitter import split
from holotype.errors import InvalidRecipe
from holotype.progress import Progress
from holotype.training.config.recipe import SECTIONS, Recipe
from holotype.training.config.resolve import resolve_recipe
from holotype.training.config.stage_config import (
    ConditionalSection,
    GradientStage,
    HeadRecipe,
    LinearStage,
    SvmStage,
)
from holotype.training.features.initial_backbone import PretrainedBackbone
from holotype.training.finetuning.finetune import FineTuner
from holotype.training.train_stages import train
from holotype.training.training_resources import Runtime
from tests.bundle.tiny import backbone_model, head_model, manifest
from tests.training.tiny import NETWORK

SHORT = {"gradient_descent": "gradient", "logistic_regression": "linear", "random_forest": "forest"}
PARTS: dict[str, type[BaseModel]] = {
    "": Recipe, **{SHORT.get(name, name): schema for name, schema in SECTIONS.items()}
}  # fmt: skip

FEW_KEYS: dict[str, Any] = {
    "name": "tiny", "weights": None, "image_size": 32, "fit": "squash", "interpolation": "bilinear",
    "background": [255, 255, 255], "class_weights": "none", "seed": 0,
    "split": {"ratios": [0.6, 0.3, 0.1], "seed": 1},
}  # fmt: skip
GRADIENT: dict[str, Any] = {
    "name": "all", "method": "gradient_descent", "trainable": "all", "views": 3, "epochs": 3,
    "batch_size": 6, "learning_rate": 0.01, "head_learning_rate": 0.01, "batch_norm": "train",
    "augmentation": {},
}  # fmt: skip
LINEAR = {"method": "logistic_regression", "Cs": [0.0001, 1.0], "folds": 3}
SVM = {"method": "svm", "kernel": "rbf", "Cs": [0.1, 10.0], "gamma": [0.1, 1.0],
       "pca": [4, 8], "folds": 3}  # fmt: skip
WHITENING = {"method": "whitening", "shrinkage": 0.1}
FOREST = {"method": "random_forest", "trees": 10, "depths": [2, 8], "leaf_sizes": [1, 4],
          "folds": 3}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A change of one key, and what it is changed in.

    Attributes:
        to: the new value.
        of: keys beside it, in both; keys of the part that the key stands in.
        refused: words of the reason, where it is no change but refused.
    """

    to: Any
    of: Mapping[str, Any] = field(default_factory=dict)
    refused: str | None = None


# `bits` is of images of 16 bits, which these are not: tests/imaging/test_significant_bits.py.
# `tolerate_truncated` is of files that are cut off: tests/pipeline/test_tolerate_truncated.py.
# `refit` trains what was sealed once more: tests/pipeline/test_refit.py.
# `split.unseen` takes images away before the split: tests/dataset/test_encounter_split.py.
LABELS = {
    "bits",
    "tolerate_truncated",
    "split.unseen",
    "gradient.validation_identities",  # of four classes or more: test_identity_validation.py
    "refit",
    "teacher.sha256",
    "name",
    "gradient.name",
    "linear.name",
    "svm.name",
    "forest.name",
    "whitening.name",
}
SEALED = {
    "test_time_augmentation",
    "references",
    "unknown",
    "watch_reference",
}  # into the bundle, after training
EMBEDS = {"head.embedding", "head.scale", "gradient.loss", "gradient.margin"}
ARCFACE = {
    "loss": "arcface", "margin": 0.2, "sampling": "identities", "images_per_identity": 2,
}  # fmt: skip
COSTLY = {"patience": None, "epochs": 6, "learning_rate": 0.1, "head_learning_rate": 0.1}

CASES: dict[str, Case] = {
    "model": Case("OTHER"),
    "model_options": Case({"width": 5}),
    "weights": Case("FILE"),
    "image_size": Case(24),
    "fit": Case("pad"),
    "content": Case("crop"),
    "interpolation": Case("nearest"),
    "background": Case([0, 0, 0]),
    "pruning": Case(0.5, {"model": "cnn_v1"}),
    "teacher": Case({"run": "TEACHER"}),
    "teacher.run": Case("OTHER_TEACHER"),
    "teacher.temperature": Case(5.0),
    "teacher.weight": Case(0.9),
    "class_weights": Case("balanced"),
    "head": Case({"hidden": [4]}),
    "test_time_augmentation": Case("mirror"),
    "references": Case(True),
    "watch_reference": Case("scores"),
    "unknown": Case(0.3),
    "seed": Case(1),
    "split": Case({"ratios": [0.5, 0.4, 0.1], "seed": 1}),
    "stages": Case([{**GRADIENT, "epochs": 2}]),
    "split.ratios": Case([0.5, 0.4, 0.1]),
    "split.seed": Case(2),
    "head.hidden": Case([5]),
    "head.activation": Case("gelu", {"hidden": [4]}),
    "head.dropout": Case(0.5),
    "gradient.method": Case("svm", refused="unknown key|missing"),
    "gradient.trainable": Case(["0"]),
    "gradient.batch_norm": Case("frozen"),
    "gradient.views": Case(2),
    "gradient.epochs": Case(2),
    "gradient.batch_size": Case(8),
    "gradient.sampling": Case("balanced"),
    "gradient.accumulation": Case(2),
    "gradient.optimiser": Case("sgd"),
    "gradient.momentum": Case(0.5, {"optimiser": "sgd"}),
    "gradient.learning_rate": Case(0.02),
    "gradient.head_learning_rate": Case(0.02),
    "gradient.layer_decay": Case(0.5),
    "gradient.weight_decay": Case(0.5),
    "gradient.l2": Case(0.1),
    "gradient.schedule": Case("constant"),
    "gradient.warmup": Case(0.5),
    "gradient.step_epochs": Case(2, {"schedule": "step", "step_epochs": 1}),
    "gradient.step_factor": Case(0.2, {"schedule": "step", "step_epochs": 1}),
    "gradient.plateau_factor": Case(0.1, {**COSTLY, "schedule": "plateau", "plateau_patience": 0}),
    "gradient.plateau_patience": Case(0, {**COSTLY, "schedule": "plateau", "plateau_patience": 3}),
    "gradient.label_smoothing": Case(0.2),
    "gradient.clip_norm": Case(0.1),
    "gradient.patience": Case(1, {**COSTLY, "epochs": 8}),
    "gradient.stop_on": Case("val_accuracy", {**COSTLY, "epochs": 8, "patience": 1}),
    "gradient.keep_best_by": Case(
        "val_accuracy", {"optimiser": "sgd", "schedule": "constant", "epochs": 5}
    ),
    "gradient.precision": Case("bf16"),
    "gradient.mixup": Case({"alpha": 1.0, "probability": 1.0}),
    "gradient.cutmix": Case({"alpha": 1.0, "probability": 1.0}),
    "gradient.augmentation": Case({"zoom": 0.5}),
    "mixup.probability": Case(1.0),
    "mixup.alpha": Case(0.1),
    "cutmix.probability": Case(1.0),
    "cutmix.alpha": Case(0.1),
    "augmentation.symmetry": Case("dihedral"),
    "augmentation.rotation_degrees": Case(90),
    "augmentation.zoom": Case(0.5),
    "augmentation.shift": Case(0.3),
    "augmentation.crop": Case(0.3),
    "augmentation.brightness": Case(0.5),
    "augmentation.contrast": Case(0.5),
    "augmentation.saturation": Case(0.5),
    "augmentation.hue": Case(0.3),
    "augmentation.erasing": Case(1.0),
    "linear.method": Case("svm", refused="unknown key|missing"),
    "linear.Cs": Case([0.01, 0.02]),
    "linear.folds": Case(5, {"Cs": [0.0001, 0.001, 0.003]}),
    "linear.views": Case(3),
    "linear.augmentation": Case({"zoom": 0.5}, {"views": 3, "augmentation": {}}),
    "svm.method": Case("random_forest", refused="unknown key|missing"),
    "svm.kernel": Case("linear", {"gamma": None}),
    "svm.Cs": Case([0.01]),
    "svm.gamma": Case([3.0]),
    "svm.pca": Case([2]),
    "svm.folds": Case(2),
    "head.embedding": Case(8),
    "head.scale": Case(9.0),
    "gradient.loss": Case("triplet"),
    "gradient.margin": Case(0.5),
    "gradient.images_per_identity": Case(3, {"sampling": "identities", "images_per_identity": 2}),
    "whitening.method": Case("svm", refused="unknown key|missing"),
    "whitening.shrinkage": Case(0.5),
    "forest.method": Case("svm", refused="unknown key|missing"),
    "forest.trees": Case(12),
    "forest.depths": Case([1]),
    "forest.leaf_sizes": Case([9]),
    "forest.folds": Case(2),
}


def every_key() -> Iterator[str]:
    for part, schema in PARTS.items():
        for key in schema.model_fields:
            yield f"{part}.{key}" if part else key


def test_every_key_of_the_schema_has_a_case() -> None:
    assert set(every_key()) == set(CASES) | LABELS
    stages = get_args(get_args(get_args(Recipe.model_fields["stages"].annotation)[0])[0])
    assert len(stages) == 5
    assert set(stages) <= set(PARTS.values())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the words in capitals of the cases stand for."""
    folder = tmp_path_factory.mktemp("models")
    file = folder / "net.py"
    file.write_text(NETWORK)
    functions: dict[str, Any] = {}
    exec(NETWORK, functions)
    torch.manual_seed(9)
    torch.save(functions["build"]().state_dict(), folder / "w.pth")
    teachers = {}
    for seed, word in enumerate(("TEACHER", "OTHER_TEACHER")):
        write_bundle(
            folder / word, backbone=backbone_model(seed).SerializeToString(),
            head=head_model(seed).SerializeToString(),
            manifest=manifest(classes=("class0", "class1", "class2")),
        )  # fmt: skip
        teachers[word] = str(folder / word)
    return {
        **teachers,
        "OWN": f"{file}:build",
        "OTHER": f"{file}:other",
        "FILE": str(folder / "w.pth"),
    }


def _fields(key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The recipe to change, and the part of it that the key stands in."""
    part = key.rpartition(".")[0]
    stages = {"linear": LINEAR, "svm": SVM, "forest": FOREST, "whitening": WHITENING}
    stage = dict(stages.get(part, GRADIENT))
    recipe = {**FEW_KEYS, "split": dict(FEW_KEYS["split"]), "stages": [stage]}
    recipe["model"] = "hog" if part in stages or key in SEALED else "OWN"
    if key in SEALED:
        recipe["stages"] = [LINEAR]
    inner = {
        "": recipe, "split": recipe["split"], "head": {}, "augmentation": {"symmetry": "none"},
        "teacher": {"run": "TEACHER"}, "mixup": {"alpha": 1.0, "probability": 0.5},
        "cutmix": {"alpha": 1.0, "probability": 0.5},
    }.get(part, stage)  # fmt: skip
    if part in ("head", "teacher"):
        recipe[part] = inner
    if key in EMBEDS:
        recipe["head"] = inner if part == "head" else {}
        recipe["head"] |= {"embedding": 6, "scale": 8.0}
        stage |= ARCFACE
    if part in ("augmentation", "mixup", "cutmix"):
        stage[part] = inner
    return recipe, inner


def _resolved(fields: dict[str, Any], files: dict[str, str], folder: Path) -> Recipe:
    named: dict[str, Any] = {
        key: files.get(value, value) if isinstance(value, str) else value
        for key, value in fields.items()
    }
    if "teacher" in named:
        teacher = named["teacher"]
        named["teacher"] = {**teacher, "run": files.get(teacher["run"], teacher["run"])}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(named), encoding="utf-8")
    return resolve_recipe(folder / "recipe.yaml", model=str(named["model"]))


SHIPPED: dict[str, str] = {}  # most cases change one recipe, which need be trained only once


def _ships(recipe: Recipe, images: Index, folder: Path, *, sealed: bool = False) -> str:
    """The hash of what the recipe makes of the images: of what learnt, or of the bundle."""
    key = f"{sealed} {recipe.to_yaml()}"
    if key not in SHIPPED:
        SHIPPED[key] = _trained(recipe, images, folder, sealed)
    return SHIPPED[key]


def _trained(recipe: Recipe, images: Index, folder: Path, sealed: bool) -> str:
    index = split(images, ratios=recipe.split.ratios, seed=recipe.split.seed)
    runtime = Runtime(
        "cpu", folder / hashlib.sha256(recipe.to_yaml().encode()).hexdigest(), Progress()
    )
    if recipe.gradient_stages:
        fine_tuner = FineTuner.create(PretrainedBackbone(recipe, index, Progress()), runtime, None)
        for number, stage in enumerate(recipe.gradient_stages):
            fine_tuner.train(number, stage)
        return hash_weights(fine_tuner.classifier)
    trained = train(recipe, index, name="one", runtime=runtime)
    if not sealed:
        return hashlib.sha256(trained.head).hexdigest()
    from holotype.pipeline.training_run.train_and_seal import write_and_calibrate
    from holotype.run_directory import RunDirectory

    return write_and_calibrate(index, trained, RunDirectory(runtime.checkpoints / "run")).sha256


def _marked() -> list[Any]:
    """The views and the classical heads are looked at one by one in tests of their own."""
    quick = {"augmentation.symmetry", "augmentation.erasing", "svm.kernel", "forest.trees"}
    return [
        pytest.param(key, marks=pytest.mark.slow)
        if key.startswith(("augmentation.", "svm.", "forest.")) and key not in quick
        else key
        for key in sorted(CASES)
    ]


@pytest.mark.parametrize("key", _marked())
def test_changing_a_key_changes_what_ships_or_is_refused(
    key: str, images: Index, files: dict[str, str], tmp_path: Path
) -> None:
    case = CASES[key]
    last = key.rpartition(".")[2]
    recipe, part = _fields(key)
    part.update(case.of)
    before = _resolved(recipe, files, tmp_path)
    part[last] = case.to
    if case.refused is not None:
        with pytest.raises(InvalidRecipe, match=case.refused):
            _resolved(recipe, files, tmp_path)
        return
    after = _resolved(recipe, files, tmp_path)
    assert before != after
    shipped = [_ships(one, images, tmp_path, sealed=key in SEALED) for one in (before, after)]
    assert shipped[0] != shipped[1]


@pytest.mark.parametrize("key", ["name", "gradient.name"])
def test_names_are_labels_and_change_nothing(
    key: str, images: Index, files: dict[str, str], tmp_path: Path
) -> None:
    recipe, part = _fields(key)
    before = _resolved(recipe, files, tmp_path)
    part["name"] = "another"
    after = _resolved(recipe, files, tmp_path)
    assert before.to_yaml() != after.to_yaml(), "both would be trained once"
    assert _ships(before, images, tmp_path) == _ships(after, images, tmp_path)


KEY_RULES = [(schema, rule) for schema in PARTS.values() if issubclass(schema, ConditionalSection)
           for rule in schema.key_rules]  # fmt: skip
SAID: dict[str, Any] = {
    "momentum": 0.9, "weight_decay": 0.1, "learning_rate": 0.1, "layer_decay": 0.5,
    "batch_norm": "train", "step_epochs": 1, "step_factor": 0.5, "plateau_factor": 0.5,
    "plateau_patience": 1, "stop_on": "val_loss", "augmentation": {"zoom": 0.5}, "folds": 3,
    "gamma": [1.0], "activation": "relu", "scale": 8.0, "images_per_identity": 2, "margin": 0.2,
    "validation_identities": 0.2,
}  # fmt: skip
ELSEWHERE: dict[str, Any] = {
    "optimiser": "adam", "trainable": 0, "schedule": "cosine", "patience": None, "views": 1,
    "Cs": [1.0], "kernel": "linear", "hidden": [], "embedding": None, "sampling": "all",
    "loss": "cross_entropy",
}  # fmt: skip


@pytest.mark.parametrize(("schema", "rule"), KEY_RULES, ids=lambda value: getattr(value, "key", ""))
def test_a_key_that_means_nothing_beside_another_is_refused_with_the_reason(
    schema: type[ConditionalSection], rule: Any
) -> None:
    base = {
        GradientStage: {
            **GRADIENT,
            "batch_norm": None,
            "learning_rate": None,
            "augmentation": None,
        },
        LinearStage: {**LINEAR, "folds": None},
        SvmStage: {**SVM, "gamma": None},
        HeadRecipe: {},
    }[schema]
    elsewhere = {**base, rule.depends_on: ELSEWHERE[rule.depends_on]}
    if schema is GradientStage and rule.depends_on != "trainable":
        elsewhere["learning_rate"] = 0.1
    assert getattr(schema.model_validate(elsewhere), rule.key) is None
    with pytest.raises(ValueError, match=f"{rule.key} does nothing here: {rule.reason}"):
        schema.model_validate({**elsewhere, rule.key: SAID[rule.key]})
