"""`holotype split`: train, val and test folders for other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from holotype.cli.options import AsJson, GroupPattern, LabelPattern, LabelPrefix, OnLeak, Ratios
from holotype.cli.output import show, show_json, tell, tell_next, text_table
from holotype.errors import UsageError
from holotype.narration import to_stderr

if TYPE_CHECKING:
    from holotype.road.divided import Divided

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
    """Groups stay on one side, and so do copies of one picture, which the audit finds.

    Args:
        data: Folders with one folder per class, or CSV or Parquet tables; several are combined.
        output: The directory to write; new, empty, or a split that is there already. That one
            is kept if it is of the same pictures and settings, and refused if it is not.
        link: Write symbolic links to the pictures.
        copy: Write copies of the pictures; this is what happens unless said otherwise.
        force: Build anew what is there.
        seed: Of the split (42).
    """
    from holotype.road.divided import divide

    if link and copy:
        raise UsageError("--link and --copy exclude each other; name one of them.")
    divided = divide(
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
        narrator=to_stderr(),
    )
    for note in divided.notes:
        tell(note)
    if as_json:
        show_json(_summary(divided))
    else:
        show(_page(divided))
        show(f"split     {divided.output}" + ("" if divided.is_new else " (as it was)"))
    tell_next("holotype", "train", divided.output / "table.csv")
    return 0


def _page(divided: "Divided") -> str:
    """What each part got, class by class, and which share that is."""
    counts = divided.proportions
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


def _summary(divided: "Divided") -> dict[str, Any]:
    counts = divided.proportions
    return {
        "output": str(divided.output),
        "is_new": divided.is_new,
        "counts": {
            str(part): {str(name): int(n) for name, n in counts[part].items()}
            for part in counts.columns
        },
        "notes": list(divided.notes),
        "refused": divided.refused,
    }
