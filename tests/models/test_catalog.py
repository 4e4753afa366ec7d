"""The table of architectures."""

import pytest
import timm

from holotype.errors import UnknownModel
from holotype.models.catalog import (
    ARCHITECTURES,
    CATALOG,
    DEFAULT_MODEL,
    Architecture,
    architecture,
)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownModel, match="did you mean 'resnet50'"):
        architecture("resnet5O")


def test_an_unknown_timm_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownModel, match="did you mean 'resnet34'"):
        architecture("timm:resnet34x")


def test_a_timm_name_brings_the_statistics_its_weights_were_trained_with() -> None:
    row = architecture("timm:vit_tiny_patch16_224")
    assert row.mean == (0.5, 0.5, 0.5)
    assert row.image_size == 224


def test_names_are_unique_and_hold_the_default() -> None:
    assert len(CATALOG) == len(ARCHITECTURES)
    assert DEFAULT_MODEL in CATALOG


@pytest.mark.parametrize("row", ARCHITECTURES, ids=lambda row: row.name)
def test_the_table_says_what_timm_says(row: Architecture) -> None:
    network = timm.create_model(row.timm_name, num_classes=0)
    config = network.pretrained_cfg
    assert row.mean == tuple(config["mean"])
    assert row.std == tuple(config["std"])
    assert row.image_size == config["input_size"][-1]
    assert row.hub == config["hf_hub_id"]
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    assert row.parameters_millions == pytest.approx(parameters, abs=0.006)
