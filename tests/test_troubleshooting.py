"""Every message that the troubleshooting page quotes stands in the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "troubleshooting.md"
VARIES = "…"
QUOTED = re.findall(r"^> `(.+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@cache
def messages() -> tuple[str, ...]:
    """Every text of the package; what an f-string fills in is `…`."""
    found = []
    for file in (ROOT / "src" / "holotype").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    str(part.value) if isinstance(part, ast.Constant) else VARIES
                    for part in node.values
                ]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return tuple(found)


def says(message: str, quoted: str) -> bool:
    """Whether the pieces of what is quoted stand in a message in this order."""
    place = 0
    for piece in quoted.split(VARIES):
        place = message.find(piece.strip(), place)
        if place < 0:
            return False
    return True


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_message_is_in_the_code(quoted: str) -> None:
    assert any(says(message, quoted) for message in messages())


def test_the_page_quotes_messages_and_a_wrong_one_would_be_found() -> None:
    assert len(QUOTED) > 20
    assert all(len(quoted.replace(VARIES, "")) > 20 for quoted in QUOTED)
    assert not any(says(message, "the images are of no known colour") for message in messages())
