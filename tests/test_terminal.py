"""Text tables keep their columns, whatever a cell holds."""

import os
import subprocess
import sys

from rich.cells import cell_len

from holotype.text_tables import text_table


def test_columns_line_up_whatever_script_a_name_is_in() -> None:
    names = ["turtle", "龟鳖", "🐢", "e\u0301tang", "a\nb"]
    lines = text_table(("name", "next"), [(name, "|") for name in names]).splitlines()
    assert len(lines) == 2 + len(names)
    assert len({cell_len(line.rstrip("|")) for line in lines[2:]}) == 1


def test_numbers_stand_on_the_right() -> None:
    lines = text_table(("class", "images"), [("a", 5), ("b", 1200)]).splitlines()
    assert lines == ["class  images", "─────  ──────", "a           5", "b        1200"]


def test_a_table_without_rows_is_its_header() -> None:
    assert text_table(("class", "images"), []).splitlines() == ["class  images", "─────  ──────"]


def test_on_an_output_that_lacks_the_signs_of_a_table_its_columns_line_up() -> None:
    """cp1252 is what pipes have on Windows."""
    for encoding in ("ascii", "cp1252"):
        done = subprocess.run(
            [sys.executable, "-m", "holotype", "models"], capture_output=True, check=True,
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        )  # fmt: skip
        header, rule, *_ = done.stdout.decode(encoding).splitlines()
        assert set(rule) == {"-", " "}
        assert len(rule) >= len(header)
    assert printed("Schröder 1–2", "ascii") == "Schr\\xf6der 1-2"


def printed(text: str, encoding: str) -> str:
    return text.encode(encoding, "look_alikes").decode(encoding)
