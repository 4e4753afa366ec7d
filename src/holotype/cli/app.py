"""The command `holotype`: its table of verbs, and how errors end it.

A verb's module is imported only when the verb is used, so that `holotype --help` is quick.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from holotype import __version__
from holotype.arguments import COMMAND_LINE
from holotype.cli.options import one_value_a_flag, ratios_as_one_word, refuse_idle_options
from holotype.cli.output import print_message
from holotype.errors import DamagedCache, HolotypeError
from holotype.extras import with_install_advice
from holotype.files import cache_directory
from holotype.imaging.image_formats import IMAGE_EXTENSIONS
from holotype.progress import silence
from holotype.text_tables import LOOK_ALIKES
from holotype.training.process_group import is_first_process

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

FAILED, MISUSED, INTERRUPTED, PIPE_CLOSED = 1, 2, 130, 141

# verb, what it does, an example
VERBS = (
    (
        "audit",
        "Find broken, duplicate, mislabelled and leaking images in a data set; it is not changed.",
        "holotype audit photos --output audit",
    ),
    (
        "augment",
        "Draw images as the network will see them, with their labels where they are mixed.",
        "holotype augment photos --output sheet.png --set stages.1.views=8",
    ),
    (
        "split",
        "Write train, val and test folders for other tools; groups and copies stay whole.",
        "holotype split photos --output photos-split --link",
    ),
    (
        "train",
        "Train a classifier on labelled images, and write its report.",
        "holotype train photos --output runs/photos-1 --recipe linear",
    ),
    (
        "tune",
        "Search for a better recipe on validation; called again it goes on.",
        "holotype tune photos --trials 30 --jobs 2 --output runs/photos-search",
    ),
    (
        "sweep",
        "Train models, data sets, recipes and seeds, each with each; called again it goes on.",
        "holotype sweep --data pets plants --recipe linear finetune --jobs 2",
    ),
    (
        "evaluate",
        "Evaluate a trained classifier on other labelled images.",
        "holotype evaluate runs/photos-1 new-photos --output new-report",
    ),
    (
        "compare",
        "Compare runs by paired tests, and select the one to ship.",
        "holotype compare runs --select best",
    ),
    (
        "predict",
        "Classify images.",
        "holotype predict runs/photos-1 image.jpg folder --output answers.csv",
    ),
    (
        "ensemble",
        "Make one classifier of several runs, and report whether it beats the best of them.",
        "holotype ensemble runs/a runs/b@frozen --output runs/both",
    ),
    (
        "explain",
        "Draw which parts of an image support a class.",
        "holotype explain runs/photos-1 image.jpg --output why.png",
    ),
    (
        "export",
        "Write a classifier in the formats of other programs, each proved on real images.",
        "holotype export runs/photos-1 --format onnx openvino --output exported",
    ),
    (
        "models",
        "List the architectures, and where their pretrained weights would come from.",
        "holotype models",
    ),
    (
        "fetch",
        "Write a sample set, or download a data set and unpack it safely.",
        "holotype fetch synthetic --classes 4 --images 400 --output shapes",
    ),
    (
        "slice",
        "Cut 3-D images into slices, with a table of the specimen of each.",
        "holotype slice volumes --output slices --axes x,y,z",
    ),
    (
        "registry",
        "Versions of classifiers, which is the champion, and every change to that.",
        "holotype registry add runs/cells-1 --name cells",
    ),
    (
        "track",
        "Send a finished run to MLflow or TensorBoard, once.",
        "holotype track runs/photos-1 --to mlflow=http://127.0.0.1:5000",
    ),
    (
        "clean",
        "Remove runs, trials, caches and leftovers that nothing refers to.",
        "holotype clean runs --failed --keep 3 --cache 20G",
    ),
    (
        "serve",
        "Answer HTTP requests with classifiers, on this machine.",
        "holotype serve runs/photos-1 --port 8000",
    ),
    (
        "retrain",
        "Train a successor of the champion on new labels, and promote it if it has proved itself.",
        "holotype retrain registry://cells --with to-label --promote",
    ),
    (
        "dashboard",
        "Open pages in a browser: try classifiers, look at runs and data, promote versions.",
        "holotype dashboard",
    ),
    (
        "identify",
        "Tell individuals apart: known ones by a gallery, and new ones as new.",
        "holotype identify query gallery image.jpg",
    ),
    (
        "watch",
        "Say when the images of a request log are no longer those of the validation.",
        "holotype watch registry://cells@champion --log log",
    ),
    (
        "doctor",
        "Check the installation, and print the line that repairs each fault.",
        "holotype doctor",
    ),
    (
        "demo",
        "Train on real images of solar cells, and compare with published figures.",
        "holotype demo",
    ),
)

# Verbs with commands of their own: their module has an App called `app`, with the verb's example.
APPS = ("identify", "registry", "serve", "watch")


def build_app() -> App:
    """The parser, with every verb still unimported."""
    app = App(
        name="holotype",
        help="Turns a folder of labelled images into a classifier you can trust and ship.",
        help_epilogue="First steps:\n"
        "  holotype fetch synthetic-cats-dogs --output pets\n"
        "  holotype audit pets --output audit\n"
        "  holotype train pets --recipe linear",
        version=__version__,
        help_format="plaintext",
        help_formatter=_HelpFormatter(),
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    for position, (verb, summary, example) in enumerate(VERBS):
        if verb in APPS:
            app.command(f"holotype.cli.{verb}:app", name=verb, help=summary, sort_key=position)
            continue
        app.command(
            f"holotype.cli.{verb}:{verb}",
            name=verb,
            help=summary,
            help_epilogue=f"Example:\n  {example}",
            sort_key=position,
        )
    return app


class _HelpFormatter:
    """`--help` whose sentences are broken by the terminal, not where lines of docstrings end."""

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: Any) -> None:
        from cyclopts.help import DefaultFormatter
        from rich.text import Text

        for entry in panel.entries:
            text = getattr(entry.description, "primary_renderable", None)
            if isinstance(text, Text):
                entry.description.primary_renderable = Text(_one_line(text.plain))
        DefaultFormatter()(console, options, panel)

    def render_usage(self, console: "Console", options: "ConsoleOptions", usage: Any) -> None:
        from cyclopts.help import DefaultFormatter

        DefaultFormatter().render_usage(console, options, usage)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an error is one line, not a traceback."""
    if "" in arguments:
        return _fail("an argument is empty; is a variable of the shell not set?", MISUSED)
    if half := [word for word in arguments if not _is_encodable(word)]:
        return _fail(f"{half[0]!r} holds half a character; was it cut off by a script?", MISUSED)
    called_by_us = COMMAND_LINE.set(True)
    try:
        return _run_command(arguments)
    except CycloptsError as error:
        verb = " ".join(error.command_chain or ())
        asked = f"holotype {verb}".strip()
        said = f"{_in_plain_words(error)}{_dash_note(arguments)} See `{asked} --help`."
        return _fail(said, MISUSED)
    except HolotypeError as error:
        return _fail(f"{error}{_dash_note(arguments)}", error.exit_code)
    except KeyboardInterrupt as stopped:
        return _fail(str(stopped) or "interrupted.", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone, such as `head`: the flush at exit must not complain.
        silence(sys.stdout)
        return PIPE_CLOSED
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        return _fail(_in_words(error), FAILED)
    finally:
        COMMAND_LINE.reset(called_by_us)


@with_install_advice
def _run_command(arguments: Sequence[str]) -> int:
    command, given, _ = build_app().parse_args(ratios_as_one_word(one_value_a_flag(arguments)))
    refuse_idle_options(command, given.arguments)
    code = command(*given.args, **given.kwargs)
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _in_plain_words(error: CycloptsError) -> str:
    """What is wrong with a command line; words that nothing takes are no tokens to its writer."""
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        words = ", ".join(map(repr, error.unused_tokens))
        return f"nothing takes {words}."
    return _one_line(str(error))


def _is_encodable(word: str) -> bool:
    """Whether a file may have this name; bytes that are no Unicode may stand in it."""
    try:
        os.fsencode(word)
    except UnicodeEncodeError:
        return False
    return True


def main() -> None:
    """The console script."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # File names may hold bytes that no encoding knows, and Windows pipes know no rules.
            stream.reconfigure(errors=LOOK_ALIKES)
    if not is_first_process():  # of several that train together; the first one speaks for all
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - until the end
    sys.excepthook = _report_a_bug
    warnings.showwarning = _show_warning
    # The list of fonts that matplotlib writes; else it would be in the user's home.
    os.environ.setdefault("MPLCONFIGDIR", str(cache_directory() / "matplotlib"))
    sys.exit(run(sys.argv[1:]))


def _open_closed_streams() -> None:
    """Let what is written to a stream that the caller closed go nowhere.

    Else its number would be given to the next file that is opened, and printed into.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
            setattr(sys, name, open(number, "w" if number else "r"))  # noqa: SIM115


def _in_words(error: OSError) -> str:
    """Which file, and what the system says of it; standard output has no name."""
    try:
        sys.stdout.flush()
    except OSError:
        silence(sys.stdout)  # the flush at exit would fail again
    where = f"{str(error.filename)!r}: " if error.filename is not None else ""
    return f"{where}{error.strerror or error}."


def _dash_note(arguments: Sequence[str]) -> str:
    """What may be wrong with words that begin with a dash of typography, or are names of files."""
    for word in arguments:
        if word == "--":
            break
        if word.startswith("-") and (_is_image_name(word) or os.path.lexists(word)):
            return f" A file that begins with a dash is written {f'./{word}'!r}, or after --."
        if word.startswith(("\N{EN DASH}", "\N{EM DASH}")):
            return f" {word!r} begins with a dash, {word[0]!r}: type -- for an option."
    return ""


def _is_image_name(word: str) -> bool:
    return Path(word).suffix.lower() in IMAGE_EXTENSIONS


def _fail(message: str, code: int) -> int:
    print_message(f"error: {_one_line(message)}")
    return code


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning of ours as one line; others with the place that they come from, as Python does."""
    if issubclass(category, DamagedCache):
        print_message(f"warning: {message}")
    else:
        print_message(warnings.formatwarning(message, category, filename, lineno, line).rstrip())


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _report_a_bug(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    traceback.print_exception(kind, error, trace, file=sys.__stderr__)
    print_message(
        f"error: Holotype {__version__} met what it did not expect: {kind.__name__}. "
        "This is a bug in Holotype, not in what you did; please report it with the lines above."
    )
