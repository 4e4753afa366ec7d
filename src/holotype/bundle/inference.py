"""Bundle + pictures -> predictions; what the backbone says of a picture is kept.

A picture's numbers are the same whatever the batch, the order and the number of workers, and
whether they were kept or not.

Shape suffixes: N pictures, D embedding, C classes, R rows of one call of the head.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.graphs import Progress, call, run_graph
from holotype.dataset.folders import IMAGE_EXTENSIONS
from holotype.errors import (
    CorruptBundle,
    DatasetError,
    EmptyDataset,
    ImageRefused,
    UnreadableFile,
    UsageError,
    did_you_mean,
)
from holotype.kept import Kept, key_of
from holotype.predictions import UNLABELLED, Predictions, softmax

if TYPE_CHECKING:
    from holotype.bundle.bundle import Bundle
    from holotype.dataset.index import Index

SHARD = 512  # pictures between two writes of what is kept: what a kill costs at most
HEAD_ROWS = 64  # the head always sees this many rows: another number may round otherwise


@dataclass(frozen=True)
class ImageFile:
    """A picture on disk, and the hash that it should have; "" where none is known."""

    id: str
    path: Path
    sha256: str = ""

    def read(self) -> tuple[bytes, str]:
        """The bytes and their SHA-256.

        Raises:
            UnreadableFile: the file cannot be read, or is another than was indexed.
        """
        if self.path.exists() and not self.path.is_file():  # a pipe would never end
            raise UnreadableFile(self.id, "this is a folder or a device", "name a file in it")
        try:
            content = self.path.read_bytes()
        except OSError as error:
            reason = f"it cannot be read ({error.strerror or error})"
            raise UnreadableFile(self.id, reason, "check the path and its permissions") from error
        sha256 = hashlib.sha256(content).hexdigest()
        if self.sha256 not in ("", sha256):
            reason = "it has changed since it was indexed"
            raise UnreadableFile(self.id, reason, "index the data again")
        return content, sha256


@dataclass(frozen=True, eq=False)
class Embeddings:
    """What the backbone says of the pictures that could be used.

    Attributes:
        positions: which of the given files, ascending.
        sha256: the hash of each file's bytes.
        embeddings_ND: float32, one row for each of them.
        refused: the others.
    """

    positions: list[int]
    sha256: list[str]
    embeddings_ND: NDArray[np.float32]
    refused: list[ImageRefused]


def embed(
    bundle: "Bundle",
    files: Sequence[ImageFile],
    *,
    keep: bool = True,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> Embeddings:
    """The embedding of each picture; those that are kept are neither decoded nor run.

    Args:
        bundle: whose backbone and preprocessing.
        files: pictures; those whose hash is known are looked up among what is kept.
        keep: read and write `$HOLOTYPE_CACHE`, a shard of 512 pictures at a time, so that a
            pass that is killed goes on where it was.
        workers: threads that decode and run; one a core by default.
        on_progress: told how many of `files` are done.
    """
    kept = None
    if keep:
        space = key_of(bundle.backbone_sha256, bundle.preprocessing.digest(), "embedding")
        kept = Kept("features", space)
    sha256 = [file.sha256 for file in files]
    missing = [n for n, name in enumerate(sha256) if kept is None or not name or name not in kept]
    found: dict[str, NDArray[np.float32]] = {}
    refused: dict[int, ImageRefused] = {}

    def load(number: int) -> NDArray[np.float32]:
        position = missing[number]
        content, sha256[position] = files[position].read()
        return bundle.preprocessing.load(content, name=files[position].id)

    def report(done: int) -> None:
        if on_progress:
            on_progress(len(files) - len(missing) + done)

    if missing:
        batches = run_graph(
            bundle.backbone,
            len(missing),
            load,
            outputs=["embedding"],
            workers=workers,
            on_progress=report,
        )
        unwritten: list[str] = []
        for batch in batches:
            refused.update((missing[number], refusal) for number, refusal in batch.refused)
            names = [sha256[missing[number]] for number in batch.positions]
            found.update(zip(names, batch.outputs.get("embedding", ()), strict=True))
            unwritten += names
            if kept is not None and len(unwritten) >= SHARD:
                _move(found, unwritten, kept)
        if kept is not None and unwritten:
            _move(found, unwritten, kept)
    else:
        report(0)

    positions = [n for n in range(len(files)) if n not in refused]
    names = [sha256[n] for n in positions]
    if not names:
        embeddings_ND = np.empty((0, bundle.manifest.embedding_size), np.float32)
    elif kept is not None:
        embeddings_ND = kept.stack(names)
    else:
        embeddings_ND = np.stack([found[name] for name in names])
    return Embeddings(positions, names, embeddings_ND, [refused[n] for n in sorted(refused)])


def _move(found: dict[str, NDArray[np.float32]], names: list[str], kept: Kept) -> None:
    """Write what was found as one shard, and forget it here."""
    unique = list(dict.fromkeys(names))
    kept.add(unique, np.stack([found.pop(name) for name in unique]))
    names.clear()


def run_head(bundle: "Bundle", embeddings_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits (N, C) of embeddings.

    Raises:
        CorruptBundle: the numbers are not finite, or not one for each class.
    """
    N, C = len(embeddings_ND), len(bundle.classes)
    logits_NC = np.empty((N, C), np.float32)
    block_RD = np.zeros((HEAD_ROWS, embeddings_ND.shape[1]), np.float32)
    for start in range(0, N, HEAD_ROWS):
        rows = embeddings_ND[start : start + HEAD_ROWS]
        block_RD[: len(rows)] = rows
        (logits_RC,) = call(bundle.head, block_RD, ["logits"])
        if logits_RC.shape != (HEAD_ROWS, C):
            raise CorruptBundle(
                f"{bundle.name}: the head gives {logits_RC.shape[1:]} numbers a picture, "
                f"but the manifest names {C} classes; train or export it again."
            )
        logits_NC[start : start + HEAD_ROWS] = logits_RC[: len(rows)]
    if not np.isfinite(logits_NC).all():
        raise CorruptBundle(
            f"{bundle.name}: its graphs give numbers that are not finite; train or export it again."
        )
    return logits_NC


