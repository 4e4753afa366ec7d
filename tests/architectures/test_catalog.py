"""The table of architectures."""

import json
import subprocess
import sys

import pytest
import timm

from holotype.architectures.architecture import Architecture, HeadSpec
from holotype.architectures.catalog import (
    CATALOG,
    DEFAULT_MODEL,
    TIMM_WIDTHS,
    architecture,
    is_custom_model,
    require_options,
    require_size,
)
from holotype.architectures.catalog_rows import ARCHITECTURES
from holotype.errors import InvalidRecipe, UnknownModel

OF_TIMM = [row for row in ARCHITECTURES if row.published.timm_name]

# What papers and model zoos print for 1,000 classes, in millions.
PUBLISHED = {
    "efficientnet_lite0": 4.65, "efficientnet_b0": 5.29, "efficientnet_b3": 12.23,
    "resnet18": 11.69, "resnet50": 25.56, "resnet101": 44.55, "densenet121": 7.98,
    "vgg16": 138.36, "vgg19": 143.67, "mobilenetv2": 3.50, "mobilenetv3_large": 5.48,
    "googlenet": 6.62, "inception_v3": 23.83, "nasnet_large": 88.75, "convnext_tiny": 28.59,
    "convnext_base": 88.59, "convnext_large": 197.77, "efficientnetv2_s": 21.46, "vit_small": 22.05,
}  # fmt: skip


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownModel, match="did you mean 'resnet50'"):
        architecture("resnet5O")


def test_an_unknown_timm_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownModel, match="did you mean 'resnet34'"):
        architecture("timm:resnet34x")


def test_a_timm_name_brings_the_statistics_its_weights_were_trained_with() -> None:
    row = architecture("timm:vit_tiny_patch16_224")
    assert row.inputs.mean == (0.5, 0.5, 0.5)
    assert row.inputs.image_size == 224


def test_names_are_unique_and_hold_the_default() -> None:
    assert len(CATALOG) == len(ARCHITECTURES)
    assert DEFAULT_MODEL in CATALOG


def test_the_table_is_read_without_torch() -> None:
    script = (
        "import json, sys; from holotype.architectures.catalog import ARCHITECTURES;"
        "print(json.dumps([m for m in ('torch', 'timm', 'torchvision') if m in sys.modules]))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert json.loads(answer.stdout) == []


@pytest.mark.parametrize("row", OF_TIMM, ids=lambda row: row.name)
def test_the_table_says_what_timm_says(row: Architecture) -> None:
    assert row.published.timm_name is not None
    config = timm.get_pretrained_cfg(row.published.timm_name)
    assert row.inputs.mean == tuple(config.mean)
    assert row.inputs.std == tuple(config.std)
    assert row.inputs.image_size == config.input_size[-1]
    assert row.published.hub == config.hf_hub_id
    assert row.published.licence.lower() == config.license


def test_other_widths_are_those_whose_weights_timm_has() -> None:
    for timm_name, hub in TIMM_WIDTHS.values():
        assert timm.get_pretrained_cfg(timm_name).hf_hub_id == hub


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_in_all_are_those_that_are_published(name: str) -> None:
    millions = (CATALOG[name].parameters_with_head() or 0) / 1e6
    assert millions == pytest.approx(PUBLISHED[name], abs=0.006)


def test_a_size_that_is_too_small_or_off_the_patches_is_refused_with_the_nearest() -> None:
    for name, size, nearest in (
        ("vit_small", 100, 96), ("vit_small", 8, 32), ("dinov2_small", 224 + 1, 224),
        ("inception_v3", 64, 75), ("cnn_v1", 16, 32), ("hog", 20, 24),
    ):  # fmt: skip
        with pytest.raises(InvalidRecipe, match=f"nearest is {nearest}"):
            require_size(name, size)
        require_size(name, nearest)


def test_an_option_that_a_network_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidRecipe, match="did you mean 'alpha'"):
        require_options("mobilenetv2", {"alhpa": 0.5})
    with pytest.raises(InvalidRecipe, match="It has none"):
        require_options("resnet18", {"alpha": 0.5})
    for value in ("wide", True, -1, 100):
        with pytest.raises(InvalidRecipe, match="width as a number"):
            require_options("mobilenetv2", {"alpha": value})
    require_options("mobilenetv2", {"alpha": 0.5})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my_net.py:build", True),
        ("folder/my_net.py:build", True),
        ("C:/nets/my_net.py:build", True),
        ("my_net.py", False),
        ("timm:resnet18", False),
        ("my_net.py:two words", False),
        (":build", False),
    ],
)
def test_a_file_of_ones_own_is_known_by_its_form(name: str, expected: bool) -> None:
    assert is_custom_model(name) is expected


def test_the_row_of_a_file_runs_nothing_and_holds_no_path() -> None:
    row = architecture("/nowhere/my_net.py:build")
    assert row.name == "my_net.py:build"
    assert row.recipe == "scratch"


def test_dense_layers_make_an_exact_map_an_approximate_one() -> None:
    assert CATALOG["resnet50"].cam_support(HeadSpec(dropout=0.5)) == "exact"
    assert CATALOG["resnet50"].cam_support(HeadSpec((512,))) == "approximate"
    assert CATALOG["vgg16"].cam_support(HeadSpec((512,))) == "none"


def test_a_head_counts_its_weights_and_biases() -> None:
    assert HeadSpec().parameters(10, 3) == 33
    assert HeadSpec((4, 5), dropout=0.5).parameters(10, 3) == 44 + 25 + 18
