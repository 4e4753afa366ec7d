"""Read YAML that may be damaged or hostile: bounded in size and in what aliases make of it."""

from pathlib import Path
from typing import Any

import yaml

from holotype.errors import InvalidRecipe

MAX_BYTES = 4 << 20
MAX_VALUES = 200_000  # with every alias written out
MAX_BRACKETS = 50  # open at once: of thousands PyYAML looks at all for each further one


class _Loader(yaml.SafeLoader):
    """PyYAML's, which refuses brackets within brackets without end."""

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level >= MAX_BRACKETS:
            raise yaml.YAMLError(f"more than {MAX_BRACKETS} brackets within each other")
        super().fetch_flow_collection_start(token)


def read_yaml_file(path: Path) -> Any:
    """What a YAML file holds: mappings, lists and plain values.

    Raises:
        InvalidRecipe: it cannot be read, is no text, is no YAML, or is too large.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidRecipe(f"{path}: larger than {MAX_BYTES >> 20} MiB, which no recipe is.")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRecipe(f"{path}: expected a YAML file, got bytes that are no text.") from None
    except OSError as error:
        raise InvalidRecipe(f"{path} cannot be read: {error.strerror}.") from None
    return parse_yaml(text, str(path))


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        InvalidRecipe: as `read_yaml_file`, or it holds something else.
    """
    fields = read_yaml_file(path)
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        found = "nothing" if fields is None else type(fields).__name__
        raise InvalidRecipe(f"{path}: expected keys and values, got {found}.")
    return fields


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` becomes `{"a.b": 1}`."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        items = list(enumerate(value))
    else:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in items:
        flat |= flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat


def parse_yaml(text: str, name: str) -> Any:
    """A YAML text; see `read_yaml_file`.

    Args:
        name: how errors call it.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {}, name)
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise InvalidRecipe(f"{name}: not YAML: {reason}.") from None


def _count(node: yaml.Node, known: dict[int, int], name: str) -> int:
    """How many values a node holds with every alias in it written out.

    Args:
        known: of nodes seen before; 0 while a node is being counted.
    """
    if id(node) in known:
        count = known[id(node)]
        if count == 0:
            raise InvalidRecipe(f"{name}: an alias stands within what it names.")
        return count
    known[id(node)] = 0
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    count = 1 + sum(_count(one, known, name) for one in inner)
    if count > MAX_VALUES:
        raise InvalidRecipe(f"{name}: its aliases make more than {MAX_VALUES:,} values of it.")
    known[id(node)] = count
    return count
