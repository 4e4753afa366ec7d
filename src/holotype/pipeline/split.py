"""Audit and split a data set, and write the parts as folders for other tools."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from holotype.arguments import require_directory_place
from holotype.dataset.atomic_directory import TABLE_FILENAME, require_empty, require_outside
from holotype.dataset.auditing.audit_without_network import audit
from holotype.dataset.auditing.exclude_confirmed import drop_unreadable
from holotype.dataset.index import Index, read_index
from holotype.dataset.reading.source_types import DataSource, as_sources
from holotype.dataset.splitting.encounter_split import describe_time_leaks
from holotype.dataset.splitting.export_split import (
    LINKS,
    SPLIT_FILENAME,
    UNSEEN,
    UNSEEN_TABLE,
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
)
from holotype.dataset.splitting.splitter import split as assign_parts
from holotype.dataset.splitting.unseen_individuals import hold_out_individuals
from holotype.errors import UsageError, require_one_of
from holotype.extras import with_install_advice
from holotype.files import require_writable
from holotype.notebook import html_result, html_table
from holotype.progress import Progress, default_progress, pluralize
from holotype.text_tables import TEXT_ROWS, short_text, text_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """A split on disk.

    Attributes:
        path: the folder with train, val and test in it.
        index: the usable images of the data, each with its part.
        notes: classes that a part lacks, and what became of leaks, in sentences.
        refused: images that could not be read, with the reason.
        is_new: whether it was written now; else it was there, and is the same.
    """

    path: Path
    index: Index
    notes: tuple[str, ...]
    refused: dict[str, str]
    is_new: bool

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many images of each class each part holds: part -> class -> number."""
        counts = class_counts_by_part(self.index)
        return {
            str(part): {str(name): int(number) for name, number in counts[part].items()}
            for part in counts.columns
        }

    def to_json(self) -> dict[str, Any]:
        """As `holotype split --json` prints it."""
        return {
            "output": str(self.path),
            "is_new": self.is_new,
            "counts": self.counts,
            "notes": list(self.notes),
            "refused": self.refused,
        }

    def to_frame(self) -> "pd.DataFrame":
        """The rows of table.csv: path, label, group, split and weight of every image."""
        import pandas as pd

        words = ["path", "label", "group", "split"]
        return pd.read_csv(  # a class may be called None
            self.path / TABLE_FILENAME, dtype=dict.fromkeys(words, str), keep_default_na=False
        )

    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Header and rows: a class, and how many of its images each part holds; sums last."""
        counts = self.counts
        parts = counts.values()
        rows: list[tuple[Any, ...]] = [
            (name, *(part[name] for part in parts)) for name in next(iter(parts))
        ]
        return ("class", *counts), [*rows, ("all", *(sum(part.values()) for part in parts))]

    def __repr__(self) -> str:
        header, rows = self.table()
        return short_text(self._title, text_table(header, rows, max_rows=TEXT_ROWS))

    def _repr_html_(self) -> str:
        return html_result(self._title, html_table(*self.table()), notes=self.notes)

    @property
    def _title(self) -> str:
        return f"Split of {pluralize(len(self.index), 'image')} in {self.path}"


@with_install_advice
def split(
    data: "DataSource | Sequence[DataSource]",
    *,
    output: str | Path,
    ratios: Sequence[float] | None = None,
    seed: int | None = None,
    link: bool = False,
    force: bool = False,
    on_leak: Literal["refuse", "repair", "keep"] = "refuse",
    label_pattern: str | None = None,
    group_pattern: str | None = None,
    label_prefix: bool = False,
    unseen: float = 0.0,
    progress: Progress | None = None,
) -> Split:
    """Audit and split a data set, and write train, val and test folders that other tools read.

    Groups stay whole, and so do the copies that the audit verified. A split that is there
    already is kept if it is of the same images and settings.

    Example:
        >>> split = holotype.split("photos", output="photos-split", link=True)  # doctest: +SKIP
        >>> split.counts["test"]  # doctest: +SKIP
        {'cat': 18, 'dog': 20}

    Args:
        data: a folder with one folder per class, a CSV or Parquet table or a DataFrame; or
            several of these.
        output: new, empty, or a split that this function wrote.
        ratios: of train, val and test, and of cal if there is to be one; they sum to 1
            (0.7, 0.15, 0.15).
        seed: of the split (42).
        link: symbolic links to the images instead of copies.
        force: build anew what is there, even if it is stale.
        on_leak: what becomes of groups and copies that stand on both sides of a split that came
            with the data.
        label_pattern: a regular expression that finds the label in a file's name, or
            `column:NAME` of a table.
        group_pattern: where the group of an image is read from; see `holotype split --help`.
        label_prefix: put the name of its source before each label.
        unseen: the share of the classes (individuals) that is held out whole, in a folder `unseen`
            and a table of its own.

    Raises:
        StaleSplit: the output holds another split, and `force` is off.
        UsageError: an unknown value of `on_leak`.
        SplitLeakage: the split that came with the data leaks, and is to be refused.
        UsageError: the output holds something else, or lies within the data.
    """
    progress, output = progress or default_progress(), Path(output)
    ratios = DEFAULT_RATIOS if ratios is None else ratios
    seed = DEFAULT_SEED if seed is None else seed
    check_ratios(ratios)
    if not 0 <= unseen < 1:
        raise UsageError(f"--unseen {unseen:g}: expected a share of the classes, such as 0.3.")
    if seed < 0:
        raise UsageError(f"--seed {seed}: expected a whole number of at least 0.")
    require_one_of("on_leak", on_leak, ("refuse", "repair", "keep"))
    require_directory_place(output)
    folders = [source for source in as_sources(data) if isinstance(source, Path)]
    require_outside(output, *folders)
    require_writable(output / SPLIT_FILENAME)
    index = read_index(
        data, label_pattern=label_pattern, group_pattern=group_pattern, label_prefix=label_prefix
    )
    progress.log(f"{index.size_summary} in {index.root}")
    progress.log_all(index.reading_notes())
    records = image_records(index)
    files = LINKS if link else "copies"
    settings: dict[str, Any] = {
        "ratios": list(ratios), "seed": seed, "on_leak": on_leak, "files": files,
    }  # fmt: skip
    settings |= {"unseen": unseen} if unseen else {}
    record = None if force else read_split_record(output)
    if record is not None:
        require_same_split(record, output, records=records, settings=settings)
        split_index = _with_recorded_parts(index, record.parts)
        notes = describe_missing_classes(split_index, ratios=ratios)
        return Split(output, split_index, tuple(notes), record.refused, is_new=False)
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
    copies = findings.duplicate_clusters
    kept, held_out = hold_out_individuals(kept, unseen, seed, keep_together=copies)
    split_index = assign_parts(kept, ratios=ratios, seed=seed, keep_together=copies)
    refused = {refusal.path: refusal.reason for refusal in findings.unusable}
    write_split_folders(
        split_index, output, records=records, settings=settings, replace=force, unseen=held_out,
        refused=refused,
    )  # fmt: skip
    notes += describe_time_leaks(split_index)
    if len(held_out):
        notes.append(
            f"{pluralize(len(held_out.classes), 'class', 'classes')} with "
            f"{pluralize(len(held_out), 'image')} in no part: {output / UNSEEN_TABLE}."
        )
    return Split(
        output, split_index, (*notes, *describe_missing_classes(split_index, ratios=ratios)),
        refused, is_new=True,
    )  # fmt: skip


def _with_recorded_parts(index: Index, parts: dict[str, str]) -> Index:
    """The usable images with the parts that they were given when the split was made."""
    divided = {path for path, part in parts.items() if part != UNSEEN}
    table = index.table[index.table["path"].isin(divided)].reset_index(drop=True)
    table["split"] = table["path"].map(parts).astype(table["split"].dtype)
    present = set(table["label"])
    return replace(
        index, table=table, classes=tuple(name for name in index.classes if name in present)
    )
