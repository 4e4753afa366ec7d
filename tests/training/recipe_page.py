"""`docs/recipe.md`: every key of a recipe, as its schema, its docstrings and the recipes say it.

Rewrite it with `python -m tests.training.recipe_page`.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from holotype.architectures.catalog import DEFAULT_MODEL
from holotype.files import write_text
from holotype.imaging.preprocessing import Preprocessing
from holotype.training.config.augmentation_config import Augmentation, MixRecipe
from holotype.training.config.fill_from_architecture import fill_model_defaults
from holotype.training.config.recipe import SECTIONS, Recipe, SplitRecipe, TeacherRecipe
from holotype.training.config.resolve import _read, read_fields, recipe_names
from holotype.training.config.stage_config import (
    STAGES,
    ConditionalSection,
    HeadRecipe,
    KeyRule,
)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "recipe.md"
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

LABELS = ("name", "method")  # of a stage; said once for all of them
OWN = "the model's own"
REQUIRED = "required"
LINKS = {
    "SplitRecipe": "[`split`](#split)",
    "HeadRecipe": "[`head`](#head)",
    "TeacherRecipe": "[`teacher`](#teacher)",
    "Augmentation": "[`augmentation`](#augmentation)",
    "MixRecipe": "[`mixup`](#mixup-and-cutmix)",
}
USED_BY_MOST = 6  # of more files, only the number is given

TOP = """\
# The recipe

Written by `python -m tests.training.recipe_page` from the schema, the docstrings and the recipes;
a test fails when it is stale. Do not edit it by hand.

A recipe decides a training run. It is a YAML file; what it leaves out takes the default, and what
`null` leaves open in `model`, `weights`, `image_size` and `head` the architecture decides. The
`recipe.yaml` of a run has everything spelled out, and is a recipe again.

    holotype train --print-recipe --recipe finetune > mine.yaml    # all keys, to edit
    holotype train shapes --recipe mine.yaml --set stages.1.epochs=3

An unknown key is refused, and so is one that would make no difference beside the others. `--set`
reaches every key by its path: `split.seed`, `stages.0.Cs`, `stages.1.augmentation.zoom`;
stages count from 0. A file may hold several recipes under `variants`, each a name with the keys
that it changes, dotted ones among them; `FILE#NAME` is one of them.

