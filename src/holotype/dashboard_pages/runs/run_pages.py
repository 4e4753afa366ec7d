"""The table of all runs, their tags, and the leaderboard of chosen ones."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.responses import Response

from holotype.comparison.result import Comparison
from holotype.dashboard_pages.addresses import page_of, query_string
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.file_cache import Signature, file_signature
from holotype.dashboard_pages.page import page_router, posted_form, redirect, render
from holotype.dashboard_pages.runs.folder_index import FolderEntry
from holotype.dashboard_pages.runs.run_holder import HeldLocks, held_locks, holder_of
from holotype.dashboard_pages.runs.run_names import shown_names
from holotype.dashboard_pages.runs.run_places import folder_index_of, place_of
from holotype.dashboard_pages.runs.run_query import (
    KINDS,
    RunQuery,
    select_entries,
    values_of,
)
from holotype.dashboard_pages.runs.run_tags import write_tags
from holotype.dashboard_pages.visitors import MayLook, MayReview
from holotype.errors import HolotypeError, UsageError
from holotype.pipeline.compare import compare
from holotype.progress import duration

RUNS_ON_PAGE = 50
MAX_COMPARED = 40
MAX_COMPARISONS = 8  # kept
WAIT_S = 0.2  # for a comparison, before the page says that it goes on

router = page_router("runs")


@router.get("/")
def show_runs(request: Request, visitor: MayLook) -> Response:
    index, query = folder_index_of(request), RunQuery.of(request.query_params)
    entries = index.entries()
    chosen = select_entries(entries, query)
    shown, page, num_pages = page_of(chosen, query.page, RUNS_ON_PAGE)
    folder = dashboard_of(request).folder
    return render(
        request, "runs/runs.html.j2", query=query, entries=shown, total=len(chosen),
        everything=len(entries), page=page, num_pages=num_pages, known=values_of(entries),
        kinds=KINDS, states=_states(folder, shown), duration=duration,
        is_complete=index.is_complete, names=shown_names(folder, (one.path for one in shown)),
    )  # fmt: skip


@router.post("/tags")
def change_tags(request: Request, visitor: MayReview) -> Response:
    name, path = place_of(request, "run")
    write_tags(path, posted_form(request).get("tags").split(","))
    folder_index_of(request).entries(now=True)
    return redirect(request, f"runs/run?{query_string({'run': name})}")


@router.get("/leaderboard")
def show_leaderboard(request: Request, visitor: MayLook) -> Response:
    names = list(dict.fromkeys(request.query_params.getlist("run")))
    if not 1 <= len(names) <= MAX_COMPARED:
        raise UsageError(f"{len(names)} runs were chosen; expected 1 to {MAX_COMPARED}.")
    paths = [place_of(request, "run", name)[1] for name in names]
    future = _comparison(dashboard_of(request).kept, paths)
    wait([future], WAIT_S)
    comparison, error = None, ""
    if future.done():
        failure = future.exception()
        if isinstance(failure, HolotypeError):
            error = str(failure)
        else:
            comparison = future.result()
    folder = dashboard_of(request).folder.resolve()
    paths_of = {} if comparison is None else {
        one.name: one.path.resolve().relative_to(folder).as_posix() for one in comparison.candidates
    }  # fmt: skip
    return render(
        request, "runs/leaderboard.html.j2", names=names, comparison=comparison, error=error,
        paths_of=paths_of, shown=shown_names(folder, paths_of.values()),
    )  # fmt: skip


def _states(folder: Path, entries: Sequence[FolderEntry]) -> dict[str, str]:
    """Of the entries of one page: training, finished or stopped."""
    held = held_locks()
    return {entry.path: _state(folder, entry, held) for entry in entries}


def _state(folder: Path, entry: FolderEntry, held: HeldLocks) -> str:
    if entry.kind == "audit":
        return ""
    if holder_of(folder / entry.path, held) is not None:
        return "searching" if entry.kind == "search" else "training"
    if entry.kind == "sweep":
        return ""
    return "finished" if entry.is_finished else "stopped"


def _comparison(kept: dict[str, Any], paths: list[Path]) -> "Future[Comparison]":
    """The comparison of runs as their predictions are now; computed once, by one thread."""
    pool = kept.setdefault("comparing", ThreadPoolExecutor(1, "comparing"))
    known: dict[tuple[Path, ...], tuple[Signature, Future[Comparison]]]
    known = kept.setdefault("comparisons", {})
    files = [
        path / "predictions" / f"{part}.parquet"
        for path in paths
        for part in ("test", "oof", "val")
    ]
    key, signature = tuple(paths), file_signature(files)
    if key in known and known[key][0] == signature:
        return known[key][1]
    future: Future[Comparison] = pool.submit(compare, list(paths), speed_images=0)
    known[key] = (signature, future)
    while len(known) > MAX_COMPARISONS:
        known.pop(next(iter(known)))
    return future
