"""What the pages tell a reader to type, and what of it is changed or left out here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.test_docs import PAGES, ROOT

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = re.compile(
    r"(?:[A-Z_]+=\S+ )?(?:holotype|curl|export|torchrun|pip|make|docker|python3?|uv|node_exporter) "
)
SERVER = "localhost:8000"
DATABASE = "postgresql://holotype@dbhost/models"


@dataclass(frozen=True)
class Elsewhere:
    """Commands that do not run here: why, and the file that runs them and has this text."""

    sign: str
    why: str
    held_by: str
    text: str


NOT_HERE = (
    Elsewhere(r"^pip install .*constraints", "takes a package index",
              "tests/test_install.py", '"-c", CONSTRAINTS'),
    Elsewhere(r"^pip (wheel|install --no-index|install dist/)", "takes a package index",
              "tests/test_install.py", '"--no-index", "--find-links"'),
    Elsewhere(r"^uv pip compile", "takes a package index",
              "tests/test_install.py", '"uv", "pip", "compile"'),
    Elsewhere(r"^uv pip install", "takes a package index",
              ".github/workflows/ci.yml", "uv pip install --resolution lowest-direct -e"),
    Elsewhere(r"^make check", "a step of CI", ".ci/run", "check docs test-install"),
    Elsewhere(r"^make docs", "a step of CI", ".ci/run", "check docs test-install"),
    Elsewhere(r"^make test ", "a step of CI", ".ci/run", "make test-ci"),
    Elsewhere(r"^make test-docs", "this very run", ".ci/run", "make test-ci"),
    Elsewhere(r"^make test-install", "a step of CI", ".ci/run", "check docs test-install"),
    Elsewhere(r"^make format", "changes the sources", "Makefile", "ruff format"),
    Elsewhere(r"^make coverage", "the tests once more", "Makefile", "$(PYTEST) --cov"),
    Elsewhere(r"^make demo", "takes 8 minutes", "Makefile", "holotype demo"),
    Elsewhere(r"^docker ", "takes base images from a registry",
              "tests/serving/test_deploy.py", "test_the_lines_of_the_dockerfile_run"),
    Elsewhere(r"^node_exporter ", "a program that is not Holotype's",
              "tests/watching/test_telling.py", "prometheus_text"),
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
    (r"([\s=])/shared/", r"\1"),
    (r"/data/weights", "weights"),
    (r"/tmp/lowest", "lowest"),
    (r"-m venv", "-m venv --without-pip"),
    (r"ray://head:10001", "ray"),
    (r"--host 0\.0\.0\.0", "--host 127.0.0.1"),
)
# What is made smaller in a command, so that all pages together take minutes. An option that has
# nothing to do with the network is tried on descriptors, or on a small network from nothing: the
# export of a fine-tuned network alone takes longer than both. For networks of which no weights can
# be had stands a tiny one of their family, with random weights in a file.
SMALLER = (
    (r"--trials \d+", "--trials 2"),
    (r"--epochs \d+", "--epochs 1"),
    (r"--images 120", "--images 60"),
    (r"fetch synthetic --output shapes", "fetch synthetic --output shapes --images 120"),
    (r"unknown=0\.05", "unknown=0.2"),  # promises that so few images can keep
    (r"--coverage 0\.95", "--coverage 0.8"),
    (r"--recipe linear finetune", "--model hog --recipe linear"),
    (r"--budget 50", "--budget 20"),
    (r"--folds 5", "--folds 3"),
    (r"--jobs \d+", "--jobs 2"),
    (r"--seeds 0 1", "--seeds 0"),
    (r"(train \w+ --(?:relabel|exclude|folds|tolerate-truncated)\b.*)", r"\1 --model lbp"),
    (r"(train \w+ --(?:track|output runs/long)\b.*)", r"\1 --model cnn_baseline"),
    (r"(?:--recipe progressive|--output runs/fine)", r"\g<0> --model timm:test_resnet"),
    (r"--model resnet50", "--model timm:test_resnet --recipe linear"),
    (r"--model convnext_tiny", "--model timm:test_convnext"),
    (r"--nproc-per-node 2 -m holotype train photos", r"\g<0> --model timm:test_resnet"),
    (r"--model hog efficientnet_lite0", r"\g<0> --set image_size=32"),
    (r"slice volumes --output slices", r"\g<0> --every 4"),
    (r"^(.*holotype (?:train|tune|sweep) "
     r"(?!.*(?:--model (?:hog|lbp)|--print|--space|--image-size)).*)$", r"\1 --set image_size=32"),
    (r"^(.*holotype train (?!.*(?:--model (?:hog|lbp)|--print|--epochs"
     r"|--recipe (?:linear|mine|found|runs))).*)$", r"\1 --epochs 1"),
    (r"^(holotype tune (?!.*--heads))", r"\1--model lbp "),
    (r"--recipe progressive", r"\g<0> --set stages.1.epochs=1 --set stages.2.epochs=1"),
)  # fmt: skip
SMALLER_PYTHON = (
    (r'(train\(.*recipe="linear"), output', r"\1, image_size=32, output"),
    (r'fetch\("synthetic", output="shapes"\)', 'fetch("synthetic", output="shapes", images=120)'),
)
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


def elsewhere(command: str) -> Elsewhere | None:
    """Who runs a command that does not run here; None if it does."""
    return next((found for found in NOT_HERE if re.search(found.sign, command)), None)


def smaller(command: str) -> str:
    """The command without its comment, with what a reader would put in, and small."""
    return _replaced(re.sub(r"\s+#.*", "", command), (*WORDS, *SMALLER))


def smaller_python(code: str) -> str:
    return _replaced(code, SMALLER_PYTHON)


def _replaced(text: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return text
