"""The section “Data” of the dashboard."""

from fastapi import APIRouter

from holotype.dashboard_pages.dashboard_state import Section
from holotype.dashboard_pages.data import gallery_pages, label_pages, review_pages

_router = APIRouter()
_router.include_router(gallery_pages.router)
_router.include_router(review_pages.router)
_router.include_router(label_pages.router)

SECTION = Section(
    "Data",
    "Images by label, part and finding; confusion matrix; labels and their review",
    "data/",
    _router,
)
