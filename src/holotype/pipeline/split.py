"""Images -> index -> audit -> split -> folders for other tools."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from holotype.dataset.auditing.run_audit import audit
from holotype.dataset.index import Index, read_index
from holotype.dataset.splitting.export_split import (
    image_records,
    read_split_record,
    require_only_split_files,
    require_same_split,
    write_split_folders,
)
from holotype.dataset.splitting.leakage import resolve_leaks
from holotype.dataset.splitting.splitter import (
    DEFAULT_RATIOS,
    DEFAULT_SEED,
    check_ratios,
    class_counts_by_part,
    describe_missing_classes,
    split,
)
from holotype.dataset.staging import require_empty, require_outside
from holotype.pipeline.training_run.drop_unreadable import drop_unreadable
from holotype.progress import Progress

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ExportedSplit:
    """A split on disk.

    Attributes:
        output: the folder with train, val and test in it.
        index: the usable images of the data, each with its part.
        notes: what is to be said of it: classes that a part lacks, leaks.
        refused: images that could not be read, with the reason.
        is_new: whether it was written now; else it was there, and is the same.
    """

    output: Path
    index: "Index"
    notes: tuple[str, ...]
    refused: dict[str, str]
    is_new: bool

    @property
    def class_counts_by_part(self) -> "pd.DataFrame":
        """How many images of each class (rows) each part (columns) holds."""
        return class_counts_by_part(self.index)


def export_split(
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
    progress: Progress | None = None,
) -> ExportedSplit:
    """Audit and split a data set, and write the parts as folders.

    Groups stay whole, and so do the copies that the audit verified. A split that is there
    already is kept if it is of the same images and settings.

    Args:
        output: new, empty, or a split that this function wrote.
        ratios: of train, val and test, and of cal if there is to be one; they sum to 1.
        link: symbolic links to the images instead of copies.
        force: build anew what is there, even if it is stale.
        on_leak: what becomes of groups and copies that stand on both sides of a split that came
            with the data.

    Raises:
        StaleSplit: the output holds another split, and `force` is off.
        SplitLeakage: the split that came with the data leaks, and is to be refused.
        UsageError: the output holds something else, or lies within the data.
    """
    progress, output = progress or Progress(), Path(output)
    ratios = DEFAULT_RATIOS if ratios is None else ratios
    seed = DEFAULT_SEED if seed is None else seed
    check_ratios(ratios)
    sources = [data] if isinstance(data, str | Path) else data
    require_outside(output, *map(Path, sources))
    index = read_index(
        data, label_pattern=label_pattern, group_pattern=group_pattern, label_prefix=label_prefix
    )
    progress.log(f"{index.size_summary} in {index.root}")
    records = image_records(index)
    settings = {
        "ratios": list(ratios), "seed": seed, "on_leak": on_leak, "files": _file_mode(link=link),
    }  # fmt: skip
    record = None if force else read_split_record(output)
    if record is not None:
        require_same_split(record, output, records=records, settings=settings)
        split_index = _with_recorded_parts(index, record.parts)
        return ExportedSplit(
            output,
            split_index,
            tuple(describe_missing_classes(split_index, ratios=ratios)),
            {},
            is_new=False,
        )
    # Asked first: a refusal should cost no audit.
    if force and output.is_dir():
        require_only_split_files(output)
    else:
        require_empty(output)
    with progress.bar("auditing") as update:
        findings = audit(index, on_progress=update)
    kept, notes = resolve_leaks(
        drop_unreadable(index, findings, progress),
        on_leak=on_leak,
        keep_together=findings.duplicate_clusters,
    )
    split_index = split(kept, ratios=ratios, seed=seed, keep_together=findings.duplicate_clusters)
    write_split_folders(
        split_index, output, records=records, settings=settings, link=link, replace=force
    )
    return ExportedSplit(
        output, split_index, (*notes, *describe_missing_classes(split_index, ratios=ratios)),
        {refusal.path: refusal.reason for refusal in findings.unusable}, is_new=True,
    )  # fmt: skip


def _file_mode(*, link: bool) -> str:
    return "links" if link else "copies"


def _with_recorded_parts(index: "Index", parts: dict[str, str]) -> "Index":
    """The usable images with the parts that they were given when the split was made."""
    table = index.table[index.table["path"].isin(set(parts))].reset_index(drop=True)
    table["split"] = table["path"].map(parts).astype(table["split"].dtype)
    present = set(table["label"])
    return replace(
        index, table=table, classes=tuple(name for name in index.classes if name in present)
    )
