"""All solar cells in every format, by its own runtime in a fresh environment, by its README."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import holotype
from holotype.exports.export_format import FormatName
from holotype.exports.tensorflow_formats import INSTALL, lacks_converter

FORMATS: tuple[FormatName, ...] = (
    "onnx", "openvino", "torchscript", "pt2", "state_dict", "savedmodel", "tflite",
)  # fmt: skip
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
SLIMMER = {"tensorflow": "tensorflow-cpu"}  # the same module, without what a GPU needs


def _environment(needs: list[str], folder: Path) -> Path:
    """The interpreter of an environment with nothing but this."""
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    packages = [SLIMMER.get(name, name) for name in needs]
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    install = [uv, "pip", "install", "-q", "--python", str(python), *packages]
    # TensorFlow wants an older NumPy than the constraints have.
    if subprocess.run([*install, "-c", str(CONSTRAINTS)], capture_output=True).returncode:
        subprocess.run(install, check=True)
    return python


def _answers(python: Path, folder: Path, files: list[Path]) -> NDArray[np.float64]:
    readme = (folder / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.S)
    script = folder / "from_readme.py"
    script.write_text(code)
    done = subprocess.run([python, "-I", script, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return np.array([json.loads(line)["probabilities"] for line in lines])


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_float32_formats_agree_on_all_solar_cells(tmp_path: Path) -> None:
    if lack := lacks_converter():
        pytest.skip(f"savedmodel and tflite cannot be written, {lack}: {INSTALL}")
    table = holotype.fetch("elpv", output=tmp_path / "elpv")
    run = holotype.train(table, recipe="linear", output=tmp_path / "run")
    exports = holotype.export(run.path, formats=FORMATS, output=tmp_path / "out")
    assert not exports.refused, exports.refused
    index = run.index
    files = [index.file(path) for path in index.table["path"]]
    expected = holotype.load(run.path).predict_proba(files)
    assert len(expected) == 2624
    for name in FORMATS:
        folder = tmp_path / "out" / name
        needs = re.search(r"pip install ([^`]*)`", (folder / "README.md").read_text("utf-8"))
        assert needs is not None
        python = _environment(needs[1].split(), tmp_path / f"environment-{name}")
        found = _answers(python, folder, files)
        shutil.rmtree(tmp_path / f"environment-{name}")
        difference = np.abs(found - expected).max()
        print(f"{name}: {difference:.2g} on {len(found):,} images")
        assert difference <= 1e-4
        assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
