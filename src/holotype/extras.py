"""The optional parts of Holotype, read from its own package metadata."""

import importlib.metadata
import re
from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from holotype.errors import MissingExtra

Options = ParamSpec("Options")
Result = TypeVar("Result")

BASE = ""  # what every installation has
EXTRAS = (
    BASE, "train", "cluster", "explain", "export", "heic", "kaggle", "registry", "samples",
    "search", "serve", "tracking",
)  # fmt: skip

# Modules whose name is not that of the distribution that brings them.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


@cache
def installed_version() -> str:
    """The version of Holotype; `holotype.__version__` for folders that the package itself names."""
    return importlib.metadata.version("holotype")


@cache
def requirements(extra: str) -> tuple[Requirement, ...]:
    """What an extra needs beyond the base; of the base itself, what it needs at all."""
    found = []
    for text in importlib.metadata.requires("holotype") or []:
        requirement = Requirement(text)
        if requirement.name == "holotype":  # the extra `all` names the others
            continue
        match = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", text)
        if (match.group(1) if match else BASE) == extra:
            found.append(requirement)
    return tuple(found)


def missing_requirements(extra: str) -> list[str]:
    """The requirements of a part that are not installed, or only in another version."""
    return [f"{r.name}{r.specifier}" for r in requirements(extra) if not _is_met(r)]


def install_command(extra: str) -> str:
    """The command that installs what a part lacks; Holotype itself stays as it is."""
    return f"pip install 'holotype[{extra}]'" if extra else "pip install holotype"


def extra_that_provides(module: str) -> str | None:
    """Which extra brings a module that cannot be imported; None if none does."""
    package = module.partition(".")[0]
    wanted = DISTRIBUTIONS.get(package, package.replace("_", "-"))
    for extra in EXTRAS:
        if any(canonicalize_name(r.name) == wanted for r in requirements(extra)):
            return extra
    return None


def with_install_advice(verb: Callable[Options, Result]) -> Callable[Options, Result]:
    """The verb, which raises MissingExtra where a package of an extra is not installed."""

    @wraps(verb)
    def advising(*args: Options.args, **kwargs: Options.kwargs) -> Result:
        try:
            return verb(*args, **kwargs)
        except ModuleNotFoundError as error:
            extra = extra_that_provides(error.name or "")
            if extra is None:
                raise
            raise MissingExtra(
                f"this needs {error.name}, which is not installed: {install_command(extra)}"
            ) from error

    return advising


def _is_met(requirement: Requirement) -> bool:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)
