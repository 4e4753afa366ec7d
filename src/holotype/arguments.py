"""What public functions are called with: checked against their annotations, refused in words.

The command line checks its words itself and calls the same functions without this layer.
"""

import inspect
import operator
import os
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from functools import cache, wraps
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from holotype.errors import HolotypeError, UsageError, WrongType, did_you_mean

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# Whether the caller is the command, whose users know options by their names there.
COMMAND_LINE: ContextVar[bool] = ContextVar("COMMAND_LINE", default=False)

SHOWN_CHARACTERS = 80  # of a value that is refused

# pydantic's kind of error -> what was expected; {…} are the error's own limits.
_EXPECTED = {
    "bool_type": "True or False",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "path_type": "a path",
    "none_required": "nothing",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "tuple_type": "a list",
    "list_type": "a list",
    "sequence_str": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "union_tag_not_found": "a key {discriminator}",
    "union_tag_invalid": "for {discriminator} one of {expected_tags}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
}

_KINDS = {
    "PathLike": "a path",
    "Path": "a path",
    "Sequence": "a list",
    "Mapping": "keys and values",
}

_ONE_OF = "one of "

_KEYS_OF_LAST_STAGE = ("epochs", "batch_size", "learning_rate")

_PLAIN = (str, int, float, bool, Path, os.PathLike, type(None))


