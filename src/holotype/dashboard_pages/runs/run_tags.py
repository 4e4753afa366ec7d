"""Tags: words that people give a run, in a small file in it."""

import json
from collections.abc import Iterable
from pathlib import Path

from holotype.errors import UsageError
from holotype.files import write_text

TAGS = "tags.json"
MAX_TAGS = 20
MAX_CHARACTERS = 40


def read_tags(directory: Path) -> tuple[str, ...]:
    """The tags of a run, sorted; none where the file is missing or is something else."""
    try:
        found = json.loads((directory / TAGS).read_bytes())
    except (OSError, ValueError, RecursionError):
        return ()
    if not isinstance(found, list) or not all(isinstance(tag, str) for tag in found):
        return ()
    return tuple(sorted(set(found))[:MAX_TAGS])


def write_tags(directory: Path, tags: Iterable[str]) -> tuple[str, ...]:
    """Replace the tags of a run.

    Args:
        tags: blanks around them and empty ones do not count.

    Raises:
        UsageError: one is too long, or there are too many.
    """
    kept = sorted({" ".join(tag.split()) for tag in tags} - {""})
    too_long = [tag for tag in kept if len(tag) > MAX_CHARACTERS]
    if too_long or len(kept) > MAX_TAGS:
        raise UsageError(
            f"expected at most {MAX_TAGS} tags of at most {MAX_CHARACTERS} characters, and got "
            + (f"{too_long[0][:60]!r}." if too_long else f"{len(kept)} tags.")
        )
    write_text(directory / TAGS, json.dumps(kept, ensure_ascii=False) + "\n")
    return tuple(kept)
