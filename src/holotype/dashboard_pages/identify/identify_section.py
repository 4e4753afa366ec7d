"""The section “Individuals” of the dashboard."""

from holotype.dashboard_pages.dashboard_state import Section
from holotype.dashboard_pages.identify import identify_pages

SECTION = Section(
    "Individuals",
    "Who is this? Ask a gallery, confirm or name somebody new, and see when each was met",
    "identify/",
    identify_pages.router,
)
