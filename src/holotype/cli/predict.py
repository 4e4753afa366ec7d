"""`holotype predict`: what is on images.

This path is kept light: it imports neither torch nor pandas, since a question about one
image should not take longer than the answer.
"""

import csv
import io
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.inference import UnlabelledPredictions, find_files, predict_unlabelled
from holotype.cli.options import AsJson
from holotype.cli.output import (
    print_json,
    print_message,
    print_next_command,
    print_result,
)
from holotype.errors import BundleError, UsageError
from holotype.evaluation.conformal import (
    DEFAULT_METHOD,
    ConformalPredictor,
    conformal_predictor,
    min_calibration_images,
)
from holotype.explanation.explanation_figures import explain_all
from holotype.files import write_bytes
from holotype.progress import to_stderr
from holotype.terminal import text_table

MIN_COVERAGE = 0.5  # a promise to be right less often than not helps nobody
SHOWN = 10  # classes that a line names


def predict(
    run: Path,
    /,
    *images: Path,
    output: Path | None = None,
    coverage: float | None = None,
    sets: Literal["lac", "raps"] | None = None,
    per_class: Annotated[bool, Parameter(show_default=False, negative=())] = False,
    heatmaps: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Exit code 1 if an image could not be used; the others are answered all the same.

    Args:
        run: A run directory, or a bundle.
        images: Images, and folders with all images in them.
        output: Write the answers to this file too, which ends in .csv or .json.
        coverage: Answer with the set of classes that holds the true one as often as this, such as
            0.95; for runs that held images back for it, or that have folds.
        sets: How sets are made: lac, the smallest on average (the default), or raps, larger ones
            for harder images.
        per_class: Promise the coverage for the images of every class, not only on the whole.
        heatmaps: Write a sheet for every image into this folder: what speaks for its class.
    """
    _check_coverage(coverage, is_detailed=sets is not None or per_class)
    if output is not None and output.suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"--output {str(output)!r} must end in .csv or .json.")

    bundle = load_bundle(run)
    conformal = None
    if coverage is not None:
        conformal = _conformal_of(bundle, coverage, sets, class_conditional=per_class)
    files = [file.path for file in find_files(images)]  # folders are walked once
    with to_stderr().bar("predicting") as update:
        answers = predict_unlabelled(
            bundle, files, on_progress=lambda done: update(done, len(files))
        )
    predictions, refused = answers.predictions, answers.refused
    answer = answer_json(bundle.sha256, answers, conformal)
    if output is not None:
        is_csv = output.suffix.lower() == ".csv"
        text = answer_csv(answer) if is_csv else json.dumps(answer, indent=2, ensure_ascii=False)
        # A file name may hold bytes that are no text.
        write_bytes(output, text.encode("utf-8", "backslashreplace"))
    if heatmaps is not None:
        _draw(bundle, files, heatmaps)
    if as_json:
        print_json(answer)
    elif answer["predictions"]:
        print_result(_table(answer["predictions"]))
    if conformal is not None:
        _warn_of_uninformative_sets(bundle, conformal)
    if bundle.members and any(_has_ood_threshold(base) for base in bundle.base_models):
        print_message("unknown: members would say so, but the whole of them was given no threshold")
    for refusal in refused:
        print_message(f"refused: {refusal}")
    if refused:
        print_message(f"{len(predictions)} of {len(predictions) + len(refused)} images answered")
    if output is not None:
        print_message(f"answers: {output}")
    elif predictions.ids and not as_json:
        print_next_command("holotype", "explain", run, predictions.ids[0], "--output", "why.png")
    return 1 if refused else 0


def _draw(bundle: "Bundle", files: "list[Path]", folder: Path) -> None:
    """A sheet for every image that can be used; the others are refused elsewhere."""
    with to_stderr().bar("drawing heatmaps") as update:
        sheets, _ = explain_all(bundle, files, folder, on_progress=update)
    print_message(f"heatmaps: {len(sheets)} in {folder}")


def _check_coverage(coverage: float | None, *, is_detailed: bool) -> None:
    if coverage is None:
        if is_detailed:
            raise UsageError("--sets and --per-class need --coverage, such as --coverage 0.95.")
    elif not MIN_COVERAGE < coverage < 1:
        raise UsageError(
            f"--coverage {coverage:g}: expected a share between {MIN_COVERAGE:g} and 1, "
            "such as 0.95."
        )


def _conformal_of(
    bundle: "Bundle",
    coverage: float,
    method: Literal["lac", "raps"] | None,
    *,
    class_conditional: bool,
) -> "ConformalPredictor":
    """The limits for sets of this coverage.

    Raises:
        BundleError: nothing was held back to calibrate them on.
    """
    calibration_set = bundle.manifest.decision.calibration_set if bundle.manifest.decision else None
    if bundle.conformal_scores is None or calibration_set is None:
        raise BundleError(
            f"{bundle.name}: no images were held back to calibrate sets of classes on. Train "
            "again with --ratios 0.6 0.15 0.15 0.1, or with --folds 5."
        )
    return conformal_predictor(
        bundle.conformal_scores,
        coverage,
        num_classes=len(bundle.classes),
        method=method or DEFAULT_METHOD,
        class_conditional=class_conditional,
        calibration_set=calibration_set,
    )


def _warn_of_uninformative_sets(bundle: "Bundle", conformal: "ConformalPredictor") -> None:
    """Sets that hold every class keep their promise, and one should know why."""
    names = [bundle.classes[c] for c in conformal.always_included_C.nonzero()[0]]
    if not names:
        return
    needed = min_calibration_images(conformal.coverage)
    if not conformal.class_conditional:
        reason = f"{conformal.calibration_size} images were held back"
        print_message(f"sets: every one holds all classes, since {reason} and it takes {needed}")
        return
    print_message(
        f"sets: fewer than {needed} images were held back of {len(names)} of "
        f"{len(bundle.classes)} classes, which are in every set: {', '.join(names[:SHOWN])}"
        + (" …" if len(names) > SHOWN else "")
    )


def _has_ood_threshold(base: "Bundle") -> bool:
    return base.manifest.decision is not None and base.manifest.decision.unknown is not None


def _table(rows: list[dict[str, Any]]) -> str:
    """A row for each image; columns for what was not decided are left out."""
    header = ["file", "class", "probability"]
    cells = [[row["file"], row["class"], f"{row['probability']:.3f}"] for row in rows]
    if rows[0]["unknown"] is not None:
        header.append("known")
        for row, line in zip(rows, cells, strict=True):
            line.append("unknown" if row["unknown"] else "yes")
    if rows[0]["set"] is not None:
        header.append("set")
        for row, line in zip(rows, cells, strict=True):
            line.append(", ".join(row["set"]))
    return text_table(header, cells)


def answer_json(
    bundle_sha256: str, answers: "UnlabelledPredictions", conformal: "ConformalPredictor | None"
) -> dict[str, Any]:
    """The answer as docs/predict.schema.json describes it."""
    predictions, unknown_N = answers.predictions, answers.unknown_N
    classes = predictions.classes
    included_NC = (
        None if conformal is None else conformal.prediction_sets_NC(predictions.probabilities_NC)
    )
    return {
        "bundle": bundle_sha256,
        "classes": list(classes),
        "sets": None if conformal is None else {
            "coverage": conformal.coverage,
            "method": conformal.method,
            "per_class": conformal.class_conditional,
            "calibration_images": conformal.calibration_size,
        },
        "predictions": [
            {
                "file": file,
                "class": classes[predictions.predicted_N[row]],
                "probability": float(predictions.probabilities_NC[row].max()),
                "probabilities": dict(
                    zip(classes, map(float, predictions.probabilities_NC[row]), strict=True)
                ),
                "unknown": None if unknown_N is None else bool(unknown_N[row]),
                "set": None if included_NC is None else [
                    classes[c] for c in included_NC[row].nonzero()[0]
                ],
            }
            for row, file in enumerate(predictions.ids)
        ],
        "refused": [
            {"file": r.file, "problem": r.problem, "reason": r.reason, "advice": r.advice}
            for r in answers.refused
        ],
    }  # fmt: skip


def answer_csv(answer: dict[str, Any]) -> str:
    """One row per answered image, with a column `p:CLASS` for every class.

    A set is a JSON list, since a class may be called anything.
    """
    classes = answer["classes"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["file", "class", "probability", "unknown", "set"]
    writer.writerow([*names, *(f"p:{c}" for c in classes)])
    for row in answer["predictions"]:
        probabilities = [row["probabilities"][c] for c in classes]
        unknown = "" if row["unknown"] is None else row["unknown"]
        chosen = "" if row["set"] is None else json.dumps(row["set"], ensure_ascii=False)
        first = [row["file"], row["class"], row["probability"], unknown, chosen]
        writer.writerow([*first, *probabilities])
    return text.getvalue()
