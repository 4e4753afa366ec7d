"""`holotype predict`: the classes of images."""

from pathlib import Path
from typing import Literal

from holotype.cli.options import AsJson, Jobs, On, Switch
from holotype.cli.output import (
    print_json,
    print_message,
    print_next_command,
    print_result,
)
from holotype.errors import UsageError
from holotype.imaging.image_warnings import refusal_notes, warning_notes
from holotype.pipeline import predict as verb
from holotype.progress import to_stderr
from holotype.text_tables import text_table


def predict(
    run: str,
    /,
    *images: Path,
    output: Path | None = None,
    coverage: float | None = None,
    sets: Literal["lac", "raps"] | None = None,
    per_class: Switch = False,
    heatmaps: Path | None = None,
    on: On = "local",
    jobs: Jobs = 1,
    as_json: AsJson = False,
) -> int:
    """Exit code 1 if an image could not be used; the others are answered all the same.

    Args:
        run: A run, a stage of it (RUN@STAGE), a bundle, or registry://NAME@ALIAS.
        images: Images, and folders with all images in them.
        output: Write the answers to this file too, which ends in .csv or .json.
        coverage: Answer with the prediction set that holds the true class as often as this, such as
            0.95; for runs that held images back for it, or that have folds.
        sets: How sets are made: lac, the smallest on average (the default), or raps, larger ones
            for harder images.
        per_class: Promise the coverage for the images of every class, not only on the whole.
        heatmaps: Write a sheet for every image into this folder: the evidence for its class.
    """
    if not images:
        raise UsageError("no image was named; give the paths of images or folders.")
    found = verb.predict(
        run, images, output=output, coverage=coverage, sets=sets, per_class=per_class,
        heatmaps=heatmaps, on=on, jobs=jobs, progress=to_stderr(),
    )  # fmt: skip
    if as_json:
        print_json(found.to_json())
    elif found:
        print_result(text_table(*found.table()))
    for note in (*found.notes, *warning_notes(found.warnings)):
        print_message(note)
    for note in refusal_notes("refused", found.refused):
        print_message(note)
    if found.refused:
        print_message(f"{len(found)} of {len(found) + len(found.refused)} images answered")
    if heatmaps is not None:
        print_message(f"heatmaps: {len(found)} in {heatmaps}")
    if output is not None:
        print_message(f"answers: {output}")
    elif found and not as_json:
        print_next_command("holotype", "explain", run, found.ids[0], "--output", "why.png")
    return 1 if found.refused else 0
