"""A version goes into service while requests are answered, or is refused and nothing changes.

    resolve ─► open in the workers ─► classes ─► kept images ─► answers requests
                                                                the old one is closed later

Requests keep the version that they were routed to; so the old one stays open until a request that
was routed to it can no longer come in.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

from holotype.errors import HolotypeError
from holotype.serving.deployment import ModelVersion
from holotype.serving.engine.worker_pool import WorkerPool
from holotype.serving.traffic.version_check import check_classes, check_kept_images
from holotype.serving.traffic.version_source import ResolvedVersion, VersionSource
from holotype.serving.traffic.version_traffic import RefusedVersion, VersionTraffic

LOGGER = logging.getLogger("holotype.serve")

POLL_S = 1.0
RETRY_S = 60.0  # a version that was refused is tried again: its files may have been repaired

Slot = Literal["champion", "challenger"]
OpenVersion = Callable[[str, Path, str], Awaitable[ModelVersion]]  # model, path, version


class VersionExchange:
    """Takes versions into service.

    Args:
        engine: which opens them.
        traffic: which they answer in.
        open_version: opens a version in the engine, verified and warm.
        linger_s: how long a version stays open after it was replaced; longer than any request
            takes to come in.
    """

    def __init__(
        self,
        engine: WorkerPool,
        traffic: VersionTraffic,
        open_version: OpenVersion,
        linger_s: float,
    ) -> None:
        self._engine, self._traffic, self._open = engine, traffic, open_version
        self._linger_s = linger_s
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._one_at_a_time = asyncio.Lock()

    async def take(self, model: str, slot: Slot, found: ResolvedVersion) -> None:
        """Put a version into a slot.

        Raises:
            HolotypeError: it cannot be opened, or must not answer; nothing has changed.
        """
        async with self._one_at_a_time:
            before = self._traffic.digests
            try:
                version = await self._open(model, found.path, found.version)
                with self._traffic.taking(version.digest):
                    self._keep_open(version.digest)
                    check_classes(version, self._traffic.of(model).champion)
                    await check_kept_images(self._engine, version, found.path)
                    if slot == "champion":
                        await self._traffic.set_champion(version)
                    else:
                        await self._traffic.set_challenger(model, version)
            finally:
                for digest in (before | set(self._engine.digests)) - self._traffic.digests:
                    self._close_later(digest)

    async def clear_challenger(self, model: str) -> None:
        """Compare nothing any more."""
        async with self._one_at_a_time:
            before = self._traffic.digests
            await self._traffic.set_challenger(model, None)
            for digest in before - self._traffic.digests:
                self._close_later(digest)

    def _keep_open(self, digest: str) -> None:
        """A version that is to be closed is taken into service again."""
        closing = self._closing.pop(digest, None)
        if closing is not None:
            closing.cancel()

    def _close_later(self, digest: str) -> None:
        if digest not in self._closing:
            self._closing[digest] = asyncio.create_task(self._close(digest))

    async def _close(self, digest: str) -> None:
        await asyncio.sleep(self._linger_s)
        async with self._one_at_a_time:  # not while it is being taken again
            self._closing.pop(digest, None)
            if digest not in self._traffic.digests:
                await self._engine.close_bundle(digest)


class VersionWatch:
    """Follows what should be in one slot of a model, and takes it into service."""

    def __init__(
        self, exchange: VersionExchange, traffic: VersionTraffic, model: str, slot: Slot,
        source: VersionSource,
    ) -> None:  # fmt: skip
        self._exchange, self._traffic = exchange, traffic
        self._model, self._slot, self._source = model, slot, source
        self._refused: tuple[str, float] | None = None
        self._unreachable = ""

    async def run(self) -> None:
        """Look every second, for ever."""
        while True:
            try:
                await self.look()
            except Exception:
                LOGGER.exception(
                    "%s: the %s could not be looked at; it is looked at again",
                    self._model,
                    self._slot,
                )
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Take the version that should be in service now, unless it is there or was refused."""
        wanted = await self._wanted()
        served = self._traffic.of(self._model)
        there = served.champion if self._slot == "champion" else served.challenger
        if wanted is None or wanted == (there and there.version):
            if wanted is None and self._slot == "challenger" and there and not self._unreachable:
                await self._exchange.clear_challenger(self._model)
            if wanted is not None:
                self._forget_refusal()
            return
        refused, when = self._refused or ("", 0.0)
        if refused == wanted and time.monotonic() - when < RETRY_S:
            return
        await self._take(wanted)

    async def _wanted(self) -> str | None:
        """None where there is none, or where it cannot be asked for; the latter is said once."""
        try:
            wanted = await asyncio.to_thread(self._source.current)
        except (HolotypeError, OSError) as error:
            if str(error) != self._unreachable:
                LOGGER.warning("%s: the registry cannot be asked: %s", self._model, error)
            self._unreachable = str(error)
            return None
        self._unreachable = ""
        return wanted

    async def _take(self, wanted: str) -> None:
        started = time.monotonic()
        served = self._traffic.of(self._model)
        try:
            found = await asyncio.to_thread(self._source.resolve, wanted)
            await self._exchange.take(self._model, self._slot, found)
        except (HolotypeError, OSError) as error:
            is_new = self._refused is None or self._refused[0] != wanted
            self._refused = (wanted, time.monotonic())
            served.refused[self._slot] = RefusedVersion(self._slot, wanted, str(error), time.time())
            if is_new:
                LOGGER.error("%s %s was refused: %s", self._model, wanted, error)
            return
        self._forget_refusal()
        LOGGER.info(
            "%s %s is the %s, after %.1f s", self._model, wanted, self._slot,
            time.monotonic() - started,
        )  # fmt: skip

    def _forget_refusal(self) -> None:
        """What should be in service is, so no version is refused any more."""
        self._refused = None
        self._traffic.of(self._model).refused.pop(self._slot, None)