def predict(
    bundle: "Bundle",
    index: "Index",
    *,
    keep: bool = True,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> tuple[Predictions, list[ImageRefused]]:
    """What a bundle says about the labelled pictures of an index.

    Returns:
        Predictions in the order of the index, without the pictures that were refused, and the
        refusals.

    Raises:
        DatasetError: a label is none of the bundle's classes.
    """
    table = index.table
    number_of = {name: number for number, name in enumerate(bundle.classes)}
    for label in table["label"].unique():
        if label not in number_of:
            raise DatasetError(
                f"the data has a class {label!r} that the classifier does not know"
                f"{did_you_mean(label, number_of)}. It knows: {', '.join(bundle.classes)}. "
                "Rename the class in the data, or train with it."
            )
    files = [
        ImageFile(path, index.file(path), sha256)
        for path, sha256 in zip(table["path"], table["sha256"], strict=True)
    ]
    embeddings = embed(bundle, files, keep=keep, workers=workers, on_progress=on_progress)
    rows = table.iloc[embeddings.positions]
    predictions = _predictions(
        bundle,
        embeddings,
        ids=rows["path"].tolist(),
        targets_N=np.array([number_of[label] for label in rows["label"]], np.int64),
        weights_N=rows["weight"].to_numpy(np.float64),
        groups=rows["group"].tolist(),
        folds_N=rows["fold"].to_numpy(np.int64),
    )
    return predictions, embeddings.refused


def predict_files(
    bundle: "Bundle",
    paths: str | Path | Sequence[str | Path],
    *,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> tuple[Predictions, list[ImageRefused]]:
    """What a bundle says about pictures without labels: files, and folders with all in them.

    The ids are the paths as they were given, or found below a folder that was given. Nothing
    is kept: pictures that are asked about once should not fill the disk.

    Raises:
        UsageError: a path that does not exist, or no path at all.
        EmptyDataset: folders without any picture.
    """
    files = find_files(paths)
    embeddings = embed(bundle, files, keep=False, workers=workers, on_progress=on_progress)
    N = len(embeddings.positions)
    predictions = _predictions(
        bundle,
        embeddings,
        ids=[files[position].id for position in embeddings.positions],
        targets_N=np.full(N, UNLABELLED, np.int64),
        weights_N=np.ones(N),
        groups=[""] * N,
        folds_N=np.full(N, -1, np.int64),
    )
    return predictions, embeddings.refused


def find_files(paths: str | Path | Sequence[str | Path]) -> list[ImageFile]:
    """The files that were named, and all pictures below the folders that were, by name.

    In a folder only files with the extension of a picture count, and no hidden ones; a file
    that is named itself is always taken, whatever it is called.

    Raises:
        UsageError: a path that does not exist, or no path at all.
        EmptyDataset: folders without any picture.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    files = []
    for path in map(Path, paths):
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if _is_visible_image(file, path))
        elif path.exists():
            files.append(path)
        else:
            raise UsageError(f"there is no picture or folder {str(path)!r}; check the path.")
    if not paths:
        raise UsageError("no picture was named; give the paths of pictures or folders.")
    if not files:
        named = ", ".join(repr(str(path)) for path in paths)
        raise EmptyDataset(
            f"no picture below {named}: expected files ending in "
            f"{', '.join(sorted(IMAGE_EXTENSIONS))}, hidden ones left out."
        )
    return [ImageFile(_as_text(path), path) for path in files]


def _is_visible_image(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.suffix.lower() in IMAGE_EXTENSIONS and file.is_file()


def _as_text(path: Path) -> str:
    """The path with forward slashes; bytes that are no UTF-8 are escaped, to be printed."""
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")


def _predictions(
    bundle: "Bundle",
    embeddings: Embeddings,
    *,
    ids: Sequence[str],
    targets_N: NDArray[np.int64],
    weights_N: NDArray[np.float64],
    groups: Sequence[str],
    folds_N: NDArray[np.int64],
) -> Predictions:
    logits_NC = run_head(bundle, embeddings.embeddings_ND)
    return Predictions(
        classes=bundle.classes,
        ids=tuple(ids),
        sha256=tuple(embeddings.sha256),
        targets_N=targets_N,
        weights_N=weights_N,
        groups=tuple(groups),
        folds_N=folds_N,
        logits_NC=logits_NC,
        probabilities_NC=softmax(logits_NC, bundle.temperature),
    )
