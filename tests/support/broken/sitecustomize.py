"""Breaks the process that finds this on its path, in the way FAULT names: what no server can do to it from outside."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any


async def _nothing(self: Any, *args: Any, block: int | None = None, **options: Any) -> list[Any]:
    await asyncio.sleep((block or 0) / 1000)
    return []


async def _nothing_for_each(self: Any, rooms: Any) -> list[None]:
    return [None] * len(rooms)


async def _never(self: Any, *args: Any, **options: Any) -> Any:
    await asyncio.Event().wait()


async def _block(self: Any, *args: Any) -> Any:
    threading.Event().wait()


async def _ignore(self: Any, *args: Any) -> Any:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # it should end now
            continue


def deaf() -> None:
    """Reads of its streams bring nothing, as over a half-dead line."""
    from redis.asyncio import Redis

    from orchestrator.sources.redis_stream import RedisStreamSource

    Redis.xreadgroup = _nothing  # type: ignore[method-assign,assignment]
    RedisStreamSource._read_all = _nothing_for_each  # type: ignore[method-assign]


def impatient() -> None:
    """It waits a second where it would wait a minute."""
    from orchestrator.pool import pool

    pool.PATIENCE_SECONDS = 1.0


def stuck() -> None:
    """A read never comes back, not even with an error."""
    from redis.asyncio import Redis

    Redis.xreadgroup = _never  # type: ignore[method-assign,assignment]
    impatient()


def hanging() -> None:
    """Its handler does not end by itself; it does when it is told to."""
    from orchestrator.handlers.noop import NoopHandler

    NoopHandler.__call__ = _never  # type: ignore[method-assign]


def unheard() -> None:
    """Its first heartbeat is a while on its way."""
    from orchestrator.ledger.workers import Workers

    seen = Workers.seen

    async def late(self: Any, *args: Any) -> None:
        Workers.seen = seen  # type: ignore[method-assign]
        await asyncio.sleep(1)
        await seen(self, *args)

    Workers.seen = late  # type: ignore[method-assign,assignment]


def mute() -> None:
    """Nothing that its slots say of their lives can be written."""
    from orchestrator.errors import DependencyError
    from orchestrator.ledger.workers import Workers

    async def refuse(self: Any, *args: Any) -> None:
        raise DependencyError("no event can be written")

    Workers.announce = refuse  # type: ignore[method-assign,assignment]


def gated() -> None:
    """Its handler begins when there is a file of the name in GATE."""
    from orchestrator.handlers.noop import NoopHandler

    opened, work = Path(os.environ["GATE"]).exists, NoopHandler.__call__

    async def wait(self: Any, *args: Any) -> Any:
        while True:
            if opened():
                return await work(self, *args)
            await asyncio.sleep(0.02)

    NoopHandler.__call__ = wait  # type: ignore[method-assign,assignment]


def blocking() -> None:
    """Its handler blocks the loop, for ever."""
    from orchestrator.handlers.noop import NoopHandler

    NoopHandler.__call__ = _block  # type: ignore[method-assign,assignment]


def ignoring() -> None:
    """Its handler does not end when it is told to."""
    from orchestrator.handlers.noop import NoopHandler

    NoopHandler.__call__ = _ignore  # type: ignore[method-assign,assignment]
    impatient()


globals()[os.environ["FAULT"]]()
