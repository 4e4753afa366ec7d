"""Which directory below the folder of the server an address means."""

from pathlib import Path

from fastapi import Request

from holotype.dashboard_pages.addresses import directory_below
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.runs.folder_index import MARK_OF, FolderIndex
from holotype.errors import UsageError


def place_of(request: Request, kind: str, name: str | None = None) -> tuple[str, Path]:
    """The path relative to the folder, as the address names it, and the directory.

    Args:
        kind: run, search or sweep.
        name: the relative path; by default what the query calls `run`.

    Raises:
        UsageError: there is no such directory below the folder.
    """
    name = request.query_params.get("run", "") if name is None else name
    path = directory_below(dashboard_of(request).folder, name)
    if path is None or not (path / MARK_OF[kind]).is_file():
        raise UsageError(f"{name!r} is no {kind} below the folder that this server shows.")
    return name, path


def folder_index_of(request: Request) -> FolderIndex:
    """All that lies below the folder; one for the server."""
    dashboard = dashboard_of(request)
    found: FolderIndex = dashboard.kept.setdefault("folder", FolderIndex(dashboard.folder))
    return found
