"""The pages of “In service”: what answers, what is registered, and moving the champion."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from fastapi import Request
from starlette.responses import Response

from holotype.dashboard_pages.addresses import directory_below, query_string, whole_number
from holotype.dashboard_pages.dashboard_state import dashboard_of
from holotype.dashboard_pages.file_cache import FileCache
from holotype.dashboard_pages.in_service.traffic_counts import counts_by_model
from holotype.dashboard_pages.open_registry import open_registry
from holotype.dashboard_pages.page import page_router, posted_form, redirect, render
from holotype.dashboard_pages.runs.run_places import folder_index_of
from holotype.dashboard_pages.visitors import MayLook, MayPromote, Visitor
from holotype.errors import HolotypeError, NotComparable, UsageError
from holotype.registry.promotion_test import compare_with_champion
from holotype.registry.registered_version import RegisteredModel
from holotype.registry.registry import Registry
from holotype.serving.traffic.status_text import status_text
from holotype.watching.telling.messages import naming, sentence
from holotype.watching.watch_status import WATCH_JSON, WatchStatus, read_watch

MAX_WATCHES, MAX_WINDOWS = 12, 30  # on a page
MAX_READ = 1000  # folders of watches, of which alarms are shown first

router = page_router("service")


@router.get("/")
def show_service(request: Request, visitor: MayLook) -> Response:
    """All models: what answers here, what is registered, and what watching found."""
    service = dashboard_of(request).service
    served = [service.traffic.status(name) for name in sorted(service.traffic.champions)]
    with open_registry() as (registry, why_none):
        models = [] if registry is None else list(registry.list().models)
    index = folder_index_of(request)
    places = index.places(WATCH_JSON)
    watches = _watches(request, places[:MAX_READ])
    return render(
        request,
        "in_service/service.html.j2",
        served=[{"status": one, "text": status_text(one)} for one in served],
        counts=counts_by_model(service.metrics),
        models=models,
        why_none=why_none,
        watches=watches[:MAX_WATCHES],
        num_more=len(watches[MAX_WATCHES:]) + len(places[MAX_READ:]),
        is_complete=index.is_complete,
    )


@router.get("/model")
def show_model(request: Request, visitor: MayLook, name: str) -> Response:
    """One registered name: its versions, its champion and its history."""
    with _needed_registry(visitor) as registry:
        model, history = _model(registry, name), registry.history(name)
    events = list(reversed(history.events))
    return render(request, "in_service/model.html.j2", model=model, events=events)


@router.get("/watch")
def show_watch(request: Request, visitor: MayLook) -> Response:
    """What `watch.json` of one folder says."""
    of = request.query_params.get("of", "")
    folder = directory_below(dashboard_of(request).folder, of)
    if folder is None or not (folder / WATCH_JSON).is_file():
        raise UsageError(f"{of!r} is no folder of `holotype watch` below that of this server.")
    status = read_watch(folder)
    return render(
        request, "in_service/watch.html.j2", of=of, watch=status, changes=status.changes,
        sentence=sentence(status), naming=naming(status),
        windows=list(reversed(status.windows))[:MAX_WINDOWS],
    )  # fmt: skip


@router.get("/promote")
def show_promotion(request: Request, visitor: MayPromote, name: str, version: int) -> Response:
    """The paired test of a version against the champion, before anything is moved."""
    with _needed_registry(visitor) as registry:
        champion = registry.current_version(name)
        candidate = registry.version(f"{name}/{version}")
        test, why_not = None, ""
        if champion is not None and champion != version:
            try:
                test = compare_with_champion(registry.version(f"{name}/{champion}"), candidate)
            except NotComparable as error:
                why_not = str(error)
    return render(
        request,
        "in_service/promote.html.j2",
        candidate=candidate,
        champion=champion,
        test=test,
        why_not=why_not,
    )


@router.post("/promote")
def promote(request: Request, visitor: MayPromote) -> Response:
    """Make a version the champion, unless another one is by now, or the test speaks against it."""
    form = posted_form(request)
    name, reason = form.get("name"), _reason(form.get("reason"))
    with _needed_registry(visitor) as registry:
        registry.promote(
            name,
            form.get("version"),
            if_champion=_number(form.get("champion")),
            force=form.get("force") == "yes",
            reason=reason,
        )
    return redirect(request, f"service/model?{query_string({'name': name})}")


@router.post("/rollback")
def roll_back(request: Request, visitor: MayPromote) -> Response:
    """Make the champion before this one the champion again."""
    form = posted_form(request)
    name, reason = form.get("name"), _reason(form.get("reason"))
    with _needed_registry(visitor) as registry:
        registry.rollback(name, if_champion=_number(form.get("champion")), reason=reason)
    return redirect(request, f"service/model?{query_string({'name': name})}")


def _reason(text: str) -> str:
    if not text.strip():
        raise UsageError("a reason is needed; the history keeps it.")
    return text.strip()


def _number(text: str) -> int:
    number = whole_number(text, otherwise=-1)
    if number < 0:
        raise UsageError("the form does not say which version is the champion; load it again.")
    return number


def _model(registry: Registry, name: str) -> RegisteredModel:
    found = registry.show(name)
    if not isinstance(found, RegisteredModel):
        raise UsageError(f"{name!r} is one version; expected the name of a classifier.")
    return found


@contextmanager
def _needed_registry(visitor: Visitor) -> Iterator[Registry]:
    """The registry, whose history names the key of the visitor."""
    with open_registry(visitor.name) as (registry, why_none):
        if registry is None:
            raise UsageError(why_none)
        yield registry


def _watches(request: Request, places: Sequence[str]) -> list[tuple[str, WatchStatus, str]]:
    """What folders of `holotype watch` say; alarms first."""
    dashboard = dashboard_of(request)
    kept: FileCache = dashboard.kept.setdefault("watches", FileCache(MAX_READ))
    found = []
    for place in places:
        folder = dashboard.folder / place
        with suppress(HolotypeError, OSError):  # damaged, or gone
            status = kept.get(place, [folder / WATCH_JSON], partial(read_watch, folder))
            found.append((place, status, naming(status)))
    return sorted(found, key=lambda one: not one[1].alarm)
