"""What cannot work is refused before anything is done."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from holotype.architectures.catalog_rows import ARCHITECTURES
from holotype.errors import InvalidRecipe, MissingExtra
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import resolve_recipe
from holotype.training.preflight import check_stages
from tests.conftest import Cli
from tests.training.tiny import NETWORK

MODELS_PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def _recipe(model: str, **changes: Any) -> Recipe:
    """`finetune` with other keys in its last stage."""
    overrides = {f"stages.1.{key}": value for key, value in changes.items()}
    return resolve_recipe("finetune", model=model, image_size=32, overrides=overrides)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "fp16"}, "'finetune': precision: fp16 needs an NVIDIA GPU"),
        (
            {"trainable": ["nowhere"]},
            "'finetune': trainable: no layer is called 'nowhere'. The groups",
        ),
        ({"trainable": 40}, "40 groups asked for, the network has"),
        ({"trainable": "400 layers"}, "400 layers asked for"),
        (
            {"trainable": "3 layers", "layer_decay": 0.5},
            "'finetune': layer_decay 0.5 has no effect: only one group trains",
        ),
    ],
)
def test_what_the_last_stage_cannot_do_is_refused_with_its_name(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRecipe) as refusal:
        check_stages(_recipe("resnet18", **changes), "cpu")
    assert words in str(refusal.value)


def test_an_embedding_is_learnt_by_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = resolve_recipe("identify", model="resnet18", image_size=32)
    check_stages(recipe, "cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InvalidRecipe, match="so one process trains it, and there are 2"):
        check_stages(recipe, "cpu")


def test_batches_are_large_enough_for_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = _recipe("resnet18", batch_size=6)
    monkeypatch.setenv("WORLD_SIZE", "3")
    check_stages(recipe, "cpu")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InvalidRecipe, match=r"batches of 6 cannot .* take batches of at least 8"):
        check_stages(recipe, "cpu")


def test_what_can_work_passes() -> None:
    check_stages(_recipe("resnet18", layer_decay=0.5), "cpu")
    check_stages(_recipe("resnet18"), "cpu")
    check_stages(_recipe("resnet18", precision="fp16"), "cuda")
    check_stages(_recipe("resnet18", mixup={"probability": 0.5, "alpha": 0.2}), "cpu")
    check_stages(_recipe("resnet18", cutmix={"probability": 0.5, "alpha": 1}), "cpu")


@pytest.mark.parametrize("recipe", ["svm", "forest"])
def test_a_missing_exporter_is_noticed_before_fitting(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="needs skl2onnx"):
        check_stages(resolve_recipe(recipe, model="hog"), "cpu")


def _groups_of_models() -> dict[str, int]:
    """The number of groups of every network, from the page that a test of all of them writes."""
    rows = [line.split("|") for line in MODELS_PAGE.read_text().splitlines() if line[:3] == "| `"]
    cells = {row[1].strip(" `"): row[7].strip() for row in rows}
    return {name: int(groups) for name, groups in cells.items() if groups.isdigit()}


def test_every_network_has_the_groups_that_its_default_recipe_trains() -> None:
    groups = _groups_of_models()
    assert groups["nasnet_large"] == 1
    for row in ARCHITECTURES:
        for stage in resolve_recipe(model=row.name).gradient_stages:
            if isinstance(stage.trainable, int):
                assert stage.trainable <= groups[row.name], row.name


def test_a_run_is_refused_before_the_audit_and_leaves_nothing(tmp_path: Path, cli: Cli) -> None:
    import numpy as np
    from PIL import Image as PillowImage

    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for n in range(8):
            pixels = np.full((20, 20, 3), 20 * n, np.uint8)
            PillowImage.fromarray(pixels).save(tmp_path / "data" / label / f"{n}.png")
    (tmp_path / "net.py").write_text(NETWORK)
    code, _, error = cli(
        "train", tmp_path / "data", "--output", tmp_path / "run", "--recipe", "two_phase",
        "--model", f"{tmp_path / 'net.py'}:build", "--set", "stages.1.trainable=[nowhere]",
    )  # fmt: skip
    assert code == 2
    assert "no layer is called 'nowhere'" in error
    assert "audit" not in error
    assert not (tmp_path / "run").exists()
