"""`holotype split`: train, val and test folders for other tools."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from holotype.cli.options import AsJson, GroupPattern, LabelPattern, LabelPrefix, OnLeak, Ratios
from holotype.cli.output import (
    print_json,
    print_message,
    print_next_command,
    print_result,
)
from holotype.errors import UsageError
from holotype.pipeline.split import ExportedSplit, export_split
from holotype.progress import to_stderr
from holotype.terminal import text_table

SHOWN_CLASSES = 40


def split(
    data: Annotated[tuple[Path, ...], Parameter(negative=())],
    /,
    *,
    output: Path,
    link: Annotated[bool, Parameter(show_default=False)] = False,
    copy: Annotated[bool, Parameter(show_default=False)] = False,
    force: Annotated[bool, Parameter(show_default=False)] = False,
    ratios: Ratios = None,
    seed: int | None = None,
    on_leak: OnLeak = "refuse",
    label_pattern: LabelPattern = None,
    group_pattern: GroupPattern = None,
    label_prefix: LabelPrefix = False,
    as_json: AsJson = False,
) -> int:
    """Groups stay on one side, and so do copies of one image, which the audit finds.

    Args:
        data: Folders with one folder per class, or CSV or Parquet tables; several are combined.
        output: The directory to write; new, empty, or a split that is there already. That one
            is kept if it is of the same images and settings, and refused if it is not.
        link: Write symbolic links to the images.
        copy: Write copies of the images; this is what happens unless said otherwise.
        force: Build anew what is there.
        seed: Of the split (42).
    """
    if link and copy:
        raise UsageError("--link and --copy exclude each other; name one of them.")
    exported = export_split(
        data,
        output,
        ratios=ratios,
        seed=seed,
        link=link,
        force=force,
        on_leak=on_leak,
        label_pattern=label_pattern,
        group_pattern=group_pattern,
        label_prefix=label_prefix,
        progress=to_stderr(),
    )
    for note in exported.notes:
        print_message(note)
    if as_json:
        print_json(_summary(exported))
    else:
        print_result(_page(exported))
        print_result(f"split     {exported.output}" + ("" if exported.is_new else " (as it was)"))
    print_next_command("holotype", "train", exported.output / "table.csv")
    return 0


def _page(exported: "ExportedSplit") -> str:
    """What each part got, class by class, and which share that is."""
    counts = exported.class_counts_by_part
    header = ("class", *counts.columns)
    rows: list[tuple[Any, ...]] = [
        (name, *(int(n) for n in row))
        for name, row in zip(counts.index, counts.to_numpy(), strict=True)
    ]
    if len(rows) > SHOWN_CLASSES:
        rest = f"… and {len(rows) - SHOWN_CLASSES} more"
        sums = [sum(row[part] for row in rows[SHOWN_CLASSES:]) for part in range(1, len(header))]
        rows = [*rows[:SHOWN_CLASSES], (rest, *sums)]
    totals = [int(n) for n in counts.sum()]
    shares = ", ".join(
        f"{name} {total / sum(totals):.1%}"
        for name, total in zip(counts.columns, totals, strict=True)
    )
    return "\n".join([text_table(header, [*rows, ("all", *totals)]), "", f"shares    {shares}"])


def _summary(exported: "ExportedSplit") -> dict[str, Any]:
    counts = exported.class_counts_by_part
    return {
        "output": str(exported.output),
        "is_new": exported.is_new,
        "counts": {
            str(part): {str(name): int(n) for name, n in counts[part].items()}
            for part in counts.columns
        },
        "notes": list(exported.notes),
        "refused": exported.refused,
    }
