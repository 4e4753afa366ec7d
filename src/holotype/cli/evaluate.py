"""`holotype evaluate`: the report of a classifier on other labelled images."""

from pathlib import Path

from holotype import pipeline
from holotype.cli.options import AsJson, GroupPattern, LabelPattern
from holotype.cli.output import print_json, print_message, print_result
from holotype.progress import to_stderr


def evaluate(
    run: Path,
    data: Path,
    /,
    *,
    output: Path,
    label_pattern: LabelPattern = None,
    group_pattern: GroupPattern = None,
    as_json: AsJson = False,
) -> int:
    """Every image of the data is predicted and counted.

    Args:
        run: A run directory, or a bundle.
        data: A folder with one folder per class, or a CSV or Parquet table.
        output: Write report/ and predictions.parquet into this directory.
    """
    report = pipeline.evaluate_on(
        run,
        data,
        output,
        label_pattern=label_pattern,
        group_pattern=group_pattern,
        progress=to_stderr(),
    )
    if as_json:
        print_json(report.to_json())
        return 0
    for caveat in report.caveats:
        print_message(caveat)
    print_result(f"accuracy     {report['accuracy']} on {report.num_images:,} images")
    print_result(f"report       {output / 'report' / 'index.html'}")
    print_result(f"predictions  {output / 'predictions.parquet'}")
    return 0
