"""`holotype.predict`: the classes of images, as a value and as a file."""

import os
from pathlib import Path

from holotype.arguments import require_directory_place, require_file_place
from holotype.bundle.image_sources import Images, as_list, image_sources
from holotype.dataset.atomic_directory import require_apart_from_images
from holotype.errors import UsageError
from holotype.explanation.explainer import Explainer
from holotype.files import require_writable
from holotype.pipeline.classifier import SetMethod, load
from holotype.pipeline.sharding.sharded_prediction import (
    predict_sharded,
    require_no_shards_here,
    shared_folder,
)
from holotype.predictions import Predictions
from holotype.progress import Progress, default_progress

ENDINGS = (".csv", ".json")


def predict(
    run: str | os.PathLike[str],
    images: Images,
    *,
    output: str | os.PathLike[str] | None = None,
    coverage: float | None = None,
    sets: SetMethod | None = None,
    per_class: bool = False,
    heatmaps: str | os.PathLike[str] | None = None,
    on: str = "local",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Predictions:
    """The predictions of a classifier for images; see `Classifier.predict`.

    Example:
        >>> found = holotype.predict("runs/photos-1", "new-photos")  # doctest: +SKIP
        >>> found.to_frame()[["file", "class", "probability"]]  # doctest: +SKIP

    Args:
        run: a run, a stage of it (`RUN@NAME`), a bundle, or `registry://NAME@ALIAS`.
        images: one image or several: paths, folders, bytes, PIL images, uint8 arrays.
        output: write the answers to this file too, which ends in .csv or .json.
        coverage, sets, per_class: prediction sets, see `Classifier.predict`.
        heatmaps: write a sheet for every image into this folder: the evidence for its class.
        on: where: `local`, in this process; or `ray`, `ray://HOST:PORT` or `slurm`, in shards,
            which needs an output, beside which they lie until they are one table.
        jobs: shards at once.
        progress: where progress is shown; silent by default, but in a notebook.

    Raises:
        UsageError: another ending, or what `Classifier.predict` refuses.
        NotABundle: the run holds no classifier; and the errors of `load`.
    """
    progress = progress or default_progress()
    require_no_shards_here(on, jobs)
    if output is not None and Path(output).suffix.lower() not in ENDINGS:
        raise UsageError(f"--output {os.fspath(output)!r} must end in .csv or .json.")
    images = as_list(images)
    if output is not None:
        require_file_place(output)
    if heatmaps is not None:
        require_directory_place(heatmaps)
        require_apart_from_images(Path(heatmaps), images)
    for file in (output, None if heatmaps is None else Path(heatmaps) / "explanations.csv"):
        if file is not None:
            require_writable(Path(file))
    classifier = load(run)
    sources = image_sources(images, progress)
    if on == "local":
        found = classifier.predict(
            sources, coverage=coverage, sets=sets, per_class=per_class, progress=progress
        )
    else:
        folder = shared_folder(on, output)
        answers = predict_sharded(
            classifier.bundle, sources, folder, on=on, jobs=jobs, progress=progress
        )
        found = classifier.with_prediction_sets(answers, coverage, sets=sets, per_class=per_class)
    if output is not None:
        found.write_answers(Path(output))
    if heatmaps is not None:
        with progress.bar("drawing heatmaps") as update:
            Explainer(classifier.bundle).write_sheets(sources, Path(heatmaps), on_progress=update)
    return found
