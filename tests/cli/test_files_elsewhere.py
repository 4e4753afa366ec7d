"""Nothing is written outside the output and `HOLOTYPE_CACHE`: no settings, no telemetry."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_COMMAND = "from holotype.cli.app import main; main()"


@pytest.mark.parametrize("recipe", [pytest.param("linear", marks=pytest.mark.slow), "svm"])
def test_home_stays_empty_and_nothing_lies_beside_the_output(
    recipe: str, synthetic: Path, tmp_path: Path
) -> None:
    kept = {name: tmp_path / name for name in ("home", "temporary", "work", "cache")}
    for folder in kept.values():
        folder.mkdir()
    cleared = ("ORT_", "XDG_", "MPL", "HF_", "TORCH_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(cleared)} | {
        "HOME": str(kept["home"]),
        "TMPDIR": str(kept["temporary"]),
        "HOLOTYPE_CACHE": str(kept["cache"]),
        "HF_HUB_OFFLINE": "1",
    }

    def holotype(*words: object) -> None:
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, *map(str, words)],
            env=environment, cwd=kept["work"], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    image = next(synthetic.rglob("*.png"))
    quick = ("--set", "image_size=64") if recipe == "linear" else ("--model", "hog")
    holotype("train", synthetic, "--recipe", recipe, "--output", "run", *quick)
    holotype("predict", "run", image, "--output", "answers.csv")
    holotype("explain", "run", image, "--output", "why.png")
    holotype("evaluate", "run", synthetic, "--output", "report")
    for empty in ("home", "temporary"):
        assert [str(file) for file in kept[empty].rglob("*") if file.is_file()] == []
    assert sorted(file.name for file in kept["work"].iterdir()) == [
        "answers.csv", "report", "run", "why.png",
    ]  # fmt: skip
