"""`docs/recipe.md` says what is true of every key, and is not stale."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from holotype.errors import InvalidRecipe
from holotype.training.config.resolve import recipe_names, resolve_recipe
from tests.training.recipe_page import EXAMPLES, PAGE, REQUIRED, keys_on_page, page

ROWS = keys_on_page()
HOW = "stale: rewrite it with `python -m tests.training.recipe_page`"


def test_the_page_is_what_the_schema_the_docstrings_and_the_recipes_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), HOW


def _keys(value: Any) -> set[str]:
    """All keys of nested fields but those that name things: options of a network, variants."""
    if isinstance(value, list):
        return set().union(*map(_keys, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    inner = {k: v for k, v in value.items() if k not in ("model_options", "variants")}
    of_variants = _keys(list((value.get("variants") or {}).values()))
    return set(value) | _keys(list(inner.values())) | of_variants


@pytest.mark.parametrize("recipe", [*recipe_names(), *EXAMPLES], ids=str)
def test_every_key_of_every_recipe_file_is_on_the_page(recipe: str | Path) -> None:
    folder = Path(__file__).parents[2] / "src" / "holotype" / "training" / "config" / "recipes"
    file = recipe if isinstance(recipe, Path) else folder / f"{recipe}.yaml"
    said = _keys(yaml.safe_load(file.read_text(encoding="utf-8")))
    on_page = {name.rpartition(" ")[2] for name in ROWS} | {"name", "method", "variants"}
    assert {key.rpartition(".")[2] for key in said} <= on_page


SECTIONS = {
    "linear": "`method: logistic_regression`",
    "svm": "`method: svm`",
    "forest": "`method: random_forest`",
    "scratch": "`method: gradient_descent`",
}


@pytest.mark.parametrize("recipe", SECTIONS)
def test_what_is_called_required_is_refused_where_it_is_missing_and_nothing_else_is(
    recipe: str, tmp_path: Path
) -> None:
    whole = yaml.safe_load(resolve_recipe(recipe).to_yaml())
    for parts, section in ((whole, "The recipe itself"), (whole["stages"][0], SECTIONS[recipe])):
        for key in [key for key in parts if f"{section} {key}" in ROWS]:
            kept = parts.pop(key)
            (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
            refusal = _refusal(tmp_path / "recipe.yaml")
            if f"| {REQUIRED} |" in ROWS[f"{section} {key}"]:
                assert f"{key}' is missing" in refusal or f"{key} is missing" in refusal
            else:
                assert "missing" not in refusal, key
            parts[key] = kept


def _refusal(file: Path) -> str:
    """Why a recipe is refused; nothing where it is not. A default may clash with what is left."""
    try:
        resolve_recipe(file)
    except InvalidRecipe as refusal:
        return str(refusal)
    return ""


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("`method: gradient_descent` layer_decay", "| `1` | number above 0, at most 1 or `null` |"),
        ("`method: gradient_descent` momentum", "| `0.9` | number at least 0, below 1 or `null` |"),
        ("`method: gradient_descent` optimiser", "| `adamw` | `adamw`, `sgd`, `adam` |"),
        ("`method: svm` pca", "| `[null]` | list of: whole number at least 2 or `null`;"),
        ("The recipe itself background", "| `[255, 255, 255]` | 3 of: whole number at least 0,"),
        ("The recipe itself fit", "`crop` resizes it until it covers the frame"),
        ("`split` ratios", "a fourth is held back"),
        ("`augmentation` zoom", "a scale is drawn from 1 ± this"),
        ("`method: svm` kernel", "| `svm`, `eye_vs_ai.yaml` |"),
    ],
)
def test_a_row_says_what_is_known_of_its_key(row: str, says: str) -> None:
    assert says in ROWS[row]
