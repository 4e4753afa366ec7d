"""Command lines and recipes at random, from what the parser and the recipe's models declare.

A new verb, option or key is drawn without a change here. Values are often right, so that the work
is reached, and often odd.
"""

import shutil
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import hypothesis.strategies as st
from cyclopts import App
from pydantic import BaseModel

from holotype.cli.app import build_app, run
from holotype.dataset.sources.synthetic import make_synthetic
from holotype.training.config.recipe import SECTIONS, Recipe
from holotype.training.config.recipe_base import RecipeSection
from holotype.training.config.resolve import recipe_names, resolve_recipe

# Verbs that are not run here, and why.
LEFT_OUT = {
    "demo": "trains for minutes on real images",
    "watch": "looks at the log until it is stopped, with --every",
}

NETWORKS = ("hog", "cnn_baseline")  # what trains in a second; the other verbs take their runs
RUNS = ("runs/a", "runs/b")
USUAL: dict[str, tuple[str, ...]] = {
    "DATA": ("photos", "photos/table.csv"),
    "RUN": RUNS,
    "RUNS": RUNS,
    "IMAGES": ("image.png", "photos"),
    "VOLUMES": ("volumes",),
    "NAME": ("synthetic", "hog"),
    "--output": ("out", "out.png", "out.csv"),
    "--model": NETWORKS,
    "--match": ("photos/table.csv",),
    "--masks": ("volumes",),
}
ODD_WORDS = (
    "", " ", "0", "1", "2", "-1", "0.5", "1e9", "1e400", "nan", "inf", "-inf", "²", "1_0", "0x10",
    "None", "null", "true", "[]", "{}", "[1, 2]", "{a: 1}", "&a [*a]", "a=b", "=", "seed=1",
    "stages=", "stages.0=1", "stages.9.epochs=2", "split: 5", "--", "-", "@", "a@b", "#", "..", "/",
    "/dev/null", "~", "~nobody/x", "a\nb", "\x1b[31mred", "\u202eabc", "é", "e\u0301", "龟",
    "\ud83d", "x" * 300, "(?P<label>[a-z]+)", "(?P<group>x)", "(",
    "parent-folder", "column:label", "best",
    "within 1 point of the best, then fastest", "leak", "quality", "20G", "20", "none",
    "pretrained", "svm", "linear", "scratch", "forest", "finetune", "two_phase", "x,y,z", "z",
    "http://[::1/x", "http://127.0.0.1:9/ä.zip", "kaggle:a/b", "registry://a@b", "timm:x", "x.py:f",
    "photos", "photos/table.csv", "runs", "runs/a", "runs/a/bundle", "runs/a@x", "image.png",
    "empty.png", "text.txt", "text.txt#x", "missing", "missing/deeper", "recipe.yaml", "folder",
    "archive.zip",
)  # fmt: skip
NUMBERS = (
    "0",
    "1",
    "2",
    "3",
    "8",
    "32",
    "-1",
    "0.5",
    "0.25",
    "1e-3",
    "nan",
    "inf",
    "1e400",
    "x",
    "",
)


