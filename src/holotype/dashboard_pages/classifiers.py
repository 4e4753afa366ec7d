"""Which classifiers can be tried: those in service, registered ones, and runs below the folder.

They are opened in the worker processes of the server, a few at a time, and asked there; images are
decoded there too, also where no classifier is asked.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request

from holotype.bundle.bundle import MANIFEST
from holotype.bundle.image_sources import ImageFile
from holotype.dashboard_pages.addresses import directory_below
from holotype.dashboard_pages.dashboard_state import Dashboard, dashboard_of
from holotype.dashboard_pages.open_registry import open_registry
from holotype.dashboard_pages.runs.run_places import folder_index_of
from holotype.errors import ImageError, UsageError
from holotype.files import sha256_of
from holotype.registry.registered_name import is_registered_name
from holotype.registry.resolve_registered import registered_path
from holotype.run_directory import RunDirectory
from holotype.serving.deployment import ModelVersion, model_version
from holotype.serving.engine.job import EngineError, ImageRefused, Job, JobAnswer, QueueFull, Task
from holotype.serving.engine.worker_pool import WorkerPool

MAX_OPEN = 6  # besides those in service
MAX_SHOWN = 200  # of the runs, the newest
SERVED = "served:"
TOGETHER = 16  # images that wait in the queue for one page, so that there is room for others
WAIT_S = 60.0  # a map of the first image may come after many predictions
PAUSE_S = 0.1  # before a full queue is asked again

Found = JobAnswer | EngineError


@dataclass(frozen=True)
class ClassifierChoice:
    """One entry of a list.

    Attributes:
        id: `served:NAME`, `registry://NAME@ALIAS`, or the path of a run below the folder.
        kind: where it comes from, in words.
    """

    id: str
    label: str
    kind: str


@dataclass(frozen=True, eq=False)
class OpenedClassifier:
    """A classifier that the workers have open.

    Attributes:
        id: of its `ClassifierChoice`.
        version: what is known of it.
        place: the run or bundle on disk.
    """

    id: str
    version: ModelVersion
    place: Path

    @property
    def digest(self) -> str:
        return self.version.digest

    @property
    def name(self) -> str:
        return self.id.removeprefix(SERVED)


def classifier_choices(request: Request) -> list[ClassifierChoice]:
    """What can be chosen, the likeliest first; of the runs the newest."""
    dashboard = dashboard_of(request)
    found = [
        ClassifierChoice(f"{SERVED}{name}", f"{name} {version.version}", "in service")
        for name, version in dashboard.service.traffic.champions.items()
    ]
    with open_registry() as (registry, _):
        models = [] if registry is None else registry.list().models
    for model in models:
        for alias in model["aliases"]:
            uri = f"registry://{model['name']}@{alias}"
            found.append(ClassifierChoice(uri, f"{model['name']}@{alias}", "registered"))
    entries = sorted(folder_index_of(request).entries(), key=lambda entry: -entry.changed)
    # What a run's bundle is called is known where it has one.
    runs = [entry.path for entry in entries if entry.kind == "run" and entry.data]
    return found + [ClassifierChoice(path, path, "runs") for path in runs[:MAX_SHOWN]]


class OpenClassifiers:
    """Those that were opened for pages; the one that was asked for longest ago is closed first."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._opened: OrderedDict[str, ModelVersion] = OrderedDict()  # by digest
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self, choice: str) -> OpenedClassifier:
        """The classifier of a choice.

        Raises:
            UsageError: it is none of a run below the folder.
            BundleError, UnknownVersion: it cannot be opened, or is not there.
        """
        service = self._dashboard.service
        if choice.startswith(SERVED):
            version = service.traffic.champions.get(choice.removeprefix(SERVED))
            if version is None:
                raise UsageError(f"no model {choice.removeprefix(SERVED)!r} is in service here.")
            return OpenedClassifier(choice, version, version.path)
        place, bundle = await asyncio.to_thread(self._bundle_of, choice)
        digest = sha256_of(bundle / MANIFEST)
        async with self._opening:
            version = self._opened.get(digest)
            if version is None or digest not in service.engine.digests:
                version = model_version(choice, await service.engine.open(str(bundle)))
            self._opened[version.digest] = version
            self._opened.move_to_end(version.digest)
            self._close_oldest()
        return OpenedClassifier(choice, version, place)

    def _bundle_of(self, choice: str) -> tuple[Path, Path]:
        if is_registered_name(choice):
            place = registered_path(choice)
        else:
            place = place_below(self._dashboard.folder, choice)
        for bundle in (place, RunDirectory(place).bundle):
            if (bundle / MANIFEST).is_file():
                return place, bundle
        raise UsageError(f"{choice!r} has no classifier; choose a run that has finished.")

    def _close_oldest(self) -> None:
        engine = self._dashboard.service.engine
        is_needed = self._dashboard.service.traffic.is_needed
        while len(self._opened) > MAX_OPEN:
            digest, _ = self._opened.popitem(last=False)
            if not is_needed(digest):
                task = asyncio.create_task(engine.close_bundle(digest, is_needed))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)


def open_classifiers(request: Request) -> OpenClassifiers:
    """Those of the dashboard of a request."""
    dashboard = dashboard_of(request)
    found: OpenClassifiers = dashboard.kept.setdefault(
        "open_classifiers", OpenClassifiers(dashboard)
    )
    return found


async def ask(
    engine: WorkerPool,
    task: Task,
    digest: str,
    images: Sequence[bytes],
    options: Mapping[str, Any],
) -> list[Found]:
    """What the workers answer for each image, or why they did not."""
    found: list[Found] = []
    for start in range(0, len(images), TOGETHER):
        jobs = [
            Job(task, digest, content, options, time.monotonic() + WAIT_S)
            for content in images[start : start + TOGETHER]
        ]
        found += await asyncio.gather(*(_answer(engine, job) for job in jobs))
    return found


async def _answer(engine: WorkerPool, job: Job) -> Found:
    """Of one job; while the queue is full it waits outside, since no browser comes again."""
    while True:
        try:
            engine.submit([job])
            return await job.answer
        except QueueFull as error:
            if time.monotonic() + PAUSE_S > job.deadline:
                return error
        except EngineError as error:
            return error
        await asyncio.sleep(PAUSE_S)


async def ask_for_files(
    request: Request, task: Task, digest: str, files: Sequence[Path], options: Mapping[str, Any]
) -> list[Found]:
    """The same of files of this machine; a few at a time are in memory.

    Args:
        files: of an index or a table; a visitor names none.
    """
    engine, found = dashboard_of(request).service.engine, list[Found]()
    for start in range(0, len(files), TOGETHER):
        read = await asyncio.to_thread(list, map(_content, files[start : start + TOGETHER]))
        contents = [one for one in read if isinstance(one, bytes)]
        answers = iter(await ask(engine, task, digest, contents, {**options, "local": True}))
        found += [next(answers) if isinstance(one, bytes) else one for one in read]
    return found


def _content(file: Path) -> bytes | ImageRefused:
    try:
        return ImageFile(file.name, file).read()[0]
    except ImageError as error:
        return ImageRefused(error.problem)


def place_below(folder: Path, named: str) -> Path:
    """A path below the folder of the dashboard; `RUN@STAGE` too.

    Raises:
        UsageError: it is elsewhere, or there is nothing.
    """
    place = directory_below(folder, named)
    name, _, stage = named.rpartition("@")
    if place is None and stage and (run := directory_below(folder, name)) is not None:
        place = directory_below(RunDirectory(run).stages, stage)
    if place is None:
        raise UsageError(f"there is no {named!r} below the folder of this dashboard.")
    return place
