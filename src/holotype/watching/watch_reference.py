"""What the images were like when the classifier was made: those of its validation.

A bundle may keep them (`watch_reference` in the recipe). Else they are embedded again by the
bundle, without training, where they are still there or their embeddings are in the cache; else only
their probabilities are known, from the run's `predictions/val.parquet`. Where not even these are
kept, the first images of the log are the reference. It is made once and kept beside the state, so
that later the images may be gone.

Shape suffixes: R reference images, K training images, D embedding.
"""

import io
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.bundle import Bundle
from holotype.bundle.inference import embed_index, is_unknown
from holotype.bundle.validation.validation_images import WATCH_REFERENCE, read_validation_images
from holotype.dataset.image_facts import FACTS, facts_of_files
from holotype.dataset.index import read_index_file
from holotype.files import reading, write_bytes
from holotype.predictions import Predictions, read_predictions
from holotype.progress import Progress
from holotype.run_directory import RunDirectory
from holotype.watching.monitoring.image_scores import ImageScores, fit_scores
from holotype.watching.watched_images import WatchedImages

REFERENCE = "reference.npz"
FIRST_IMAGES = 1000  # of the log, where there is no validation
MIN_IMAGES = 20  # of a reference
HELD_BACK = 0.5  # of the reference, which scores are not fitted on where no training image is kept


@dataclass(frozen=True, eq=False)
class WatchReference:
    """The reference of one bundle.

    Attributes:
        digest: of the bundle.
        source: `validation` or `first images of the log`.
        images: R independent images, in a random order.
        known_KD: embeddings of training images, of length 1; None where the bundle keeps none.
    """

    digest: str
    source: str
    images: WatchedImages
    known_KD: NDArray[np.float32] | None = None

    def scores(self) -> tuple[ImageScores, WatchedImages]:
        """What is watched of images, and the reference images that it was not fitted on."""
        split = int(len(self.images) * HELD_BACK)
        if self.known_KD is not None:
            split = min(split, 200)  # formats and shares of classes need no more
        fitted, rest = self.images.select(np.arange(split)), np.arange(split, len(self.images))
        return fit_scores(fitted, self.known_KD), self.images.select(rest)

    def write(self, folder: Path) -> None:
        arrays = {
            **self.images.to_arrays(),
            "digest": np.array(self.digest),
            "source": np.array(self.source),
        }
        if self.known_KD is not None:
            arrays["known"] = self.known_KD.astype(np.float16)
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_bytes(folder / REFERENCE, content.getvalue())


def read_reference(folder: Path, digest: str) -> WatchReference | None:
    """The reference that was kept of this bundle; None where there is none.

    Raises:
        CorruptFile: it is damaged.
    """
    file = folder / REFERENCE
    if not file.is_file():
        return None
    arrays = read_arrays(file)
    with reading(file):
        if str(arrays["digest"]) != digest:
            return None
        known_KD = arrays["known"].astype(np.float32) if "known" in arrays else None
        images = WatchedImages.from_arrays(arrays)
        return WatchReference(digest, str(arrays["source"]), images, known_KD)


def read_arrays(file: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a file that `np.savez` wrote.

    Raises:
        CorruptFile: it is damaged.
    """
    with reading(file):
        try:
            with np.load(file, allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except (zipfile.BadZipFile, EOFError) as error:
            raise ValueError(str(error)) from error


def reference_of_validation(
    bundle: Bundle, run: RunDirectory, progress: Progress
) -> WatchReference | None:
    """The reference from the validation images of a run; None where it has too few.

    Args:
        run: whose bundle it is; a registered version is one too.
    """
    file = run.predictions / "val.parquet"
    if not file.is_file():
        return None
    predictions = read_predictions(file)
    if len(predictions) < MIN_IMAGES:
        return None
    return _independent(_with_images(_of_predictions(predictions), bundle, run, progress), bundle)


def reference_in_bundle(bundle: Bundle) -> WatchReference | None:
    """The reference that the bundle itself keeps; None where it keeps none, or too few images."""
    size = bundle.manifest.embedding_size
    kept = bundle.read_extra(
        WATCH_REFERENCE, lambda content, classes: read_validation_images(content, classes, size)
    )
    if kept is None:
        return None
    N = len(kept.targets_N)
    images = WatchedImages(
        probabilities_NC=kept.probabilities_NC,
        embeddings_ND=kept.embeddings_ND.astype(np.float32) if kept.embeddings_ND.size else None,
        unknown_N=kept.unknown_N,
        set_size_N=np.full(N, np.nan),
        facts=kept.facts,
        format_N=np.array(kept.formats),
        targets_N=kept.targets_N,
        groups_N=kept.groups_N.astype(np.str_),
        names_N=np.full(N, ""),
    )
    return _independent(images, bundle)


def _independent(images: WatchedImages, bundle: Bundle) -> WatchReference | None:
    """One image of each group in a random order, without names; None where these are too few."""
    rows = np.random.default_rng(0).permutation(images.one_of_each_group(seed=0))
    images = replace(images.select(rows), names_N=np.full(len(rows), ""))
    if len(images) < MIN_IMAGES:
        return None
    kept = None if bundle.members else bundle.references
    known_KD = None if kept is None else kept.embeddings_RD.astype(np.float32)
    return WatchReference(bundle.sha256, "validation", images, known_KD)


def reference_of_first_images(images: WatchedImages, digest: str) -> WatchReference:
    """The reference from the first images of the log."""
    rows = np.random.default_rng(0).permutation(images.one_of_each_group(seed=0))
    return WatchReference(digest, "first images of the log", images.select(rows))


def _of_predictions(predictions: Predictions) -> WatchedImages:
    R = len(predictions)
    groups = [group or f"image {n}" for n, group in enumerate(predictions.groups)]
    return WatchedImages(
        probabilities_NC=predictions.probabilities_NC,
        embeddings_ND=None,
        unknown_N=np.full(R, np.nan),
        set_size_N=np.full(R, np.nan),
        facts={name: np.full(R, np.nan) for name in FACTS},
        format_N=np.full(R, "", dtype="<U16"),
        targets_N=predictions.targets_N,
        groups_N=np.array(groups),
        names_N=np.array(predictions.ids),
    )


def _with_images(
    images: WatchedImages, bundle: Bundle, run: RunDirectory, progress: Progress
) -> WatchedImages:
    """With embeddings and facts of the images that are still there or in the cache."""
    if not run.index.is_file():
        return images
    index = read_index_file(run.index).part("val")
    row_of = {name: row for row, name in enumerate(images.names_N.tolist())}
    table = index.table[index.table["path"].isin(row_of)].reset_index(drop=True)
    index = replace(index, table=table)
    if len(table) == 0:
        return images
    with progress.bar("embedding the validation images") as update:
        found = embed_index(bundle, index, on_progress=lambda done: update(done, len(table)))
    if len(found.positions) < max(MIN_IMAGES, 0.8 * len(images)):
        return images
    paths = table["path"].iloc[found.positions].tolist()
    with progress.bar("looking at the validation images") as update:
        facts, formats = facts_of_files(
            [index.file(path) for path in paths],
            preprocessing=bundle.preprocessing,
            on_progress=update,
        )
    images = images.select(np.array([row_of[path] for path in paths]))
    unknown_N = is_unknown(bundle, found)
    return replace(
        images,
        embeddings_ND=found.embeddings_ND,
        unknown_N=images.unknown_N if unknown_N is None else unknown_N.astype(np.float64),
        facts=facts,
        format_N=np.array(formats),
    )
