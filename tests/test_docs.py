"""The documentation holds: links lead somewhere, and commands are commands."""

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from unicodedata import category

import pytest
from cyclopts import CycloptsError, MissingArgumentError

from holotype.cli.app import VERBS, build_app
from holotype.cli.options import one_value_a_flag, ratios_as_one_word, refuse_idle_options
from holotype.errors import UsageError

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [path for folder in ("", "examples", "benchmarks") for path in (ROOT / folder).glob("*.md")]
    + [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
)
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")
INDENTED = "    holotype "
COMMENTED = "#   holotype "


def _links(page: Path) -> Iterator[tuple[Path, str]]:
    """(file, heading) of every link that stays within the repository."""
    for target in LINK.findall(_without_code(page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", target):
            file, _, heading = target.partition("#")
            yield (page.parent / file if file else page), heading


def _without_code(text: str) -> str:
    """The text without what stands in back ticks, where brackets are no links."""
    return re.sub(r"`+[^`]*`+", "", text)


def _anchors(page: Path) -> set[str]:
    """The headings as a forge makes anchors of them: letters, digits, hyphens."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        "".join(
            "-" if letter == " " else letter
            for letter in line.lower()
            if letter in " -_" or category(letter)[0] in "LN"
        )
        for line in lines
    }


def _commands(page: Path) -> Iterator[str]:
    """Every command line of a page, on its own lines; what is broken by `\\` is joined."""
    sign = COMMENTED if page.suffix == ".yaml" else INDENTED
    text = re.sub(r"\\\n[#\s]*", "", page.read_text(encoding="utf-8"))
    for line in text.splitlines():
        if line.startswith(sign):
            yield line.removeprefix(sign)


def _mentions(page: Path) -> Iterator[str]:
    """Every command within a sentence."""
    text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
    for code in CODE.findall(text):
        if code.startswith("holotype "):
            yield code.removeprefix("holotype ")


def _words(command: str) -> list[str]:
    """As a shell takes it: up to a comment or where output goes."""
    words = shlex.split(command, comments=True)
    ends = [number for number, word in enumerate(words) if word in (">", "|")]
    return words[: ends[0]] if ends else words


def _parse(words: list[str]) -> None:
    """Raises: CycloptsError, where no command is called so; UsageError, where an option is idle."""
    if words != ["--help"]:
        words = ratios_as_one_word(one_value_a_flag(words))
        command, given, _ = build_app().parse_args(words, print_error=False, exit_on_error=False)
        refuse_idle_options(command, given.arguments)


def _all(found: "dict[Path, list[str]]") -> list[object]:
    return [
        pytest.param(command, id=f"{page.relative_to(ROOT)}: {command}")
        for page, commands in found.items()
        for command in dict.fromkeys(commands)
    ]


LINES = {page: list(_commands(page)) for page in [*PAGES, *EXAMPLES]}
MENTIONS = {page: list(_mentions(page)) for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for file, heading in _links(page):
        assert file.exists(), file
        assert not heading or heading in _anchors(file), f"{file}#{heading}"


@pytest.mark.parametrize("command", _all(LINES))
def test_every_command_parses(command: str) -> None:
    _parse(_words(command))


@pytest.mark.parametrize("command", _all(MENTIONS))
def test_every_command_that_a_sentence_mentions_is_one(command: str) -> None:
    with suppress(MissingArgumentError):  # a sentence need not say what is evident
        _parse(_words(command.rstrip(" …")))


@pytest.mark.parametrize(
    "words", [["trian", "shapes"], ["train", "shapes", "--recip", "linear"], ["predict"]]
)
def test_what_is_no_command_would_be_found(words: list[str]) -> None:
    with pytest.raises(CycloptsError):
        _parse(words)


def test_an_option_that_a_command_would_ignore_would_be_found() -> None:
    with pytest.raises(UsageError, match="--challenger"):
        _parse(["serve", "runs/a", "--share", "10"])


def test_the_page_of_the_command_line_names_no_option_that_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(ROOT / "docs")
    options = re.findall(r"^\* `([^`]+)`", import_module("generated").command_line(), re.MULTILINE)
    assert "--labelled PATH..." in options
    assert [option for option in options if re.search(r"--(no|empty)-", option)] == []


def test_the_pages_have_commands_and_links() -> None:
    readme = ROOT / "README.md"
    assert len(LINES[readme]) > 10
    assert len(list(_links(readme))) > 5


def test_the_readme_shows_every_verb() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = {command.split()[0] for command in LINES[ROOT / "README.md"]}
    shown |= {mention.split()[0] for mention in _mentions(ROOT / "README.md")}
    assert {verb for verb, _, _ in VERBS} - {"demo"} <= shown
    assert "make demo" in text


def _rooms() -> dict[str, str]:
    """What the drawing of the house says of every room; of files outside of rooms under ``."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = page.split("    src/holotype/\n")[1].split("\n\n")[0]
    rooms, room = {"": ""}, ""
    for line in drawing.splitlines():
        if line.startswith("      ") and not line.startswith("       "):
            found = re.match(r" +(\w+)/", line)
            room = found[1] if found else ""
        rooms[room] = rooms.get(room, "") + line + "\n"
    return rooms


@pytest.mark.parametrize("folder", ["", *sorted(set(_rooms()) - {"", "cli"})])
def test_the_drawing_of_the_house_has_every_file_and_no_other(folder: str) -> None:
    said = _rooms()[folder]
    place = ROOT / "src" / "holotype" / folder
    files = {file.stem for file in (place.rglob("*.py") if folder else place.glob("*.py"))} - {
        "__init__",
        "__main__",
    }
    assert {stem for stem in files if not re.search(rf"\b{stem}\b", said)} == set()
    assert {stem for stem in re.findall(r"(\w+)\.py\b", said) if stem not in files} == set()


def test_every_room_is_drawn() -> None:
    places = (ROOT / "src" / "holotype").iterdir()
    assert {place.name for place in places if (place / "__init__.py").is_file()} == set(
        _rooms()
    ) - {""}
