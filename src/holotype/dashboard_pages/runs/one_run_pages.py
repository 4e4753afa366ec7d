"""One run: its scores, its curves, how far its training is, and the button that stops it."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.responses import Response

from holotype.dashboard_pages.addresses import query_string
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.events import event_stream
from holotype.dashboard_pages.file_cache import file_signature
from holotype.dashboard_pages.page import page_router, redirect, render
from holotype.dashboard_pages.runs.run_holder import holder_of, stop_holder
from holotype.dashboard_pages.runs.run_names import shown_names
from holotype.dashboard_pages.runs.run_places import place_of
from holotype.dashboard_pages.runs.run_tags import read_tags
from holotype.dashboard_pages.runs.training_progress import training_progress
from holotype.dashboard_pages.visitors import MayLook, MayPromote
from holotype.errors import HolotypeError
from holotype.evaluation.report_data import read_report
from holotype.files import read_json
from holotype.progress import duration
from holotype.run_directory import RunDirectory

LOOK_S = 1.0  # between two looks at what moves
MAX_RECIPE_CHARACTERS = 20_000
WATCHED = {
    "run": ("history.csv", "train.log", "report/metrics.json", "report/index.html"),
    "search": ("trials.csv", "trials", "search.log", "report/report.json"),
    "sweep": ("_jobs", "_logs", "selection.json"),
}

router = page_router("runs")


@router.get("/run")
def show_run(request: Request, visitor: MayLook) -> Response:
    name, path = place_of(request, "run")
    run = RunDirectory(path)
    progress = training_progress(path)
    report, problem = None, ""
    try:
        if (run.report / "metrics.json").is_file():
            report = read_report(run.report / "metrics.json")
    except HolotypeError as error:
        problem = str(error)
    environment: dict[str, Any] = {}
    try:
        environment = read_json(run.environment) if run.environment.is_file() else {}
    except HolotypeError as error:
        problem = str(error)
    return render(
        request, "runs/run.html.j2", shown=shown_names(dashboard_of(request).folder, [name])[name],
        run=name, path=str(path), progress=progress,
        report=report, quoted=shlex.quote(str(path)),
        problem=problem, environment=environment, tags=read_tags(path), duration=duration,
        recipe=_recipe_text(run), curves=json.dumps(list(progress.epochs)),
        query=query_string({"run": name}), of=query_string({"of": name}),
        has_index=run.index.is_file(),
    )  # fmt: skip


@router.post("/stop")
def stop(request: Request, visitor: MayPromote) -> Response:
    """Tell the process that holds a run, a search or a sweep to stop, as SIGTERM does."""
    kind = _kind(request)
    name, path = place_of(request, kind)
    stop_holder(path)
    return redirect(request, f"runs/{kind}?{query_string({'run': name})}")


@router.get("/changes")
def send_changes(request: Request, visitor: MayLook) -> Response:
    """An event whenever a run, a search or a sweep has moved, until its process has ended."""
    kind = _kind(request)
    _, path = place_of(request, kind)
    return event_stream(request, changes(path, kind))


def _kind(request: Request) -> str:
    """A run unless a search or a sweep is asked for."""
    asked = request.query_params.get("kind", "run")
    return asked if asked in WATCHED else "run"


async def changes(path: Path, kind: str) -> AsyncIterator[tuple[str, Any]]:
    """An event whenever one of the watched files has changed, until nobody holds the directory."""
    files = [path / name for name in WATCHED[kind]]
    before = None
    while True:
        is_held = await asyncio.to_thread(holder_of, path) is not None
        now = await asyncio.to_thread(file_signature, files)
        if before is not None and now != before:
            yield "changed", None
        if not is_held:
            return
        before = now
        await asyncio.sleep(LOOK_S)


def _recipe_text(run: RunDirectory) -> str:
    try:
        with run.recipe.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_RECIPE_CHARACTERS)
    except OSError:
        return ""
