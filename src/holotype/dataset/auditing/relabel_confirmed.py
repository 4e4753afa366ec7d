"""Relabel images: confirmed new labels of a table, such as an audit's reviewed issues.csv."""

from dataclasses import dataclass, replace
from pathlib import Path

from holotype.dataset.auditing.exclude_confirmed import (
    NEW_LABEL,
    is_confirmed,
    paths_in_index,
    paths_not_in_index,
    read_issue_table,
)
from holotype.dataset.auditing.issue_reviews import disagreement_note
from holotype.dataset.class_names import blank_notes, class_name
from holotype.dataset.index import Index
from holotype.errors import InvalidTable, did_you_mean
from holotype.progress import pluralize


@dataclass(frozen=True, eq=False)
class Relabelled:
    """An index with new labels.

    Attributes:
        index: the same images in the same order.
        labels_before: of the images whose label changed, by path.
        notes: what was done and what was not, in sentences.
    """

    index: Index
    labels_before: dict[str, str]
    notes: list[str]


def relabel_images(index: Index, table: str | Path) -> Relabelled:
    """The index with the confirmed new labels of a table; no file of the data set is touched.

    Split first, so that the parts do not change with the labels.

    Args:
        table: a CSV file with the columns `path` and `new_label`. A row counts that has a new
            label and says yes, y, true, 1 or x under `confirmed`, or every row with a new label
            where there is no such column.

    Raises:
        InvalidTable: as `new_labels`; or a label that is no class, or no path of this data set.
    """
    labels, notes = new_labels(Path(table))
    known = set(index.table["path"])
    path_of = paths_in_index(index, table, labels)
    labels = {path_of[path]: label for path, label in labels.items()}
    unknown = sorted(set(labels.values()) - set(index.classes))
    if unknown:
        raise InvalidTable(
            f"{str(table)!r} gives the label {unknown[0]!r}, which is no class of this data set"
            f"{did_you_mean(unknown[0], index.classes)} It has {', '.join(index.classes[:20])}."
        )
    elsewhere = paths_not_in_index(index, table, set(labels))
    before = dict(zip(index.table["path"], index.table["label"], strict=True))
    changed = {
        path: before[path]
        for path, label in labels.items()
        if path in before and before[path] != label
    }
    relabelled = index.table.copy()
    relabelled["label"] = (
        relabelled["label"]
        .mask(relabelled["path"].isin(changed), relabelled["path"].map(labels))
        .astype("str")
    )
    notes.insert(0, f"{pluralize(len(changed), 'image')} relabelled by {str(table)!r}.")
    same = len(known & labels.keys()) - len(changed)
    if same:
        notes.append(f"{pluralize(same, 'image')} had the new label already.")
    if elsewhere:
        notes.append(
            f"warning: {pluralize(len(elsewhere), 'path')} in {str(table)!r} not of this data set; "
            f"the first: {elsewhere[0]!r}."
        )
    return Relabelled(replace(index, table=relabelled), changed, notes)


def new_labels(table: Path) -> tuple[dict[str, str], list[str]]:
    """Path -> confirmed new label; and what of the table does not count, in sentences.

    Raises:
        InvalidTable: no such file, no column `path` or `new_label`, a `confirmed` that is neither
            yes nor no, no confirmed new label, or one path with two.
    """
    rows, column_notes = read_issue_table(table)
    if not rows or NEW_LABEL not in rows[0]:
        raise InvalidTable(
            f"{str(table)!r} gives no new labels: expected the columns 'path' and 'new_label', as "
            "the review of labels in the dashboard writes them."
        )
    named = [row for row in rows if row[NEW_LABEL].strip()]
    confirmed = [row for row in named if is_confirmed(row, table)]
    notes = [*column_notes, *disagreement_note(rows, table)]
    notes += blank_notes(row[NEW_LABEL] for row in confirmed)
    if not confirmed:
        raise InvalidTable(
            f"no new label in {str(table)!r} is confirmed ({pluralize(len(rows), 'row')}), so no "
            f"image would be relabelled. {' '.join(notes)} Write the class into 'new_label' and "
            "yes into 'confirmed', or omit --relabel."
        )
    if len(named) > len(confirmed):
        count = pluralize(len(named) - len(confirmed), "new label")
        notes.append(f"{count} in {str(table)!r} not confirmed.")
    labels: dict[str, str] = {}
    for row in confirmed:
        label = class_name(row[NEW_LABEL].strip())
        if labels.setdefault(row["path"], label) != label:
            raise InvalidTable(
                f"{str(table)!r} gives {row['path']!r} two labels, {labels[row['path']]!r} and "
                f"{label!r}; leave one of the rows."
            )
    return labels, notes