def expectation(error: Mapping[str, Any]) -> str:
    """What one of pydantic's errors expected, such as ``a whole number``."""
    if error["type"] == "is_instance_of":
        kind = str(error["ctx"]["class"])
        public = kind in sys.modules["holotype"].__all__
        return _KINDS.get(kind, f"holotype.{kind}" if public else f"a value of type {kind}")
    if error["type"] == "literal_error":  # 'a', 'b' or 'c'
        return _ONE_OF + ", ".join(re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    words = _EXPECTED.get(error["type"])
    if words is None:
        message = str(error["msg"])
        return message[:1].lower() + message[1:]
    limits = {
        name: f"{value:g}" if isinstance(value, float) else value
        for name, value in error.get("ctx", {}).items()
    }
    return words.format(**limits)


def shown(value: object) -> str:
    """A value in a message: its `repr` where that is short, else its type."""
    if isinstance(value, str | bytes | int | float | bool | Path | type(None)):
        text = repr(str(value) if isinstance(value, Path) else value)
        return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
    if isinstance(value, list | tuple | dict | set):
        text = repr(value)
        if len(text) <= SHOWN_CHARACTERS:
            return text
    return f"a value of type {type(value).__name__}"


def check_arguments(verb: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The function, which checks plain arguments first and whose refusals are spelled for Python.

    Numbers of NumPy are taken as Python's. Checked are annotations made of text, numbers,
    switches, paths, choices, lists of them and classes; the function itself judges any other.

    Raises:
        WrongType: an unknown or missing argument.
        UsageError: a value of another kind.
    """

    @wraps(verb)
    def checking(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            bound = _signature(verb).bind(*args, **kwargs)
        except TypeError as error:
            raise WrongType(
                f"{verb.__name__}: {error}{_where_it_goes(verb, args, kwargs)}"
            ) from None
        for name, annotation in _annotations(verb).items():
            if name in bound.arguments:
                bound.arguments[name] = _checked(name, bound.arguments[name], annotation)
        try:
            return verb(*bound.args, **bound.kwargs)
        except HolotypeError as error:
            if not COMMAND_LINE.get() and error.args and isinstance(error.args[0], str):
                error.args = (spelled_for_python(error.args[0]), *error.args[1:])
            raise

    return checking


def _where_it_goes(verb: Callable[..., Any], args: Sequence[Any], named: Iterable[str]) -> str:
    """How the first argument that a function does not have is given; a full stop if unknown.

    Several values by position where one list is expected, such as two runs, go into that. Options
    of the command that belong together are one value in Python, and those of the last stage of a
    recipe are keys of it.
    """
    parameters = _signature(verb).parameters
    by_position = [each for each in parameters.values() if each.kind is not each.KEYWORD_ONLY]
    if len(args) > len(by_position) == 1 and _takes_a_list(by_position[0], verb):
        name = by_position[0].name
        return (
            f"; several {name} are given as one list, {verb.__name__}([…, …]), and every other "
            "argument by its name."
        )
    unknown = next((name for name in named if name not in parameters), None)
    if unknown is None:
        return "."
    for name, parameter in parameters.items():
        annotation = _evaluated(parameter.annotation, verb)
        for kind in (annotation, *get_args(annotation)):
            if not isinstance(kind, type) or not is_dataclass(kind):
                continue
            if unknown in {field.name for field in fields(kind)}:
                is_public = kind.__name__ in sys.modules["holotype"].__all__
                place = "holotype" if is_public else kind.__module__
                return f"; give it as {name}={place}.{kind.__name__}({unknown}=…)."
    if "overrides" in parameters and unknown in _KEYS_OF_LAST_STAGE:
        return f"; give it as overrides={{{unknown!r}: …}}."
    return did_you_mean(unknown, parameters)


def _takes_a_list(parameter: inspect.Parameter, verb: Callable[..., Any]) -> bool:
    annotation = _evaluated(parameter.annotation, verb)
    if isinstance(annotation, str):  # only a type checker can evaluate it
        return "Sequence[" in annotation
    return any(get_origin(kind) is Sequence for kind in (annotation, *get_args(annotation)))


def check_fields(options: object) -> None:
    """The same for the fields of a frozen dataclass of options, in its `__post_init__`."""
    kind: Callable[..., Any] = type(options)
    for name, annotation in _annotations(kind).items():
        object.__setattr__(options, name, _checked(name, getattr(options, name), annotation))


def spelled_for_python(message: str) -> str:
    """`--on-leak repair` becomes `on_leak="repair"`, and --output becomes output."""

    def in_code(match: re.Match[str]) -> str:
        code = match.group()
        if code.startswith("`holotype "):
            return code
        return re.sub(
            r"--([a-z][a-z-]*)(?: ([^\s`-][^\s`]*))?",
            lambda m: _python(m.group(1)) + ("" if m.group(2) is None else f'="{m.group(2)}"'),
            code,
        )

    pieces = re.split(r"(`[^`]*`)", message)
    return "".join(
        re.sub("`.*`", in_code, piece)
        if piece.startswith("`")
        else re.sub(r"(?<![\w-])--([a-z][a-z-]*)", lambda m: _python(m.group(1)), piece)
        for piece in pieces
    )


# Options of the command whose name in Python is another.
_PYTHON_NAMES = {
    "set": "overrides",
    "class": "class_name",
    "checkpoint-every": "checkpoint_minutes",
}


def _python(option: str) -> str:
    return _PYTHON_NAMES.get(option, option.replace("-", "_"))


@cache
def _signature(owner: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(owner)


@cache
def _annotations(owner: Callable[..., Any]) -> dict[str, Any]:
    """Parameter -> its annotation; only of those whose annotation is plain."""
    found = {
        name: _evaluated(parameter.annotation, owner)
        for name, parameter in _signature(owner).parameters.items()
        if parameter.annotation is not inspect.Parameter.empty
    }
    return {name: annotation for name, annotation in found.items() if _is_plain(annotation)}


def _evaluated(annotation: Any, owner: Callable[..., Any]) -> Any:
    """An annotation in quotes as what it says; as it is, where only a type checker can tell."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, inspect.unwrap(owner).__globals__)
    except (NameError, TypeError):
        return annotation


def _is_plain(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return all(map(_is_plain, get_args(annotation)))
    if origin is Annotated:
        return _is_plain(get_args(annotation)[0])
    if origin in (tuple, list, Sequence):
        return all(_is_plain(each) for each in get_args(annotation) if each is not Ellipsis)
    if origin in (os.PathLike, Mapping, Literal):
        return True
    return origin is None and isinstance(annotation, type)


def _for_pydantic(annotation: Any) -> Any:
    """The annotation with classes of ours, and mappings, judged by `isinstance` alone."""
    from pydantic import InstanceOf

    instance_of: Any = InstanceOf
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_for_pydantic, get_args(annotation)))]  # noqa: UP007
    if origin is Mapping:
        return instance_of[Mapping]
    if origin is None and isinstance(annotation, type) and annotation not in _PLAIN:
        return instance_of[annotation]
    return annotation


