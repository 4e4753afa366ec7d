"""Options that several commands share, each described once."""

from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import Parameter

from holotype.errors import UsageError

AsJson = Annotated[
    bool,
    Parameter(
        name="--json",
        show_default=False,
        help="Print one JSON object on standard output, and nothing else there.",
    ),
]

LabelPattern = Annotated[
    str | None,
    Parameter(
        help="A regular expression that finds the label in a file's name, "
        r"such as '(?P<label>[a-z]+)\.\d+'."
    ),
]

GroupPattern = Annotated[
    str | None,
    Parameter(
        help="Where the specimen, patient, … is read from: a regular expression on a file's path, "
        "such as '(?P<group>turtle_[0-9]+)'; parent-folder; or, for a table, column:NAME. "
        "A group stays on one side of the split."
    ),
]

LabelPrefix = Annotated[
    bool,
    Parameter(
        show_default=False,
        help="Of several sources: put the source's name before each label, instead of taking "
        "equal labels for one class.",
    ),
]

OnLeak = Annotated[
    Literal["refuse", "repair", "keep"],
    Parameter(
        help="What becomes of groups and copies that stand on both sides of a split that came "
        "with the data: repair moves them to train."
    ),
]

Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    Parameter(help="Where to train; auto takes a GPU if there is one."),
]

Settings = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        show_default=False,
        help="KEY=VALUE: any field of the recipe, such as stages.1.epochs=3. Repeatable.",
    ),
]


def key_values(settings: Sequence[str]) -> dict[str, str]:
    """`("a.b=1",)` becomes `{"a.b": "1"}`."""
    for setting in settings:
        if "=" not in setting:
            raise UsageError(f"--set {setting!r} has no '='; expected KEY=VALUE, such as seed=1.")
    return {key.strip(): value for key, value in (s.split("=", 1) for s in settings)}
