"""SAQ: a list, BLMOVE and one script a job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvloop
from saq import Queue, Worker

PACKAGE = "saq"
SETTING = "concurrency=10, ttl=-1 (no result kept), uvloop, hiredis"
LEFT = "return redis.call('zcard', 'saq:default:incomplete')"
SOME = 100


def enqueue(url: str, count: int) -> None:
    """Add the jobs."""

    async def add() -> None:
        queue: Any = Queue.from_url(url)
        for _ in range(0, count, SOME):
            await asyncio.gather(*(queue.enqueue("noop", ttl=-1) for _ in range(SOME)))

    uvloop.run(add())


def work(url: str, done: Callable[[], None], ready: Callable[[], None]) -> None:
    """Run the worker."""

    async def noop(ctx: Any) -> None:
        done()

    async def startup(ctx: Any) -> None:
        ready()

    async def run() -> None:
        await Worker(Queue.from_url(url), [("noop", noop)], concurrency=10, startup=startup).start()

    uvloop.run(run())
