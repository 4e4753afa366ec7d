"""Where training starts: a network, its weights and its graphs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from holotype.dataset.index import Index, read_index
from holotype.progress import Progress
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import resolve_recipe
from holotype.training.features.frozen_features import cache_features
from holotype.training.features.initial_backbone import (
    EMBEDDING,
    PretrainedBackbone,
    float64_outputs,
    torch_session,
)


@pytest.fixture(scope="module")
def index(synthetic: Path) -> Index:
    index = read_index(synthetic)
    return replace(index, table=index.table.iloc[::3].assign(split="train").reset_index(drop=True))


def _start(recipe: Recipe, index: Index) -> PretrainedBackbone:
    return PretrainedBackbone(recipe, index, Progress())


def test_what_torch_computes_on_a_device_is_what_onnx_runtime_computes(
    index: Index, fresh_cache: Path
) -> None:
    """The road of a GPU, on the only device that is here."""
    recipe = resolve_recipe("scratch", model="timm:test_resnet", image_size=32)
    pretrained = _start(recipe, index)
    for output in (EMBEDDING, "cut2"):
        onnx = cache_features(
            pretrained.feature_extractor(output, "cpu"), recipe.preprocessing, index
        )
        session = torch_session(pretrained.backbone, output, "cpu")
        images = np.stack(
            [recipe.preprocessing.load(index.file(path)) for path in index.table["path"]]
        )
        (torch_values,) = session.run([output], {"image": images})
        expected = onnx.first_view().astype(np.float32)
        tolerance = 1e-4 if output == EMBEDDING else 2e-3  # cuts are kept in float16
        assert np.abs(torch_values - expected).max() < tolerance * np.abs(expected).max()


def test_what_torch_computes_is_what_it_computes_with_64_bits_but_for_rounding(
    index: Index, fresh_cache: Path
) -> None:
    recipe = resolve_recipe("scratch", model="timm:test_resnet", image_size=32)
    backbone = _start(recipe, index).backbone
    images = np.stack([recipe.preprocessing.load(index.file(p)) for p in index.table["path"][:4]])
    for output in (EMBEDDING, "cut2"):
        (single,) = torch_session(backbone, output, "cpu").run([output], {"image": images})
        exact = float64_outputs(backbone, output, images)
        assert exact.dtype == np.float64
        difference = np.abs(exact - single.reshape(4, -1)).max()
        assert 0 < difference < 1e-5 * np.abs(exact).max()
    assert next(backbone.parameters()).dtype.itemsize == 4, "the network itself is left as it was"


def test_features_of_another_device_are_kept_apart(index: Index, fresh_cache: Path) -> None:
    recipe = resolve_recipe("scratch", model="timm:test_resnet", image_size=32)
    pretrained = _start(recipe, index)
    on_cpu, on_gpu = (
        pretrained.feature_extractor(EMBEDDING, "cpu"),
        pretrained.feature_extractor(EMBEDDING, "cuda"),
    )
    assert on_cpu.identity != on_gpu.identity


def test_random_weights_are_those_of_the_seed(index: Index, fresh_cache: Path) -> None:
    def sha256(seed: int) -> str:
        recipe = resolve_recipe("scratch", model="timm:test_resnet", image_size=32, seed=seed)
        return _start(recipe, index).weights_sha256

    assert sha256(1) == sha256(1)
    assert sha256(1) != sha256(2)
