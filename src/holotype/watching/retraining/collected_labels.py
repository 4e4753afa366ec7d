"""Labels that came back: from sheets of `label_next`, from tables, and from feedback in a log."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from holotype.dataset.class_names import class_name
from holotype.errors import DatasetError, InvalidTable
from holotype.files import sha256_of
from holotype.serving.request_log.feedback_store import FEEDBACK
from holotype.serving.request_log.read_log import LogQuery, read_feedback, read_log
from holotype.watching.labelling.label_sheet import (
    LABELS,
    Purpose,
    SheetRow,
    read_selection,
    read_sheet,
    sheet_files,
    sheet_notes,
)
from holotype.watching.labelling.logged_images import groups_of_requests

_FOREVER = 4e9  # seconds since 1970


@dataclass(frozen=True)
class LabelledImage:
    """An image that got a label after the champion was trained.

    Attributes:
        file: the image.
        label: the true class.
        purpose: `random` ones never train; see `label_sheet.SheetRow`.
        group: of images that are not independent; "" of an image for itself.
        sha256: of the file.
    """

    file: Path
    label: str
    purpose: Purpose
    group: str
    sha256: str


@dataclass(frozen=True)
class CollectedLabels:
    """What came back.

    Attributes:
        images: each once, sorted by hash.
        num_unlabelled: rows of sheets without a label yet.
        num_not_kept: feedback for images that are not on disk.
        notes: what was read in another way than it is written, in sentences.
    """

    images: tuple[LabelledImage, ...]
    num_unlabelled: int = 0
    num_not_kept: int = 0
    notes: tuple[str, ...] = ()


def collect_labels(sources: Sequence[Path], digests: Collection[str]) -> CollectedLabels:
    """All labels of sheets, tables and logs.

    An image of a sheet is what the sheet says it is for, also where its feedback is in a log that
    is named too: a random image of a sheet must not train because of that.

    Args:
        sources: folders of `label_next`; CSV files with the columns path and label, and optionally
            purpose and group; or folders of request logs, whose feedback is chosen by whoever sent
            it, and so is no random sample.
        digests: of the bundles whose answers in a log are meant, since a server may answer with
            other classifiers too, and log them in the same folder.

    Raises:
        DatasetError: a source is none of these.
        InvalidTable: one image has two labels, or a named image is missing.
    """
    by_sha256: dict[str, LabelledImage] = {}
    unlabelled = not_kept = 0
    notes: list[str] = []
    for source in sorted(sources, key=_is_log):  # sheets first
        if _is_log(source):
            found, missing = _of_log(source, digests)
            not_kept += missing
            for image in found:
                by_sha256.setdefault(image.sha256, image)
            continue
        images, waiting, said = _of_sheet(source)
        unlabelled += waiting
        notes += said
        for image in images:
            by_sha256[image.sha256] = _merged(by_sha256.get(image.sha256), image)
    kept = tuple(by_sha256[key] for key in sorted(by_sha256))
    return CollectedLabels(kept, unlabelled, not_kept, tuple(notes))


def _is_log(source: Path) -> bool:
    return source.is_dir() and (source / FEEDBACK).is_dir() and not (source / LABELS).is_file()


def _of_sheet(source: Path) -> tuple[list[LabelledImage], int, list[str]]:
    """The labelled rows of a sheet, how many have no label, and notes on how it was read."""
    file = source / LABELS if source.is_dir() else source
    if not file.is_file():
        raise DatasetError(
            f"{str(source)!r} holds no labels: expected a folder of `holotype watch label-next`, a "
            "CSV file with the columns path and label, or a request log with feedback."
        )
    rows = read_sheet(file)
    told = _feedback_of(read_selection(file.parent)) if any(not row.label for row in rows) else {}
    rows = [
        row if row.label else replace(row, label=told.get((row.request_id, row.image), ""))
        for row in rows
    ]
    told_rows = [row for row in rows if row.label]
    images = sheet_files(file, told_rows)
    found = [_labelled(image, row) for image, row in zip(images, told_rows, strict=True)]
    notes = [f"{str(file)!r}: {note}" for note in sheet_notes(file)]
    return found, len(rows) - len(found), notes


def _labelled(file: Path, row: SheetRow) -> LabelledImage:
    """
    Raises:
        InvalidTable: there is no such file.
    """
    if not file.is_file():
        raise InvalidTable(f"{str(file)!r} has a label and is not there; bring it back.")
    label = class_name(row.label)
    return LabelledImage(file.absolute(), label, row.purpose, row.group, sha256_of(file))


def _feedback_of(selection: dict[str, object]) -> dict[tuple[str, str], str]:
    """(request, image) -> the latest feedback in the log that a sheet was made from."""
    log = Path(str(selection.get("log", "")))
    if not selection.get("log") or not (log / FEEDBACK).is_dir():
        return {}
    rows = read_feedback(log)
    return {
        (str(request_id), str(image)): str(label)  # in the order of time, so that the latest stays
        for request_id, image, label in zip(
            rows["request_id"], rows["image"], rows["label"], strict=True
        )
    }


def _of_log(log: Path, digests: Collection[str]) -> tuple[list[LabelledImage], int]:
    """The kept images with feedback, the latest first, and how many labelled ones are not kept."""
    columns = (
        "request_id", "arm", "digest", "key", "image_file", "image_sha256", "label", "label_time",
    )  # fmt: skip
    rows = read_log(log, 0.0, _FOREVER, LogQuery(columns))
    is_meant = [
        arm != "shadow" and digest in digests
        for arm, digest in zip(rows["arm"], rows["digest"], strict=True)
    ]
    kept = [n for n, file in enumerate(rows["image_file"]) if file and is_meant[n]]
    group_of = groups_of_requests(rows["key"][kept], rows["request_id"][kept])
    found, missing = [], 0
    for n in np.argsort(rows["label_time"], kind="stable")[::-1].tolist():
        label = rows["label"][n]
        if not label or not is_meant[n]:
            continue
        file = log / (rows["image_file"][n] or "")
        if not file.is_file():
            missing += 1
            continue
        found.append(
            LabelledImage(
                file.absolute(), class_name(label), "chosen", group_of[rows["request_id"][n]],
                rows["image_sha256"][n],
            )
        )  # fmt: skip
    return found, missing


def _merged(known: LabelledImage | None, image: LabelledImage) -> LabelledImage:
    """One image of two sheets: random where either says so.

    Raises:
        InvalidTable: its labels differ.
    """
    if known is None:
        return image
    if known.label != image.label:
        raise InvalidTable(
            f"{str(image.file)!r} is labelled {image.label!r}, and {str(known.file)!r}, which has "
            f"the same bytes, {known.label!r}. Correct one of the two."
        )
    return image if image.purpose == "random" else known
