"""Structure of the package: who may import whom, how large a file may be, what stays unimported."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

import holotype
from holotype.cli.app import VERBS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "holotype"
SOURCES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({file.parent for file in SOURCES} - {PACKAGE / "cli"})
DOCUMENTS = sorted(
    path
    for folder in ("src", "docs", "examples")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".md", ".yaml", ".j2", ".css", ".json"} and "_build" not in path.parts
)

MAX_LINES = 400
MAX_MODULES = 15
MAX_PARAMETERS = 7
MAX_PARAMETERS_OF_A_VERB = 12

# What brings torch or the server: a module that imports one of these at its top is itself imported
# in functions.
TORCH = {"torch", "torchvision", "timm", "accelerate"}
SERVER = {"fastapi", "starlette", "uvicorn", "prometheus_client", "python_multipart"}

HEAVY = ("torch", "torchvision", "timm", "pandas", "sklearn", "skimage", "scipy", "matplotlib")


def test_rooms_import_only_from_rooms_above_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename="pyproject.toml", no_cache=True, verbose=False)
    assert status == EXIT_STATUS_SUCCESS


@pytest.mark.parametrize("contract", ["acyclic_siblings", "layers"])
def test_a_planted_circle_breaks_the_contract(
    contract: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / f"planted_{contract}"
    (package / "room").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "room" / "__init__.py").touch()
    (package / "room" / "above.py").write_text(f"from {package.name}.room import below\n")
    (package / "room" / "below.py").write_text("")
    terms = {
        "acyclic_siblings": f'ancestors = ["{package.name}", "{package.name}.**"]',
        "layers": f'containers = ["{package.name}.room"]\nlayers = ["above", "below"]',
    }
    config = tmp_path / "pyproject.toml"
    config.write_text(
        textwrap.dedent(f"""
        [tool.importlinter]
        root_package = "{package.name}"
        [[tool.importlinter.contracts]]
        id = "planted"
        name = "planted"
        type = "{contract}"
        """)
        + terms[contract]
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert lint_imports(config_filename=str(config), no_cache=True) == EXIT_STATUS_SUCCESS
    (package / "room" / "below.py").write_text(f"from {package.name}.room import above\n")
    assert lint_imports(config_filename=str(config), no_cache=True) != EXIT_STATUS_SUCCESS


def test_the_contracts_cover_every_folder() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    by_type = {contract["type"]: contract for contract in contracts["contracts"]}
    assert by_type["acyclic_siblings"]["ancestors"] == ["holotype", "holotype.**"]
    assert "ignore_imports" not in by_type["acyclic_siblings"]
    assert by_type["layers"]["exhaustive"]
    assert "ignore_imports" not in by_type["layers"]


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {file: len(file.read_text("utf-8").splitlines()) for file in SOURCES}
    assert {str(file): length for file, length in lengths.items() if length > MAX_LINES} == {}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_no_folder_but_cli_has_more_than_fifteen_modules(folder: Path) -> None:
    assert len(set(folder.glob("*.py")) - {folder / "__init__.py"}) <= MAX_MODULES


def test_no_two_modules_have_one_name() -> None:
    names = Counter(
        file.stem for file in SOURCES if file.stem != "__init__" and file.parent.name != "cli"
    )
    assert {name: count for name, count in names.items() if count > 1} == {}


def test_no_public_name_is_that_of_a_module() -> None:
    """Python would put the module in its place once it is imported."""
    assert set(holotype.__all__) & {place.stem for place in PACKAGE.iterdir()} == set()


def _public_verbs() -> set[tuple[str, str]]:
    """(module, name) of every public function."""
    values = [getattr(holotype, name) for name in holotype.__all__]
    return {(value.__module__, value.__name__) for value in values if inspect.isfunction(value)}


def _parameters() -> dict[tuple[str, str], int]:
    """(module, function) -> how many parameters it has, without `self` and `cls`."""
    counts = {}
    for file in SOURCES:
        for node in ast.walk(_tree(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                names = {argument.arg for argument in arguments} - {"self", "cls"}
                counts[_module(file), node.name] = len(names)
    return counts


def test_a_function_has_at_most_seven_parameters_a_public_verb_twelve() -> None:
    verbs = _public_verbs()
    too_many = {
        name: count
        for name, count in _parameters().items()
        if count > (MAX_PARAMETERS_OF_A_VERB if name in verbs else MAX_PARAMETERS)
        and not name[0].startswith("holotype.cli.")
    }
    assert too_many == {}


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def _module(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(file): file for file in SOURCES}


def _imported(node: ast.stmt) -> Iterator[str]:
    """What one import statement imports: modules where they are ours, else packages."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        whole = [f"{node.module}.{alias.name}" for alias in node.names]
        names = [name if name in MODULES else node.module for name in whole]
    else:
        names = []
    for name in names:
        yield name if name.startswith("holotype") else name.partition(".")[0]