**used by** names the recipes, and files of [examples](../examples/README.md), that say anything but
the default.
"""


def page() -> str:
    """The whole page."""
    used = _used()
    parts = [TOP, _recipes()]
    parts.append(_part("The recipe itself", Recipe, "", used))
    parts.append(_part("`split`", SplitRecipe, "split", used))
    parts.append(_part("`head`", HeadRecipe, "head", used))
    parts.append(_part("`teacher`", TeacherRecipe, "teacher", used))
    parts.append(
        "## `stages`\n\n"
        "A list. Each stage has a `method`, one of the four below, and a `name`, a word that no\n"
        "other stage has: `RUN@NAME` is what it left. A stage of `svm` or `random_forest` is the\n"
        "only one; one of `logistic_regression` is the first.\n"
    )
    for method, schema in STAGES.items():
        default = schema.model_fields["name"].default
        title = f"`method: {method}`"
        about = f"{_summary(schema)} It is called `{default}` unless it has a `name`."
        parts.append(_part(title, schema, method, used, about=about, level=3))
    parts.append(_part("`augmentation`", Augmentation, "augmentation", used))
    parts.append(_part("`mixup` and `cutmix`", MixRecipe, "mixup", used))
    return "\n".join(parts)


def keys_on_page() -> dict[str, str]:
    """Every row of the page, by section and key."""
    rows, section = {}, ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        elif line.startswith("| `"):
            rows[f"{section} {line.split('`')[1]}"] = line
    return rows


def _recipes() -> str:
    """The recipes that come with Holotype, each as its own head says it."""
    rows = []
    for name in recipe_names():
        file = resources.files("holotype.training.config") / "recipes" / f"{name}.yaml"
        text = file.read_text()
        head = []
        for line in text.splitlines():
            if not line.startswith("#"):
                break
            head.append(line.removeprefix("# "))
        stages = ", ".join(f"`{stage['name']}`" for stage in read_fields(name)["stages"])
        rows.append((f"`{name}`", " ".join(head), stages))
    return "## Those that come with Holotype\n\n" + _table(("recipe", "what it is", "stages"), rows)


def _part(
    title: str,
    schema: type[BaseModel],
    part: str,
    used: dict[str, list[str]],
    *,
    about: str = "",
    level: int = 2,
) -> str:
    said, rules = _said(schema), _rules(schema)
    open_keys = (
        set(fill_model_defaults({"stages": []}, None)) - {"stages"} if schema is Recipe else set()
    )
    rows = []
    for key, field in _properties(schema).items():
        if part in STAGES and key in LABELS:
            continue
        rule = rules.get(key)
        text = _sentence(said[key])
        if rule is not None:
            text += f" Must be null where it does nothing: {rule.reason}."
        default = _default(field, rule)
        if key in open_keys:
            default = f"`{DEFAULT_MODEL}`" if key == "model" else OWN
        rows.append((f"`{key}`", text, default, _allowed(field), _users(part, key, used)))
    header = ("key", "what it says", "default", "allowed", "used by")
    about = about or _summary(schema)
    return f"{'#' * level} {title}\n\n{about}\n\n{_table(header, rows)}"


def _properties(schema: type[BaseModel]) -> dict[str, dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = schema.model_json_schema()["properties"]
    return properties


def _rules(schema: type[BaseModel]) -> dict[str, KeyRule]:
    return (
        {rule.key: rule for rule in schema.key_rules}
        if issubclass(schema, ConditionalSection)
        else {}
    )


def _summary(schema: type[Any]) -> str:
    return (inspect.getdoc(schema) or "").split("\n\n")[0].replace("\n", " ")


def _said(schema: type[Any]) -> dict[str, str]:
    """What the docstring says of each attribute, and that of `Preprocessing` where it says so."""
    doc = inspect.getdoc(schema) or ""
    block = textwrap.dedent(doc.split("Attributes:\n")[1].split("\n\n")[0])
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?! )", block.strip("\n")):
        names, text = entry.split(":", 1)
        text = " ".join(text.split())
        found.update((name.strip(), text) for name in names.split(","))
    elsewhere = {} if schema is Preprocessing else _said(Preprocessing)
    return {
        key: elsewhere[key] if "see `Preprocessing`." in text and key in elsewhere else text
        for key, text in found.items()
    }


def _sentence(text: str) -> str:
    """With a full stop; a cell of a table holds no bar, and code between single ticks."""
    text = text.replace("``", "`").replace("|", "\\|")
    text = text.replace("`MixRecipe`", "[below](#mixup-and-cutmix)")
    text = text.replace("`Preprocessing.content`", "`content`")
    text = text.replace(", see `content.foreground_box`", "")
    return text if text.endswith(".") else f"{text}."


def _default(field: dict[str, Any], rule: KeyRule | None) -> str:
    if rule is not None:
        return REQUIRED if rule.default is None else _code(rule.default)
    if "default" not in field:
        # A recipe that says nothing of its split is given an empty one to fill.
        has_all = field.get("type") == "object" or field.get("$ref") == "#/$defs/SplitRecipe"
        return _code({}) if has_all else REQUIRED
    return _code(field["default"])


def _code(value: Any) -> str:
    value = list(value) if isinstance(value, tuple) else value
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n")
    return f"`{text.strip()}`"


def _allowed(field: dict[str, Any]) -> str:
    """The values that a key takes, in words."""
    if "$ref" in field:
        return LINKS[field["$ref"].rpartition("/")[2]]
    if "anyOf" in field:
        ways = [_allowed(way) for way in field["anyOf"]]
        return " or ".join(dict.fromkeys(ways))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = field.get("type")
    if kind == "null":
        return "`null`"
    if kind == "boolean":
        return "`true`, `false`"
    if kind == "array":
        return _list(field)
    if kind == "object":
        return "keys and values"
    if kind == "string":
        return "text"
    return f"{'whole ' if kind == 'integer' else ''}number{_bounds(field)}"


def _list(field: dict[str, Any]) -> str:
    low, high = field.get("minItems"), field.get("maxItems")
    if "oneOf" in field.get("items", {}):
        return "list of stages"
    inner = _allowed(field["prefixItems"][0] if "prefixItems" in field else field["items"])
    if high is not None:
        return f"{low if low == high else f'{low} to {high}'} of: {inner}"
    return f"list of: {inner}{'; at least one' if low else ''}"


def _bounds(field: dict[str, Any]) -> str:
    words = {
        "minimum": "at least", "exclusiveMinimum": "above",
        "maximum": "at most", "exclusiveMaximum": "below",
    }  # fmt: skip
    said = [f"{word} {field[key]:g}" for key, word in words.items() if key in field]
    if field.get("exclusiveMaximum", 0) == 2**32:
        said = ["at least 0", "below 2^32"]
    return f" {', '.join(said)}" if said else ""


def _files() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every recipe with the fields as they were written, by the name of its file."""
    for name in recipe_names():
        yield name, read_fields(name)
    for file in EXAMPLES:
        variants = read_fields(str(file)).get("variants") or {None: {}}
        for variant in variants:
            yield f"{file.stem}.yaml", _read(f"{file}#{variant}" if variant else str(file))


def _used() -> dict[str, list[str]]:
    """`part.key` -> the files that say something but the default; `part` -> those that have it."""
    used: dict[str, list[str]] = {}
    for file, fields in _files():
        for name in _not_default(fields, Recipe, ""):
            files = used.setdefault(name, [])
            if file not in files:
                files.append(file)
    return used


def _not_default(fields: dict[str, Any], schema: type[BaseModel], part: str) -> Iterator[str]:
    yield part
    rules, properties = _rules(schema), _properties(schema)
    for key, value in fields.items():
        default = rules[key].default if key in rules else properties[key].get("default")
        if value is not None and _plain(value) != _plain(default):
            yield f"{part}.{key}"
        if isinstance(value, dict) and key in SECTIONS:
            yield from _not_default(value, SECTIONS[key], "mixup" if key == "cutmix" else key)
        for stage in value if key == "stages" else ():
            yield from _not_default(stage, STAGES[stage["method"]], stage["method"])


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _users(part: str, key: str, used: dict[str, list[str]]) -> str:
    files = used.get(f"{part}.{key}", [])
    if len(files) > USED_BY_MOST:
        return "all" if files == used[part] else f"{len(files)} of {len(used[part])}"
    return ", ".join(f"`{file}`" for file in files) or "–"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


if __name__ == "__main__":
    write_text(PAGE, page())
