"""`holotype watch`: has anything changed, and which logged images should a person label?"""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from holotype.cli.options import AsJson, Needs, Several
from holotype.cli.output import (
    print_found,
    print_json,
    print_message,
    print_next_command,
    print_result,
)
from holotype.progress import to_stderr
from holotype.registry.registered_name import is_registered_name, parse_registered_name
from holotype.text_tables import text_table
from holotype.watching.labelling.label_next import HEADER
from holotype.watching.labelling.label_next import label_next as choose_images
from holotype.watching.labelling.label_sheet import LABELS
from holotype.watching.log_windows import GroupBy
from holotype.watching.telling.messages import Telling
from holotype.watching.watch import WatchOptions
from holotype.watching.watch import watch as look
from holotype.watching.watch_result import Watch

SHOWN_ROWS = 20
WINDOWS, TELLING = "Windows and limits", "Who is told"
OF_EMAIL = Needs("email", "--email")


def watch(
    model: str,
    /,
    *,
    log: Path,
    output: Path | None = None,
    every: str | None = None,
    window: Annotated[str, Parameter(group=WINDOWS)] = "200",
    since: Annotated[str | None, Parameter(group=WINDOWS)] = None,
    group_by: Annotated[GroupBy, Parameter(group=WINDOWS)] = "auto",
    max_errors: Annotated[float, Parameter(group=WINDOWS)] = 5.0,
    slow_ms: Annotated[float, Parameter(group=WINDOWS)] = 1000.0,
    webhook: Annotated[str | None, Parameter(group=TELLING)] = None,
    email: Annotated[str | None, Parameter(group=TELLING)] = None,
    smtp: Annotated[str, Parameter(group=TELLING), OF_EMAIL] = "localhost",
    email_from: Annotated[str | None, Parameter(group=TELLING), OF_EMAIL] = None,
    quiet_hours: Annotated[float, Parameter(group=TELLING)] = 24.0,
    as_json: AsJson = False,
) -> int:
    """The request log is held against the validation images; the exit code is 1 on an alarm.

    Called again, it goes on where it was. In a year in which nothing changes, the chance of any
    false alarm is at most 5 %, if images of different request keys are independent.

    Args:
        model: registry://NAME@ALIAS, which is followed when it moves, a run or a bundle.
        log: The folder of `holotype serve --log`.
        output: Where report, watch.json and state are; watch-NAME by default.
        every: Look again after this time, such as 1h, until interrupted; once by default.
        window: Images, such as 200, or a time, such as 1d.
        since: When the first window begins, such as 2026-11-26; with the log by default.
        group_by: What is not independent: images of one request key, or else of one request
            (auto), of one request, key or client; or none.
        max_errors: Percentage of images that may be refused.
        slow_ms: At most 5 % of answers may take longer.
        webhook: A URL that gets a JSON object by POST.
        email: An address that gets a message.
        smtp: HOST, HOST:PORT or USER@HOST:PORT; the password in HOLOTYPE_SMTP_PASSWORD.
        email_from: The sender; the receiver by default.
        quiet_hours: An alarm that lasts is told again after so long; 0 for never.
    """

    def show(found: Watch) -> None:
        print_found(found, as_json=as_json)
        if not as_json:
            print_message(f"Report: {found.page}")

    found = look(
        model, log=log, output=output, every=every,
        options=WatchOptions(window, since, group_by, max_errors, slow_ms),
        telling=Telling(webhook, email, smtp, email_from, quiet_hours),
        on_look=show, progress=to_stderr(),
    )  # fmt: skip
    return 1 if found.alarm or found.ended or found.not_told else 0


def label_next(
    champion: str,
    /,
    *,
    log: Path,
    budget: int = 50,
    random_share: float = 0.3,
    days: float = 30.0,
    labelled: Annotated[tuple[Path, ...], Several] = (),
    output: Path = Path("to-label"),
    seed: int = 0,
    as_json: AsJson = False,
) -> int:
    """Choose logged images that are uncertain, novel and unlike each other, and some at random.

    The random ones never train: they tell the accuracy honestly.

    Args:
        champion: registry://NAME@champion, a run or a bundle, whose answers are looked at.
        log: The folder of the request log; only images that it keeps can be labelled.
        budget: How many images at most.
        random_share: Of them, drawn at random; from 0 to 1.
        days: How far back.
        labelled: Earlier folders; what has a label in one of them is not chosen.
        output: The folder that is written; it must be new.
        seed: Of what is drawn.
    """
    found = choose_images(
        champion, log=log, budget=budget, random_share=random_share, days=days,
        labelled=labelled, output=output, seed=seed, progress=to_stderr(),
    )  # fmt: skip
    if as_json:
        print_json(found.to_json())
        return 0
    print_result(found.title)
    print_result(text_table(HEADER, found.table(), max_rows=SHOWN_ROWS))
    for note in found.notes:
        print_message(note)
    print_message(f"Fill the column label of {output / LABELS}, or send feedback to the server.")
    print_next_command("holotype", "retrain", _name_to_retrain(champion), "--with", output)
    return 0


def _name_to_retrain(classifier: str) -> str:
    """What `retrain` takes: the name without an alias; NAME of what is not registered."""
    name = parse_registered_name(classifier).name if is_registered_name(classifier) else "NAME"
    return f"registry://{name}"


app = App(
    name="watch",
    help="Say when the images of a request log are no longer those of the validation.",
    help_epilogue="Example:\n  holotype watch registry://cells@champion --log log",
)
app.default(watch)
app.command(
    label_next,
    help_epilogue="Example:\n  holotype watch label-next registry://cells@champion --log log",
)
