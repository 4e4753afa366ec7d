"""Bearer keys: made, stored as hashes, compared in constant time, each with a rate and rights.

    {"keys": [{"name": "lab", "sha256": "…", "requests_per_second": 20.0, "rights": ["look"]}]}

Every key may ask the API. `rights` are what it opens in the dashboard: nothing where it has none,
as in files that were written before there were rights.

A key is 256 random bits, so a plain hash of it cannot be guessed back. The file is read again when
it changes: a key that is removed from it stops to work within a second.
"""

import hashlib
import hmac
import json
import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from holotype.errors import HolotypeError, UsageError, require_one_of
from holotype.files import atomic_write

PREFIX = "holotype_"
CHECK_AFTER_S = 1.0
BURST_S = 2.0  # of its rate that a key may use at once

Right = Literal["look", "review", "promote"]
RIGHTS: tuple[Right, ...] = get_args(Right)  # each of the others has `look` in it


class InvalidKeys(HolotypeError):
    """A file of keys that cannot be read."""


@dataclass(frozen=True)
class Key:
    """One key, as it is stored.

    Attributes:
        name: what it is for.
        sha256: of the key, hexadecimal.
        requests_per_second: how often it may be used.
        rights: what it opens in the dashboard.
    """

    name: str
    sha256: str
    requests_per_second: float
    rights: tuple[Right, ...] = ()


def add_key(
    file: Path, name: str, requests_per_second: float = 20.0, rights: Sequence[str] = ()
) -> str:
    """Make a key, and write its hash into the file.

    Args:
        rights: of `RIGHTS`; `review` and `promote` bring `look`.

    Returns:
        The key. It is not stored: whoever loses it needs another one.

    Raises:
        UsageError: the name is taken, the rate is not above 0, or a right is unknown.
        InvalidKeys: the file holds something else.
    """
    if not (math.isfinite(requests_per_second) and requests_per_second > 0):
        raise UsageError(f"--rate is {requests_per_second:g}; expected requests a second, above 0.")
    for right in rights:
        require_one_of("rights", right, RIGHTS)
    keys = read_keys(file) if file.exists() else []
    if any(key.name == name for key in keys):
        raise UsageError(f"{file} has a key called {name!r} already; remove it, or take another.")
    key = PREFIX + secrets.token_urlsafe(32)
    given = {*rights, *(["look"] if rights else [])}
    ordered = tuple(right for right in RIGHTS if right in given)
    _write(file, [*keys, Key(name, _hash(key), requests_per_second, ordered)])
    return key


def remove_key(file: Path, name: str) -> None:
    """Remove a key; a running server refuses it within a second.

    Raises:
        UsageError: there is none of this name.
    """
    keys = read_keys(file)
    if all(key.name != name for key in keys):
        names = ", ".join(key.name for key in keys) or "none"
        raise UsageError(f"{file} has no key called {name!r}; it has: {names}.")
    _write(file, [key for key in keys if key.name != name])


def read_keys(file: Path) -> list[Key]:
    """The keys of a file.

    Raises:
        InvalidKeys: it cannot be read, or holds something else.
    """
    try:
        rows = json.loads(file.read_bytes())["keys"]
        return [
            Key(
                str(row["name"]), str(row["sha256"]), float(row["requests_per_second"]),
                tuple(right for right in RIGHTS if right in row.get("rights", ())),
            )
            for row in rows
        ]  # fmt: skip
    except OSError as error:
        raise InvalidKeys(f"{file} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidKeys(
            f"{file} holds no keys; make one with `holotype serve keys add NAME --keys {file}`."
        ) from error


def _write(file: Path, keys: list[Key]) -> None:
    text = json.dumps({"keys": [asdict(key) for key in keys]}, indent=2) + "\n"
    with atomic_write(file) as temporary:
        temporary.chmod(0o600)
        temporary.write_text(text, "utf-8")


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


class Keys:
    """The keys that a server accepts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._keys = read_keys(file)
        self._modified = file.stat().st_mtime_ns
        self._checked = time.monotonic()
        self._tokens: dict[str, tuple[float, float]] = {}  # name -> what is left, and since when

    def find(self, presented: str) -> Key | None:
        """The key that was presented; all are compared, so that the time tells nothing."""
        self._reload()
        sha256, found = _hash(presented), None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, sha256):
                found = key
        return found

    def of_hash(self, sha256: str) -> Key | None:
        """The key that a session was opened with, if it is still there."""
        self._reload()
        return next((key for key in self._keys if key.sha256 == sha256), None)

    def wait_s(self, key: Key) -> int:
        """Take one request from the rate of a key: 0, or the seconds until there is one."""
        now, most = time.monotonic(), max(1.0, BURST_S * key.requests_per_second)
        left, since = self._tokens.get(key.name, (most, now))
        left = min(most, left + (now - since) * key.requests_per_second)
        if left < 1:
            self._tokens[key.name] = (left, now)
            return math.ceil((1 - left) / key.requests_per_second)
        self._tokens[key.name] = (left - 1, now)
        return 0

    def _reload(self) -> None:
        if time.monotonic() - self._checked < CHECK_AFTER_S:
            return
        self._checked = time.monotonic()
        try:
            modified = self._file.stat().st_mtime_ns
            if modified != self._modified:
                self._keys, self._modified = read_keys(self._file), modified
        except (OSError, InvalidKeys):  # a file that is gone or torn accepts nobody
            self._keys, self._modified = [], 0
