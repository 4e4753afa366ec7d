"""Evaluate a finished classifier on other labelled images."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holotype.arguments import require_directory_place
from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.inference import known_classes, predict_index, with_labels
from holotype.dataset.atomic_directory import require_apart_from_images
from holotype.dataset.index import Index, read_index, read_index_file
from holotype.dataset.reading.source_types import (
    DataSource,
    as_sources,
    describe_source,
    pattern_words,
    source_name,
)
from holotype.errors import EmptyDataset, RunExists
from holotype.evaluation.build_report import build_report
from holotype.evaluation.report_data import Report
from holotype.explanation.torch_models import run_of
from holotype.extras import with_install_advice
from holotype.files import require_writable
from holotype.imaging.image_warnings import refusal_notes, truncated_note, warning_notes
from holotype.pipeline.sharding.sharded_prediction import (
    predict_sharded,
    require_no_shards_here,
    shared_folder,
)
from holotype.pipeline.training_run.class_weight_report import (
    class_weights,
    measure_class_weighting,
)
from holotype.pipeline.training_run.run_report import ScoredBundle
from holotype.predictions import Predictions
from holotype.progress import Progress, default_progress, pluralize
from holotype.registry.resolve_registered import registered_path
from holotype.reporting.report_page import ReportContext
from holotype.run_directory import RunDirectory
from holotype.training.data.loader import image_files

NEW = "new"  # what was handed in, as opposed to a part of the run's own split


@with_install_advice
def evaluate(
    run: str | os.PathLike[str],
    data: "DataSource | Sequence[DataSource]",
    *,
    output: str | Path | None = None,
    label_pattern: str | None = None,
    group_pattern: str | None = None,
    on: str = "local",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Score a finished classifier on other labelled images.

    Example:
        >>> report = holotype.evaluate("runs/photos-1", "new-photos")  # doctest: +SKIP
        >>> report.metrics["accuracy"]  # doctest: +SKIP
        0.912 [0.887, 0.934]

    Args:
        run: a run, a bundle, or `registry://NAME@ALIAS`.
        data: a folder with one folder per class, a CSV or Parquet table or a DataFrame; or
            several of these.
        output: write report/ and predictions.parquet into this directory; nothing is written
            without it.
        label_pattern: a regular expression that finds the label in a file's name, or
            `column:NAME` of a table.
        group_pattern: where the group of an image is read from.
        on, jobs: see `predict`.

    Raises:
        EmptyDataset: no image could be read.
        DatasetError: a label that the classifier does not know.
    """
    progress, run = progress or default_progress(), os.fspath(run)
    require_no_shards_here(on, jobs)
    if output is not None:
        require_directory_place(output)
        require_apart_from_images(Path(output), as_sources(data))
        if RunDirectory(Path(output)).recipe.exists():
            raise RunExists(
                f"{str(output)!r} is a run, and its report stays what it is; choose another output."
            )
        require_writable(Path(output) / "predictions.parquet")
    location = registered_path(run)
    bundle = load_bundle(location)
    index = read_index(data, label_pattern=label_pattern, group_pattern=group_pattern)
    progress.log_all(index.reading_notes())
    progress.log_all(refusal_notes("left out", index.undecodable()))
    sources = as_sources(data)
    names = [describe_source(source) for source in sources]
    predictions = _predictions(bundle, index, output, on, jobs, progress)
    progress.log_all(warning_notes(predictions.warnings))
    refused = predictions.refused
    progress.log_all(refusal_notes("left out", refused))
    if not len(predictions):
        raise EmptyDataset(
            f"none of the {len(index):,} images in {', '.join(names)!r} could be read."
        )
    notes = [f"{len(refused)} of {len(index)} images were refused."] if refused else []
    notes += [*truncated_note(predictions.warnings), *_seen_before(location, index)]
    report = build_report(predictions, part=NEW)
    report = replace(report, predictions=predictions, caveats=(*notes, *report.caveats))
    if output is None:
        return report
    output = Path(output)
    predictions.write(output / "predictions.parquet")
    scored = ScoredBundle(bundle=bundle, index=index, predictions=predictions, report=report)
    words = ["holotype", "evaluate", run, *names, "--output", str(output)]
    words += pattern_words(label_pattern, group_pattern)
    context = ReportContext(
        title=f"Evaluation on {', '.join(map(source_name, sources))}",
        run_name=bundle.manifest.name,
        data=f"{pluralize(len(index), 'image')} in {', '.join(names)}",
        command=shlex.join(words),
        class_weighting=measure_class_weighting(report, predictions, class_weights(bundle)),
    )
    scored.write_report(RunDirectory(output), scored.with_bundle(context))
    return replace(report, path=output / "report" / "index.html")


def _predictions(
    bundle: Bundle,
    index: Index,
    output: str | Path | None,
    on: str,
    jobs: int,
    progress: Progress,
) -> Predictions:
    """Of the labelled images, here or in shards elsewhere."""
    if on == "local":
        with progress.bar("predicting") as update:
            return predict_index(bundle, index, on_progress=lambda done: update(done, len(index)))
    known_classes(bundle, index)
    folder, files = shared_folder(on, output), image_files(index)
    found = predict_sharded(bundle, files, folder, on=on, jobs=jobs, progress=progress)
    return with_labels(found, bundle, index)


def _seen_before(run: str | os.PathLike[str], index: Index) -> list[str]:
    """A sentence where the run's own index holds some of these images outside of its test."""
    own = run_of(run)
    if own is None or not own.index.is_file():
        return []
    table = read_index_file(own.index).table
    taught = set(table["sha256"][table["split"] != "test"]) - {""}
    seen = int(index.table["sha256"].isin(taught).sum())
    if not seen:
        return []
    return [
        f"{seen:,} of {len(index):,} images taught this classifier or chose its settings: the "
        "scores are too optimistic."
    ]
