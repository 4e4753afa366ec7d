"""`holotype clean`: remove runs, trials, caches and leftovers that nothing refers to."""

import sys
from pathlib import Path
from typing import Annotated

from holotype.cli.options import AsJson, Needs, Switch
from holotype.cli.output import print_found, print_next_command
from holotype.pipeline.cleaning.clean import clean as clean_up

OF_A_FOLDER = Needs("folder", "FOLDER")


def clean(
    folder: Path | None = None,
    /,
    *,
    failed: Annotated[Switch, OF_A_FOLDER] = False,
    keep: Annotated[int | None, OF_A_FOLDER] = None,
    search_older: Annotated[str | None, OF_A_FOLDER] = None,
    cache: str | None = None,
    registry: Annotated[str | None, OF_A_FOLDER] = None,
    yes: Switch = False,
    as_json: AsJson = False,
) -> int:
    """Without --yes it says what it would remove, and changes nothing.

    A run stays where a registered version, an ensemble, a selection or another run refers to it,
    where a process writes it, and where it holds a file that Holotype did not write.

    Args:
        folder: A folder of runs, at any depth. Leftovers of killed processes go in any case.
        failed: Runs that did not finish, and that no process has touched for an hour.
        keep: Of the finished runs of each data set in each folder, keep so many, the newest.
        search_older: The trials of searches that ended so long ago, such as 7d or 12h.
        cache: What the cache holds beyond this size, such as 20G, that was used longest ago.
        registry: The registry whose versions stay; without it HOLOTYPE_REGISTRY, else the folder
            registry here or beside FOLDER.
        yes: Remove.
    """
    found = clean_up(
        folder, failed=failed, keep=keep, search_older=search_older, cache=cache,
        registry=registry, yes=yes,
    )  # fmt: skip
    print_found(found, as_json=as_json)
    if found.removals and not found.is_done and not as_json:
        print_next_command("holotype", *sys.argv[1:], "--yes")
    return 0
