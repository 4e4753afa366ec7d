"""Runs side by side: which is better, how sure that is, what each costs, and which one to ship."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.inference import predict
from holotype.bundle.onnx_sessions import available_cores
from holotype.comparison.aligned_predictions import align_predictions
from holotype.comparison.comparison_page import write_comparison
from holotype.comparison.cost import measure_cost, recorded_cost
from holotype.comparison.disagreements import disagreements
from holotype.comparison.leaderboard import Leaderboard, build_leaderboard
from holotype.comparison.result import Candidate, Comparison
from holotype.comparison.selection import parse_rule, select_run
from holotype.dataset.index import Index, read_index_file
from holotype.ensembles.ensemble_recipe import read_ensemble_recipe
from holotype.errors import (
    BundleError,
    DatasetError,
    ImageError,
    InvalidRecipe,
    InvalidSelection,
    NotARun,
    NotComparable,
    UsageError,
)
from holotype.explanation.heatmap_drawing import scaled_rgb
from holotype.files import sha256_of
from holotype.imaging.decode import decode
from holotype.predictions import Predictions, read_predictions
from holotype.progress import Progress
from holotype.run_directory import RunDirectory, run_path

if TYPE_CHECKING:
    import numpy as np


SPEED_IMAGES = 48
RECALL_GAP = PRECISION_GAP = 0.15
PARTS = ("test", "oof", "val")  # in the order of how much each says
DEFAULT_OUTPUT = "_comparison"
MAX_DISAGREEMENTS = 12  # images about which the runs disagree
MAX_SIDE_PX = 320


@dataclass(frozen=True, eq=False)
class _LoadedRun:
    """One run, read."""

    candidate: "Candidate"
    bundle: "Bundle | None"
    index: "Index | None"
    predictions: "Mapping[str, Predictions]"
    weights_fitted_on: str = ""  # the part that an ensemble's weights were fitted on


def compare(
    runs: Sequence[str | Path],
    *,
    output: str | Path | None = None,
    select: str | None = None,
    recall_gap: float = RECALL_GAP,
    precision_gap: float = PRECISION_GAP,
    speed_images: int = SPEED_IMAGES,
    seed: int = 0,
    progress: Progress | None = None,
) -> "Comparison":
    """Compare finished runs on the images that all were tested on, and write what was found.

    Args:
        runs: runs, stages (`RUN@STAGE`), and folders, of which every run one level below counts.
        output: where it is written; `FOLDER/_comparison` where one folder is given.
        select: a rule for the one to ship; see `comparison.selection`.
        recall_gap, precision_gap: from where on a class is a weakness, in [0, 1].
        speed_images: validation images on which speed and memory are measured; 0 measures none.
        seed: of resamples and permutations.

    Raises:
        NotARun: a path is neither a run nor a folder.
        NotComparable: no run has predictions, or the runs were not tested on the same images, or
            know different classes.
        InvalidSelection: the rule makes no sense, or asks for what is not known.
    """
    progress = progress or Progress()
    _check_options(recall_gap, precision_gap, speed_images)
    rule = None if select is None else parse_rule(select)
    place = comparison_directory(runs, output)
    found, notes = _load_runs(runs, progress)
    leaderboards, more = _leaderboards(
        [(f.candidate.name, f.predictions) for f in found], seed, progress
    )
    notes += more
    selection_part = next((part for part in ("val", "oof") if part in leaderboards), None)
    if rule is not None and selection_part is None:
        raise InvalidSelection(
            f"--select {rule.text!r} chooses on validation or out of fold, and these runs have no "
            "predictions of either that can be compared; a run is never chosen on test."
        )
    found, measured_on = _measure_speed(found, speed_images, progress)
    by_name = {f.candidate.name: f.candidate for f in found}
    selection = None
    if rule is not None and selection_part is not None:
        of = leaderboards[selection_part]
        selection = select_run(of, [by_name[name].cost for name in of.names], rule)
    main = next(iter(leaderboards.values()))
    comparison = Comparison(
        candidates=tuple(by_name.values()),
        leaderboards=leaderboards,
        notes=tuple(notes),
        measured_on=measured_on,
        disagreements=tuple(disagreements(main.aligned, MAX_DISAGREEMENTS)),
        selection=selection,
        recall_gap=recall_gap,
        precision_gap=precision_gap,
    )
    progress.log("writing the comparison")
    write_comparison(comparison, place, _disagreement_images(comparison, found))
    return comparison


def comparison_directory(runs: Sequence[str | Path], output: str | Path | None) -> Path:
    """Where a comparison is written.

    Raises:
        UsageError: several runs were given, and no place.
    """
    if output is not None:
        return Path(output)
    if (
        len(runs) == 1
        and Path(runs[0]).is_dir()
        and not RunDirectory(Path(runs[0])).recipe.is_file()
    ):
        return Path(runs[0]) / DEFAULT_OUTPUT
    raise UsageError(
        "say with --output where the comparison is to be written; only for one folder of runs it "
        f"is FOLDER/{DEFAULT_OUTPUT}."
    )


def _check_options(recall_gap: float, precision_gap: float, speed_images: int) -> None:
    for option, value in (("--recall-gap", recall_gap), ("--precision-gap", precision_gap)):
        if not 0 < value <= 1:
            raise UsageError(f"{option} is {value:g}; expected a share above 0 and up to 1.")
    if speed_images < 0:
        raise UsageError(f"--speed-images is {speed_images}; expected a number of images, or 0.")


def _load_runs(
    runs: Sequence[str | Path], progress: Progress
) -> tuple[list[_LoadedRun], list[str]]:
    """Every run with predictions, under names that differ; and what was left out, in words."""
    paths, notes = _run_paths(runs)
    names = _unique_names(list(paths))
    found = []
    for name, path in zip(names, paths.values(), strict=True):
        try:
            one = _load_run(name, path, progress)
        except (BundleError, DatasetError, InvalidRecipe, OSError) as error:
            notes.append(f"{name} was left out: {' '.join(str(error).split())}")
            continue
        if one.weights_fitted_on:
            notes.append(
                f"{name} is an ensemble whose method and weights were fitted on "
                f"{one.weights_fitted_on}, which flatters it there; test does not."
            )
        if one.predictions:
            found.append(one)
        else:
            notes.append(f"{name} was left out: it has no predictions; it may be unfinished.")
    for note in notes:
        progress.log(note)
    if not found:
        raise NotComparable(
            "none of these is a run with predictions; expected runs that `holotype train` has "
            f"finished, or a folder of them.{' ' + notes[0] if notes else ''}"
        )
    if len(found) == 1:
        notes.append("One run only: its scores are given, but there is nothing to compare.")
    return found, notes


def _run_paths(runs: Sequence[str | Path]) -> tuple[dict[str, Path], list[str]]:
    """The run directories by what they were called, each once; and what is no run, in words."""
    found: dict[str, Path] = {}
    notes = []
    for given in runs:
        path = run_path(given)
        if RunDirectory(path).recipe.is_file():
            found[str(given)] = path
        elif path.is_dir():
            below = sorted(one for one in path.iterdir() if RunDirectory(one).recipe.is_file())
            found.update((str(one), one) for one in below)
            if not below and path.name != DEFAULT_OUTPUT:  # `runs/*` names it too
                notes.append(f"{given} was left out: there is no run in it.")
        elif path.exists():
            notes.append(f"{given} was left out: it is a file.")
        else:
            raise NotARun(
                f"{str(given)!r} does not exist; expected a run, RUN@STAGE, or a folder of runs."
            )
    once = {path.resolve(): given for given, path in reversed(found.items())}
    return {given: path for given, path in found.items() if given in once.values()}, notes


def _unique_names(given: Sequence[str]) -> list[str]:
    """The last part of each path, with as much of what is before it as tells them apart."""
    parts = [
        Path(one).parts if one not in (".", "..") else (str(Path(one).resolve()),) for one in given
    ]
    depth = 1
    longest = max((len(each) for each in parts), default=1)
    while depth < longest and len({each[-depth:] for each in parts}) < len(parts):
        depth += 1
    return ["/".join(each[-depth:]) for each in parts]


def _load_run(name: str, path: Path, progress: Progress) -> _LoadedRun:
    run = RunDirectory(path)
    has_bundle = (run.bundle / "manifest.json").is_file()
    bundle = load_bundle(path) if has_bundle else None
    index = read_index_file(run.index) if run.index.is_file() else None
    candidate = Candidate(
        name=name,
        path=path,
        model=bundle.manifest.model if bundle else "",
        data=bundle.manifest.name if bundle else path.name,
        bundle=bundle.path if bundle else None,
        bundle_sha256=bundle.sha256 if bundle else "",
        cost=recorded_cost(run, bundle),
    )
    ensemble = read_ensemble_recipe(run.recipe)
    fitted = (
        "" if ensemble is None or ensemble.requested_method == "average" else ensemble.fitted_on
    )
    return _LoadedRun(
        candidate, bundle, index, _predictions(run, bundle, index, progress),
        weights_fitted_on=fitted,
    )  # fmt: skip


def _predictions(
    run: RunDirectory, bundle: "Bundle | None", index: "Index | None", progress: Progress
) -> "dict[str, Predictions]":
    """Those that the run has; a stage's on test are made now, since it was never asked."""
    files = {part: run.predictions / f"{part}.parquet" for part in PARTS}
    found = {part: read_predictions(file) for part, file in files.items() if file.is_file()}
    is_stage = run.root_run != run
    if not is_stage or "test" in found or bundle is None or index is None:
        return found
    images = index.part("test")
    if len(images) and bundle.manifest.decision is not None:
        with progress.bar(f"predicting test with stage {run.path.name}") as update:
            made, refused = predict(
                bundle, images, on_progress=lambda done: update(done, len(images))
            )
        if not refused:
            found["test"] = made
    return found


