"""The section “Runs” of the dashboard."""

from fastapi import APIRouter

from holotype.dashboard_pages.dashboard_state import Section
from holotype.dashboard_pages.runs import one_run_pages, run_pages, search_pages, start_pages

_router = APIRouter()
for _pages in (run_pages, one_run_pages, search_pages, start_pages):
    _router.include_router(_pages.router)

_SUMMARY = "All runs, what trains now, leaderboards, searches and sweeps; start a training"
SECTION = Section("Runs", _SUMMARY, "runs/", _router)
