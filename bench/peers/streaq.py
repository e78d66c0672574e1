"""streaQ: a stream with a consumer group, by coredis and anyio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from streaq import Worker

PACKAGE = "streaq"
SETTING = "concurrency=32, prefetch=32, ttl=0 (no result kept), uvloop"
LEFT = "return redis.call('xlen', 'streaq:default:queues:normal')"
SOME = 500


async def nothing() -> None:
    """Stand for the job where it is only enqueued."""


def worker(url: str, job: Callable[[], Any], **options: Any) -> tuple[Any, Any]:
    """Return a worker and its task."""
    made: Any = Worker(redis_url=url, concurrency=32, prefetch=32, **options)
    return made, made.task(name="noop", ttl=0, silent=True)(job)


def enqueue(url: str, count: int) -> None:
    """Add the jobs."""

    async def add() -> None:
        made, task = worker(url, nothing)
        async with made:
            for _ in range(0, count, SOME):
                await made.enqueue_many([task.enqueue() for _ in range(SOME)])

    uvloop.run(add())


def work(url: str, done: Callable[[], None], ready: Callable[[], None]) -> None:
    """Run the worker."""

    async def noop() -> None:
        done()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        ready()
        yield

    made, _ = worker(url, noop, lifespan=lifespan)
    uvloop.run(made.run_async())
