"""Which mirror images and turns hold, measured on images whose symmetry is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from holotype.dataset.index import Index, read_index
from holotype.dataset.splitting.splitter import split
from holotype.evaluation.symmetry_effect import symmetry_effects
from holotype.progress import Progress
from holotype.training.config.recipe import Recipe
from holotype.training.config.resolve import resolve_recipe
from holotype.training.features.initial_backbone import PretrainedBackbone
from holotype.training.symmetry import (
    EIGHT_VIEWS,
    VIEWS_OF,
    SymmetryMeasurement,
    is_to_be_measured,
    measure_symmetry,
    with_symmetry,
)
from holotype.training.training_resources import Runtime

SIDE, PER_CLASS = 64, 40


def arrows(folder: Path, classes: dict[str, tuple[int, ...]]) -> Index:
    """Arrows on noise; each class points one of its ways: 0 is right, then on by quarters left."""
    rng = np.random.default_rng(0)
    for label, turns in classes.items():
        (folder / label).mkdir(parents=True)
        for number in range(PER_CLASS):
            pixels = rng.integers(90, 130, (SIDE, SIDE), np.uint8)
            y, x = rng.integers(-4, 5, 2) + SIDE // 2
            for step in range(14):
                pixels[y - step : y + step + 1, x + 14 - step] = 230
            turned = np.rot90(pixels, turns[number % len(turns)])
            PillowImage.fromarray(np.ascontiguousarray(turned)).save(
                folder / label / f"{number}.png"
            )
    return split(read_index(folder), ratios=(0.8, 0.1, 0.1), seed=0)


def measure(index: Index, folder: Path) -> SymmetryMeasurement:
    recipe = resolve_recipe("finetune", model="hog+lbp", overrides=HOG)
    runtime = Runtime("cpu", folder / "checkpoints", Progress())
    return measure_symmetry(PretrainedBackbone(recipe, index, Progress()), runtime)


HOG = {
    "stages": [{"name": "head", "method": "logistic_regression", "Cs": [0.01]}],
    "image_size": 64,
    "test_time_augmentation": "none",
}


@pytest.mark.parametrize(
    ("classes", "holds", "fails"),
    [
        ({"left": (2,), "right": (0,)}, "vertical", {"horizontal", "both", "dihedral"}),
        ({"up": (1,), "down": (3,)}, "horizontal", {"vertical", "both", "dihedral"}),
        ({"across": (0, 2), "upright": (1, 3)}, "both", {"dihedral"}),
    ],
)
def test_what_changes_the_class_is_not_taken(
    tmp_path: Path, classes: dict[str, tuple[int, ...]], holds: str, fails: set[str]
) -> None:
    measured = measure(arrows(tmp_path / "arrows", classes), tmp_path)
    assert measured.best not in fails
    assert measured.mean_loss(holds) < min(measured.mean_loss(name) for name in fails) / 2
    effects = {effect.symmetry: effect for effect in symmetry_effects(measured)}
    assert all((effects[name].difference.low or 0) > 0 for name in fails)
    assert [effect.symmetry for effect in effects.values() if effect.chosen] == [measured.best]


def test_the_sets_are_what_they_are_called() -> None:
    image = PillowImage.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3))
    from holotype.training.data.augmentations import apply_view

    def seen(symmetry: str) -> list[bytes]:
        views = [EIGHT_VIEWS[number] for number in VIEWS_OF[symmetry]]
        return [np.asarray(apply_view(image, view)).tobytes() for view in views]

    pixels = np.asarray(image)
    assert seen("horizontal") == [pixels.tobytes(), pixels[:, ::-1].tobytes()]
    assert seen("vertical") == [pixels.tobytes(), pixels[::-1].tobytes()]
    assert set(seen("both")) == {pixels[::a, ::b].tobytes() for a in (1, -1) for b in (1, -1)}
    assert len(set(seen("dihedral"))) == 8


def test_few_images_are_not_measured(tmp_path: Path) -> None:
    index = arrows(tmp_path / "arrows", {"left": (2,), "right": (0,)})
    few = index.without(set(index.table["path"].iloc[8:72]))
    measured = measure(few, tmp_path)
    assert (measured.best, dict(measured.losses)) == ("horizontal", {})
    assert "fewer than 20 training images are too few" in measured.note()
    assert symmetry_effects(measured) == []


@pytest.mark.parametrize("group_of", [lambda path: "one", lambda path: path.split("/")[0]])
def test_groups_that_cannot_be_held_out_are_not_measured(
    tmp_path: Path, group_of: Callable[[str], str]
) -> None:
    index = arrows(tmp_path / "arrows", {"left": (2,), "right": (0,)})
    table = index.table.assign(group=index.table["path"].map(group_of))
    measured = measure(replace(index, table=table), tmp_path)
    assert (measured.best, dict(measured.losses)) == ("horizontal", {})
    assert "no images can be held out" in measured.note()


def test_auto_is_replaced_in_every_stage() -> None:
    recipe = resolve_recipe("finetune")
    assert is_to_be_measured(recipe)
    known = with_symmetry(recipe, "both")
    assert not is_to_be_measured(known)
    assert Recipe.model_validate(known.model_dump(mode="json")) == known
    assert known.to_yaml().count("symmetry: both") == 2