def _leaderboards(
    found: "Sequence[tuple[str, Mapping[str, Predictions]]]", seed: int, progress: Progress
) -> "tuple[dict[str, Leaderboard], list[str]]":
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
        progress.log(f"comparing {len(answers)} runs on {len(answers.first):,} images of {part}")
        leaderboards[part] = build_leaderboard(answers, part, seed=seed)
    return leaderboards, notes


def _measure_speed(
    found: list[_LoadedRun], count: int, progress: Progress
) -> tuple[list[_LoadedRun], str]:
    """Speed, latency and memory of each bundle, one after the other on the same images."""
    cores = available_cores()
    if count == 0:
        return found, "Speed, latency and memory were not measured, as asked for."
    files, whose = _sample_files(found, count)
    if not files:
        return found, (
            "Speed, latency and memory were not measured: no image lies where the runs were "
            "trained from."
        )
    result, failed = [], []
    with progress.bar("measuring speed") as update:
        for done, one in enumerate(found):
            update(done, len(found))
            if one.candidate.bundle is not None:
                cost, why = measure_cost(one.candidate.cost, one.candidate.bundle, files)
                one = replace(one, candidate=replace(one.candidate, cost=cost))
                failed += [f"{one.candidate.name}: {why}"] if why else []
            result.append(one)
        update(len(found), len(found))
    return result, (
        f"Speed, latency and memory were measured just now, one bundle after the other, each in a "
        f"process of its own, on {len(files)} {whose}"
        f"{'image' if len(files) == 1 else 'images'} on "
        f"{cores} {'core' if cores == 1 else 'cores'}."
        + (f" Not measured: {'; '.join(failed)}." if failed else "")
    )


