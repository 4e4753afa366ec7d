"""`holotype registry`: versions of classifiers, which is the champion, and every change to that."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from holotype.cli.options import AsJson, Switch
from holotype.cli.output import print_found, print_message, print_next_command
from holotype.registry.registry import Registry
from holotype.registry.registry_events import RegistryEvent

app = App(
    name="registry",
    help="Versions of classifiers, which is the champion, and every change to that.",
    help_epilogue="Example:\n  holotype registry add runs/cells-1 --name cells",
)


@Parameter(name="*")
@dataclass(frozen=True)
class Place:
    """Which registry: an option for each field, the same for all commands."""

    registry: Annotated[
        str | None,
        Parameter(
            help="A directory, or postgresql://USER@HOST/DATABASE; without it HOLOTYPE_REGISTRY, "
            "else the folder registry.",
        ),
    ] = None
    files: Annotated[
        Path | None,
        Parameter(
            help="Where bundles are stored: without it HOLOTYPE_REGISTRY_FILES, else beside the "
            "database; with PostgreSQL a path that all hosts share.",
        ),
    ] = None

    def open(self) -> Registry:
        return Registry(self.registry, files=self.files)


DEFAULT_PLACE = Place()
Reason = Annotated[str, Parameter(show_default=False, help="Why; the history keeps it.")]


@app.command(help_epilogue="Example:\n  holotype registry add runs/cells-1 --name cells")
def add(
    run: str,
    /,
    *,
    name: str,
    reason: Reason = "",
    place: Place = DEFAULT_PLACE,
    as_json: AsJson = False,
) -> int:
    """Register a finished run as the next version of a name.

    Its bundle, recipe, scores and predictions are copied; the run itself is not needed again.

    Args:
        run: A finished run, a stage of it (RUN@STAGE), or a bundle.
        name: What it is registered under, such as cells.
    """
    version = place.open().add(run, name=name, reason=reason)
    print_found(version, as_json=as_json)
    if not as_json:
        print_next_command("holotype", "registry", "promote", name, str(version.version))
    return 0


@app.command(name="list", help_epilogue="Example:\n  holotype registry list --json")
def list_models(*, place: Place = DEFAULT_PLACE, as_json: AsJson = False) -> int:
    """List all names, each with its champion; --json has the path of each champion."""
    models = place.open().list()
    print_found(models, as_json=as_json)
    return 0


@app.command(help_epilogue="Example:\n  holotype registry show cells --at 2026-11-03T12:00")
def show(
    target: str,
    /,
    *,
    at: str | None = None,
    place: Place = DEFAULT_PLACE,
    as_json: AsJson = False,
) -> int:
    """Show all versions of a name, or one version in full.

    Args:
        target: A name, or one version of it: cells, cells/7, cells@champion.
        at: As it was at this time, such as 2026-11-03T12:00; UTC unless it says otherwise.
    """
    found = place.open().show(target, at=at)
    print_found(found, as_json=as_json)
    return 0


@app.command(help_epilogue="Example:\n  holotype registry promote cells 7 --if-champion 6")
def promote(
    name: str,
    version: str,
    /,
    *,
    if_champion: int | None = None,
    force: Switch = False,
    reason: Reason = "",
    place: Place = DEFAULT_PLACE,
    as_json: AsJson = False,
) -> int:
    """Make a version the champion, unless a paired test says that it is surely worse.

    Args:
        name: The name that it is registered under.
        version: Its number, or an alias that points at it, such as challenger.
        if_champion: Refuse if another version is the champion now; 0: if there is any.
        force: Promote whatever the test says, or where none can be made; needs --reason.
    """
    event = place.open().promote(name, version, if_champion=if_champion, force=force, reason=reason)
    return _print_event(event, as_json)


@app.command(help_epilogue="Example:\n  holotype registry rollback cells")
def rollback(
    name: str,
    /,
    *,
    if_champion: int | None = None,
    reason: Reason = "",
    place: Place = DEFAULT_PLACE,
    as_json: AsJson = False,
) -> int:
    """Make the champion before this one the champion again; once more, the one before that.

    Args:
        name: The name of the classifier.
        if_champion: Refuse if another version is the champion now.
    """
    registry = place.open()
    return _print_event(registry.rollback(name, if_champion=if_champion, reason=reason), as_json)


@app.command(help_epilogue="Example:\n  holotype registry tag cells 8 challenger")
def tag(
    name: str,
    version: str,
    alias: str,
    /,
    *,
    if_version: int | None = None,
    reason: Reason = "",
    place: Place = DEFAULT_PLACE,
    as_json: AsJson = False,
) -> int:
    """Point an alias such as challenger at a version, or remove it.

    Args:
        name: The name of the classifier.
        version: The number of a version, an alias that points at it, or none, which removes ALIAS.
        alias: A word of your own; champion is moved by promote and rollback.
        if_version: Refuse if the alias points at another version now; 0: if it exists.
    """
    event = place.open().tag(
        name, None if version == "none" else version, alias, if_version=if_version, reason=reason
    )
    return _print_event(event, as_json)


@app.command(help_epilogue="Example:\n  holotype registry history cells")
def history(name: str, /, *, place: Place = DEFAULT_PLACE, as_json: AsJson = False) -> int:
    """Show every change of a name: when, who, what and why.

    Args:
        name: The name of the classifier.
    """
    found = place.open().history(name)
    print_found(found, as_json=as_json)
    return 0


@app.command(help_epilogue="Example:\n  holotype registry remove cells 3")
def remove(
    name: str,
    version: str,
    /,
    *,
    force: Switch = False,
    reason: Reason = "",
    place: Place = DEFAULT_PLACE,
    as_json: AsJson = False,
) -> int:
    """Remove a version; its number is not used again, and the history keeps it.

    Args:
        name: The name of the classifier.
        version: Its number.
        force: Remove even what was once the champion; needs --reason.
    """
    registry = place.open()
    return _print_event(registry.remove(name, version, force=force, reason=reason), as_json)


@app.command(help_epilogue="Example:\n  holotype registry verify")
def verify(
    name: str | None = None,
    /,
    *,
    place: Place = DEFAULT_PLACE,
    as_json: AsJson = False,
) -> int:
    """Compare every stored file with its digest, and the history with the aliases.

    Args:
        name: Only the versions of this name.
    """
    found = place.open().verify(name)
    print_found(found, as_json=as_json)
    return 0 if found.is_intact else 1


@app.command(name="import", help_epilogue="Example:\n  holotype registry import runs --name cells")
def import_runs(
    folder: Path,
    /,
    *,
    name: str | None = None,
    reason: Reason = "",
    place: Place = DEFAULT_PLACE,
    as_json: AsJson = False,
) -> int:
    """Register every finished run below a folder, the oldest first; none of them twice.

    Args:
        folder: A folder of runs.
        name: The name for all of them; without it, each has the name of its classifier.
    """
    found = place.open().import_runs(folder, name=name, reason=reason)
    print_found(found, as_json=as_json)
    if not as_json:
        print_next_command("holotype", "registry", "list")
    return 0


def _print_event(event: RegistryEvent, as_json: bool) -> int:
    print_found(event, as_json=as_json)
    if event.test is not None and not as_json:
        print_message(str(event.test))
    return 0
