"""What of images is not used, and which images are refused, in a bounded number of lines."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from holotype.imaging.truncated_images import CUT_OFF
from holotype.progress import pluralize

_NAMED = 3  # images in a line
_MOST_LINES = 20


class Refusal(Protocol):
    """An `ImageError`, or what an audit or an index keeps of it."""

    @property
    def file(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def advice(self) -> str: ...


def refusal_notes(word: str, refusals: Iterable[Refusal]) -> list[str]:
    """A line for each refused image; of more than twenty, one for each reason, and no more than 20.

    Args:
        word: what they are called, such as `left out`.
    """
    every = list(refusals)
    if len(every) <= _MOST_LINES:
        return [f"{word}: {quoted(one.file)}: {one.reason}; {one.advice}" for one in every]
    by_reason: dict[tuple[str, str], list[str]] = {}
    for one in every:
        by_reason.setdefault((one.reason, one.advice), []).append(one.file)
    lines = [
        f"{word}: {pluralize(len(names), 'image')}: {reason}; {advice}: {_first_of(names)}"
        for (reason, advice), names in by_reason.items()
    ]
    rest = sum(len(names) for names in list(by_reason.values())[_MOST_LINES:])
    if rest:
        lines[_MOST_LINES:] = [f"{word}: {pluralize(rest, 'image')} more, for other reasons."]
    return lines


def quoted(name: str) -> str:
    """A name for a message: control characters are escaped, and what is escaped already stays."""
    return repr(name).replace("\\\\", "\\")


def _first_of(names: Sequence[str], quote: Callable[[str], str] = quoted) -> str:
    more = ["…"] if len(names) > _NAMED else []
    return ", ".join([*map(quote, names[:_NAMED]), *more])


def warning_notes(warnings: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Such as ``8 images: the file holds several frames or pages; …: 'a/0.tif', 'a/1.tif', …``.

    Args:
        warnings: name of an image -> its warnings, see `Image.warnings`.
    """
    by_kind: dict[str, list[str]] = {}
    for name, of_image in warnings.items():
        for warning in of_image:
            by_kind.setdefault(warning, []).append(name)
    return [
        f"warning: {pluralize(len(names), 'image')}: {warning}: {_first_of(names, repr)}"
        for warning, names in by_kind.items()
    ]


def warnings_as_json(warnings: Mapping[str, tuple[str, ...]]) -> list[dict[str, str]]:
    """One object for each warning: its `file`, and the `warning`."""
    return [
        {"file": name, "warning": warning}
        for name, of_image in warnings.items()
        for warning in of_image
    ]


def truncated_images(warnings: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The files that are cut off and were read as far as they go, in their order."""
    return [name for name, of_image in warnings.items() if CUT_OFF in of_image]


def truncated_note(warnings: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A sentence that counts and names them; none where there are none."""
    names = truncated_images(warnings)
    if not names:
        return []
    are = "is" if len(names) == 1 else "are"
    return [
        f"{pluralize(len(names), 'image')} {are} cut off or damaged, tolerated, and read as far as "
        f"it goes, what is missing blank: {_first_of(names)}."
    ]
