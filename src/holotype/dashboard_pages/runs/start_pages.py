"""Start a training from a form that writes the very command line."""

from collections import deque

from fastapi import Request
from starlette.responses import Response

from holotype.architectures.catalog import DEFAULT_MODEL
from holotype.dashboard_pages.addresses import query_string
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.page import page_router, posted_form, redirect, render
from holotype.dashboard_pages.runs.run_places import folder_index_of
from holotype.dashboard_pages.runs.start_command import (
    FIELDS,
    StartedTraining,
    command_line,
    output_of,
    start_training,
    train_words,
)
from holotype.dashboard_pages.visitors import MayLook, MayPromote
from holotype.errors import HolotypeError, UsageError
from holotype.training.config.resolve import recipe_names

MAX_STARTED = 50  # that are remembered

router = page_router("runs")


@router.get("/start")
def show_start(request: Request, visitor: MayLook) -> Response:
    """The form; with fields in the address, the command that they make.

    Whoever may not start it is not told which paths there are on this machine either.
    """
    fields = {name: request.query_params.get(name, "") for name in FIELDS}
    command, error = "", ""
    if fields["data"].strip() and visitor.may("promote"):
        try:
            folder = dashboard_of(request).folder.resolve()  # as `start` names it
            command = command_line(train_words(fields, folder))
        except HolotypeError as failure:
            error = str(failure)
    return render(
        request, "runs/start.html.j2", fields=fields, command=command, error=error,
        recipes=recipe_names(), default_model=DEFAULT_MODEL, num_started=len(_started(request)),
    )  # fmt: skip


@router.get("/started")
def show_started(request: Request, visitor: MayLook) -> Response:
    """The trainings that were started from the form since this server began."""
    folder = dashboard_of(request).folder.resolve()
    started = list(reversed(_started(request)))
    return render(
        request, "runs/started.html.j2", started=started,
        is_moving=any(one.exit_code is None and not one.has_begun for one in started),
        address=lambda one: query_string({"run": one.run.relative_to(folder).as_posix()}),
    )  # fmt: skip


@router.post("/start")
def start(request: Request, visitor: MayPromote) -> Response:
    """Start the command that was shown, and no other."""
    form, folder = posted_form(request), dashboard_of(request).folder.resolve()
    words = train_words({name: form.get(name) for name in FIELDS}, folder)
    if command_line(words) != form.get("command"):
        raise UsageError(
            "The command would be another one than was shown, since the folder has changed "
            f"meanwhile: {command_line(words)} Go back, look at it, and start it again."
        )
    _started(request).append(start_training(words, output_of(words)))
    folder_index_of(request).entries(now=True)
    return redirect(request, "runs/started")


def _started(request: Request) -> "deque[StartedTraining]":
    found: deque[StartedTraining]
    found = dashboard_of(request).kept.setdefault("started", deque(maxlen=MAX_STARTED))
    return found
