"""Several recipes in one file: what they share, and what sets each apart.

    name: turtles
    model: resnet50
    stages: [...]
    variants:
      resnet50: {}
      resnet18: {model: resnet18}
      long: {stages.1.epochs: 40}

`FILE#resnet18` is one recipe as any other. A variant's keys replace those of the file; a dotted key
reaches inside.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holotype.errors import InvalidRecipe, did_you_mean
from holotype.training.config.dotted_keys import set_key

VARIANTS = "variants"
VARIANT_SEPARATOR = "#"
NAME = re.compile(r"\w[\w.+-]*")  # it names a directory too, and must not lead out of its place


def parse_variant(recipe: str) -> tuple[str, str | None]:
    """`FILE#NAME` as a file and a name; a recipe without a variant as it is."""
    file, sign, variant = recipe.rpartition(VARIANT_SEPARATOR)
    return (file, variant) if sign and Path(file).is_file() else (recipe, None)


def read_variants(recipe: str, fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The variants of a file and what each changes; none where it is one recipe.

    Raises:
        InvalidRecipe: `variants` is anything but names with the keys that each changes.
    """
    variants = fields.get(VARIANTS, {})
    if not isinstance(variants, dict) or not all(
        isinstance(keys, dict | None) for keys in variants.values()
    ):
        raise InvalidRecipe(
            f"{recipe}: variants must be names with the keys that each changes, such as "
            "`variants: {small: {model: resnet18}}`."
        )
    for name in variants:
        if not NAME.fullmatch(str(name)):
            raise InvalidRecipe(
                f"{recipe}: a variant names a directory, and {str(name)!r} is no such name; take "
                "letters, digits, '_', '-', '.' and '+', beginning with a letter or digit."
            )
    return {str(name): keys or {} for name, keys in variants.items()}


def select_variant(recipe: str, fields: Mapping[str, Any], variant: str | None) -> dict[str, Any]:
    """The fields of one recipe.

    Raises:
        InvalidRecipe: no such variant, none is named where there are several, or a key of it
            leads nowhere.
    """
    variants = read_variants(recipe, fields)
    own = {key: value for key, value in fields.items() if key != VARIANTS}
    if variant is None and not variants:
        return own
    if variant not in variants:
        raise InvalidRecipe(_unknown_variant(recipe, variant, list(variants)))
    own["name"] = f"{own.get('name', Path(recipe).stem)}_{variant}"
    for key, value in variants[variant].items():
        try:
            set_key(own, str(key), value)
        except InvalidRecipe as error:
            reason = str(error).removeprefix("--set ")
            raise InvalidRecipe(f"{recipe}{VARIANT_SEPARATOR}{variant}: {reason}") from None
    return own


def _unknown_variant(recipe: str, variant: str | None, names: list[str]) -> str:
    if not names:
        return f"{recipe}: no variant called {variant!r}: the file has none. Say --recipe {recipe}."
    if variant is None:
        return (
            f"{recipe} holds {len(names)} recipes: {', '.join(names)}. "
            f"Name one: {recipe}{VARIANT_SEPARATOR}{names[0]}."
        )
    hint = did_you_mean(variant, names)
    return f"{recipe}: no variant called {variant!r}{hint} Known: {', '.join(names)}."
