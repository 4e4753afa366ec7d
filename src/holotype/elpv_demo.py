"""The demo: train on the ELPV solar cells and compare with two published results.

Data and protocol as in Deitsch et al. 2019, "Automatic classification of defective photovoltaic
module cells in electroluminescence images", Solar Energy 185: 2,624 cells, a quarter of them for
test, stratified by label and type; unsure cells are defective with their probability as weight.
"""

import csv
from pathlib import Path

from holotype.dataset.sources.fetch import fetch
from holotype.pipeline.run import Run
from holotype.pipeline.training_run.train import run_training
from holotype.pipeline.training_run.training_job import TrainingRequest
from holotype.progress import Progress, default_progress
from holotype.run_directory import next_run_path

TEST_FRACTION = 0.25
VALIDATION_FRACTION = 0.15  # of the training part

# Nothing but the orientation varies between electroluminescence images.
AUGMENTATION = (
    "{symmetry: auto, rotation_degrees: 0, zoom: 0, shift: 0, brightness: 0, contrast: 0}"
)
SETTINGS = {"stages.0.augmentation": AUGMENTATION, "stages.1.augmentation": AUGMENTATION}

PUBLISHED = (
    (
        "Deitsch et al. 2019, fine-tuned VGG-19",
        0.8842,
        "a much larger network on a GPU; their own 75/25 split, no validation part stated",
    ),
    ("Deitsch et al. 2019, support vector machine", 0.8244, "the same split as their VGG-19"),
)

CAVEAT = (
    "The module that a cell was cut from is not published, so cells of one module may be on both "
    "sides of this split, here and in the paper; benchmarks/RESULTS.md shows the effect."
)


def demo(output: Path | None = None, *, progress: Progress | None = None) -> Run:
    """Train `efficientnet_lite0` on the ELPV solar cells and write the report.

    Raises:
        MissingExtra: the package with the images is not installed.
    """
    run = Path(output) if output else next_run_path("demo")
    table = split_table(run.parent / f"{run.name}-data", seed=0)
    return run_training(
        TrainingRequest(
            data=table,
            output=run,
            ratios=(1 - VALIDATION_FRACTION - TEST_FRACTION, VALIDATION_FRACTION, TEST_FRACTION),
            overrides=SETTINGS,
            progress=progress or default_progress(),
            published=PUBLISHED,
            notes=[CAVEAT],
        )
    )


def split_table(directory: Path, *, seed: int, blocks: bool = False) -> Path:
    """The cells as a table with a `split` column: a quarter is test, the rest is train.

    Args:
        directory: where the table is written; the images stay where they are.
        blocks: make groups of 60 consecutive cells, instead of stratifying single cells by label
            and type.
    """
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

    table = fetch("elpv-blocks" if blocks else "elpv", directory)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if blocks:
        splitter = GroupShuffleSplit(n_splits=1, test_size=TEST_FRACTION, random_state=seed)
        _, test = next(splitter.split(rows, groups=[row["group"] for row in rows]))
    else:
        strata = [f"{row['label']} {row['type']}" for row in rows]
        _, test = train_test_split(
            range(len(rows)), test_size=TEST_FRACTION, stratify=strata, random_state=seed
        )
    held_out = set(test)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], "split"])
        writer.writeheader()
        for number, row in enumerate(rows):
            writer.writerow(row | {"split": "test" if number in held_out else "train"})
    return table
