"""`holotype split`: train, val and test folders for other tools."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from holotype.cli.options import (
    SPLIT,
    AsJson,
    GroupPattern,
    LabelPattern,
    LabelPrefix,
    OnLeak,
    Ratios,
    Switch,
    Unseen,
)
from holotype.cli.output import (
    print_json,
    print_message,
    print_next_command,
    print_result,
)
from holotype.pipeline.split import Split
from holotype.pipeline.split import split as split_data
from holotype.progress import to_stderr
from holotype.text_tables import text_table

SHOWN_CLASSES = 40


def split(
    data: tuple[Path, ...],
    /,
    *,
    output: Path,
    link: Switch = False,
    force: Switch = False,
    ratios: Ratios = None,
    seed: Annotated[int | None, Parameter(group=SPLIT)] = None,
    on_leak: OnLeak = "refuse",
    label_pattern: LabelPattern = None,
    group_pattern: GroupPattern = None,
    label_prefix: LabelPrefix = False,
    unseen: Unseen = None,
    as_json: AsJson = False,
) -> int:
    """Groups stay on one side, and so do copies of one image, which the audit finds.

    Args:
        data: Folders with one folder per class, or CSV or Parquet tables; several are combined.
        output: The directory to write; new, empty, or a split that is there already. That one
            is kept if it is of the same images and settings, and refused if it is not.
        link: Write symbolic links to the images, not copies.
        force: Build anew what is there.
        seed: Of the split (42).
    """
    made = split_data(
        data,
        output=output,
        ratios=ratios,
        seed=seed,
        link=link,
        force=force,
        on_leak=on_leak,
        label_pattern=label_pattern,
        group_pattern=group_pattern,
        label_prefix=label_prefix,
        unseen=unseen or 0.0,
        progress=to_stderr(),
    )
    for note in made.notes:
        print_message(note)
    if as_json:
        print_json(made.to_json())
    else:
        print_result(_page(made))
        print_result(f"split     {made.path}" + ("" if made.is_new else " (as it was)"))
    print_next_command("holotype", "train", made.path / "table.csv")
    return 0


def _page(made: Split) -> str:
    """What each part got, class by class, and which share that is."""
    header, [*rows, totals] = made.table()
    if len(rows) > SHOWN_CLASSES:
        rest = rows[SHOWN_CLASSES:]
        sums = (sum(row[part] for row in rest) for part in range(1, len(header)))
        rows = [*rows[:SHOWN_CLASSES], (f"… and {len(rest)} more", *sums)]
    shares = ", ".join(
        f"{name} {number / len(made.index):.1%}"
        for name, number in zip(header[1:], totals[1:], strict=True)
    )
    return "\n".join([text_table(header, [*rows, totals]), "", f"shares    {shares}"])
