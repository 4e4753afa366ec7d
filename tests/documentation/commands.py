"""What the pages tell a reader to type, and what of it is changed or left out here."""

import re
from pathlib import Path

from tests.test_docs import PAGES, ROOT

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = re.compile(
    r"(?:[A-Z_]+=\S+ )?(?:holotype|curl|export|torchrun|pip|make|docker|python3?|uv|node_exporter) "
)
SERVER = "localhost:8000"

# What a line holds, and why it does not run here.
NOT_HERE = (
    (r"--model (convnext_tiny|resnet50)", "weights that cannot be had without a network"),
    (r"postgresql:|REGISTRY_FILES", "a database server: tests/registry/test_many_processes.py"),
    (r"^pip |^python3 -m venv", "an installation: tests/test_install.py"),
    (r"^(make|uv) ", "a step of CI, or of a release"),
    (r"^docker |^node_exporter ", "a program that is not Holotype's: tests/serving/test_deploy.py"),
)  # fmt: skip
# Words that a reader replaces, and machines that are not here.
WORDS = (
    (r"OTHERS\b", "others"),
    (r"\bDATA\b", "photos"),
    (r"FILE-OR-URL\.zip", "photos.zip"),
    (r"SWEEP\.yaml", "sweep.yaml"),
    (r"--init-from RUN@STAGE", "--model cnn_baseline --init-from runs/shapes-6"),
    (r"cells 7", "cells 2"),
    (r'"label": "crack"', '"label": "disc"'),
    (r"(\s)/shared/", r"\1"),
    (r"ray://head:10001", "ray"),
    (r"--host 0\.0\.0\.0", "--host 127.0.0.1"),
)
# What is made smaller in a command, so that all pages together take minutes.
SMALLER = (
    (r"--trials \d+", "--trials 2"),
    (r"--epochs \d+", "--epochs 1"),
    (r"--images 120", "--images 60"),
    (r"fetch synthetic --output shapes", "fetch synthetic --output shapes --images 120"),
    (r"unknown=0\.05", "unknown=0.2"),  # promises that so few images can keep
    (r"--coverage 0\.95", "--coverage 0.8"),
    (r"--recipe linear finetune", "--recipe linear svm"),
    (r"--budget 50", "--budget 20"),
    (r"--folds 5", "--folds 3"),
    (r"--jobs \d+", "--jobs 2"),
    (r"--seeds 0 1", "--seeds 0"),
    (r"^(.*holotype (?:train|tune|sweep) (?!.*(?:--model hog|--print|--space|--image-size)).*)$",
     r"\1 --set image_size=32"),
    (r"^(.*holotype train (?!.*(?:--model hog|--print|--epochs|--recipe linear|--recipe mine"
     r"|--recipe found|--recipe runs)).*)$", r"\1 --epochs 1"),
    (r"^(holotype tune (?!.*--heads))", r"\1--model hog "),
    (r"--recipe progressive", r"\g<0> --set stages.1.epochs=1 --set stages.2.epochs=1"),
)  # fmt: skip
# Pages that run in tests of their own.
OTHER_TESTS = ("benchmarks/RESULTS.md", "examples/README.md")
PAGES_HERE = [page for page in PAGES if str(page.relative_to(ROOT)) not in OTHER_TESTS]


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands(page: Path) -> list[str]:
    """Every line of an indented block; what is broken by a backslash is joined."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    text = re.sub(r"\\\n\s*", "", text)
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return [line for line in lines if PROGRAMS.match(line)]


def fences(page: Path, language: str) -> list[str]:
    return [code for name, code in FENCE.findall(page.read_text("utf-8")) if name == language]


def reason(command: str) -> str | None:
    """Why a command does not run here; None if it does."""
    return next((why for sign, why in NOT_HERE if re.search(sign, command)), None)


def smaller(command: str) -> str:
    """The command without its comment, with what a reader would put in, and small."""
    command = re.sub(r"\s+#.*", "", command)
    for pattern, replacement in (*WORDS, *SMALLER):
        command = re.sub(pattern, replacement, command)
    return command
