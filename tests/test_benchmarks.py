"""Benchmarks are run by hand: what they import from Holotype is there, and takes what they say."""

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = sorted((Path(__file__).parent.parent / "benchmarks").glob("*.py"))


def _imported(tree: ast.Module) -> dict[str, Any]:
    """Raises: ImportError, AttributeError, where something is not there."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("holotype"):
            module = import_module(str(node.module))
            for name in node.names:
                if not hasattr(module, name.name):
                    import_module(f"{node.module}.{name.name}")
                found[name.asname or name.name] = getattr(module, name.name)
    return found


def _unknown_arguments(tree: ast.Module, imported: dict[str, Any]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = imported.get(node.func.id)
            if not inspect.isfunction(called) and not inspect.isclass(called):
                continue
            parameters = inspect.signature(called).parameters.values()
            if all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in parameters):
                taken = {one.name for one in parameters}
                for word in node.keywords:
                    if word.arg and word.arg not in taken:
                        yield f"{node.func.id}({word.arg}=), line {node.lineno}"


@pytest.mark.parametrize("file", BENCHMARKS, ids=lambda file: file.name)
def test_a_benchmark_calls_what_is_there(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert list(_unknown_arguments(tree, _imported(tree))) == []


def test_what_is_not_there_would_be_found() -> None:
    tree = ast.parse("from holotype.progress import duration\nduration(seconds=1)\nduration(no=1)")
    assert list(_unknown_arguments(tree, _imported(tree))) == ["duration(no=), line 3"]
    with pytest.raises(ImportError):
        _imported(ast.parse("from holotype.progress import no_such_name"))
