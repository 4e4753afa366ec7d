"""Pictures -> index -> audit -> split -> folders for other tools."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from holotype.narration import Narrator
from holotype.road.usable import usable

if TYPE_CHECKING:
    import pandas as pd

    from holotype.dataset.index import Index


@dataclass(frozen=True, eq=False)
class Divided:
    """A split on disk.

    Attributes:
        output: the folder with train, val and test in it.
        index: the usable pictures of the data, each with its part.
        notes: what is to be said of it: classes that a part lacks, leaks.
        refused: pictures that could not be read, with the reason.
        is_new: whether it was written now; else it was there, and is the same.
    """

    output: Path
    index: "Index"
    notes: tuple[str, ...]
    refused: dict[str, str]
    is_new: bool

    @property
    def proportions(self) -> "pd.DataFrame":
        """How many pictures of each class (rows) each part (columns) holds."""
        from holotype.dataset.split import proportions

        return proportions(self.index)


def divide(
    data: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    ratios: Sequence[float] | None = None,
    seed: int | None = None,
    link: bool = False,
    force: bool = False,
    on_leak: Literal["refuse", "repair", "keep"] = "refuse",
    label_pattern: str | None = None,
    group_pattern: str | None = None,
    label_prefix: bool = False,
    narrator: Narrator | None = None,
) -> Divided:
    """Audit and split a data set, and write the parts as folders.

    Groups stay whole, and so do the copies that the audit verified. A split that is there
    already is kept if it is of the same pictures and settings.

    Args:
        output: new, empty, or a split that this function wrote.
        ratios: of train, val and test, and of cal if there is to be one; they sum to 1.
        link: symbolic links to the pictures instead of copies.
        force: build anew what is there, even if it is stale.
        on_leak: what becomes of groups and copies that stand on both sides of a split that came
            with the data.

    Raises:
        StaleSplit: the output holds another split, and `force` is off.
        SplitLeaks: the split that came with the data leaks, and is to be refused.
        UsageError: the output holds something else, or lies within the data.
    """
    from holotype.dataset.audit import audit
    from holotype.dataset.index import read_index
    from holotype.dataset.landing import require_free, require_outside
    from holotype.dataset.leaks import settled
    from holotype.dataset.part_folders import (
        pictures_of,
        read_record,
        require_only_ours,
        require_same,
        write_part_folders,
    )
    from holotype.dataset.split import DEFAULT_RATIOS, DEFAULT_SEED, check_ratios, lacking, split

    narrator, output = narrator or Narrator(), Path(output)
    ratios = DEFAULT_RATIOS if ratios is None else ratios
    seed = DEFAULT_SEED if seed is None else seed
    check_ratios(ratios)
    sources = [data] if isinstance(data, str | Path) else data
    require_outside(output, *map(Path, sources))
    index = read_index(
        data, label_pattern=label_pattern, group_pattern=group_pattern, label_prefix=label_prefix
    )
    narrator.say(f"{index.in_words} in {index.root}")
    pictures = pictures_of(index)
    settings = {
        "ratios": list(ratios), "seed": seed, "on_leak": on_leak, "files": _kind(link=link),
    }  # fmt: skip
    record = None if force else read_record(output)
    if record is not None:
        require_same(record, output, pictures=pictures, settings=settings)
        done = _as_recorded(index, record.parts)
        return Divided(output, done, tuple(lacking(done, ratios=ratios)), {}, is_new=False)
    # Asked first: a refusal should cost no audit.
    if force and output.is_dir():
        require_only_ours(output)
    else:
        require_free(output)
    with narrator.progress("auditing") as progress:
        findings = audit(index, on_progress=progress)
    kept, notes = settled(
        usable(index, findings, narrator), on_leak=on_leak, together=findings.copies
    )
    done = split(kept, ratios=ratios, seed=seed, together=findings.copies)
    write_part_folders(done, output, pictures=pictures, settings=settings, link=link, replace=force)
    return Divided(
        output, done, (*notes, *lacking(done, ratios=ratios)),
        {refusal.path: refusal.reason for refusal in findings.refusals}, is_new=True,
    )  # fmt: skip


def _kind(*, link: bool) -> str:
    return "links" if link else "copies"


def _as_recorded(index: "Index", parts: dict[str, str]) -> "Index":
    """The usable pictures with the parts that they were given when the split was made."""
    table = index.table[index.table["path"].isin(set(parts))].reset_index(drop=True)
    table["split"] = table["path"].map(parts).astype(table["split"].dtype)
    present = set(table["label"])
    return replace(
        index, table=table, classes=tuple(name for name in index.classes if name in present)
    )
