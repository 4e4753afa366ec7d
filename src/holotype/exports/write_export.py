"""Write one format: its files, class names, code and README; proved by that code, or not written.

DIR/onnx/
  model.onnx           what the format is made of; other names in other formats
  class_names.json     in the order of the probabilities
  preprocessing.json   from an image to the model input, in words of a bundle's manifest
  predict.py           loads and runs it: NumPy, Pillow and the format's own runtime
  README.md            the same code, what it needs, and how exactly it agrees with the bundle
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.bundle import Bundle
from holotype.comparison.cost import size_on_disk
from holotype.errors import ExportRefused, ParityFailed
from holotype.exports.export_format import ExportOptions, FormatName, Writer, WrittenModel
from holotype.exports.loading_code import loading_code, needs_holotype
from holotype.exports.onnx_formats import write_fp16, write_onnx
from holotype.exports.openvino_ir import write_openvino
from holotype.exports.tensorflow_formats import write_savedmodel, write_tflite
from holotype.exports.torch_formats import write_pt2, write_state_dict, write_torchscript
from holotype.files import write_json, write_text
from holotype.imaging.image_formats import HEAD_BYTES, format_of

TIMEOUT_S = 1800
LEAST_PROOF_IMAGES = 2

WRITERS: dict[FormatName, Writer] = {
    "onnx": write_onnx,
    "fp16": write_fp16,
    "openvino": write_openvino,
    "torchscript": write_torchscript,
    "pt2": write_pt2,
    "state_dict": write_state_dict,
    "savedmodel": write_savedmodel,
    "tflite": write_tflite,
}


@dataclass(frozen=True, eq=False)
class ProofImages:
    """Real images that an export is compared on, and what the bundle says of them.

    Attributes:
        probabilities_NC: float64, rows sum to 1.
    """

    files: Sequence[Path]
    probabilities_NC: NDArray[np.float64]


@dataclass(frozen=True)
class Parity:
    """How an export agrees with its bundle.

    Attributes:
        images: compared.
        largest_difference: of a probability.
        same_class: the number of images of which both say the same class.
        tolerance: what the difference may be at most.
    """

    images: int
    largest_difference: float
    same_class: int
    tolerance: float

    def __str__(self) -> str:
        return (
            f"largest difference of a probability {self.largest_difference:.2g}, "
            f"the same class on {self.same_class:,} of {self.images:,} images"
        )


def write_format(
    bundle: Bundle, name: FormatName, directory: Path, proof: ProofImages, options: ExportOptions
) -> Parity:
    """Write a format into an empty directory.

    Raises:
        ExportRefused: the format cannot hold this bundle.
        ParityFailed: what was written gives other answers.
    """
    written = WRITERS[name](bundle, directory, options)
    return finish_export(bundle, name, directory, written, proof, options)


def finish_export(
    bundle: Bundle,
    name: FormatName,
    directory: Path,
    written: WrittenModel,
    proof: ProofImages,
    options: ExportOptions,
) -> Parity:
    """Everything beside the model, and the proof; see `write_format`."""
    write_json(directory / "class_names.json", list(bundle.classes))
    write_json(directory / "preprocessing.json", bundle.preprocessing.to_json())
    code = loading_code(
        bundle.preprocessing, written.runtime, imports=written.imports, needs=written.needs,
        source_size=options.source_size,
    )  # fmt: skip
    write_text(directory / "predict.py", code)
    if written.python is not None:
        proof = without_heic(proof, bundle.name)
    found_NC = run_loading_code(
        directory / "predict.py", proof.files, written.python or sys.executable
    )
    parity = compare(proof.probabilities_NC, found_NC, written.tolerance)
    if parity.largest_difference > written.tolerance or parity.same_class < parity.images:
        raise ParityFailed(
            f"{bundle.name} as {name}: {parity}; expected at most {written.tolerance:g} and the "
            "same class everywhere. Nothing was written; please report this with the model's name."
        )
    write_text(directory / "README.md", _readme(bundle, name, code, written, parity, directory))
    return parity


def without_heic(proof: ProofImages, name: str) -> ProofImages:
    """What an interpreter reads that has Pillow alone."""
    is_read_N = []
    for file in proof.files:
        with file.open("rb") as opened:
            is_read_N.append(format_of(opened.read(HEAD_BYTES)) != "HEIF")
    if sum(is_read_N) < LEAST_PROOF_IMAGES:
        raise ExportRefused(
            f"{name}: its images are HEIC, which the environment that proves this format does not "
            "read. Name a folder of JPEG or PNG images: --images FOLDER."
        )
    return ProofImages(list(compress(proof.files, is_read_N)), proof.probabilities_NC[is_read_N])


def compare(
    expected_NC: NDArray[np.float64], found_NC: NDArray[np.float64], tolerance: float
) -> Parity:
    """Two forms of one classifier; where the two likeliest classes are as near as the tolerance
    allows, either may be the first.

    Raises:
        ParityFailed: the shapes differ, or a probability is no finite number.
    """
    if expected_NC.shape != found_NC.shape:
        raise ParityFailed(f"{found_NC.shape} probabilities, expected {expected_NC.shape}.")
    if not np.isfinite(found_NC).all():  # which no tolerance is compared with
        damaged = int((~np.isfinite(found_NC)).any(axis=1).sum())
        raise ParityFailed(
            f"probabilities of {damaged:,} of {len(found_NC):,} images are no finite numbers; "
            "nothing was written. Where the format computes in 16 bits, export onnx."
        )
    rows = np.arange(len(expected_NC))
    behind_N = expected_NC.max(axis=1) - expected_NC[rows, found_NC.argmax(axis=1)]
    return Parity(
        images=len(rows),
        largest_difference=float(np.abs(expected_NC - found_NC).max()),
        same_class=int((behind_N <= 2 * tolerance).sum()),
        tolerance=tolerance,
    )


def run_loading_code(code: Path, files: Sequence[Path], python: str) -> NDArray[np.float64]:
    """The probabilities (N, C) that `predict.py` prints, in a process of its own.

    Raises:
        ExportRefused: it fails.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [python, str(code), *(str(file.absolute()) for file in files)],
        capture_output=True, text=True, timeout=TIMEOUT_S, env=environment,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ExportRefused(
            f"the code that loads this export fails: {said[-1] if said else done.returncode}"
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return np.array([json.loads(line)["probabilities"] for line in lines], np.float64)


def _readme(
    bundle: Bundle,
    name: str,
    code: str,
    written: WrittenModel,
    parity: Parity,
    directory: Path,
) -> str:
    manifest = bundle.manifest
    decision = manifest.decision
    notes = list(written.notes)
    if decision is not None and decision.unknown is not None:
        notes.append(
            "The bundle also tells images of no known class; this export does not: it always "
            "names one of its classes."
        )
    files = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    lines = [
        f"# {_plain(manifest.name)}: {_plain(manifest.model)} as {name}",
        "",
        f"Exported by Holotype from the bundle `{bundle.sha256}`, "
        f"{size_on_disk(directory) / 1e6:.1f} MB. It names {len(bundle.classes)} classes, in the "
        "order of `class_names.json`.",
        "",
        f"Compared with the bundle by the code below on {parity.images:,} images: {parity}.",
        "",
        *(line for note in notes for line in (note, "")),
        f"Files: {', '.join(f'`{file}`' for file in files)}.",
        "",
        f"Needs `pip install numpy {written.needs}"
        f"{' holotype' if needs_holotype(bundle.preprocessing) else ' pillow'}`, and pillow-heif "
        "for HEIC. "
        "`python predict.py IMAGE …` prints one JSON object a line:",
        "",
        "```python",
        code.rstrip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """A name that cannot be Markdown."""
    return "".join(one if one.isalnum() or one in " ._-" else "_" for one in text)
