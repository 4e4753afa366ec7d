"""A search and a sweep, as they go."""

import json

from fastapi import Request
from starlette.responses import Response

from holotype.dashboard_pages.addresses import query_string
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.page import page_router, render
from holotype.dashboard_pages.runs.run_holder import holder_of
from holotype.dashboard_pages.runs.run_places import place_of
from holotype.dashboard_pages.runs.search_progress import sweep_rows, trial_rows
from holotype.dashboard_pages.visitors import MayLook
from holotype.files import read_json
from holotype.progress import duration
from holotype.search_directory import SearchDirectory

SHOWN_TRIALS = 100
MAX_KEPT = 100_000  # rows of trials

router = page_router("runs")


@router.get("/search")
def show_search(request: Request, visitor: MayLook) -> Response:
    name, path = place_of(request, "search")
    search = SearchDirectory(path)
    kept = dashboard_of(request).kept.setdefault("trials", {})
    if len(kept) > MAX_KEPT:
        kept.clear()
    process = holder_of(path)
    rows = trial_rows(search, kept, is_running=process is not None)
    complete = [row for row in rows if row.accuracy is not None and row.state == "complete"]
    complete.sort(key=lambda row: (-(row.accuracy or 0), row.log_loss or 0, row.number))
    report = {}
    if (search.report / "report.json").is_file():
        report = read_json(search.report / "report.json")
    shown = [*(row for row in rows if row.state == "running"), *complete]
    shown += [row for row in rows if row.state in ("pruned", "failed", "stopped")]
    return render(
        request, "runs/search.html.j2", run=name, rows=shown[:SHOWN_TRIALS], total=len(rows),
        complete=complete, report=report, duration=duration,
        counts={state: sum(row.state == state for row in rows)
                for state in ("complete", "pruned", "failed", "running", "stopped")},
        points=json.dumps([[row.number, row.accuracy] for row in rows if row.state == "complete"]),
        process=process, query=query_string({"run": name}),
        best=query_string({"run": f"{name}/best"}) if search.best.recipe.is_file() else "",
    )  # fmt: skip


@router.get("/sweep")
def show_sweep(request: Request, visitor: MayLook) -> Response:
    name, path = place_of(request, "sweep")
    rows = sweep_rows(path, dashboard_of(request).folder.resolve())
    finished = [row.path for row in rows if row.state == "finished"]
    return render(
        request, "runs/sweep.html.j2", run=name, rows=rows, process=holder_of(path),
        counts={state: sum(row.state == state for row in rows)
                for state in ("finished", "training", "stopped", "waiting")},
        query=query_string({"run": name}),
        compared=query_string([("run", run) for run in finished[:40]]),
    )  # fmt: skip
