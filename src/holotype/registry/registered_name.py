"""Names of registered classifiers: `registry://cells@champion`, `registry://cells/7`."""

import os
import re
from dataclasses import dataclass

from holotype.errors import UsageError

CHAMPION = "champion"

# One slash too: pathlib makes `registry:/cells@champion` of it, and Windows turns slashes around.
_SCHEME = re.compile(r"registry:[\\/]{1,2}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_DIGITS = 9  # of the number of a version
_TARGET = re.compile(
    rf"(?P<name>[^@\\/]+)(?:@(?P<alias>[^@\\/]+)|[\\/](?P<version>[0-9]{{1,{MAX_DIGITS}}}))?"
)
EXPECTED = "registry://NAME@ALIAS, such as registry://cells@champion, or registry://NAME/7"


@dataclass(frozen=True)
class RegisteredName:
    """What a text names: all versions of a name, or one by its number or an alias.

    Attributes:
        name: of the classifier.
        version, alias: at most one of them is given.
    """

    name: str
    version: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}/{self.version}"
        return f"{self.name}@{self.alias}" if self.alias else self.name


def is_registered_name(text: str | os.PathLike[str]) -> bool:
    """Whether a run is named by `registry://…` instead of a path."""
    return _SCHEME.match(os.fspath(text)) is not None


def parse_registered_name(text: str | os.PathLike[str]) -> RegisteredName:
    """`cells`, `cells/7` or `cells@champion`, with or without `registry://`.

    Example:
        >>> parse_registered_name("registry://cells@champion")
        RegisteredName(name='cells', version=None, alias='champion')

    Raises:
        UsageError: it is none of these.
    """
    written = os.fspath(text)
    match = _TARGET.fullmatch(_SCHEME.sub("", written, count=1))
    if match is None:
        raise UsageError(f"{written!r} names no registered classifier; expected {EXPECTED}.")
    check_word("name", match["name"])
    if match["alias"] is not None:
        check_alias(match["alias"])
    version = None if match["version"] is None else int(match["version"])
    return RegisteredName(match["name"], version, match["alias"])


def check_word(what: str, word: str) -> None:
    """Refuse a name or an alias that could not stand in a path or on a command line.

    Raises:
        UsageError: it has other characters than letters, digits, dot, dash and underscore.
    """
    if not _WORD.fullmatch(word):
        raise UsageError(
            f"the {what} {word!r} cannot be registered: expected up to 64 letters of a-z, digits, "
            "'.', '-' or '_', the first a letter or digit."
        )


def check_alias(alias: str) -> None:
    """Refuse an alias that is no word, or that reads as the number of a version.

    Raises:
        UsageError: it is one of these.
    """
    check_word("alias", alias)
    if alias.isdigit():
        raise UsageError(f"the alias {alias!r} reads as the number of a version; add a letter.")


def registered_word(name: str) -> str:
    """A name of a classifier, which may be any text, as a name that can be registered."""
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:64]
    return word or "classifier"
