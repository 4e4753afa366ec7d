"""Options that several commands share, each described once."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from holotype.errors import UsageError

RATIOS = "--ratios"

# The headings under which `--help` lists the options of long commands.
READING = Group("Reading the data", sort_key=1)
SPLIT = Group("Split", sort_key=2)
RECIPE = Group("Recipe", sort_key=3)
RESOURCES = Group("Resources", sort_key=4)
RESUMING = Group("Resuming", sort_key=5)
SEARCH = Group("Search", sort_key=2)

Several = Parameter(consume_multiple=True, show_default=False)  # words after one flag
Switch = Annotated[bool, Parameter(show_default=False)]
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
        group=READING,
        help="A regular expression that finds the label in a file's name, "
        r"such as '(?P<label>[a-z]+)\.\d+'; or, for a table, column:NAME.",
    ),
]

GroupPattern = Annotated[
    str | None,
    Parameter(
        group=READING,
        help="Where the specimen, patient, … is read from: a regular expression on a file's path, "
        "such as '(?P<group>turtle_[0-9]+)'; parent-folder; or, for a table, column:NAME. "
        "A group stays on one side of the split. column:NAME@DATE names a column of dates too: a "
        "group on one day is an encounter, earlier ones train and later ones are tested on.",
    ),
]

LabelPrefix = Annotated[
    bool,
    Parameter(
        group=READING,
        show_default=False,
        help="Of several sources: put the source's name before each label, instead of taking "
        "equal labels for one class.",
    ),
]

Unseen = Annotated[
    float | None,
    Parameter(
        group=SPLIT,
        show_default=False,
        help="The share of the classes that is held out whole: individuals never seen in training.",
    ),
]

OnLeak = Annotated[
    Literal["refuse", "repair", "keep"],
    Parameter(
        group=SPLIT,
        help="What becomes of groups and copies that stand on both sides of a split that came "
        "with the data: repair moves them to train.",
    ),
]

Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    Parameter(group=RESOURCES, help="Where the network runs; auto takes a GPU if there is one."),
]


def _ratios(_: object, tokens: Sequence[Token]) -> tuple[float, ...]:
    words = [word for token in tokens for word in token.value.split(",")]
    if len(words) not in (3, 4) or not all(map(_is_number, words)):
        raise ValueError(
            f"expected three numbers for train, val and test, such as {RATIOS} 0.7 0.15 0.15, or "
            f"four, the last for cal, such as {RATIOS} 0.6 0.15 0.15 0.1; got {' '.join(words)}."
        )
    return tuple(float(word) for word in words)


Ratios = Annotated[
    tuple[float, ...] | None,
    Parameter(
        group=SPLIT,
        name=RATIOS,
        n_tokens=1,
        accepts_keys=False,
        converter=_ratios,
        help="Shares of train, validation and test; they sum to 1 (0.7 0.15 0.15). A fourth, "
        "cal, is held back as calibration set for prediction sets (0.6 0.15 0.15 0.1).",
    ),
]

On = Annotated[
    str,
    Parameter(
        group=RESOURCES,
        help="Where: local; or ray, ray://HOST:PORT or slurm, in shards that lie beside --output.",
    ),
]

Jobs = Annotated[int, Parameter(group=RESOURCES, help="Shards at once.")]

Settings = Annotated[
    tuple[str, ...],
    Parameter(
        group=RECIPE,
        name="--set",
        show_default=False,
        help="KEY=VALUE: any field of the recipe, such as stages.1.epochs=3; or several.",
    ),
]


@dataclass(frozen=True)
class Needs:
    """Stands in the annotation of an option that would say nothing without another one.

    Attributes:
        parameter: that of the function that has to be given too.
        words: how that is typed.
        value: what it has to be, or to hold; None for anything.
    """

    parameter: str
    words: str
    value: str | None = None

    def is_met(self, given: Mapping[str, Any]) -> bool:
        found = given.get(self.parameter)
        return bool(found) if self.value is None else self.value in (found or ())


def refuse_idle_options(command: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse what would be ignored: an option without the one that it belongs to.

    Args:
        given: the parameters of the command that were typed, and their values.

    Raises:
        UsageError: there is such an option.
    """
    parameters = inspect.signature(command).parameters
    for name, value in given.items():
        said_beside = getattr(parameters[name].annotation, "__metadata__", ())
        parsers = [one for one in said_beside if isinstance(one, Parameter)]
        names = [option for parser in parsers for option in parser.name or ()]
        option = names[0] if names else f"--{name.replace('_', '-')}"
        for needs in said_beside:
            if isinstance(needs, Needs) and value is not False and not needs.is_met(given):
                raise UsageError(
                    f"{option} says nothing without {needs.words}; add that, or leave {option} out."
                )


def ratios_as_one_word(arguments: Sequence[str]) -> list[str]:
    """`--ratios 0.6 0.2 0.2` becomes `--ratios=0.6,0.2,0.2`.

    Three numbers or four may follow, and data after them: the parser only knows options of a fixed
    number of words, or of all that come.
    """
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*words, word, *rest]
        numbers: list[str] = []
        while word == RATIOS and rest and _is_number(rest[0]):
            numbers.append(rest.pop(0))
        words.append(f"{word}={','.join(numbers)}" if numbers else word)
    return words


def one_value_a_flag(arguments: Sequence[str]) -> list[str]:
    """`--set a=1 b=2` becomes `--set a=1 --set b=2`.

    These take the words that follow only as long as they look like a value: the data may come next.
    """
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        words.append(word)
        if word == "--":
            return [*words, *rest]
        if word in _FLAGS_OF_VALUES and rest:
            words.append(rest.pop(0))  # its value, whatever that looks like
            while rest and _is_value_of(word, rest[0]):
                words += [word, rest.pop(0)]
    return words


_FLAGS_OF_VALUES = ("--set", "--attribute", "--track")
_TRACKERS = ("mlflow", "tensorboard")


def _is_value_of(flag: str, word: str) -> bool:
    if flag == "--track" and word in _TRACKERS:
        return True
    return "=" in word and not word.startswith("-")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
