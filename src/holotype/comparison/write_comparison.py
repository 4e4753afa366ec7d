"""A comparison as files.

OUTPUT/
  index.html        everything on one page; opens offline
  comparison.md     the same for a repository or a paper, without images
  comparison.csv    one row per run and part
  per_class.csv     one row per class and run
  comparison.json   everything, for programs
  selection.json    with --select: the run to ship
  *.png             the figures

Shape suffixes: H height, W width, C colour channels (red, green, blue).
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.comparison import comparison_figures
from holotype.comparison.bootstrap import ACCURACY
from holotype.comparison.result import Comparison
from holotype.comparison.tables import Section, Table, sections
from holotype.files import csv_cell, csv_lines, write_json, write_text
from holotype.reporting.plot_style import save_all
from holotype.reporting.templates import escape_markdown, jpeg_url, plot_image, render

MAX_SIDE_PX = 240  # pixels of an image on the page


def write_comparison(
    comparison: Comparison, output: Path, images: Mapping[str, NDArray[np.uint8]] | None = None
) -> None:
    """Write all files; a figure or a selection.json that does not apply is removed.

    Args:
        output: the directory; made if need be.
        images: uint8 (H, W, 3) by the id of a disagreement, where the image is available.
    """
    write_json(output / "comparison.json", comparison.to_json())
    write_text(output / "comparison.csv", _csv(comparison.records()))
    write_text(output / "per_class.csv", _csv(comparison.class_records()))
    write_text(output / "comparison.md", _markdown(comparison))
    if comparison.selection is not None:
        write_json(output / "selection.json", _selection_json(comparison, output))
    else:
        (output / "selection.json").unlink(missing_ok=True)
    figures = save_all(comparison_figures.all_figures(comparison), output)
    write_text(output / "index.html", _page(comparison, figures, images or {}))


def _page(
    comparison: Comparison,
    figures: Mapping[str, bytes],
    images: Mapping[str, NDArray[np.uint8]],
) -> str:
    """One HTML page: images inside, nothing loaded, every name escaped.

    Args:
        figures: PNG bytes by name.
        images: uint8 (H, W, 3) by the id of a disagreement.
    """
    main = comparison.main
    return render(
        "comparison.html.j2",
        comparison=comparison,
        main=main,
        notes=[*comparison.notes, *main.caveats],
        sections=sections(comparison),
        plot_images={name: plot_image(png) for name, png in figures.items()},
        agreement=comparison.agreement,
        cards=[
            (image, jpeg_url(images[image.id], MAX_SIDE_PX) if image.id in images else None)
            for image in comparison.disagreements
        ],
    )


def _csv(records: Sequence[dict[str, Any]]) -> str:
    return csv_lines([records[0], *(map(csv_cell, row.values()) for row in records)])


def _markdown(comparison: Comparison) -> str:
    """Everything but images and figures."""
    main = comparison.main
    lines = [f"# {escape_markdown(comparison.title)}", "", escape_markdown(main.summary()), ""]
    if comparison.selected is not None:
        lines += [escape_markdown(comparison.selection_sentence()), ""]
    lines += [f"- {escape_markdown(note)}" for note in (*comparison.notes, *main.caveats)]
    for section in sections(comparison):
        lines += _markdown_section(section)
    return "\n".join(lines) + "\n"


def _markdown_section(section: Section) -> list[str]:
    lines = ["", f"## {escape_markdown(section.title)}", ""]
    if section.intro:
        lines += [escape_markdown(section.intro), ""]
    for table in section.tables:
        if table.title:
            lines += [f"### {table.title}", ""]
        lines += [*_markdown_table(table), ""]
        for note in table.notes:
            lines += [escape_markdown(note), ""]
    return [*lines, escape_markdown(section.explanation)]


def _markdown_table(table: Table) -> list[str]:
    if not table.rows:
        return ["None."]
    rule = ["--:" if kind == "number" else "---" for kind in table.columns.values()]
    rows = [[escape_markdown(name) for name in table.columns], rule]
    for cells in table.rows:
        texts = (f"{cell.text} ({cell.note})" if cell.note else cell.text for cell in cells)
        rows.append(
            [
                text if kind == "number" else escape_markdown(text)
                for kind, text in zip(table.columns.values(), texts, strict=True)
            ]
        )
    return [f"| {' | '.join(row)} |" for row in rows]


def _selection_json(comparison: Comparison, output: Path) -> dict[str, Any]:
    """The run to ship, for a backend to read."""
    selection, chosen = comparison.selection, comparison.selected
    assert selection is not None
    assert chosen is not None
    leaderboard = comparison.leaderboards[selection.part]
    return {
        "format_version": 1,
        "selections": [
            {
                "data": chosen.data,
                "run": chosen.name,
                "model": chosen.model,
                "version": chosen.bundle_sha256[:12],
                "bundle": None if chosen.bundle is None else _relative(chosen.bundle, output),
                "bundle_sha256": chosen.bundle_sha256,
                "rule": selection.rule.text,
                "chosen_on": leaderboard.title.lower(),
                "metric": selection.rule.score,
                "value": leaderboard.value(selection.rule.score, selection.chosen),
                ACCURACY: {
                    part: one.accuracies[one.names.index(chosen.name)].to_json()
                    for part, one in comparison.leaderboards.items()
                    if chosen.name in one.names
                },
                **chosen.cost.to_json(),
                "eligible": [leaderboard.names[number] for number in selection.eligible],
                "passed_over": dict(selection.passed_over),
            }
        ],
    }


def _relative(bundle: Path, output: Path) -> str:
    """Relative to `output` where both lie in one folder of runs, so that the folder may move."""
    bundle, output = bundle.resolve(), output.resolve()
    if bundle.is_relative_to(output.parent):
        return Path(os.path.relpath(bundle, output)).as_posix()
    return bundle.as_posix()
