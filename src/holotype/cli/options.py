"""Options that several commands share, each described once."""

from typing import Annotated, Literal

from cyclopts import Parameter

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
        help="A regular expression that finds the specimen, patient, … in a file's path, "
        "such as '(?P<group>turtle_[0-9]+)'; a group stays on one side of the split."
    ),
]

Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    Parameter(help="Where to train; auto takes a GPU if there is one."),
]
