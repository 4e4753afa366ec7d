"""Read the runs to compare under unique names, and measure their speed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.inference import predict_index
from holotype.bundle.onnx_runtime import available_cores
from holotype.comparison.cost import evenly_spread, measure_cost, recorded_cost
from holotype.comparison.result import Candidate
from holotype.dataset.index import Index, read_index_file
from holotype.ensembles.ensemble_recipe import OUT_OF_FOLD, read_ensemble_recipe
from holotype.ensembles.gain import BEST_MEMBER_COMPARISON, read_best_member_comparison
from holotype.errors import (
    BundleError,
    CorruptFile,
    DatasetError,
    InvalidRecipe,
    NotARun,
    NotComparable,
)
from holotype.predictions import Predictions, read_predictions
from holotype.progress import Progress
from holotype.registry.registered_name import is_registered_name, parse_registered_name
from holotype.registry.resolve_registered import registered_path
from holotype.run_directory import RunDirectory, run_path

PARTS = ("test", "oof", "val")  # the most telling one first
DEFAULT_OUTPUT = "_comparison"  # in a folder of runs


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """A run, read.

    Attributes:
        candidate: its name, path and cost.
        bundle, index: None where it has none.
        predictions: by part; those it has on disk.
        weights_fitted_on: the part that the weights of an ensemble were fitted on, where its
            predictions there are not of held-out folds; or "".
        advice: why the report of an ensemble does not recommend it, or "".
    """

    candidate: Candidate
    bundle: Bundle | None
    index: Index | None
    predictions: Mapping[str, Predictions]
    weights_fitted_on: str = ""
    advice: str = ""


def load_runs(runs: Sequence[str | Path], progress: Progress) -> tuple[list[LoadedRun], list[str]]:
    """Every run with predictions, under names that differ; and what was left out, in words."""
    paths, notes = _run_paths(runs)
    names = unique_names(list(paths))
    found = []
    for name, path in zip(names, paths.values(), strict=True):
        try:
            one = _load_run(name, path, progress)
        except (BundleError, CorruptFile, DatasetError, InvalidRecipe, OSError) as error:
            notes.append(f"{name} was left out: {' '.join(str(error).split())}")
            continue
        if one.weights_fitted_on:
            notes.append(
                f"{name} is an ensemble whose method and weights were fitted on "
                f"{one.weights_fitted_on}, so its scores there are too optimistic; test does not."
            )
        if one.predictions:
            found.append(one)
        else:
            notes.append(f"{name} was left out: it has no predictions; it may be unfinished.")
    progress.log_all(notes)
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
        path = run_path(registered_path(given))
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


def unique_names(given: Sequence[str]) -> list[str]:
    """The last part of each path, with as much of what is before it as tells them apart."""
    parts = [_parts(one) for one in given]
    depth = 1
    longest = max((len(each) for each in parts), default=1)
    while depth < longest and len({each[-depth:] for each in parts}) < len(parts):
        depth += 1
    return ["/".join(each[-depth:]) for each in parts]


def _parts(given: str) -> tuple[str, ...]:
    if is_registered_name(given):
        return (str(parse_registered_name(given)),)
    return (str(Path(given).resolve()),) if given in (".", "..") else Path(given).parts


def _load_run(name: str, path: Path, progress: Progress) -> LoadedRun:
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
    is_fitted = ensemble is not None and ensemble.requested_method != "average"
    fitted = ensemble.fitted_on if ensemble is not None and is_fitted else ""
    if held_out_file(run).is_file() or fitted == OUT_OF_FOLD:
        fitted = ""  # weights and temperature of each fold come from the others
    return LoadedRun(
        candidate, bundle, index, _predictions(run, bundle, index, progress),
        weights_fitted_on=fitted, advice=_advice(run) if ensemble is not None else "",
    )  # fmt: skip


def held_out_file(run: RunDirectory) -> Path:
    """Validation as an ensemble answers it, each fold with weights fitted on the others."""
    return run.predictions / "val_held_out.parquet"


def _advice(run: RunDirectory) -> str:
    file = run.report / BEST_MEMBER_COMPARISON
    if not file.is_file():
        return ""
    comparison = read_best_member_comparison(file)
    if comparison.recommended:
        return ""
    if comparison.only_member:
        return (
            f"its report does not recommend it, since {comparison.only_member} has all the weight"
        )
    return (
        "its report does not recommend it, since on held-out images it is not significantly better "
        f"than its best member, {comparison.best_member}"
    )


def _predictions(
    run: RunDirectory, bundle: Bundle | None, index: Index | None, progress: Progress
) -> dict[str, Predictions]:
    """Those that the run has; a stage's on test are made now, since it was never asked."""
    files = {part: run.predictions / f"{part}.parquet" for part in PARTS}
    if held_out_file(run).is_file():
        files["val"] = held_out_file(run)
    found = {part: read_predictions(file) for part, file in files.items() if file.is_file()}
    is_stage = run.root_run != run
    if not is_stage or "test" in found or bundle is None or index is None:
        return found
    images = index.part("test")
    if len(images) and bundle.manifest.decision is not None:
        with progress.bar(f"predicting test with stage {run.path.name}") as update:
            made = predict_index(bundle, images, on_progress=lambda done: update(done, len(images)))
        if not made.refused:
            found["test"] = made
    return found


def measure_speed(
    found: list[LoadedRun], count: int, progress: Progress
) -> tuple[list[LoadedRun], str]:
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


def _sample_files(found: Sequence[LoadedRun], count: int) -> tuple[list[Path], str]:
    """Images of the first run that has some on disk, evenly spread, and whose they are.

    Of validation; of all where there is none, as in a parent of folds.
    """
    for one in found:
        if one.index is None:
            continue
        validation = one.index.part("val")
        images = validation if len(validation) else one.index
        paths = list(images.table["path"])
        chosen = evenly_spread(paths, count)
        files = [file for path in chosen if (file := one.index.file(path)).is_file()]
        if files:
            return files, "validation " if len(validation) else ""
    return [], ""