def make_place(folder: Path) -> Path:
    """A folder with what command lines name: photos, volumes, two runs, and files that are odd."""
    folder.mkdir()
    make_synthetic(folder / "photos", classes=2, images=24, image_size=32)
    image = next((folder / "photos").glob("*/*.png"))
    shutil.copy(image, folder / "image.png")
    for number in range(3):
        slices = folder / "volumes" / "cube" / str(number)
        slices.mkdir(parents=True)
        for layer in range(3):
            shutil.copy(image, slices / f"{layer}.png")
    (folder / "empty.png").touch()
    (folder / "text.txt").write_text("no image\n")
    (folder / "archive.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    (folder / "folder").mkdir()
    (folder / "recipe.yaml").write_text(resolve_recipe(model="hog").to_yaml())
    for name, seed in zip(RUNS, "12", strict=True):
        words = ("train", str(folder / "photos"), "--model", "hog", "--seed", seed)
        assert run([*words, "--output", str(folder / name)]) == 0
    return folder


def _verbs(app: App, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    """(words, parser) of every command, those below others too."""
    for name in app:
        if name.startswith("-") or (not words and name in LEFT_OUT):
            continue
        command = app[name]
        if command.default_command is not None:
            yield (*words, name), command
        yield from _verbs(command, (*words, name))


def _odd_or(*usual: str) -> st.SearchStrategy[str]:
    odd = st.sampled_from(ODD_WORDS)
    return st.one_of(st.sampled_from(usual), st.sampled_from(usual), odd) if usual else odd


def _value(name: str, hint: Any) -> st.SearchStrategy[list[str]]:
    """The words that one option or argument takes; none for a switch."""
    if hint is bool:
        return st.just([])
    kinds = {hint, *get_args(hint)} - {type(None)}
    choices = tuple(w for k in kinds if get_origin(k) is Literal for w in get_args(k))
    if get_origin(hint) is Literal:
        choices = get_args(hint)
    if name in USUAL or choices:
        one = _odd_or(*(USUAL.get(name) or map(str, choices)))
    elif kinds & {int, float}:
        one = st.one_of(st.sampled_from(NUMBERS[:8]), st.sampled_from((*NUMBERS, *ODD_WORDS)))
    else:
        one = _odd_or()
    many = get_origin(hint) is tuple or any(get_origin(kind) is tuple for kind in kinds)
    return st.lists(one, min_size=1, max_size=4 if many else 1)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """The words of one command, which are right more often than not."""
    words, app = draw(st.sampled_from(list(_verbs(build_app()))))
    positional: list[str] = []
    options: list[str] = []
    for argument in app.assemble_argument_collection():
        name = argument.name
        is_option = name.startswith("--")
        wanted = 9 if argument.required or (not is_option and name in USUAL) else 3
        if name in ("--output", "--model") and words[0] == "train":
            wanted = 8
        if draw(st.integers(0, 9)) >= wanted:
            continue
        values = draw(_value(name, argument.hint))
        if is_option:
            options += [name, *values]
        else:
            positional += values
    if words[0] == "train" and "--model" not in options:
        options += ["--model", draw(st.sampled_from(NETWORKS))]
    return [*words, *positional, *options]


def _keys(section: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in section.model_fields.items():
        yield (*path, name)
        for part in _models_in(field.annotation):
            yield from _keys(part, (*path, name))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    if get_origin(annotation) in (Union, types.UnionType, Annotated):
        for part in get_args(annotation):
            yield from _models_in(part)


def _annotation(section: type[BaseModel], path: tuple[str, ...]) -> Any:
    annotation: Any = section.model_fields[path[0]].annotation
    if len(path) == 1:
        return annotation
    return _annotation(next(iter(_models_in(annotation))), path[1:])


_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 3, 8, -1, 0.5, 0.1, 1e-3, 1e300, float("nan"), float("inf"), 2**70,
    "", "x", "all", "40 layers", "0 layers", "²", "a\nb", "\x1b[31m", [], [1], [0.5, 0.5], [None],
    ["x"], [[]], {}, {"x": 1}, {1: 2}, {"probability": 0.5, "alpha": 0.2},
)  # fmt: skip


def _recipe_value(annotation: Any) -> st.SearchStrategy[Any]:
    """A value of the field's own kind, or any other."""
    inside = [annotation, *get_args(annotation)]
    choices = [word for kind in inside if get_origin(kind) is Literal for word in get_args(kind)]
    odd = st.sampled_from(_ODD_VALUES)
    if choices:
        return st.one_of(st.sampled_from(choices), odd)
    if int in inside:
        return st.one_of(st.integers(0, 40), odd)
    if float in inside:
        return st.one_of(st.floats(0, 1), odd)
    return odd


def sections(fields: dict[str, Any]) -> list[tuple[dict[str, Any], type[RecipeSection]]]:
    """The recipe and each of its stages, with the models that declare their keys."""
    found: list[tuple[dict[str, Any], type[RecipeSection]]] = [(fields, Recipe)]
    found += [
        (stage, SECTIONS[str(stage["method"])])
        for stage in fields["stages"]
        if str(stage.get("method")) in SECTIONS
    ]
    return found


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a recipe that comes with Holotype, with one to three of its keys changed."""
    name = draw(st.sampled_from(recipe_names()))
    network = draw(st.sampled_from(NETWORKS))
    try:
        fields = resolve_recipe(
            name, model=network, image_size=32, overrides={"weights": "none"}
        ).model_dump(mode="json")
    except Exception:
        fields = resolve_recipe(
            "scratch", model="cnn_baseline", image_size=32
        ).model_dump(mode="json")  # fmt: skip
    for _ in range(draw(st.integers(1, 3))):
        place, section = draw(st.sampled_from(sections(fields)))
        path = draw(st.sampled_from(sorted(_keys(section))))
        value = draw(_recipe_value(_annotation(section, path)))
        for step in path[:-1]:
            if not isinstance(place.get(step), dict):
                place[step] = {}
            place = place[step]
        kind = draw(st.integers(0, 11))
        if kind == 0:
            place.pop(path[-1], None)
        elif kind == 1:
            place[f"{path[-1]}x"] = value
        else:
            place[path[-1]] = value
        if not isinstance(fields.get("stages"), list) or not all(
            isinstance(stage, dict) for stage in fields["stages"]
        ):
            break
    return fields
