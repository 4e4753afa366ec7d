"""`holotype predict`: what is on pictures.

This path is kept light: it imports neither torch nor pandas, since a question about one
picture should not take longer than the answer.
"""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holotype.cli.options import AsJson
from holotype.cli.output import show, show_json, tell, tell_next, text_table
from holotype.errors import ImageRefused, UsageError
from holotype.narration import to_stderr

if TYPE_CHECKING:
    from holotype.predictions import Predictions


def predict(
    run: Path,
    /,
    *pictures: Path,
    output: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Exit code 1 if a picture could not be used; the others are answered all the same.

    Args:
        run: A run directory, or a bundle.
        pictures: Pictures, and folders with all pictures in them.
        output: Write the answers to this file too, which ends in .csv or .json.
    """
    if output is not None and output.suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"--output {str(output)!r} must end in .csv or .json.")

    from holotype.bundle.bundle import load_bundle
    from holotype.bundle.inference import find_files, predict_files
    from holotype.files import write_bytes

    bundle = load_bundle(run)
    files = [file.path for file in find_files(pictures)]  # folders are walked once
    with to_stderr().progress("predicting") as progress:
        predictions, refused = predict_files(
            bundle, files, on_progress=lambda done: progress(done, len(files))
        )
    answer = answer_json(bundle.sha256, predictions, refused)
    if output is not None:
        is_csv = output.suffix.lower() == ".csv"
        text = answer_csv(answer) if is_csv else json.dumps(answer, indent=2, ensure_ascii=False)
        # A file name may hold bytes that are no text.
        write_bytes(output, text.encode("utf-8", "backslashreplace"))
    if as_json:
        show_json(answer)
    elif answer["predictions"]:
        rows = [(p["file"], p["class"], f"{p['probability']:.3f}") for p in answer["predictions"]]
        show(text_table(("file", "class", "probability"), rows))
    for refusal in refused:
        tell(f"refused: {refusal}")
    if refused:
        tell(f"{len(predictions)} of {len(predictions) + len(refused)} pictures answered")
    if output is not None:
        tell(f"answers: {output}")
    elif predictions.ids and not as_json:
        tell_next("holotype", "explain", run, predictions.ids[0], "--output", "why.png")
    return 1 if refused else 0


def answer_json(
    bundle_sha256: str, predictions: "Predictions", refused: list[ImageRefused]
) -> dict[str, Any]:
    """The answer as docs/predict.schema.json describes it."""
    classes = predictions.classes
    return {
        "bundle": bundle_sha256,
        "classes": list(classes),
        "predictions": [
            {
                "file": file,
                "class": classes[number],
                "probability": float(probabilities_C[number]),
                "probabilities": dict(zip(classes, map(float, probabilities_C), strict=True)),
                "unknown": None,
                "set": None,
            }
            for file, number, probabilities_C in zip(
                predictions.ids,
                predictions.predicted_N,
                predictions.probabilities_NC,
                strict=True,
            )
        ],
        "refused": [
            {"file": r.file, "problem": r.problem, "reason": r.reason, "advice": r.advice}
            for r in refused
        ],
    }


def answer_csv(answer: dict[str, Any]) -> str:
    """One row per answered picture, with a column `p:CLASS` for every class."""
    classes = answer["classes"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "class", "probability", "unknown", *(f"p:{c}" for c in classes)])
    for row in answer["predictions"]:
        probabilities = [row["probabilities"][c] for c in classes]
        unknown = "" if row["unknown"] is None else row["unknown"]
        writer.writerow([row["file"], row["class"], row["probability"], unknown, *probabilities])
    return text.getvalue()
