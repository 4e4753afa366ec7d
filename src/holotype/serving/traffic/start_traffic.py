"""Takes the first versions of all models into service, and follows what moves."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from holotype.errors import UsageError, did_you_mean
from holotype.serving.engine.worker_pool import WorkerPool
from holotype.serving.request_log.log_writer import LogWriter
from holotype.serving.traffic.experiment import ExperimentPlan
from holotype.serving.traffic.traffic_options import TrafficOptions
from holotype.serving.traffic.version_exchange import (
    OpenVersion,
    Slot,
    VersionExchange,
    VersionWatch,
)
from holotype.serving.traffic.version_source import ResolvedVersion, VersionSource
from holotype.serving.traffic.version_traffic import VersionTraffic

LOGGER = logging.getLogger("holotype.serve")

DECIDE_S = 1.0


@dataclass(frozen=True)
class ServedSources:
    """What is served.

    Attributes:
        champions: name in the path of requests -> where its versions come from.
        challengers: the same, of models that are compared.
        options: how they are compared, and what is logged.
    """

    champions: Mapping[str, VersionSource]
    challengers: Mapping[str, VersionSource]
    options: TrafficOptions

    def __post_init__(self) -> None:
        for name in self.challengers:
            if name not in self.champions:
                raise UsageError(
                    f"--challenger is for {name!r}, which is not served"
                    f"{did_you_mean(name, self.champions)}"
                )


class RunningTraffic:
    """The traffic of a server, and the tasks that keep it up to date.

    Args:
        linger_s: see `VersionExchange`.
    """

    def __init__(
        self, engine: WorkerPool, sources: ServedSources, open_version: OpenVersion, linger_s: float
    ) -> None:
        folder = sources.options.log_folder
        log = None if folder is None else LogWriter(folder, sources.options.log_settings)
        self.traffic = VersionTraffic(log)
        self._sources = sources
        self._open = open_version
        self._exchange = VersionExchange(engine, self.traffic, open_version, linger_s)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take the first versions into service.

        Raises:
            HolotypeError: one of them cannot be opened, or must not answer.
        """
        plan = self._sources.options.plan
        for name, source in self._sources.champions.items():
            found = await _first(name, source)
            version = await self._open(name, found.path, found.version)
            is_compared = name in self._sources.challengers
            self.traffic.serve(version, plan if is_compared else ExperimentPlan())
            self._follow(name, "champion", source)
        for name, source in self._sources.challengers.items():
            if not source.moves or await asyncio.to_thread(source.current) is not None:
                await self._exchange.take(name, "challenger", await _first(name, source))
            self._follow(name, "challenger", source)
        self._tasks.append(asyncio.create_task(self._decide()))

    async def stop(self) -> None:
        """Follow nothing any more, and write what waits."""
        for task in self._tasks:
            task.cancel()
        await asyncio.to_thread(self.traffic.close)

    def _follow(self, name: str, slot: Slot, source: VersionSource) -> None:
        if source.moves:
            watch = VersionWatch(self._exchange, self.traffic, name, slot, source)
            self._tasks.append(asyncio.create_task(watch.run()))

    async def _decide(self) -> None:
        while True:
            await asyncio.sleep(DECIDE_S)
            try:
                self.traffic.decide_rollouts()
            except Exception:
                LOGGER.exception("the rollouts could not be looked at; they are looked at again")


async def _first(name: str, source: VersionSource) -> ResolvedVersion:
    wanted = await asyncio.to_thread(source.current)
    if wanted is None:
        raise UsageError(
            f"nothing to serve as {name!r}: the registry has no version there. Promote one by "
            "`holotype registry promote`."
        )
    return await asyncio.to_thread(source.resolve, wanted)
