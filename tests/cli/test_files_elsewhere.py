"""Nothing is written outside the output and `HOLOTYPE_CACHE`, and nothing is sent: no telemetry."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from holotype.cli.app import VERBS

_COMMANDS = """
import json, sys
from holotype.cli.app import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["holotype", *words]
    try:
        main()
    except SystemExit as ended:
        print(words[0], "ends with", ended.code, file=sys.stderr)
"""

TRAIN = "train shapes --recipe svm --set stages.0.folds=2 --model"
FEW_VERBS = (
    "fetch synthetic --classes 2 --images 24 --output shapes", f"{TRAIN} hog --output a",
    "predict a shapes --output answers.csv",
)  # fmt: skip
EVERY_VERB = (
    "doctor", "models", "fetch synthetic --classes 2 --images 24 --output shapes",
    "audit shapes --quick --output audit",
    "augment shapes --output sheet.png --model cnn_v1 --image-size 32 --images 2",
    "split shapes --output parts", f"{TRAIN} hog --output a", f"{TRAIN} lbp --output b",
    "evaluate a shapes --output report", "predict a shapes --output answers.csv",
    "explain a shapes/square/0000.png --output why.png", "compare a b --output comparison",
    "ensemble a b --output both", "slice volumes --output slices",
    "export a --format onnx --output exported", "registry add a --name shapes",
    "track a --to tensorboard", "identify add gallery shapes --classifier a",
    "clean . --failed", "predict registry://shapes/1 shapes",
)  # fmt: skip
ELSEWHERE = {  # verbs that are not run here, and why
    "demo": "trains for minutes, by the code of train",
    "tune": "trains by the code of train",
    "sweep": "trains by the code of train",
    "retrain": "trains by the code of train",
    "serve": "answers requests, which it opens a port for",
    "dashboard": "answers requests, which it opens a port for",
    "watch": "looks at the log of a server",
}
_IS_WRITTEN = re.compile(r'\w+\((?:AT_FDCWD, )?"(?P<path>[^"]+)".*O_(?:WRONLY|RDWR|CREAT)')


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, Path]:
    """Folders that commands may write to, and some that they are to leave empty."""
    folders = {name: tmp_path / name for name in ("home", "temporary", "work", "cache")}
    for folder in folders.values():
        folder.mkdir()
    return folders


def _run(commands: list[list[str]], kept: dict[str, Path], *before: str) -> str:
    """One process runs them all; what it says on stderr."""
    cleared = ("ORT_", "XDG_", "MPL", "HF_", "TORCH_", "MLFLOW_", "RAY_", "PYTEST_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(cleared)} | {
        "HOME": str(kept["home"]),
        "TMPDIR": str(kept["temporary"]),
        "HOLOTYPE_CACHE": str(kept["cache"]),
        "HF_HUB_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [*before, sys.executable, "-c", _COMMANDS, json.dumps(commands)],
        env=environment, cwd=kept["work"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def _files(folder: Path) -> list[str]:
    return [str(file) for file in folder.rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    "lines", [FEW_VERBS, pytest.param(EVERY_VERB, marks=pytest.mark.slow)], ids=["few", "every"]
)
def test_no_verb_opens_a_connection_or_writes_elsewhere(
    lines: tuple[str, ...], kept: dict[str, Path]
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    verbs = [line.split()[0] for line in EVERY_VERB]
    assert {*verbs, *ELSEWHERE} == {verb for verb, *_ in VERBS}
    (kept["work"] / "volumes/cube").mkdir(parents=True)
    np.save(kept["work"] / "volumes/cube/1.npy", np.arange(512, dtype=np.uint8).reshape(8, 8, 8))
    trace = kept["temporary"].parent / "trace"
    calls = "--trace=connect,openat,open"
    commands = [line.split() for line in lines]
    said = _run(commands, kept, "strace", "-f", "-qq", "--seccomp-bpf", calls, "-o", str(trace))
    assert "error:" not in said
    assert re.findall(r"^(\w+) ends with [01]$", said, re.MULTILINE) == [c[0] for c in commands]
    made = trace.read_text(errors="replace").splitlines()
    assert [call for call in made if "connect(" in call and "AF_INET" in call] == []
    written = [found["path"] for call in made if (found := _IS_WRITTEN.search(call))]
    allowed = (*(str(folder) for folder in kept.values()), "/dev/", "/proc/self/")
    assert [path for path in written if path.startswith("/") and not path.startswith(allowed)] == []
    assert any(path.startswith(str(kept["cache"])) for path in written)
    assert _files(kept["home"]) + _files(kept["temporary"]) == []
    outputs = {c[c.index("--output") + 1] for c in commands if "--output" in c}
    others = {"volumes", "registry", "gallery"}  # those that need not be named by --output
    assert {file.name for file in kept["work"].iterdir()} - others == outputs


@pytest.mark.slow
def test_a_network_leaves_home_empty(kept: dict[str, Path], synthetic: Path) -> None:
    image = next(synthetic.rglob("*.png"))
    commands = (
        f"train {synthetic} --recipe linear --output run --image-size 64",
        f"predict run {image} --output answers.csv",
        f"explain run {image} --output why.png",
    )
    said = _run([line.split() for line in commands], kept)
    assert said.count("ends with 0") == len(commands)
    assert _files(kept["home"]) + _files(kept["temporary"]) == []


@pytest.mark.parametrize("package", ["onnxruntime", "mlflow", "ray"])
def test_what_a_library_would_send_is_switched_off_before_it_is_imported(package: str) -> None:
    settings = {
        "onnxruntime": ("ORT_DISABLE_TELEMETRY", "1"),
        "mlflow": ("MLFLOW_DISABLE_TELEMETRY", "true"),
        "ray": ("RAY_USAGE_STATS_ENABLED", "0"),
    }
    name, value = settings[package]
    script = f"import holotype, os, sys; print(os.environ[{name!r}], {package!r} in sys.modules)"
    kept = {k: v for k, v in os.environ.items() if k != name}
    done = subprocess.run(
        [sys.executable, "-c", script], env=kept, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{value} False\n"
