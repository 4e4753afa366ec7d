"""The report of a search as one HTML page, and as JSON for programs."""

import shlex

from holotype.files import write_json, write_text
from holotype.progress import pluralize
from holotype.reporting.plot_style import save_all
from holotype.reporting.templates import plot_image, render
from holotype.search.report.search_figures import all_figures
from holotype.search.search_result import HEADER, Search

MAX_ROWS = 50
KINDS = ("number", "", "number", "number", "drawn")


def write_search_report(search: Search, name: str) -> None:
    """Write `report/`: figures, report.json, and the page last.

    Args:
        name: what the data is called.
    """
    place = search.files.report
    images = save_all(all_figures(search), place)
    write_json(place / "report.json", search.to_json())
    rows = search.rows()
    counts = ", ".join(f"{count} {state}" for state, count in search.counts.items())
    text = render(
        "search.html.j2",
        title=f"Search on {name}",
        search=search,
        counts=f"{pluralize(len(search.records), 'trial')}: {counts}",
        command=shlex.join(["holotype", "train", "DATA", "--recipe", str(search.best_recipe)]),
        header=HEADER,
        rows=rows[:MAX_ROWS],
        hidden=max(0, len(rows) - MAX_ROWS),
        kinds=KINDS,
        plot_images={name: plot_image(png) for name, png in images.items()},
    )
    write_text(place / "index.html", text)
