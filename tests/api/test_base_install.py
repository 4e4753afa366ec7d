"""A classifier runs with the base install alone: no tables, no scikit-learn, no torch, no onnx."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import holotype
from tests.api.programs import SAME

NOT_IN_THE_BASE = (
    "accelerate", "jinja2", "joblib", "matplotlib", "onnx", "pandas", "pyarrow",
    "safetensors", "scipy", "skimage", "skl2onnx", "sklearn", "tensorboard", "threadpoolctl",
    "timm", "torch", "torchvision",
)  # fmt: skip

BLOCKED = f"""
import sys

for name in {NOT_IN_THE_BASE!r}:
    sys.modules[name] = None  # importing it is an ImportError
"""

PROGRAM = """
import json
from pathlib import Path

import numpy as np
import holotype

run, folder, output = sys.argv[1:4]
classifier = holotype.load(run)
found = classifier.predict(folder, coverage=0.8)
image = sorted(Path(folder).iterdir())[0]
holotype.predict(run, folder, output=Path(output) / "answers.csv", coverage=0.8)
explanations = holotype.explain(run, [image], output=Path(output) / "sheets")
try:
    found.to_frame()
    advice = ""
except holotype.HolotypeError as error:
    advice = str(error)
print(json.dumps({
    "probabilities": found.probabilities.tolist(),
    "unknown": found.unknown.tolist(),
    "sets": [sorted(one) for one in found.sets],
    "embedding": classifier.embed(image).shape,
    "overlay": classifier.explain(image).overlay.size,
    "explanation": explanations[0].label,
    "advice": advice,
}))
"""

FRESH = """
import json
import sys

import holotype
imported = sorted(sys.modules)
holotype.load(sys.argv[1]).predict(sys.argv[2], coverage=0.8)
print(json.dumps([imported, sorted(sys.modules)]))
"""


def python(program: str, *words: object) -> str:
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_classifier_answers_where_only_the_base_is_installed(
    sure: holotype.Classifier, sure_run: holotype.Run, many_shapes: Path, tmp_path: Path
) -> None:
    folder = many_shapes / "disc"
    told = json.loads(python(BLOCKED + PROGRAM, sure_run.path, folder, tmp_path))
    found = sure.predict(folder, coverage=0.8)
    np.testing.assert_allclose(told["probabilities"], found.probabilities, atol=SAME, rtol=0)
    assert found.unknown is not None
    assert told["unknown"] == found.unknown.tolist()
    assert found.sets is not None
    assert told["sets"] == [sorted(one) for one in found.sets]
    assert told["embedding"] == [1, sure.manifest.embedding_size]
    assert told["overlay"] == [64, 64]
    assert told["explanation"] == found.labels[0]
    assert "pip install 'holotype[train]'" in told["advice"]
    assert len(pd.read_csv(tmp_path / "answers.csv")) == len(found)
    assert (tmp_path / "sheets" / "explanations.csv").is_file()


def test_the_commands_work_where_only_the_base_is_installed(
    sure_run: holotype.Run, many_shapes: Path, tmp_path: Path
) -> None:
    command = BLOCKED + "from holotype.cli.app import run\nsys.exit(run(sys.argv[1:]))\n"
    image = many_shapes / "disc" / "0000.png"
    told = json.loads(python(command, "predict", sure_run.path, image, "--json"))
    assert len(told["predictions"]) == 1
    sheet = tmp_path / "why.png"
    told = json.loads(python(command, "explain", sure_run.path, image, "--output", sheet, "--json"))
    assert told["explanations"][0]["sheet"] == str(sheet)


def test_importing_and_predicting_load_nothing_heavy(
    sure_run: holotype.Run, many_shapes: Path
) -> None:
    imported, predicted = json.loads(
        python(FRESH, sure_run.path, many_shapes / "disc" / "0000.png")
    )
    heavy = {*NOT_IN_THE_BASE, "pydantic", "cyclopts"}
    assert {*heavy, "onnxruntime", "numpy", "PIL"} & set(imported) == set()
    assert heavy & set(predicted) == set()


def test_what_needs_more_says_the_line_that_installs_it(many_shapes: Path, tmp_path: Path) -> None:
    program = BLOCKED + (
        "import holotype\n"
        "data = sys.argv[1]\n"
        "for work in (holotype.audit, holotype.train, holotype.split):\n"
        "    try:\n"
        "        work(data, output=sys.argv[2])\n"
        "    except holotype.HolotypeError as error:\n"
        "        print(error)\n"
    )
    lines = python(program, many_shapes, tmp_path / "output").splitlines()
    assert len(lines) == 3
    assert all(line.endswith("pip install 'holotype[train]'") for line in lines)
