"""`holotype watch`: has anything changed since the classifier was made?"""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from holotype.cli.label_next import label
from holotype.cli.options import AsJson
from holotype.cli.output import print_json, print_message, print_result
from holotype.progress import Progress
from holotype.watching.log_windows import GroupBy
from holotype.watching.telling.messages import Telling
from holotype.watching.watch import WatchOptions
from holotype.watching.watch import watch as look
from holotype.watching.watch_result import Watch

WINDOWS, TELLING = "Windows and limits", "Who is told"


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
    smtp: Annotated[str, Parameter(group=TELLING)] = "localhost",
    email_from: Annotated[str | None, Parameter(group=TELLING)] = None,
    quiet_hours: Annotated[float, Parameter(group=TELLING)] = 24.0,
    as_json: AsJson = False,
) -> int:
    """The request log is held against the validation images; the exit code is 1 on an alarm.

    Called again, it goes on where it was. The chance that any false alarm is raised in a year in
    which nothing changes is at most 5 %.

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
        if as_json:
            print_json(found.to_json())
        else:
            print_result(str(found))
            print_message(f"Report: {found.page}")

    found = look(
        model, log=log, output=output, every=every,
        options=WatchOptions(window, since, group_by, max_errors, slow_ms),
        telling=Telling(webhook, email, smtp, email_from, quiet_hours),
        on_look=show, progress=Progress(sys.stderr),
    )  # fmt: skip
    return 1 if found.alarm or found.not_told else 0


app = App(
    name="watch",
    help="Say when the images of a request log are no longer those of the validation.",
    help_epilogue="Example:\n  holotype watch registry://cells@champion --log log",
)
app.default(watch)
app.command(
    label,
    help_epilogue="Example:\n  holotype watch label registry://cells@champion --log log",
)