def _sample_files(found: Sequence[_LoadedRun], count: int) -> tuple[list[Path], str]:
    """Images of the first run that has some on disk, evenly spread, and whose they are.

    Of validation; of all where there is none, as in a parent of folds.
    """
    for one in found:
        if one.index is None:
            continue
        validation = one.index.part("val")
        images = validation if len(validation) else one.index
        paths = list(images.table["path"])
        chosen = paths[:: max(1, len(paths) // count)][:count]
        files = [file for path in chosen if (file := one.index.file(path)).is_file()]
        if files:
            return files, "validation " if len(validation) else ""
    return [], ""


def _disagreement_images(
    comparison: "Comparison", found: Sequence[_LoadedRun]
) -> "dict[str, NDArray[np.uint8]]":
    """The images of the disagreements that are still where they were, with the same bytes."""
    import numpy as np

    first = comparison.main.aligned.first
    main_run = next(f for f in found if f.candidate.name == comparison.main.names[0])
    if main_run.index is None or main_run.bundle is None:
        return {}
    background = main_run.bundle.preprocessing.background
    images = {}
    for one in comparison.disagreements:
        file = main_run.index.file(one.id)
        if not file.is_file() or sha256_of(file) != first.sha256[one.row]:
            continue
        try:
            image = decode(file, name=one.id)
        except ImageError:
            continue
        images[one.id] = np.asarray(scaled_rgb(image, background, longest=MAX_SIDE_PX, shortest=96))
    return images
