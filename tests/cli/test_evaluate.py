"""`holotype evaluate`: what it prints, and the command that repeats it."""

import html
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bundle.tiny import CLASSES, write_tiny
from tests.conftest import Cli


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_tiny(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Images in one folder, whose names say label and group."""
    rng = np.random.default_rng(0)
    (tmp_path / "flat").mkdir()
    for label in CLASSES:
        for number in range(6):
            pixels = rng.integers(0, 256, (24, 24, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "flat" / f"{label}_{number // 3}_{number}.png")
    return tmp_path / "flat"


PATTERNS = ("--label-pattern", "([a-z]+)_", "--group-pattern", "[a-z]+_([0-9])_")


def test_the_command_in_the_report_repeats_the_numbers(
    bundle: Path, flat: Path, tmp_path: Path, cli: Cli
) -> None:
    code, first, _ = cli("evaluate", bundle, flat, *PATTERNS, "--output", tmp_path / "one")
    assert code == 0
    page = html.unescape((tmp_path / "one" / "report" / "index.html").read_text("utf-8"))
    (command,) = re.findall(r"<code>(holotype evaluate [^<]*)</code>", page)
    words = [word.replace("/one", "/two") for word in shlex.split(command)]
    code, second, _ = cli(*words[1:])
    assert code == 0
    assert first.splitlines()[0] == second.splitlines()[0]


def test_the_next_command_reads_the_images_in_the_same_way(
    bundle: Path, flat: Path, tmp_path: Path, cli: Cli
) -> None:
    for command in (("evaluate", bundle, flat), ("audit", flat, "--quick")):
        _, _, said = cli(*command, *PATTERNS)
        (following,) = [line for line in said.splitlines() if line.startswith("Next: ")]
        assert shlex.split(following)[-4:] == list(PATTERNS)


def test_shards_are_for_other_machines(bundle: Path, flat: Path, cli: Cli) -> None:
    for verb in ("evaluate", "predict"):
        code, _, said = cli(verb, bundle, flat, "--jobs", 4)
        assert (code, "needs --on ray or --on slurm" in said) == (2, True), said
