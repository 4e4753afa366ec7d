"""Predict many images as jobs on other machines: shards of the list, one table in the end.

Each job reads the bundle and its share of the paths, and leaves a table; the answers are those of
one process, since an image's answer depends on no other image. Images, bundle and the folder of the
shards lie on a path that all machines share.
"""

import os
import shutil
import sys
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import holotype.errors
from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.image_sources import ImageFile, ImageSource
from holotype.bundle.inference import concatenated, predict_images
from holotype.errors import HolotypeError, ImageError, UnreadableFile, UsageError
from holotype.executors.executor import executor, run_jobs
from holotype.executors.job_sheet import Job
from holotype.files import read_json, reading, write_json
from holotype.predictions import Predictions, read_predictions
from holotype.progress import Progress

IMAGES_PER_SHARD = 2000  # what is lost with a machine, and what a process begins with


def predict_sharded(
    bundle: Bundle,
    sources: Sequence[ImageSource],
    folder: Path,
    *,
    on: str,
    jobs: int,
    progress: Progress,
) -> Predictions:
    """The predictions of `predict_images`, by jobs of an executor.

    Args:
        sources: files; what is in memory cannot be read elsewhere.
        folder: on the shared path; a temporary folder is made in it, and removed.
        on, jobs: see `executors`.

    Raises:
        UsageError: an image that is no file, or an executor that is none.
        HolotypeError: a job failed.
    """
    files = [source for source in sources if isinstance(source, ImageFile)]
    if len(files) < len(sources):
        raise UsageError(f"--on {on} needs files; images in memory are predicted here.")
    if jobs < 1:
        raise UsageError(f"--jobs is {jobs}, expected a number above 0.")
    where = executor(on, slots=jobs)
    count = max(min(jobs, len(files)), -(-len(files) // IMAGES_PER_SHARD))
    shards = [list(rows) for rows in np.array_split(np.arange(len(files)), count)]
    place = folder / f".tmp-shards-{uuid.uuid4().hex}"
    try:
        for number, rows in enumerate(shards):
            write_shard([files[row] for row in rows], place / f"{number}.files.json")
        words = ("holotype.pipeline.sharding.sharded_prediction", str(bundle.path.absolute()))
        sheet = [
            Job(f"shard {number}", ((*words, str(place.absolute()), str(number)),), place / "log")
            for number in range(len(shards))
        ]
        with progress.bar(f"predicting {len(shards)} shards") as update:
            results = run_jobs(
                sheet, place / "jobs", where,
                lambda found: update(sum(one.state == "done" for one in found), len(shards)),
            )  # fmt: skip
        failed = [one.reason for one in results if one.state != "done"]
        if failed:
            raise HolotypeError(f"{len(failed)} of {len(shards)} shards failed: {failed[0]}")
        return concatenated([read_shard(place, number) for number in range(len(shards))])
    finally:
        shutil.rmtree(place, ignore_errors=True)


def require_no_shards_here(on: str, jobs: int) -> None:
    """Refuse shards for this process.

    Raises:
        UsageError: `jobs` without other machines.
    """
    if on == "local" and jobs != 1:
        raise UsageError(f"--jobs {jobs} is a number of shards, and needs --on ray or --on slurm.")


def shared_folder(on: str, output: str | os.PathLike[str] | None) -> Path:
    """Where shards lie: beside the output.

    Raises:
        UsageError: there is none.
    """
    if output is None:
        raise UsageError(f"--on {on} needs --output, on a path that all machines share.")
    folder = Path(output).absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_shard(files: Sequence[ImageFile], path: Path) -> None:
    """The images of a shard."""
    images = [[file.id, str(file.path.absolute()), file.sha256] for file in files]
    write_json(path, {"images": images})


def predict_shard(bundle: Path, place: Path, number: int) -> None:
    """What a job does: predict its images and write the table, and what is no column of it."""
    listing = place / f"{number}.files.json"
    rows = read_json(listing)
    with reading(listing):
        files = [ImageFile(name, Path(path), sha256) for name, path, sha256 in rows["images"]]
    found = predict_images(load_bundle(bundle), files)
    found.write(place / f"{number}.parquet")
    write_json(
        place / f"{number}.answers.json",
        {
            "unknown": None if found.unknown_N is None else found.unknown_N.tolist(),
            "refused": [
                [type(one).__name__, one.file, one.reason, one.advice] for one in found.refused
            ],
            "warnings": dict(found.warnings),
            "bundle_sha256": found.bundle_sha256,
        },
    )


def read_shard(place: Path, number: int) -> Predictions:
    """What `predict_shard` wrote."""
    answers = place / f"{number}.answers.json"
    predictions, more = read_predictions(place / f"{number}.parquet"), read_json(answers)
    with reading(answers):
        unknown = more["unknown"]
        return replace(
            predictions,
            unknown_N=None if unknown is None else np.array(unknown, np.bool_),
            refused=tuple(_refusal(*one) for one in more["refused"]),
            warnings={name: tuple(said) for name, said in more["warnings"].items()},
            bundle_sha256=more["bundle_sha256"],
        )


def _refusal(kind: str, file: str, reason: str, advice: str) -> ImageError:
    """The refusal of an image, by the name of its class."""
    found = getattr(holotype.errors, kind, UnreadableFile)
    if not (isinstance(found, type) and issubclass(found, ImageError)):
        found = UnreadableFile
    return found(file, reason, advice)


if __name__ == "__main__":
    predict_shard(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
