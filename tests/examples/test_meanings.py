"""Every number of the examples, with what it means; a number that changes changes a line here.

`ours` marks numbers that a project leaves to its library or to chance, and that are chosen here.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.examples.reduced import FOLDER, NAMES, resolved

# file -> key -> its values, and what they mean
EVERYWHERE: dict[str, tuple[list[float], str]] = {
    "ratios": ([0.70, 0.15, 0.15], "70 % train, 15 % choose, 15 % are reported"),
}
MEANINGS: dict[str, dict[str, tuple[list[float], str]]] = {
    "fossils": {
        "image_size": ([224, 384], "224 pixels, and 384 for the large networks"),
        "background": ([0], "what surrounds a fossil in its slice is black"),
        "dropout": ([0.3], "ours: of the embedding, before the classifier"),
        "seed": ([0, 42], "ours: training is 0, the split is 42"),
        "trainable": ([0], "first the network is frozen, and the head alone trains"),
        "views": ([10, 20], "ours: another view of each image in every epoch"),
        "epochs": ([10, 20], "10 frozen epochs, and 20 of fine-tuning"),
        "batch_size": ([32], "32 images in a batch"),
        "head_learning_rate": ([1e-4], "a rate of 0.0001 for the head"),
        "learning_rate": ([1e-4], "the same for the network"),
        "probability": ([0.2, 0.5], "MixUp on a fifth of the batches, CutMix on half of them"),
        "alpha": ([0.2, 1.0], "ours: shares near 0 or 1 in MixUp, uniform ones in CutMix"),
        "rotation_degrees": ([20], "ours: turned by up to 20 degrees"),
        "crop": ([0.8], "ours: a window that keeps 80 % of the fossil"),
        "saturation": ([0.1], "saturation is changed; by up to a tenth is ours"),
    },
    "materials": {
        "image_size": ([224], "224 pixels, resized bilinearly"),
        "hidden": ([512, 4096], "a dense layer of 512, and two of 4,096 in VGG-19"),
        "dropout": (
            [0, 0.5, 0.6, 0.4],
            "after the dense layers alone: half in ResNet-50 and VGG-19, 0.6 in MobileNetV2; 0.4 "
            "before the classifier of GoogLeNet",
        ),
        "seed": ([42], "seed 42"),
        "trainable": ([0], "first the head alone"),
        "views": ([4], "ours: another view of each image in every epoch"),
        "epochs": ([4], "4 epochs"),
        "batch_size": ([64], "64 images in a batch"),
        "head_learning_rate": (
            [1e-3, 1e-5, 1e-4], "heads at 0.001; with 40 layers 0.00001; VGG-19 at 0.0001",
        ),
        "learning_rate": (
            [1e-5, 1e-4, 1e-3], "40 layers at 0.00001, VGG-19 at 0.0001, GoogLeNet at 0.001",
        ),
        "plateau_patience": ([3], "the rate falls after more than 3 epochs without progress"),
        "patience": ([5], "training stops after 5"),
        "rotation_degrees": ([36], "a tenth of a full turn"),
        "zoom": ([0.1], "zoomed by up to a tenth"),
        "shift": ([0.1], "shifted by up to a tenth"),
        "brightness": ([0], "brightness stays"),
        "contrast": ([0.1], "contrast by up to a tenth"),
        "l2": ([1e-4], "an L2 penalty of 0.0001 in VGG-19"),
        "alpha": ([1.0], "MobileNetV2 in its full width"),
    },
    "turtles": {
        "image_size": ([224], "224 pixels"),
        "dropout": ([0.2], "ours: of the embedding, before the classifier"),
        "seed": ([0, 42], "ours: training is 0, the split is 42"),
        "trainable": ([0, 1, 2, 3], "frozen, then one group more in each stage"),
        "views": ([4], "ours: another view of each image in every epoch"),
        "epochs": ([5, 4], "5 frozen epochs, and 4 with each group"),
        "batch_size": ([32], "32 images in a batch"),
        "head_learning_rate": ([1e-3, 1e-4], "0.001 alone, 0.0001 beside groups"),
        "learning_rate": ([1e-4], "groups at 0.0001"),
        "warmup": ([0.1], "ours: a tenth of the steps to rise to that rate"),
        "layer_decay": ([0.5], "ours: each group at half the rate of the one above"),
        "rotation_degrees": ([15], "turned by up to 15 degrees, never mirrored"),
        "zoom": ([0.1], "zoomed by up to a tenth"),
        "saturation": ([0.1], "saturation by up to a tenth"),
    },
    "eye_vs_ai": {
        "image_size": ([224, 64], "224 pixels, and 64 for what trains from nothing"),
        "dropout": ([0.3], "ours: of the embedding, before the classifier"),
        "seed": ([0, 42], "ours: training is 0, the split is 42"),
        "trainable": ([0, 2], "the head alone, then two groups"),
        "views": ([4, 30], "ours: another view of each image in every epoch, up to 30"),
        "epochs": ([5, 10, 30], "5 of the head, 10 of fine-tuning, 30 from nothing"),
        "batch_size": ([32], "32 images in a batch"),
        "head_learning_rate": ([1e-3, 1e-4], "0.001 alone and from nothing, 0.0001 beside groups"),
        "learning_rate": ([1e-4, 1e-3], "groups at 0.0001, a network from nothing at 0.001"),
        "patience": ([5, 10], "stops after 5 epochs without progress, from nothing after 10"),
        "rotation_degrees": ([10], "turned by up to 10 degrees"),
        "Cs": ([0.3, 1, 3, 10], "ours: penalties that cross-validation chooses among"),
        "gamma": ([0.3, 1, 3], "ours: widths of the kernel that it chooses among"),
        "folds": ([5], "in five folds"),
        "trees": ([200], "a forest of 200 trees"),
        "leaf_sizes": ([1, 3], "ours: the smallest leaves that it chooses among"),
    },
    "cats_and_dogs": {
        "image_size": ([224], "224 pixels, the baseline too"),
        "dropout": ([0.4], "0.4 before the classifier"),
        "seed": ([42], "seed 42, of training and of the split"),
        "trainable": ([0], "first the head alone"),
        "views": ([3, 5, 30], "ours: another view of each image in every epoch"),
        "epochs": ([3, 5, 30], "3 of the head, 5 of fine-tuning, 30 of the baseline"),
        "batch_size": ([32], "32 images in a batch"),
        "accumulation": ([2], "two batches to a step"),
        "weight_decay": ([1e-4], "AdamW decays weights by 0.0001"),
        "head_learning_rate": ([3e-4], "the head at 0.0003"),
        "learning_rate": ([1e-5, 3e-4], "ten layers at 0.00001, the baseline at 0.0003"),
        "plateau_factor": ([0.5], "the rate is halved"),
        "plateau_patience": ([2], "after more than 2 epochs without progress"),
        "patience": ([5], "training stops after 5"),
        "rotation_degrees": ([10], "turned by up to 10 degrees"),
        "zoom": ([0], "not zoomed"),
        "shift": ([0], "not shifted"),
        "brightness": ([0.1], "brightness by up to a tenth"),
        "contrast": ([0.1], "contrast by up to a tenth"),
        "saturation": ([0.1], "saturation by up to a tenth, and no hue"),
    },
}  # fmt: skip


def numbers(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a file, under the key that it stands at."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from numbers(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield key, value


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_meaning_and_every_meaning_a_number(name: str) -> None:
    meanings = EVERYWHERE | MEANINGS[name]
    found: dict[str, list[float]] = {}
    for key, number in numbers(yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))):
        if number not in found.setdefault(key, []):
            found[key].append(number)
    assert found == {key: list(dict.fromkeys(values)) for key, (values, _) in meanings.items()}


def test_materials_drop_after_their_dense_layers_and_not_before() -> None:
    heads = {
        variant: (recipe.head.hidden, recipe.head.dropout)
        for variant in ("resnet50", "vgg19_scratch", "mobilenetv2", "googlenet")
        if (recipe := resolved("materials", variant)).head is not None
    }
    assert heads == {
        "resnet50": ((512,), (0, 0.5)),
        "vgg19_scratch": ((4096, 4096), (0, 0.5, 0.5)),
        "mobilenetv2": ((512,), (0, 0.6)),
        "googlenet": ((), 0.4),
    }
    assert resolved("materials", "resnet50").preprocessing.interpolation == "bilinear"


def test_cats_and_dogs_ship_the_epoch_of_the_highest_validation_accuracy() -> None:
    for variant in ("resnet50", "cnn_baseline"):
        recipe = resolved("cats_and_dogs", variant)
        assert (recipe.image_size, recipe.seed) == (224, 42)
        for stage in recipe.gradient_stages:
            assert stage.keep_best_by == "val_accuracy"
            assert stage.augmentation is not None
            assert stage.augmentation.hue == 0


def test_fossils_are_cut_and_mixed_while_the_network_is_frozen_too() -> None:
    frozen, finetune = resolved("fossils", "convnext_base").gradient_stages
    assert (frozen.trainable, finetune.trainable) == (0, "all")
    for stage in (frozen, finetune):
        assert stage.cutmix is not None
        assert stage.mixup is not None
        assert (stage.cutmix.probability, stage.mixup.probability) == (0.5, 0.2)
        assert stage.augmentation is not None
        assert stage.augmentation.saturation > 0
