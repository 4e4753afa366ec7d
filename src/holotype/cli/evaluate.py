"""`holotype evaluate`: the report of a classifier on other labelled images."""

from pathlib import Path

from holotype.cli.options import AsJson, GroupPattern, Jobs, LabelPattern, On
from holotype.cli.output import print_json, print_message, print_next_command, print_result
from holotype.dataset.reading.source_types import pattern_words
from holotype.pipeline.evaluate import evaluate as evaluate_on
from holotype.progress import pluralize, to_stderr


def evaluate(
    run: str,
    data: tuple[Path, ...],
    /,
    *,
    output: Path | None = None,
    label_pattern: LabelPattern = None,
    group_pattern: GroupPattern = None,
    on: On = "local",
    jobs: Jobs = 1,
    as_json: AsJson = False,
) -> int:
    """Every image of the data is predicted and counted.

    Args:
        run: A run, a stage of it (RUN@STAGE), a bundle, or registry://NAME@ALIAS.
        data: Folders with one folder per class, or CSV or Parquet tables; several are combined.
        output: Write report/ and predictions.parquet into this directory; without it the scores
            are printed and nothing is written.
    """
    report = evaluate_on(
        run,
        data,
        output=output,
        label_pattern=label_pattern,
        group_pattern=group_pattern,
        on=on,
        jobs=jobs,
        progress=to_stderr(),
    )
    if as_json:
        print_json(report.to_json())
        return 0
    for caveat in report.caveats:
        print_message(caveat)
    print_result(f"accuracy     {report['accuracy']} on {pluralize(report.num_images, 'image')}")
    if output is None:
        patterns = pattern_words(label_pattern, group_pattern)
        print_next_command("holotype", "evaluate", run, *data, "--output", "new-report", *patterns)
        return 0
    print_result(f"report       {output / 'report' / 'index.html'}")
    print_result(f"predictions  {output / 'predictions.parquet'}")
    return 0
