"""A finished classifier, and the report that it earns on other labelled images."""

import shlex
from pathlib import Path

from holotype.bundle.bundle import load_bundle
from holotype.bundle.inference import predict
from holotype.dataset.index import Index, read_index, read_index_file
from holotype.errors import EmptyDataset
from holotype.evaluation.build_report import build_report
from holotype.evaluation.report_data import Report
from holotype.explanation.example_selection import select_examples
from holotype.pipeline.training_run.class_weight_report import (
    class_weights_of_run,
    measure_class_weighting,
)
from holotype.progress import Progress
from holotype.reporting.report_page import ReportContext
from holotype.reporting.write_report import write_report
from holotype.run_directory import RunDirectory, run_path

NEW = "new"  # what was handed in, as opposed to a part of the run's own split


def evaluate_on(
    run: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    label_pattern: str | None = None,
    group_pattern: str | None = None,
    progress: Progress | None = None,
) -> "Report":
    """The report of a finished classifier on other labelled images, in `output/report/`.

    Raises:
        EmptyDataset: no image could be read.
        DatasetError: a label that the classifier does not know.
    """
    progress, output = progress or Progress(), Path(output)
    bundle = load_bundle(run)
    index = read_index(data, label_pattern=label_pattern, group_pattern=group_pattern)
    with progress.bar("predicting") as update:
        predictions, refused = predict(
            bundle, index, on_progress=lambda done: update(done, len(index))
        )
    for refusal in refused:
        progress.log(f"left out: {refusal}")
    if not len(predictions):
        raise EmptyDataset(f"none of the {len(index)} images in {str(data)!r} could be read.")
    predictions.write(output / "predictions.parquet")
    report = build_report(predictions, part=NEW)
    notes = [f"{len(refused)} of {len(index)} images were refused."] if refused else []
    notes += _seen_before(run, index)
    for note in notes:
        progress.log(note)
    command = shlex.join(["holotype", "evaluate", str(run), str(data), "--output", str(output)])
    write_report(
        report, output / "report", predictions=predictions,
        context=ReportContext(
            title=f"Evaluation on {Path(data).name}",
            run_name=bundle.manifest.name,
            model=bundle.manifest.model,
            data=f"{len(index):,} images in {data!s}",
            bundle_hash=bundle.sha256,
            temperature=bundle.temperature,
            command=command,
            notes=notes,
            class_weighting=measure_class_weighting(
                report, predictions, class_weights_of_run(RunDirectory(run_path(run)), bundle)
            ),
        ),
        examples=select_examples(bundle, index, predictions),
    )  # fmt: skip
    return report


def _seen_before(run: str | Path, index: "Index") -> list[str]:
    """A sentence where the run's own index holds some of these images outside of its test."""
    own = RunDirectory(run_path(run)).index
    if not own.is_file():
        return []
    table = read_index_file(own).table
    taught = set(table["sha256"][table["split"] != "test"]) - {""}
    seen = int(index.table["sha256"].isin(taught).sum())
    if not seen:
        return []
    return [
        f"{seen:,} of {len(index):,} images taught this classifier or chose its settings: the "
        "scores flatter it."
    ]
