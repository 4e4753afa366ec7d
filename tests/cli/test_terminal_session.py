"""Every word that a person reads in a terminal stands where it can be read: recorded sessions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from holotype.architectures.catalog import CATALOG
from tests.cli.terminal import in_terminal

HOLOTYPE = ("-m", "holotype")

_BAR_AND_MESSAGES = """
import sys, time, warnings
from holotype import progress
from holotype.progress import to_stderr
progress.BAR_DELAY_S = 0
shown = to_stderr()
with shown.bar("training finetune") as update:
    for done in range(4):
        update(done, 4)
        time.sleep(0.15)
        shown.log(f"epoch {done}: validation loss 0.3092, validation accuracy 0.8889, seconds 12")
        if done == 2:
            print("written by a library", file=sys.stderr)
with shown.busy("exporting the network"):
    time.sleep(0.3)
    shown.log("half of it")
print("run  runs/shapes-1")
"""


def test_messages_stand_above_a_bar_on_lines_of_their_own() -> None:
    session = in_terminal(["-c", _BAR_AND_MESSAGES])
    epochs = [
        [
            f"epoch {number}: validation loss 0.3092, validation accuracy 0.8889, seconds 12",
            *(["written by a library"] if number == 2 else []),
        ]
        for number in range(4)
    ]
    assert session.lines == [
        *(line for lines in epochs for line in lines),
        "exporting the network",
        "half of it",
        "run  runs/shapes-1",
    ]
    bars = [line for frame in session.frames for line in frame if "━" in line]
    assert any(line.startswith("training finetune") and "2/4" in line for line in bars)
    assert all("epoch" not in line for line in bars)
    spinning = [line for frame in session.frames for line in frame if "0:00:00" in line]
    assert any("exporting the network" in line for line in spinning)


def test_a_training_reads_well_in_a_terminal(synthetic: Path, tmp_path: Path) -> None:
    session = in_terminal([*HOLOTYPE, "train", synthetic, "--model", "hog"], cwd=tmp_path)
    assert session.code == 0, session.text
    assert session.lines[-1] == "Next: holotype predict runs/shapes-1 IMAGE"
    # No word is broken by the edge of the terminal but what is one word itself, such as a path.
    sentences = session.text.replace("\n", " ")
    assert "No groups were given, so the intervals assume independent images." in sentences
    assert "nan" not in session.text


@pytest.mark.parametrize("columns", [80, 120])
def test_models_has_one_line_for_each(columns: int) -> None:
    session = in_terminal([*HOLOTYPE, "models"], columns=columns)
    assert session.code == 0
    rows = session.lines[2 : 2 + len(CATALOG)]
    assert [row.split()[0] for row in rows] == list(CATALOG)
    assert all(cell_len(row) <= columns for row in session.lines)


@pytest.mark.parametrize("verb", ["train", "audit", "split", "evaluate"])
def test_help_lists_options_by_what_they_are_about(verb: str) -> None:
    session = in_terminal([*HOLOTYPE, verb, "--help"])
    assert session.lines[0].startswith(f"Usage: holotype {verb}")
    headings = ["Reading the data"]
    if verb == "train":
        headings += ["Split", "Recipe", "Resources", "Resuming"]
    for heading in headings:
        assert any(line.startswith(f"╭─ {heading} ─") for line in session.lines), heading
    # Sentences are filled: a line of a docstring that ends early leaves no gap.
    if verb == "train":
        assert "where there is no such column, train nothing" in " ".join(
            line.strip("│ ") for line in session.lines
        )


def test_results_and_messages_in_one_pipe_come_in_order() -> None:
    done = subprocess.run(
        [sys.executable, *HOLOTYPE, "models"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0].startswith("model ")
    assert lines[-1] == "Next: holotype train DATA --model MODEL"
    assert done.stdout.endswith("\n")


@pytest.mark.parametrize(
    ("redirection", "code"),
    [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0), ("2>/dev/full", 0), (">/dev/full", 1)],
)
def test_closed_and_full_streams_end_no_work_with_a_traceback(redirection: str, code: int) -> None:
    done = subprocess.run(
        ["bash", "-c", f'exec "$0" -m holotype models {redirection}', sys.executable],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if code:
        assert done.stderr == "error: No space left on device.\n"


_WITHOUT_HOME = """
import pwd, sys
def getpwuid(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = getpwuid
from holotype.cli.app import main
main()
"""


def test_no_home_and_no_known_user_stop_nothing(synthetic: Path, tmp_path: Path) -> None:
    gone = ("HOME", "XDG_", "HOLOTYPE_CACHE", "USER", "LOGNAME", "MPL", "TORCH_HOME", "HF_HOME")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(gone)}
    (tmp_path / "temporary").mkdir()

    def holotype(*words: object) -> str:
        done = subprocess.run(
            [sys.executable, "-c", _WITHOUT_HOME, *map(str, words)],
            env=kept | {"TMPDIR": str(tmp_path / "temporary")},
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    image = next(synthetic.rglob("*.png"))
    assert str(tmp_path / "temporary" / f"holotype-{os.getuid()}") in holotype("doctor")
    holotype("train", synthetic, "--model", "hog", "--output", "run")
    holotype("predict", "run", image)
