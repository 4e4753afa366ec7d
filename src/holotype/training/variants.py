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

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from holotype.errors import InvalidRecipe, did_you_mean

VARIANTS = "variants"
SIGN = "#"


def file_and_variant(recipe: str) -> tuple[str, str | None]:
    """`FILE#NAME` as a file and a name; a recipe without a variant as it is."""
    file, sign, variant = recipe.rpartition(SIGN)
    return (file, variant) if sign and Path(file).is_file() else (recipe, None)


def require_variants(recipe: str, fields: Mapping[str, Any]) -> list[str]:
    """The names of a file's variants; none where it is one recipe.

    Raises:
        InvalidRecipe: `variants` is anything but names with the keys that each changes.
    """
    variants = fields.get(VARIANTS, {})
    if not isinstance(variants, dict) or not all(
        isinstance(keys, dict | None) for keys in variants.values()
    ):
        raise InvalidRecipe(
            f"{recipe}: variants must be names with the keys that each changes, such as "
            "`small: {model: resnet18}`."
        )
    return [str(name) for name in variants]


def one_variant(
    recipe: str,
    fields: Mapping[str, Any],
    variant: str | None,
    set_key: Callable[[dict[str, Any], str, Any], None],
) -> dict[str, Any]:
    """The fields of one recipe.

    Args:
        set_key: sets a dotted key in nested fields.

    Raises:
        InvalidRecipe: no such variant, or none is named where there are several.
    """
    names = require_variants(recipe, fields)
    own = {key: value for key, value in fields.items() if key != VARIANTS}
    if variant is None and not names:
        return own
    if variant not in names:
        asked = f"no variant called {variant!r}" if variant else "several variants"
        hint = did_you_mean(variant, names) if variant else "."
        raise InvalidRecipe(
            f"{recipe}: {asked}{hint} Name one: {recipe}{SIGN}{names[0] if names else 'NAME'}"
            f"{'; there are ' + ', '.join(names) if names else '; the file has no variants'}."
        )
    own["name"] = f"{own.get('name', Path(recipe).stem)}_{variant}"
    for key, value in (fields[VARIANTS][variant] or {}).items():
        set_key(own, str(key), value)
    return own
