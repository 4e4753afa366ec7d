"""Compare runs: accuracy with significance tests, cost, and which one to ship."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holotype.arguments import require_directory_place
from holotype.comparison.aligned_predictions import align_predictions
from holotype.comparison.disagreements import disagreements
from holotype.comparison.leaderboard import Leaderboard, build_leaderboard
from holotype.comparison.per_class import PRECISION_GAP, RECALL_GAP
from holotype.comparison.result import Comparison
from holotype.comparison.selection import parse_rule, select_run
from holotype.comparison.write_comparison import write_comparison
from holotype.errors import ImageError, InvalidSelection, NotComparable, UsageError
from holotype.explanation.heatmap_drawing import scaled_rgb
from holotype.extras import with_install_advice
from holotype.files import require_writable, sha256_of
from holotype.imaging.decode import decode
from holotype.pipeline.compared.compared_runs import (
    DEFAULT_OUTPUT,
    PARTS,
    LoadedRun,
    load_runs,
    measure_speed,
)
from holotype.pipeline.compared.compared_searches import search_with
from holotype.predictions import Predictions
from holotype.progress import Progress, default_progress, pluralize
from holotype.run_directory import RunDirectory

SPEED_IMAGES = 48
MAX_DISAGREEMENTS = 12  # images about which the runs disagree
MAX_SIDE_PX = 320


@with_install_advice
def compare(
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    output: str | Path | None = None,
    select: str | None = None,
    recall_gap: float = RECALL_GAP,
    precision_gap: float = PRECISION_GAP,
    speed_images: int = SPEED_IMAGES,
    progress: Progress | None = None,
) -> Comparison:
    """Compare finished runs on the images that all were tested on.

    Paired tests on the same images; runs that cannot be told apart share their ranks. Of runs that
    embed individuals (`--recipe identify`) the searches with their embeddings are compared too.

    Example:
        >>> comparison = holotype.compare("runs", select="best")  # doctest: +SKIP
        >>> comparison.selected.name  # doctest: +SKIP
        'photos-2'

    Args:
        runs: runs, stages (`RUN@STAGE`), and folders, of which every run one level below counts.
        output: write the comparison into this directory. Without it, that of one folder of runs
            is written into `FOLDER/_comparison`, and no other is written.
        select: a rule for the one to ship, judged on validation, such as
            `within 1 point of the best, then fastest`.
        recall_gap, precision_gap: how far below the best run a class is a weakness, in (0, 1].
        speed_images: validation images on which speed and memory are measured; 0 measures none.

    Raises:
        NotARun: a path is neither a run nor a folder.
        NotComparable: no run has predictions, or the runs were not tested on the same images, or
            know different classes.
        InvalidSelection: the rule makes no sense, or asks for what is not known.
    """
    progress = progress or default_progress()
    _check_options(recall_gap, precision_gap, speed_images)
    rule = None if select is None else parse_rule(select)
    paths = [os.fspath(run) for run in ([runs] if isinstance(runs, str | os.PathLike) else runs)]
    if output is not None:
        require_directory_place(output)
    place = comparison_directory(paths, output)
    if place is not None:
        require_writable(place / "comparison.json")
    found, notes = load_runs(paths, progress)
    leaderboards, more = _leaderboards(
        [(run.candidate.name, run.predictions) for run in found], progress
    )
    selection_part = next((part for part in ("val", "oof") if part in leaderboards), None)
    if rule is not None and selection_part is None:
        raise InvalidSelection(
            f"--select {rule.text!r} chooses on validation or out of fold, and these runs have no "
            "predictions of either that can be compared; a run is never chosen on test."
        )
    searches, about_searches = search_with(found, progress)
    found, measured_on = measure_speed(found, speed_images, progress)
    by_name = {run.candidate.name: run.candidate for run in found}
    selection = None
    if rule is not None and selection_part is not None:
        leaderboard = leaderboards[selection_part]
        costs = [by_name[name].cost for name in leaderboard.names]
        advice = {one.candidate.name: one.advice for one in found if one.advice}
        selection = select_run(leaderboard, costs, rule, advice)
    main = next(iter(leaderboards.values()))
    comparison = Comparison(
        candidates=tuple(by_name.values()),
        leaderboards=leaderboards,
        notes=(*notes, *more, *about_searches),
        measured_on=measured_on,
        disagreements=tuple(disagreements(main.aligned, MAX_DISAGREEMENTS)),
        selection=selection,
        recall_gap=recall_gap,
        precision_gap=precision_gap,
        searches=searches,
    )
    if place is not None:
        with progress.busy("writing the comparison"):
            write_comparison(comparison, place, _disagreement_images(comparison, found))
    return comparison


def comparison_directory(runs: Sequence[str], output: str | Path | None) -> Path | None:
    """Where a comparison is written; None where it is not."""
    if output is not None:
        return Path(output)
    if (
        len(runs) == 1
        and Path(runs[0]).is_dir()
        and not RunDirectory(Path(runs[0])).recipe.is_file()
    ):
        return Path(runs[0]) / DEFAULT_OUTPUT
    return None


def _check_options(recall_gap: float, precision_gap: float, speed_images: int) -> None:
    for option, value in (("--recall-gap", recall_gap), ("--precision-gap", precision_gap)):
        if not 0 < value <= 1:
            raise UsageError(f"{option} is {value:g}; expected a share above 0 and up to 1.")
    if speed_images < 0:
        raise UsageError(f"--speed-images is {speed_images}; expected a number of images, or 0.")


def _leaderboards(
    found: Sequence[tuple[str, Mapping[str, Predictions]]], progress: Progress
) -> tuple[dict[str, Leaderboard], list[str]]:
    """Where they stand on every part; the part that most runs have comes first.

    Only that part has to be the same for all. Where another differs, as validation may where the
    data came with a test part, nothing is compared on it, and it is said.
    """
    by_part = {
        part: {name: parts[part] for name, parts in found if part in parts} for part in PARTS
    }
    by_part = {part: of for part, of in by_part.items() if of}
    main = max(by_part, key=lambda part: (len(by_part[part]), -PARTS.index(part)))
    leaderboards, notes = {}, []
    for part in (main, *(part for part in by_part if part != main)):
        lacking = [name for name, parts in found if part not in parts]
        try:
            answers = align_predictions(by_part[part], part)
        except NotComparable as error:
            if part == main:
                raise
            notes.append(f"Nothing is compared on {part}: {error}")
            continue
        if lacking:
            notes.append(f"Without predictions of {part}: {', '.join(lacking)}.")
        runs = pluralize(len(answers), "run")
        progress.log(f"comparing {runs} on {len(answers.first):,} images of {part}")
        leaderboards[part] = build_leaderboard(answers, part)
    return leaderboards, notes


def _disagreement_images(
    comparison: Comparison, found: Sequence[LoadedRun]
) -> dict[str, NDArray[np.uint8]]:
    """The images of the disagreements that are still where they were, with the same bytes."""
    first = comparison.main.aligned.first
    main_run = next(f for f in found if f.candidate.name == comparison.main.names[0])
    if main_run.index is None or main_run.bundle is None:
        return {}
    preprocessing = main_run.bundle.preprocessing
    images = {}
    for one in comparison.disagreements:
        file = main_run.index.file(one.id)
        if not file.is_file() or sha256_of(file) != first.sha256[one.row]:
            continue
        try:
            image = decode(
                file, name=one.id, bits=preprocessing.bits,
                tolerate_truncated=preprocessing.tolerate_truncated,
            )  # fmt: skip
        except ImageError:
            continue
        images[one.id] = np.asarray(
            scaled_rgb(image, preprocessing.background, longest=MAX_SIDE_PX, shortest=96)
        )
    return images