def _is_right(value: Any, annotation: Any) -> bool:
    """Whether a value is right at first sight, for which pydantic need not be imported."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(_is_right(value, each) for each in get_args(annotation))
    if origin is Literal:
        return isinstance(value, str) and value in get_args(annotation)
    if origin is not None or not isinstance(annotation, type):
        return False
    return type(value) is annotation or (annotation not in _PLAIN and isinstance(value, annotation))


def _checked(name: str, value: Any, annotation: Any) -> Any:
    if isinstance(value, str | Path) and (not str(value) or "\x00" in str(value)):
        raise UsageError(f"{name} is {str(value)!r}, an empty text or one that no name can hold.")
    if _is_right(value, annotation):
        return value
    from pydantic import TypeAdapter, ValidationError

    plain = _without_numpy(value)
    try:
        TypeAdapter(_for_pydantic(annotation)).validate_python(plain, strict=True)
    except ValidationError as refused:
        errors = refused.errors()
        wanted = list(dict.fromkeys(expectation(error) for error in errors))
        choices = [each.removeprefix(_ONE_OF) for each in wanted if each.startswith(_ONE_OF)]
        if choices:
            others = [each for each in wanted if not each.startswith(_ONE_OF)]
            wanted = [_ONE_OF + ", ".join(choices), *others]
        if "a path" in wanted and "text" in wanted:
            wanted.remove("text")
        raise UsageError(f"{name} is {shown(value)}, expected {' or '.join(wanted)}.") from None
    return plain


def _without_numpy(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's, a list for any other sequence of numbers."""
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return value.tolist()
    if isinstance(value, list | tuple):
        return type(value)(map(_without_numpy, value)) if type(value) in (list, tuple) else value
    return value


def row_number(row: object, length: int, what: str) -> int:
    """The position of a row of a table with so many rows; negative ones count from the end.

    Raises:
        IndexError: there is no such row; with the number of rows, as `range` does not say it.
        TypeError: it is no number.
    """
    if not hasattr(row, "__index__"):
        raise TypeError(f"a row is a number or a slice, not {shown(row)}.")
    number = operator.index(row)
    if not -length <= number < length:
        raise IndexError(
            f"there is no {what} {number}; there {'is' if length == 1 else 'are'} {length}, "
            "numbered from 0."
        )
    return number % length


def require_directory_place(output: str | os.PathLike[str]) -> None:
    """Refuse, before the work, an output in which no file could be written.

    Raises:
        UsageError: it is a file, lies below one, or its directory may not be written.
    """
    path = Path(output).absolute()
    existing = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if not existing.is_dir():
        what = "is a file" if existing == path else f"lies below {str(existing)!r}, a file"
        raise UsageError(
            f"--output {str(output)!r} {what}; name a directory, which may be one that is not "
            "there yet."
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(
            f"--output {str(output)!r}: {str(existing)!r} may not be written; name another place."
        )


def require_file_place(output: str | os.PathLike[str]) -> None:
    """The same for an output that is a file; one that is there will be replaced.

    Raises:
        UsageError: it is a directory, or could not be written.
    """
    if Path(output).is_dir():
        raise UsageError(f"--output {str(output)!r} is a directory; name a file.")
    require_directory_place(Path(output).absolute().parent)
