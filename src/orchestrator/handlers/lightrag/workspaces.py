"""The workspaces this process works on: opened under their lock when needed, closed when idle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.backoff import full_jitter
from orchestrator.errors import DependencyError, RetryError
from orchestrator.handlers.lightrag.ingestor import Ingestor
from orchestrator.handlers.lightrag.lock import WorkspaceLock
from orchestrator.settings import LightRAGSettings

if TYPE_CHECKING:  # importing it imports LightRAG
    from orchestrator.handlers.lightrag.engine import Engines

log = logging.getLogger("orchestrator.lightrag")

BUSY_SECONDS = 0.5  # how long one look at a lock that another holds counts for all
OUTAGE_SECONDS = 5.0
EPHEMERAL_SECONDS = 2.0  # the chunks of one job come one after the other; opening and dropping each time is dear
IDLE_WORKSPACES = 16  # open and idle at most: each holds a connection for its lock


@dataclass(slots=True, eq=False)
class _Place:
    """A workspace and who is in it."""

    name: str
    gate: asyncio.Lock = field(default_factory=asyncio.Lock)
    ingestor: Ingestor | None = None
    users: int = 0
    busy_until: float = 0.0
    timer: asyncio.TimerHandle | None = None

    @property
    def working(self) -> bool:
        """Return whether its pipeline runs though nobody may be in it."""
        return self.ingestor is not None and self.ingestor.alive and self.ingestor.working


class Workspaces:
    """One ingestor a workspace. Ephemeral workspaces are empty when opened, and dropped when nobody is in them."""

    def __init__(self, engines: Engines, dsn: str, settings: LightRAGSettings) -> None:
        self._engines = engines
        self._dsn = dsn
        self._settings = settings
        self._places: dict[str, _Place] = {}
        self._idle: dict[_Place, None] = {}  # open, nobody in it; the longest idle first
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Ingestor]:
        """Give the workspace's ingestor. Raises RetryError that burns no attempt when it cannot be had now."""
        if self._closed:
            raise _stopping()
        place = self._places.setdefault(name, _Place(name))
        place.users += 1
        self._rouse(place)
        try:
            yield await self._opened(place)
        finally:
            place.users -= 1
            if place.users == 0:
                self._left(place)

    async def close(self) -> None:
        """Close all; nothing is opened any more."""
        self._closed = True
        for place in list(self._idle):
            self._rouse(place)
        await asyncio.gather(*self._closing, return_exceptions=True)
        ends = await asyncio.gather(*(self._close(p) for p in list(self._places.values())), return_exceptions=True)
        for error in filter(None, ends):
            log.error("workspace not closed", extra={"error": f"{type(error).__name__}: {error}"})

    async def _opened(self, place: _Place) -> Ingestor:
        async with place.gate:
            if place.ingestor is not None and place.ingestor.alive:
                return place.ingestor
            await self._close_ingestor(place)
            if self._closed:
                raise _stopping()
            if time.monotonic() < place.busy_until:
                raise _busy(place.name)
            try:
                place.ingestor = await self._open(place)
            except DependencyError as error:
                raise RetryError(str(error), counts=False, delay_seconds=OUTAGE_SECONDS) from error
            return place.ingestor

    async def _open(self, place: _Place) -> Ingestor:
        lock = await WorkspaceLock.acquire(self._dsn, place.name)
        if lock is None:
            place.busy_until = time.monotonic() + BUSY_SECONDS
            raise _busy(place.name)
        try:
            engine = await self._engines.open(place.name)
            try:
                if self._ephemeral(place):
                    await engine.drop()
            except BaseException:
                await engine.close()
                raise
        except BaseException:
            await lock.release()
            raise
        ingestor = Ingestor(engine, lock, self._settings)
        ingestor.start()
        log.info("workspace opened", extra={"workspace": place.name})
        return ingestor

    def _ephemeral(self, place: _Place) -> bool:
        return place.name in self._settings.ephemeral_workspaces

    def _left(self, place: _Place) -> None:
        """Nobody is in it: close it when it has been idle for a while, or when too many are."""
        if self._closed:
            return
        if place.ingestor is None:
            self._retire(place)
            return
        idle = EPHEMERAL_SECONDS if self._ephemeral(place) else self._settings.idle_engine_seconds
        place.timer = asyncio.get_running_loop().call_later(idle, self._idled, place)
        self._idle[place] = None
        if len(self._idle) > IDLE_WORKSPACES and (longest := next((p for p in self._idle if not p.working), None)):
            self._idled(longest)

    def _rouse(self, place: _Place) -> None:
        self._idle.pop(place, None)
        if place.timer is not None:
            place.timer.cancel()
            place.timer = None

    def _idled(self, place: _Place) -> None:
        self._rouse(place)
        if place.working:
            self._left(place)
        else:
            self._retire(place)

    def _retire(self, place: _Place) -> None:
        task = asyncio.create_task(self._close_unused(place))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_unused(self, place: _Place) -> None:
        async with place.gate:
            if place.users == 0:
                await self._close_ingestor(place)
            if place.users == 0 and time.monotonic() >= place.busy_until and self._places.get(place.name) is place:
                del self._places[place.name]

    async def _close(self, place: _Place) -> None:
        async with place.gate:
            await self._close_ingestor(place)

    async def _close_ingestor(self, place: _Place) -> None:
        ingestor, place.ingestor = place.ingestor, None
        if ingestor is not None:
            await ingestor.close(drop=self._ephemeral(place) and place.users == 0)
            log.info("workspace closed", extra={"workspace": place.name})


def _stopping() -> RetryError:
    return RetryError("the worker stops", counts=False, delay_seconds=0)


def _busy(name: str) -> RetryError:
    delay = 0.5 + full_jitter(1, base_seconds=1.5, cap_seconds=1.5)
    return RetryError(f"workspace {name!r} is held by another host", counts=False, delay_seconds=delay)
