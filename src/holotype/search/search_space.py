"""The space of a search: a table of keys of the recipe, with the values that each may take.

    - {key: recipe, choices: [linear, svm]}
    - {key: stages.0.Cs, low: 0.00001, high: 1, log: true, as_list: true, when: {recipe: linear}}

A row is one of `choices`, or a range from `low` to `high`, both included, on a logarithmic scale
with `log` and in steps with `step`. `as_list` makes a list of the value, for keys that hold one.
`when` names what earlier rows must have drawn. `recipe` is the recipe that the others change.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from holotype.architectures.architecture import Architecture
from holotype.architectures.catalog import CATALOG, require_size
from holotype.architectures.pretrained_weights import weights_on_disk
from holotype.errors import HolotypeError, UsageError
from holotype.training.config.recipe import Recipe
from holotype.training.config.recipe_base import RecipeSection
from holotype.training.config.yaml_files import parse_yaml, read_yaml_file

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

AVAILABLE = "available"

Params = dict[str, Any]  # key of the recipe -> value, as drawn


class Parameter(RecipeSection):
    """One row of a space.

    Attributes:
        key: of the recipe, as `--set` takes it; `last` is the number of the last stage; or
            `recipe`.
        choices: its values; or `available`, for the key `model`.
        low, high, log, step: its range.
        as_list: whether the key holds a list, of which the value is the only element.
        when: key of an earlier row -> the value, or the values, for which this row counts.
    """

    key: str
    choices: tuple[Any, ...] | str | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = Field(default=None, gt=0)
    as_list: bool = False
    when: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> "Parameter":
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("expected choices, or low and high")
        if isinstance(self.choices, str) and self.choices != AVAILABLE:
            raise ValueError(f"choices are a list, or {AVAILABLE!r}")
        if self.choices is not None and not len(self.choices):
            raise ValueError("choices are empty")
        if self.low is not None and self.high is not None:
            if not self.low < self.high:
                raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
            if self.log and (self.low <= 0 or self.step is not None):
                raise ValueError("log needs a low above 0, and no step")
        return self

    @property
    def name(self) -> str:
        """Unique in a space: one key may have several rows."""
        return " ".join([self.key, *(f"{key}={value}" for key, value in self.when.items())])

    @property
    def is_fixed(self) -> bool:
        """Whether there is nothing to draw."""
        return self.choices is not None and len(self.choices) == 1

    def counts(self, drawn: Params) -> bool:
        """Whether the row counts beside what was drawn before it."""
        return all(
            drawn.get(key) in (value if isinstance(value, list) else [value])
            for key, value in self.when.items()
        )

    def distribution(self) -> "BaseDistribution":
        """As Optuna has it; a choice that is no plain value goes by its JSON."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self.choices is not None:
            return CategoricalDistribution([_as_choice(choice) for choice in self.choices])
        assert self.low is not None
        assert self.high is not None
        if self.step is not None and all(x.is_integer() for x in (self.low, self.high, self.step)):
            return IntDistribution(int(self.low), int(self.high), step=int(self.step))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def as_choice(self, value: Any) -> Any:
        """The value of the distribution from that of the key's row."""
        return value if self.choices is None else _as_choice(value)

    def as_drawn(self, value: Any) -> Any:
        """The value of the key's row from that of the distribution."""
        if self.choices is None:
            return value
        return next(choice for choice in self.choices if _as_choice(choice) == value)


def _as_choice(value: Any) -> Any:
    is_plain = value is None or isinstance(value, bool | int | float | str)
    return value if is_plain else json.dumps(value, ensure_ascii=False)


Draw = Callable[[Parameter], Any]


@dataclass(frozen=True)
class SearchSpace:
    """The rows of a space, in the order in which they are drawn."""

    rows: tuple[Parameter, ...]

    def drawn_rows(self, draw: Draw) -> Iterator[tuple[Parameter, Any]]:
        """Each row that counts with its value.

        Args:
            draw: gives the value of a row of several values.
        """
        drawn: Params = {}
        for row in self.rows:
            if not row.counts(drawn):
                continue
            value = row.choices[0] if row.is_fixed and row.choices else draw(row)
            drawn[row.key] = value
            yield row, value

    @property
    def searched(self) -> list[Parameter]:
        """The rows with something to draw."""
        return [row for row in self.rows if not row.is_fixed]

    def to_json(self) -> list[dict[str, Any]]:
        return [row.model_dump(mode="json", exclude_defaults=True) for row in self.rows]

    def to_yaml(self) -> str:
        """As `--space FILE` reads it."""
        lines = [
            yaml.safe_dump(row, default_flow_style=True, sort_keys=False, width=1000).strip()
            for row in self.to_json()
        ]
        return "".join(f"- {line}\n" for line in lines)


def read_space(file: str | Path, base: Recipe) -> SearchSpace:
    """The space in a YAML file.

    Raises:
        UsageError: it cannot be read, or a row is wrong.
    """
    return _space_of(read_yaml_file(Path(file)), str(file), base)


def family_space(name: str, base: Recipe) -> SearchSpace:
    """The space of `heads`, or of a family: `pretrained`, `scratch` or `classical`."""
    text = resources.files("holotype.search").joinpath(f"spaces/{name}.yaml")
    return _space_of(parse_yaml(text.read_text(encoding="utf-8"), name), name, base)


def _space_of(rows: Any, name: str, base: Recipe) -> SearchSpace:
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise UsageError(
            f"{name}: expected a list of rows such as "
            "`- {key: last.learning_rate, low: 0.00001, high: 0.001, log: true}`."
        )
    parameters = [_parameter(row, number, name) for number, row in enumerate(rows, start=1)]
    space = SearchSpace(tuple(_with_models(row, parameters, base) for row in parameters))
    names = [row.name for row in space.rows]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{name}: {twice!r} has two rows; tell them apart by `when`.")
    if not space.searched:
        raise UsageError(f"{name}: no row has more than one value, so there is nothing to search.")
    return space


def _parameter(row: dict[str, Any], number: int, name: str) -> Parameter:
    try:
        return Parameter.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        said = str(first.get("ctx", {}).get("error", first["msg"]))
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{name}, row {number}: {f'{where}: ' if where else ''}{said}.") from None


def _with_models(row: Parameter, rows: Sequence[Parameter], base: Recipe) -> Parameter:
    if row.choices != AVAILABLE:
        # A table of the package knows other networks than the one that the caller named.
        is_named = row.key != "model" or row.choices is None or base.model in row.choices
        return row if is_named else row.model_copy(update={"choices": (base.model,)})
    sizes = next((one.choices for one in rows if one.key == "image_size"), None)
    found = [base.model] + [
        other.name
        for other in CATALOG.values()
        if other.kind == "pretrained"
        and other.name != base.model
        and base.weights == "pretrained"
        and weights_on_disk(other) is not None
        and _takes(other, sizes or (base.image_size,))
    ]
    return row.model_copy(update={"choices": tuple(found)})


def _takes(row: Architecture, sizes: Sequence[Any]) -> bool:
    try:
        for size in sizes:
            require_size(row.name, int(size))
    except HolotypeError:
        return False
    return True
