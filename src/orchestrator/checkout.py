"""Connections of an asyncpg pool, kept for moments between two uses: to take one and give it back costs a statement."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, NamedTuple

import asyncpg

KEEP_SECONDS = 0.1  # so long a pool that is being closed may wait
LONGEST_SECONDS = 1.0  # in use and kept in turn; then the pool has it, which looks after it and after who waits there


class Lent(NamedTuple):
    """A connection, and when the pool gave it, by the event loop's time."""

    connection: Any
    since: float


class Checkout:
    """Of one pool, whose connections need no reset between two uses."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool
        self._kept: deque[tuple[Lent, float]] = deque()  # the latest used last, with the time
        self._waiting = 0  # who has no connection yet
        self._timer: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()

    def use(self) -> AbstractAsyncContextManager[Any]:
        """Give a connection. Raises what the pool raises."""
        return _Use(self)

    async def take(self) -> Lent:
        """Return the connection that was used last, so that others stay idle and go back; else one of the pool."""
        while self._kept and not self._pool.is_closing():
            lent, _ = self._kept.pop()
            if _is_sound(lent.connection):
                return lent
            self._return(lent)
        self._waiting += 1
        try:
            connection = await self._pool.acquire()
        finally:
            self._waiting -= 1
        return Lent(connection, asyncio.get_running_loop().time())

    async def give_back(self, lent: Lent, *, sound: bool) -> None:
        """Keep it for the next one, unless somebody waits for the pool, or something went wrong."""
        now = asyncio.get_running_loop().time()
        wanted = self._waiting or self._pool.is_closing() or now - lent.since > LONGEST_SECONDS
        if wanted or not sound or not _is_sound(lent.connection):
            await self._pool.release(lent.connection)
        else:
            self._keep(lent, now)

    async def clear(self) -> None:
        """Give back what is kept."""
        while self._kept:
            self._return(self._kept.pop()[0])
        if self._returning:
            await asyncio.wait(self._returning)

    def _keep(self, lent: Lent, now: float) -> None:
        self._kept.append((lent, now))
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(KEEP_SECONDS, self._tidy, loop)

    def _tidy(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give back what nobody has used for a while."""
        self._timer, limit = None, loop.time() - KEEP_SECONDS
        while self._kept and self._kept[0][1] <= limit:
            self._return(self._kept.popleft()[0])
        if self._kept:
            self._timer = loop.call_at(self._kept[0][1] + KEEP_SECONDS, self._tidy, loop)

    def _return(self, lent: Lent) -> None:
        task = asyncio.get_running_loop().create_task(self._release(lent.connection))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _release(self, connection: Any) -> None:
        with suppress(Exception):  # it was cut, and its pool has thrown it away
            await self._pool.release(connection)


class _Use:
    """Made by `contextlib` it would take a sixth of what there is to save."""

    __slots__ = ("_checkout", "_lent")

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout

    async def __aenter__(self) -> Any:
        self._lent = await self._checkout.take()
        return self._lent.connection

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._checkout.give_back(self._lent, sound=kind is None)


def _is_sound(connection: Any) -> bool:
    """Return whether the next one may use it as it is."""
    try:
        return not (connection.is_closed() or connection.is_in_transaction())
    except asyncpg.InterfaceError:  # it was cut, and its pool has let go of it already
        return False
