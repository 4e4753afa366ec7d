"""The `recipe.yaml` of an ensemble: members, hashes of their bundles, method and weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml

from holotype.ensembles.ensemble_weights import EnsembleMethod
from holotype.errors import InvalidRecipe
from holotype.training.config.yaml_files import read_mapping

KIND = "ensemble"
OUT_OF_FOLD = "out of fold"


@dataclass(frozen=True)
class MemberRecipe:
    """One member: the run as it was given, the hash of its bundle, its weight for each class."""

    run: str
    bundle: str
    model: str
    weights: Mapping[str, float]

    @property
    def weight_text(self) -> str:
        """The weight, or its range where it differs between classes."""
        low, high = min(self.weights.values()), max(self.weights.values())
        return f"{low:.2f}" if high - low < 0.005 else f"{low:.2f} to {high:.2f} by class"


@dataclass(frozen=True)
class EnsembleRecipe:
    """Everything that decides an ensemble.

    Attributes:
        name: of the classifier.
        requested_method: the method that was asked for, or `auto`.
        method: the method that was used.
        fitted_on: `validation`, or `out of fold`.
        best_member: the run with the lowest log loss there.
        members: those with a weight.
        dropped_runs: the runs that were given but have no weight.
        losses: log loss by method on held-out images, where `auto` tried them.
    """

    name: str
    requested_method: str
    method: EnsembleMethod
    fitted_on: str
    best_member: str
    members: tuple[MemberRecipe, ...]
    dropped_runs: tuple[str, ...] = ()
    losses: Mapping[str, float] = field(default_factory=dict)

    @property
    def weights_text(self) -> str:
        """The weight of every member, in words."""
        return ", ".join(f"{member.run} {member.weight_text}" for member in self.members)

    @property
    def only_member(self) -> str:
        """The run that has all the weight; "" where several have some."""
        return self.members[0].run if len(self.members) == 1 else ""

    def to_yaml(self) -> str:
        value = {"kind": KIND, **asdict(self)}
        value["members"] = [asdict(member) for member in self.members]
        value["dropped_runs"] = list(self.dropped_runs)
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def read_ensemble_recipe(path: Path) -> EnsembleRecipe | None:
    """The recipe of an ensemble; None where it is that of a training.

    Raises:
        InvalidRecipe: it is not YAML, or its kind is `ensemble` but it is not valid.
    """
    value = read_mapping(path)
    if value.get("kind") != KIND:
        return None
    try:
        return _recipe({key: inner for key, inner in value.items() if key != "kind"})
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)[:200]
        raise InvalidRecipe(
            f"{path} is not the recipe of an ensemble: {what}. Make the ensemble again."
        ) from None


def _recipe(value: dict[str, Any]) -> EnsembleRecipe:
    if value.get("method") not in get_args(EnsembleMethod):
        raise ValueError(f"method is {value.get('method')!r:.40}")
    members = tuple(
        MemberRecipe(
            run=str(one["run"]),
            bundle=str(one["bundle"]),
            model=str(one["model"]),
            weights={str(name): float(weight) for name, weight in one["weights"].items()},
        )
        for one in value.pop("members", [])
    )
    if not members:
        raise ValueError("it names no member")
    dropped_runs = tuple(map(str, value.pop("dropped_runs", [])))
    losses = {str(name): float(loss) for name, loss in value.pop("losses", {}).items()}
    return EnsembleRecipe(**value, members=members, dropped_runs=dropped_runs, losses=losses)
