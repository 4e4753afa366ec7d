"""The drawing of the package in architecture.md, made of the first line of every docstring.

python docs/draw_house.py     # prints it
python docs/draw_house.py -w  # writes it into docs/architecture.md
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parent / "architecture.md"
PACKAGE = Path(__file__).parent.parent / "src" / "holotype"
COLUMN = 33

# In the order of the pipeline; a folder imports only from what stands above it.
ORDER = (
    *(
        "errors",
        "extras",
        "text_tables",
        "arguments",
        "notebook",
        "progress",
        "files",
        "parquet_files",
        "executors",
        "cache",
        "imaging",
    ),
    *(
        "single_prediction",
        "predictions",
        "run_directory",
        "search_directory",
        "dataset",
        "bundle",
        "architectures",
        "training",
    ),
    *("evaluation", "reporting", "comparison", "ensembles", "explanation", "exports", "registry"),
    *(
        "tracking",
        "pipeline",
        "elpv_demo",
        "search",
        "identification",
        "serving",
        "watching",
        "dashboard_pages",
    ),
)


def draw() -> str:
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or is_package(path)}
    missing = found - set(ORDER) - {"__init__", "__main__", "cli"}
    assert not missing, f"add to ORDER: {missing}"
    lines = [f"    {PACKAGE.parent.name}/{PACKAGE.name}/"]
    for name in ORDER:
        place = PACKAGE / name
        lines += draw_folder(place, 6) if place.is_dir() else [line_of(place.with_suffix(".py"), 6)]
    lines.append(aligned("      cli/", "One module per verb: parses, calls one function, prints"))
    return "\n".join(lines)


def draw_folder(folder: Path, indent: int) -> Iterator[str]:
    yield aligned(f"{' ' * indent}{folder.name}/", summary(folder / "__init__.py"))
    modules = sorted(folder.glob("*.py"))
    yield from (line_of(module, indent + 2) for module in modules if module.stem != "__init__")
    for inner in sorted(filter(is_package, folder.iterdir())):
        yield from draw_folder(inner, indent + 2)


def line_of(module: Path, indent: int) -> str:
    return aligned(f"{' ' * indent}{module.name}", summary(module))


def aligned(name: str, text: str) -> str:
    return f"{name:{COLUMN}}  {text}".rstrip()


def summary(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ").rstrip(".")


def is_package(path: Path) -> bool:
    return (path / "__init__.py").is_file()


if __name__ == "__main__":
    if sys.argv[1:] != ["-w"]:
        print(draw())
    else:
        page = PAGE.read_text("utf-8")
        old = re.search(r"    src/holotype/\n(?: {6}.*\n)+", page)
        assert old, f"{PAGE} has no drawing"
        PAGE.write_text(page.replace(old.group(), draw() + "\n"), "utf-8")
