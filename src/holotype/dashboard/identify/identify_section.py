"""The section “Individuals” of the dashboard."""

from holotype.dashboard.dashboard_state import Section
from holotype.dashboard.identify import identify_pages

SECTION = Section(
    "Individuals",
    "Who is this? Ask a gallery, confirm or name somebody new, and see when each was met",
    "identify/",
    identify_pages.router,
)
