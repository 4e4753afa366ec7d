"""The end of the fossil example in small: two networks of two sizes, with weights by class."""

from pathlib import Path

import pytest

import holotype
from holotype.bundle.bundle import load_bundle
from holotype.dataset.sources.synthetic_micro_ct import make_micro_ct
from holotype.pipeline.ensemble import ensemble
from holotype.pipeline.ensemble_report import read_ensemble
from holotype.predictions import read_predictions
from tests.examples.reduced import FOLDER, reduced, resolved

STAND_IN = f"{FOLDER / 'my_net.py'}:build"
SIZES = {"convnext_large": 48, "efficientnetv2_s": 32}  # for 384 and 224


@pytest.mark.slow
def test_fossils_end_in_two_networks_of_two_sizes_weighed_by_class(tmp_path: Path) -> None:
    assert {name: resolved("fossils", name).image_size for name in SIZES} == {
        "convnext_large": 384,
        "efficientnetv2_s": 224,
    }
    slices = make_micro_ct(tmp_path / "slices", species=3, specimens=8, slices=6, size=48)
    runs = [
        holotype.train(
            slices, output=tmp_path / name,
            **reduced("fossils", name, model=STAND_IN, image_size=size),
        ).path
        for name, size in SIZES.items()
    ]  # fmt: skip
    made = ensemble(runs, output=tmp_path / "fossils", method="adaptive")
    bundle = load_bundle(made.path)
    assert [base.preprocessing.width for base in bundle.base_models] == list(SIZES.values())
    assert {base.preprocessing.content for base in bundle.base_models} == {"crop"}
    validation = read_predictions(made.files.predictions / "val.parquet")
    specimens = len(set(validation.groups))
    assert specimens < len(validation) / 4
    assert made.report.num_groups is not None
    # A class of one or two specimens gives little ground to leave equal weights.
    for member in read_ensemble(made.path)[0].members:
        assert all(0.35 < weight < 0.65 for weight in member.weights.values())
    command = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "holotype ensemble" in command
    assert "--method adaptive" in command
