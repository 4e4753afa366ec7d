"""Old and new images as one data set: copied, audited, and each in its place."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holotype.dataset.auditing.audit_without_network import audit
from holotype.dataset.auditing.findings import Findings
from holotype.dataset.class_names import class_name
from holotype.dataset.index import Index, read_index
from holotype.dataset.reading.csv_tables import read_csv_table
from holotype.errors import DatasetError
from holotype.files import atomic_write, csv_text, write_json, write_text
from holotype.imaging.image_formats import HEAD_BYTES, format_of
from holotype.progress import Progress, pluralize
from holotype.watching.labelling.label_sheet import SheetRow, read_sheet
from holotype.watching.retraining.champion import Champion
from holotype.watching.retraining.collected_labels import CollectedLabels
from holotype.watching.retraining.retraining_directory import RetrainingDirectory
from holotype.watching.retraining.split_extension import FRESH, UNUSED, extend_split

_LABELS = ("label", "purpose", "group", "sha256")


@dataclass(frozen=True, eq=False)
class RetrainingData:
    """All images of a retraining.

    Attributes:
        index: old ones with the parts of the champion's split, new ones with none.
        findings: of the audit of all.
        place_of: where each new image stands, by its path in the index; see `extend_split`.
        source_of: where each new image came from.
        left_out: new images that are not used, by name, and why.
    """

    index: Index
    findings: Findings
    place_of: dict[str, str]
    source_of: dict[str, str]
    left_out: dict[str, str]

    @property
    def new(self) -> set[str]:
        """The paths of the new images."""
        return set(self.place_of)

    def training_index(self) -> Index:
        """Old and new images with their parts; not what is held apart or unused."""
        table = self.index.table
        parts = [
            self.place_of.get(path, part)
            for path, part in zip(table["path"], table["split"], strict=True)
        ]
        placed = replace(self.index, table=table.assign(split=parts))
        return placed.without({p for p, place in self.place_of.items() if place in (FRESH, UNUSED)})

    def fresh_index(self) -> Index:
        """The new images that are held apart; their part is called test."""
        fresh = [path for path, place in self.place_of.items() if place == FRESH]
        rows = self.index.table[self.index.table["path"].isin(fresh)].reset_index(drop=True)
        return replace(self.index, table=rows.assign(split="test"))


def write_labels(collected: CollectedLabels, directory: RetrainingDirectory) -> None:
    """Copy the images, which a log would remove one day, and write the table last."""
    directory.images.mkdir(parents=True, exist_ok=True)
    paths = []
    for image in collected.images:
        with image.file.open("rb") as file:
            known = format_of(file.read(HEAD_BYTES))
        suffix = image.file.suffix.lower() or f".{(known or 'bin').lower()}"
        target = directory.images / f"{image.sha256}{suffix}"
        with atomic_write(target) as temporary:
            shutil.copyfile(image.file, temporary)
        paths.append(target.relative_to(directory.path).as_posix())
    columns: dict[str, list[str]] = {"path": paths} | {
        name: [getattr(image, name) for image in collected.images] for name in _LABELS
    }
    columns["source"] = [str(image.file) for image in collected.images]
    write_text(directory.labels, csv_text(columns))


def read_retraining_data(
    champion: Champion, directory: RetrainingDirectory, progress: Progress
) -> RetrainingData:
    """Read, hash and audit all images, and give each new one its place.

    Raises:
        DatasetError: an old image is gone or was changed, or nothing new is left to train on.
    """
    rows = read_sheet(directory.labels)
    known = set(champion.index.table["sha256"])
    left_out = {row.path: "the champion knows it" for row in rows if row.sha256 in known}
    rows = [row for row in rows if row.sha256 not in known]
    new = {_absolute(directory.path / row.path): row for row in rows}
    index = read_index(_table(champion.index, new))
    _require_unchanged(champion.index, index)
    bits = champion.recipe.get("bits")
    with progress.bar("auditing old and new images") as update:
        findings = audit(index, bits=bits if isinstance(bits, int) else None, on_progress=update)
    unusable = findings.unusable_paths
    path_of = {_absolute(index.file(path)): path for path in index.table["path"]}
    name_of = {path_of[absolute]: row.path for absolute, row in new.items()}
    left_out |= {name_of[path]: "it cannot be read" for path in unusable if path in name_of}
    index = index.without(unusable)
    random = frozenset(path_of[path] for path, row in new.items() if row.purpose == "random")
    place_of = extend_split(
        index, random, findings.duplicate_clusters, ratios=champion.ratios,
        seed=champion.split_seed,
    )  # fmt: skip
    left_out |= {
        name_of[path]: "its group or a copy is held apart"
        for path, place in place_of.items()
        if place == UNUSED
    }
    table = read_csv_table(directory.labels, expected="Expected what a retraining wrote.")
    source = dict(zip(table.column("path"), table.column("source"), strict=True))
    source_of = {path: source[name] for path, name in name_of.items()}
    return RetrainingData(index, findings, place_of, source_of, left_out)


def write_data(
    data: RetrainingData, champion: Champion, collected_notes: dict[str, Any],
    directory: RetrainingDirectory,
) -> None:  # fmt: skip
    """Write what trains, what is held apart, and where every new image stands.

    Raises:
        DatasetError: nothing new trains.
    """
    places = list(data.place_of.values())
    counts = {name: places.count(name) for name in sorted(set(places))}
    if not counts.get("train"):
        raise DatasetError(
            f"of {pluralize(len(places) + len(data.left_out), 'label')} none is of an image to "
            f"train on ({', '.join(f'{n} {name}' for name, n in counts.items()) or 'none is new'}"
            "); label chosen images too."
        )
    data.training_index().write(directory.data(champion.name))
    data.fresh_index().write(directory.fresh)
    shutil.copyfile(champion.run.recipe, directory.recipe)
    write_json(
        directory.placement,
        {
            "counts": counts, "left_out": data.left_out, "places": data.place_of,
            **collected_notes,
        },
    )  # fmt: skip


def _table(old: Index, new: dict[str, SheetRow]) -> Any:
    """Old and new images as `read_index` takes them."""
    import pandas as pd

    table = old.table
    columns = {
        "path": [_absolute(old.file(path)) for path in table["path"]] + list(new),
        "label": [*table["label"], *(class_name(row.label) for row in new.values())],
        "group": [*table["group"], *(row.group for row in new.values())],
        "split": [*table["split"], *([""] * len(new))],
        "weight": [*table["weight"], *([1.0] * len(new))],
    }
    return pd.DataFrame(columns)


def _require_unchanged(old: Index, now: Index) -> None:
    """Refuse old images that are not what the champion was trained and tested on.

    Raises:
        DatasetError: some are gone or were changed.
    """
    found = dict(zip(map(_absolute, map(now.file, now.table["path"])), now.table["sha256"],
                     strict=True))  # fmt: skip
    different = [
        path
        for path, sha256 in zip(old.table["path"], old.table["sha256"], strict=True)
        if found.get(_absolute(old.file(path))) != sha256
    ]
    if different:
        raise DatasetError(
            f"{pluralize(len(different), 'image')} that the champion was trained or tested on "
            f"changed or {'is' if len(different) == 1 else 'are'} gone from {str(old.root)!r}, "
            f"such as {different[0]!r}; bring them back."
        )


def _absolute(path: Path) -> str:
    return str(path.absolute())
