"""Whether a version that was opened may answer: its classes, and its answers for kept images.

The run of a version keeps what it predicted for its test images. Those images that are still
where they were, with the bytes that they had, are asked again.

Shape suffixes: C classes.
"""

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from holotype.errors import HolotypeError
from holotype.run_directory import RunDirectory
from holotype.serving.deployment import ModelVersion
from holotype.serving.engine.job import EngineError, ImageRefused, Job, JobAnswer, QueueFull
from holotype.serving.engine.worker_pool import WorkerPool
from holotype.serving.request_log.roll_segments import open_database, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NUM_IMAGES = 8
TOLERANCE = 1e-4  # between processors; on one machine answers agree within 1e-6
_LOOKED_AT = 64  # rows of the predictions, whose images may be gone
_DEADLINE_S = 60.0
_RETRIES = 20
_MAX_BYTES = 32 << 20


class VersionRefused(HolotypeError):
    """A version that must not answer requests."""


@dataclass(frozen=True, eq=False)
class KeptImage:
    """An image of the validation part, and what its classifier predicted for it.

    Attributes:
        name: below the folder of the data.
        content: the bytes of the file.
        probabilities_C: float64.
    """

    name: str
    content: bytes
    probabilities_C: NDArray[np.float64]


def check_classes(version: ModelVersion, current: ModelVersion) -> None:
    """Compare the classes with those that clients know.

    Raises:
        VersionRefused: they are others.
    """
    missing = sorted(set(current.classes) - set(version.classes))
    added = sorted(set(version.classes) - set(current.classes))
    if missing or added:
        raise VersionRefused(
            "its classes are others than those in service (missing: "
            f"{', '.join(missing) or 'none'}; new: {', '.join(added) or 'none'}). Serve it under "
            "another name."
        )


async def check_kept_images(engine: WorkerPool, version: ModelVersion, run: Path) -> None:
    """Ask an opened version for its kept images.

    Args:
        run: its run directory; of a bundle alone there are none.

    Raises:
        VersionRefused: an answer is not what its own run predicted.
    """
    for image in await asyncio.to_thread(kept_images, run, version.classes):
        answer = await _ask(engine, version, image)
        if answer is None:
            continue
        found_C = np.frombuffer(answer.parts[0], np.float64)
        largest = float(np.abs(found_C - image.probabilities_C).max())
        if not largest <= TOLERANCE:
            raise VersionRefused(
                f"it answers {image.name!r} otherwise than its own run did: a probability "
                f"differs by {largest:.2g}."
            )


async def _ask(engine: WorkerPool, version: ModelVersion, image: KeptImage) -> JobAnswer | None:
    """What the version answers; None where its image is of a kind that requests may not have.

    Raises:
        VersionRefused: it does not answer.
    """
    for _ in range(_RETRIES):
        job = Job("predict", version.digest, image.content, {}, time.monotonic() + _DEADLINE_S)
        try:
            engine.submit([job])
            return await job.answer
        except QueueFull as error:
            await asyncio.sleep(min(error.retry_after_s, 1))
        except ImageRefused:
            return None
        except EngineError as error:
            raise VersionRefused(f"it does not answer {image.name!r}: {error}") from error
    raise VersionRefused("the server was too busy to ask it for images of its own; promote again.")


def kept_images(run: Path, classes: tuple[str, ...]) -> list[KeptImage]:
    """Test images of a run that are still at hand, with its predictions; or of validation.

    Predictions of test are the shipped bundle's; those of validation are another's after a refit.

    Raises:
        VersionRefused: the predictions cannot be read, or are of other classes.
    """
    directory = RunDirectory(run)
    files = [directory.predictions / name for name in ("test.parquet", "val.parquet")]
    predictions = next((file for file in files if file.is_file()), None)
    if predictions is None or not directory.index.is_file():
        return []
    import duckdb

    try:
        with open_database() as database:
            facts = _metadata(database, predictions) | _metadata(database, directory.index)
            rows = database.execute(
                f"SELECT id, sha256, probabilities FROM read_parquet({quoted(predictions)}) "
                f"ORDER BY sha256 LIMIT {_LOOKED_AT}"
            ).fetchall()
        predicted_classes = tuple(json.loads(facts["classes"]))
        root = Path(json.loads(facts["holotype_root"]))
    except (duckdb.Error, ValueError, KeyError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise VersionRefused(f"the predictions of its run cannot be read: {reason}.") from error
    if predicted_classes != classes:
        raise VersionRefused("the predictions of its run are of other classes than its bundle.")
    found: list[KeptImage] = []
    for name, sha256, probabilities in rows:
        content = _unchanged(root / name, sha256)
        if content is not None and len(found) < NUM_IMAGES:
            found.append(KeptImage(name, content, np.array(probabilities, np.float64)))
    return found


def _metadata(database: "DuckDBPyConnection", file: Path) -> dict[str, str]:
    rows = database.execute(f"SELECT key, value FROM parquet_kv_metadata({quoted(file)})")
    return {bytes(key).decode(): bytes(value).decode() for key, value in rows.fetchall()}


def _unchanged(file: Path, sha256: str) -> bytes | None:
    """The bytes of a file, if it is there and has this hash."""
    try:
        if not file.is_file() or file.stat().st_size > _MAX_BYTES:
            return None
        content = file.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == sha256 else None
