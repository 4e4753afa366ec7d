"""Pillow's Python warnings are silent while any thread decodes.

`warnings.catch_warnings` restores the filters that it found, which undoes those of another thread,
and makes Python forget which warnings it has shown already; so one filter is counted in and out of
the list.
"""

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

_SILENCE: Any = ("ignore", None, Warning, re.compile(r"PIL\."), 0)  # an entry of warnings.filters
_lock = threading.Lock()
_decodes_running = 0


@contextmanager
def pillow_warnings_ignored() -> Iterator[None]:
    """Silence warnings of Pillow's modules until the last thread leaves."""
    global _decodes_running
    with _lock:
        if _decodes_running == 0:
            cast("list[Any]", warnings.filters).insert(0, _SILENCE)
        _decodes_running += 1
    try:
        yield
    finally:
        with _lock:
            _decodes_running -= 1
            if _decodes_running == 0:
                with suppress(ValueError):  # someone replaced all filters meanwhile
                    cast("list[Any]", warnings.filters).remove(_SILENCE)
