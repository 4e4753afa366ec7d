"""The champion that a retraining starts from: its classifier, its images and its recipe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holotype.bundle.bundle import Bundle, load_bundle
from holotype.dataset.index import Index, read_index_file
from holotype.dataset.splitting.splitter import DEFAULT_SEED
from holotype.errors import UsageError
from holotype.registry.registered_name import CHAMPION, RegisteredName, parse_registered_name
from holotype.registry.registered_version import RegisteredModel, RegisteredVersion
from holotype.registry.registry import Registry
from holotype.run_directory import RunDirectory
from holotype.training.config.yaml_files import read_mapping


@dataclass(frozen=True, eq=False)
class Champion:
    """A registered champion and what its run recorded.

    Attributes:
        version: of the registry.
        bundle: its classifier.
        index: the images that it was trained and tested on.
        recipe: the fields of its recipe.yaml.
        digests: of the bundles of all versions of its name, whose answers a request log has.
    """

    version: RegisteredVersion
    bundle: Bundle
    index: Index
    recipe: dict[str, Any]
    digests: frozenset[str]

    @property
    def run(self) -> RunDirectory:
        """What the registry keeps of its run."""
        return RunDirectory(self.version.path)

    @property
    def name(self) -> str:
        return self.version.name

    @property
    def ratios(self) -> tuple[float, ...]:
        """Of train, val and test, and of cal where it has one."""
        return tuple(self.recipe["split"]["ratios"])

    @property
    def split_seed(self) -> int:
        return int(self.recipe["split"].get("seed", DEFAULT_SEED))

    @property
    def trained_in(self) -> Path:
        """The run as it was registered, whose checkpoints the registry does not keep."""
        return Path(self.version.source)


def champion_name(target: str) -> str:
    """The name of a registered classifier, of which the champion is meant.

    Raises:
        UsageError: it is another version, or no registered classifier.
    """
    named = parse_registered_name(target)
    if named.version is not None or named.alias not in (None, CHAMPION):
        raise UsageError(
            f"{target!r} names one version; a retraining starts from the champion: "
            f"registry://{named.name}."
        )
    return named.name


def read_champion(registry: Registry, name: str, number: int | None = None) -> Champion:
    """The champion of a name.

    Args:
        number: of the version that was the champion when a retraining began; None: the one now.

    Raises:
        UnknownVersion: there is none.
        UsageError: it cannot be retrained: it is an ensemble, was cross-validated, or was
            registered without its run.
    """
    alias = CHAMPION if number is None else None
    version = registry.version(RegisteredName(name, number, alias))
    bundle = load_bundle(version.bundle)
    run = RunDirectory(version.path)
    what = f"{name}/{version.version}"
    if bundle.members:
        raise UsageError(
            f"{what} is an ensemble, which has no recipe of one training; retrain its members."
        )
    if not run.recipe.is_file() or not run.index.is_file():
        raise UsageError(
            f"{what} was registered as a bundle alone, so its images and its recipe are not "
            "known; register the run that it came from."
        )
    index = read_index_file(run.index)
    if not len(index.part("test")) or not len(index.part("train")):
        raise UsageError(
            f"{what} has no fixed test part (was it cross-validated?), on which a successor could "
            "be judged; train one on a split and promote that first."
        )
    registered = registry.show(name)
    assert isinstance(registered, RegisteredModel)
    digests = frozenset(each.bundle_sha256 for each in registered.versions)
    return Champion(version, bundle, index, read_mapping(run.recipe), digests)
