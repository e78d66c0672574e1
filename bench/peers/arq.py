"""arq: a sorted set, polled; a key a job in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvloop
from arq import Worker, create_pool
from arq.connections import RedisSettings
from arq.worker import func

PACKAGE = "arq"
SETTING = "max_jobs=100, poll_delay=0.01, keep_result=0, uvloop"
LEFT = "return redis.call('zcard', 'arq:queue')"
SOME = 100


def enqueue(url: str, count: int) -> None:
    """Add the jobs."""

    async def add() -> None:
        pool: Any = await create_pool(RedisSettings.from_dsn(url))
        for _ in range(0, count, SOME):
            await asyncio.gather(*(pool.enqueue_job("noop") for _ in range(SOME)))

    uvloop.run(add())


def work(url: str, done: Callable[[], None], ready: Callable[[], None]) -> None:
    """Run the worker."""

    async def noop(ctx: Any) -> None:
        done()

    async def startup(ctx: Any) -> None:
        ready()

    async def run() -> None:
        settings = RedisSettings.from_dsn(url)
        await Worker(
            [func(noop, name="noop")],
            redis_settings=settings,
            on_startup=startup,
            max_jobs=100,
            poll_delay=0.01,
            keep_result=0,
        ).async_run()

    uvloop.run(run())