def _imports_at_the_top(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imported(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from _imports_at_the_top(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            yield from _imports_at_the_top(node.body)


@cache
def _is_heavy(module: str) -> bool:
    if module not in MODULES:
        return module in TORCH | SERVER
    top = set(_imports_at_the_top(_tree(MODULES[module]).body)) - {module}
    return any(_is_heavy(imported) for imported in top)


def _imports_in_functions(file: Path) -> Iterator[str]:
    for function in ast.walk(_tree(file)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.stmt):
                    yield from _imported(node)


def test_only_heavy_modules_are_imported_in_functions() -> None:
    deferred = {
        (_module(file), imported)
        for file in SOURCES
        for imported in _imports_in_functions(file)
        if imported in MODULES and not _is_heavy(imported)
    }
    assert deferred == set()


def test_what_the_base_does_not_install_is_imported_in_functions() -> None:
    base = {"PIL", "cyclopts", "filelock", "numpy", "onnxruntime", "packaging", "pydantic"}
    base |= {"rich", "yaml", "holotype"} | set(sys.stdlib_module_names)
    heavy = {
        (_module(file), imported)
        for file in SOURCES
        if not _is_heavy(_module(file))
        for imported in _imports_at_the_top(_tree(file).body)
        if imported.partition(".")[0] not in base
    }
    assert heavy == set()


def test_an_image_is_called_an_image() -> None:
    word = re.compile(r"\bpictures?\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [ROOT / "README.md", *DOCUMENTS]
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if word.search(line)
    ]
    assert found == []


def test_no_file_is_named_after_nothing() -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "core", "base", "manager", "misc"}
    assert [str(file) for file in SOURCES if {file.stem, file.parent.name} & vague] == []


@pytest.mark.parametrize(
    "module", ["holotype", "holotype.cli.app", "holotype.cli.predict", "holotype.bundle.bundle"]
)
def test_importing_leaves_heavy_libraries_out(module: str) -> None:
    script = (
        f"import {module}, json, sys; print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert json.loads(answer.stdout) == []


@pytest.mark.parametrize("name", holotype.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert name in dir(holotype)
    assert getattr(holotype, name) is not None


# An option of a command -> the parameter of the function, where their names differ.
OVERRIDES = (
    "settings",
    "weights",
    "epochs",
    "batch_size",
    "learning_rate",
    "split_seed",
    "image_size",  # of `tune`; `train` has it itself
    "teacher",
    "unseen",  # of `train`; `split` has it itself
)
PARAMETER_OF = dict.fromkeys(OVERRIDES, "overrides") | {"checkpoint_every": "checkpoint_minutes"}
OPTIONS_OF_COMMANDS_ONLY = {
    "as_json",
    "dry_run",
    "print_recipe",
    "print_space",
}  # `estimate`, `Run.recipe`
NO_FUNCTION = {"demo"}


# A verb whose commands are the methods of a class.
CLASSES = {"identify": holotype.Gallery, "registry": holotype.Registry}
METHODS = {
    "list_models": "list",
    "list_individuals": "list",
}  # command -> method, where their names differ
OPTIONS_OF_A_CLASS = {"identify": {"gallery", "classifier"}, "registry": {"place", "files"}}


@pytest.mark.parametrize(
    "verb", [verb for verb, _, _ in VERBS if verb not in {*NO_FUNCTION, *CLASSES}]
)
def test_a_command_is_a_function_with_the_same_options_and_an_example(verb: str) -> None:
    function = getattr(holotype, verb)
    assert ">>> " in inspect.getdoc(function)
    command = getattr(importlib.import_module(f"holotype.cli.{verb}"), verb)
    parameters = inspect.signature(function).parameters
    options = {
        name if name in parameters else PARAMETER_OF.get(name, name)
        for name in inspect.signature(command).parameters
    }
    accepted = set(parameters)
    for parameter in parameters.values():
        for kind in (parameter.annotation, *get_args(parameter.annotation)):
            accepted |= {field.name for field in fields(kind)} if is_dataclass(kind) else set()
    assert options - OPTIONS_OF_COMMANDS_ONLY <= accepted


@pytest.mark.parametrize("verb", CLASSES)
def test_commands_of_a_verb_are_methods_with_the_same_options(verb: str) -> None:
    of_class = CLASSES[verb]
    assert ">>> " in inspect.getdoc(of_class)
    assert set(inspect.signature(of_class).parameters) >= OPTIONS_OF_A_CLASS[verb]
    app = importlib.import_module(f"holotype.cli.{verb}").app
    commands = [app[name].default_command for name in app if not name.startswith("-")]
    assert len(commands) > 2
    for command in commands:
        method = getattr(of_class, METHODS.get(command.__name__, command.__name__))
        assert inspect.getdoc(method)
        options = set(inspect.signature(command).parameters) - OPTIONS_OF_COMMANDS_ONLY
        accepted = set(inspect.signature(method).parameters) - {"self", "progress"}
        assert options - OPTIONS_OF_A_CLASS[verb] == accepted


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = holotype.trian


def test_one_version_stands_in_package_project_citation_and_changelog() -> None:
    version = holotype.__version__
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'\nversion = "{version}"\n' in project
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    released = re.findall(r"^## \[(\d.*)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    assert released[0] == version
