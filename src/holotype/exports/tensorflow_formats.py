"""TensorFlow's SavedModel and TFLite (LiteRT), by onnx2tf.

onnx2tf and TensorFlow want other versions of packages than Holotype does, so they live in an
environment of their own, with the command on the path and Pillow, which the code of an export reads
images with (INSTALL). Only the command and the interpreter beside it are called.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from holotype.bundle.bundle import Bundle
from holotype.errors import ExportRefused, MissingExtra
from holotype.exports.export_format import ExportOptions, WrittenModel
from holotype.exports.merged_graph import merged_graph

COMMAND = "onnx2tf"
INSTALL = "uv tool install onnx2tf --with pillow"
INSTALL_BY_PIPX = "pipx install onnx2tf; pipx inject onnx2tf pillow"
TIMEOUT_S = 1800
SAVED_MODEL = """
MODEL = tf.saved_model.load(str(HERE / "saved_model"))
SERVE = MODEL.signatures["serving_default"]


def probabilities(x):
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    (answer,) = SERVE(image=tf.constant(channels_last)).values()
    return answer.numpy()
"""
TFLITE = """
INTERPRETER = Interpreter(str(HERE / "model.tflite"))
INTERPRETER.allocate_tensors()
(INPUT,) = INTERPRETER.get_input_details()
(OUTPUT,) = INTERPRETER.get_output_details()


def probabilities(x):
    INTERPRETER.set_tensor(INPUT["index"], np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    INTERPRETER.invoke()
    return INTERPRETER.get_tensor(OUTPUT["index"])
"""
SERVING_NOTE = (
    "TensorFlow Serving: `docker run -p 8501:8501 -v $PWD/saved_model:/models/classifier/1 "
    "-e MODEL_NAME=classifier tensorflow/serving`.",
)


def write_savedmodel(bundle: Bundle, directory: Path, options: ExportOptions) -> WrittenModel:
    """`saved_model/`, float32, channels last.

    Raises:
        MissingExtra: onnx2tf is not on the path, or its environment lacks Pillow.
        ExportRefused: it cannot translate an operator; the message has its name.
    """
    with tempfile.TemporaryDirectory() as scratch:
        made = _converted(bundle, Path(scratch), options, "savedmodel")
        saved = directory / "saved_model"
        saved.mkdir()
        for name in ("saved_model.pb", "variables", "fingerprint.pb"):
            if (made / name).exists():
                shutil.move(made / name, saved / name)
    return WrittenModel(
        SAVED_MODEL, "import tensorflow as tf", "tensorflow", SERVING_NOTE, python=_python()
    )


def write_tflite(bundle: Bundle, directory: Path, options: ExportOptions) -> WrittenModel:
    """`model.tflite`, float32, channels last, for one image at a time; errors as above."""
    with tempfile.TemporaryDirectory() as scratch:
        made = _converted(bundle, Path(scratch), options, "tflite")
        shutil.move(made / "model_float32.tflite", directory / "model.tflite")
    imports = "from ai_edge_litert.interpreter import Interpreter"
    return WrittenModel(TFLITE, imports, "ai-edge-litert", python=_python())


def _converted(bundle: Bundle, scratch: Path, options: ExportOptions, name: str) -> Path:
    """The directory that onnx2tf writes."""
    import onnx

    options.require_no_size(name)
    _require_command(name)
    whole = merged_graph(bundle)
    graph = onnx.utils.Extractor(whole).extract_model(["image"], ["probabilities"])
    onnx.save_model(graph, scratch / "model.onnx")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [COMMAND, "-i", "model.onnx", "-o", "made", "-osd", "-n"], cwd=scratch, env=environment,
        capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    made = scratch / "made"
    if done.returncode or not (made / "model_float32.tflite").is_file():
        said = _without_colour(done.stdout + done.stderr)
        operators = sorted({node.op_type for node in graph.graph.node})
        named = [one for one in operators if f"{one}" in said[-3000:]]
        raise ExportRefused(
            f"{bundle.name}: {name} cannot hold this graph; onnx2tf stops at "
            f"{', '.join(named) or 'an operator that it does not name'}: {said[-300:]}"
        )
    return made


def lacks_converter() -> str | None:
    """What the environment of onnx2tf is without; None where it can be used."""
    if shutil.which(COMMAND) is None:
        return f"the command {COMMAND} is not on the path"
    beside = subprocess.run([_python(), "-c", "import numpy, PIL"], capture_output=True)
    return f"the environment of {COMMAND} has no Pillow" if beside.returncode else None


def _require_command(name: str) -> None:
    if lack := lacks_converter():
        raise MissingExtra(
            f"{name} is written by {COMMAND}, in an environment of its own, and {lack}: "
            f"{INSTALL} (or: {INSTALL_BY_PIPX})."
        )


def _python() -> str:
    """The interpreter beside the command, whose environment has TensorFlow and LiteRT."""
    command = shutil.which(COMMAND)
    assert command is not None
    return str(Path(command).resolve().parent / "python")


def _without_colour(text: str) -> str:
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
