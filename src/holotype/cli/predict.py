"""`holotype predict`: what is on pictures.

This path is kept light: it imports neither torch nor pandas, since a question about one
picture should not take longer than the answer.
"""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from holotype.cli.options import AsJson
from holotype.cli.output import show, show_json, tell, tell_next, text_table
from holotype.errors import BundleError, UsageError
from holotype.narration import to_stderr

if TYPE_CHECKING:
    from holotype.bundle.bundle import Bundle
    from holotype.bundle.inference import Answers
    from holotype.evaluation.conformal import Conformal

LEAST_COVERAGE = 0.5  # a promise to be right less often than not helps nobody
SHOWN = 10  # classes that a line names


def predict(
    run: Path,
    /,
    *pictures: Path,
    output: Path | None = None,
    coverage: float | None = None,
    sets: Literal["lac", "raps"] | None = None,
    per_class: Annotated[bool, Parameter(show_default=False, negative=())] = False,
    heatmaps: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Exit code 1 if a picture could not be used; the others are answered all the same.

    Args:
        run: A run directory, or a bundle.
        pictures: Pictures, and folders with all pictures in them.
        output: Write the answers to this file too, which ends in .csv or .json.
        coverage: Answer with the set of classes that holds the true one as often as this, such as
            0.95; for runs that held pictures back for it, or that have folds.
        sets: How sets are made: lac, the smallest on average (the default), or raps, larger ones
            for harder pictures.
        per_class: Promise the coverage for the pictures of every class, not only on the whole.
        heatmaps: Write a sheet for every picture into this folder: what speaks for its class.
    """
    _require_sensible(coverage, is_detailed=sets is not None or per_class)
    if output is not None and output.suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"--output {str(output)!r} must end in .csv or .json.")

    from holotype.bundle.bundle import load_bundle
    from holotype.bundle.inference import answer_files, find_files
    from holotype.files import write_bytes

    bundle = load_bundle(run)
    conformal = None
    if coverage is not None:
        conformal = _sets_of(bundle, coverage, sets, by_class=per_class)
    files = [file.path for file in find_files(pictures)]  # folders are walked once
    with to_stderr().progress("predicting") as progress:
        answers = answer_files(bundle, files, on_progress=lambda done: progress(done, len(files)))
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
        show_json(answer)
    elif answer["predictions"]:
        show(_table(answer["predictions"]))
    if conformal is not None:
        _tell_what_says_nothing(bundle, conformal)
    if bundle.members and any(_has_unknown(leaf) for leaf in bundle.leaves):
        tell("unknown: members would say so, but the whole of them was given no threshold")
    for refusal in refused:
        tell(f"refused: {refusal}")
    if refused:
        tell(f"{len(predictions)} of {len(predictions) + len(refused)} pictures answered")
    if output is not None:
        tell(f"answers: {output}")
    elif predictions.ids and not as_json:
        tell_next("holotype", "explain", run, predictions.ids[0], "--output", "why.png")
    return 1 if refused else 0


def _draw(bundle: "Bundle", files: "list[Path]", folder: Path) -> None:
    """A sheet for every picture that can be used; the others are refused elsewhere."""
    from holotype.explanation.sheets import explain_all

    with to_stderr().progress("drawing heatmaps") as progress:
        sheets, _ = explain_all(bundle, files, folder, on_progress=progress)
    tell(f"heatmaps: {len(sheets)} in {folder}")


def _require_sensible(coverage: float | None, *, is_detailed: bool) -> None:
    if coverage is None:
        if is_detailed:
            raise UsageError("--sets and --per-class need --coverage, such as --coverage 0.95.")
    elif not LEAST_COVERAGE < coverage < 1:
        raise UsageError(
            f"--coverage {coverage:g}: expected a share between {LEAST_COVERAGE:g} and 1, "
            "such as 0.95."
        )


def _sets_of(
    bundle: "Bundle", coverage: float, method: Literal["lac", "raps"] | None, *, by_class: bool
) -> "Conformal":
    """The limits for sets of this coverage.

    Raises:
        BundleError: nothing was held back to calibrate them on.
    """
    from holotype.evaluation.conformal import DEFAULT_METHOD, limits

    held_back = bundle.manifest.decision.held_back if bundle.manifest.decision else None
    if bundle.calibrated is None or held_back is None:
        raise BundleError(
            f"{bundle.name}: no pictures were held back to calibrate sets of classes on. Train "
            "again with --ratios 0.6 0.15 0.15 0.1, or with --folds 5."
        )
    return limits(
        bundle.calibrated, coverage, num_classes=len(bundle.classes),
        method=method or DEFAULT_METHOD, by_class=by_class, held_back=held_back,
    )  # fmt: skip


def _tell_what_says_nothing(bundle: "Bundle", conformal: "Conformal") -> None:
    """Sets that hold every class keep their promise, and one should know why."""
    from holotype.evaluation.conformal import fewest_pictures

    names = [bundle.classes[c] for c in conformal.says_nothing_C.nonzero()[0]]
    if not names:
        return
    needed = fewest_pictures(conformal.coverage)
    if not conformal.by_class:
        held_back = f"{conformal.num_calibrated} pictures were held back"
        tell(f"sets: every one holds all classes, since {held_back} and it takes {needed}")
        return
    tell(
        f"sets: fewer than {needed} pictures were held back of {len(names)} of "
        f"{len(bundle.classes)} classes, which are in every set: {', '.join(names[:SHOWN])}"
        + (" …" if len(names) > SHOWN else "")
    )


def _has_unknown(leaf: "Bundle") -> bool:
    return leaf.manifest.decision is not None and leaf.manifest.decision.unknown is not None


def _table(rows: list[dict[str, Any]]) -> str:
    """A row for each picture; columns for what was not decided are left out."""
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
    bundle_sha256: str, answers: "Answers", conformal: "Conformal | None"
) -> dict[str, Any]:
    """The answer as docs/predict.schema.json describes it."""
    predictions, unknown_N = answers.predictions, answers.unknown_N
    classes = predictions.classes
    included_NC = None if conformal is None else conformal.sets_NC(predictions.probabilities_NC)
    return {
        "bundle": bundle_sha256,
        "classes": list(classes),
        "sets": None if conformal is None else {
            "coverage": conformal.coverage,
            "method": conformal.method,
            "per_class": conformal.by_class,
            "held_back": conformal.num_calibrated,
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
    """One row per answered picture, with a column `p:CLASS` for every class.

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
