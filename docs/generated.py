"""What Sphinx writes into pages from the code itself: a comment of a page becomes a table.

<!-- command line -->              every command with its options, from the parser
<!-- costs: ResNet, ResNetV2 -->   the catalogue's rows of these families
<!-- public names -->              every public name, with the first line of its docstring
<!-- findings -->                  what an audit can find, and what to do
<!-- errors -->                    every error that Holotype raises on purpose, with its exit code
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

import holotype
from holotype import errors
from holotype.architectures.architecture import Architecture
from holotype.architectures.catalog_rows import ARCHITECTURES
from holotype.cli.app import VERBS, build_app
from holotype.dataset.auditing.findings import ROWS

BATCH_SIZE = 32


def setup(app: Sphinx) -> None:
    app.connect("source-read", fill_in)
    app.connect("include-read", name_what_is_outside)


def fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the comments of a page."""
    text = source[0]
    for comment, make in (
        ("<!-- command line -->", command_line),
        ("<!-- public names -->", public_names),
        ("<!-- errors -->", error_table),
        ("<!-- findings -->", findings_table),
    ):
        if comment in text:
            text = text.replace(comment, make())
    source[0] = re.sub(r"<!-- costs: (.+?) -->", lambda found: costs(found[1].split(", ")), text)


def name_what_is_outside(app: Sphinx, file: Path, page: str, source: list[str]) -> None:
    """Links of the README to what is no page (examples, CITATION.cff) become the bare name."""
    source[0] = re.sub(r"\[([^\]]+)\]\((?!(?:\.\./)?docs/|https?:|#)[^)]+\)", r"`\1`", source[0])


def command_line() -> str:
    """Every command, as Markdown from its parser; an example of each verb."""
    written = build_app().generate_docs(output_format="markdown", recursive=True, heading_level=1)
    text = written[written.index("\n## ") :]
    examples = {verb: example for verb, _, example in VERBS}
    lines = []
    for line in text.splitlines():
        # Of verbs with commands of their own negatives are written, which the parser does not take.
        line = re.sub(r"^(\* `--[^`]*?), --(?:no|empty)-[\w-]+`", r"\1`", line)
        lines.append(line if line.startswith(("`", "holotype")) else line.replace("<", "&lt;"))
        found = re.fullmatch(r"## holotype (\w+)", line)
        if found and found[1] in examples:
            lines += ["", f"Example: `{examples[found[1]]}`", ""]
    return "\n".join(lines)


def costs(families: list[str]) -> str:
    """The rows of these families: what each takes, and what it was published under."""
    rows = [row for row in ARCHITECTURES if row.family in families]
    missing = set(families) - {row.family for row in rows}
    assert not missing, f"no such family: {missing}"
    return table(
        ("model", "pixels", "embedding", "million parameters", "million multiply-adds",
         "GB to train", "heatmap", "licence of the weights"),
        [cost_row(row) for row in rows],
    )  # fmt: skip


def cost_row(row: Architecture) -> tuple[object, ...]:
    cost = row.cost
    parameters = multiply_adds = memory = "–"
    if cost is not None:
        parameters = f"{cost.parameters / 1e6:.1f}" if cost.parameters else "none"
        multiply_adds = f"{cost.multiply_adds_millions:,.0f}"
        memory = f"{cost.training_gigabytes(BATCH_SIZE):.1f}" if cost.parameters else "–"
    return (
        f"`{row.name}`", row.inputs.image_size, row.embedding_size or "–", parameters,
        multiply_adds, memory, row.cam_support(row.head), row.published.licence,
    )  # fmt: skip


def public_names() -> str:
    names = [name for name in holotype.__all__ if not name.startswith("_")]
    rows = []
    for name in names:
        value = getattr(holotype, name)
        role = "func" if inspect.isroutine(value) else "class"
        rows.append((f"{{py:{role}}}`holotype.{name}`", first_line(value)))
    functions = [row for row in rows if row[0].startswith("{py:func}")]
    classes = [row for row in rows if row[0].startswith("{py:class}")]
    return (
        f"Functions, each also a command:\n\n{table(('function', 'what it does'), functions)}\n\n"
        f"Values and options:\n\n{table(('class', 'what it is'), classes)}"
    )


def error_table() -> str:
    """The tree of errors, in the order of the file; each below the one that it is a kind of."""
    found = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.HolotypeError)
    ]
    return table(
        ("error", "a kind of", "exit code", "what it means"),
        [
            (f"`{one.__name__}`", f"`{one.__base__.__name__}`" if one.__base__ else "",
             one.exit_code, first_line(one))
            for one in found
        ],
    )  # fmt: skip


def findings_table() -> str:
    """What an audit can find, as its own table names it."""
    rows = [(name, f"`{kind}`", what_to_do) for kind, name, what_to_do in ROWS]
    return table(("found", "name", "what to do, or what it means"), rows)


def first_line(value: object) -> str:
    return (inspect.getdoc(value) or "").partition("\n")[0]


def table(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    def written() -> Iterator[str]:
        for row in (header, ("---",) * len(header), *rows):
            yield f"| {' | '.join(str(value) for value in row)} |"

    return "\n".join(written())
