"""BullMQ for Python: its own worker, one script a job, with the next one fetched as one ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvloop
from bullmq import Queue, Worker

PACKAGE = "bullmq"
SETTING = "concurrency=100, removeOnComplete, uvloop"
LEFT = "return redis.call('llen', 'bull:peer:wait') + redis.call('llen', 'bull:peer:active')"
SOME = 500


def enqueue(url: str, count: int) -> None:
    """Add the jobs."""

    async def add() -> None:
        queue: Any = Queue("peer", {"connection": url})
        for _ in range(0, count, SOME):
            await queue.addBulk([{"name": "noop", "data": {}, "opts": {"removeOnComplete": True}} for _ in range(SOME)])
        await queue.close()

    uvloop.run(add())


def work(url: str, done: Callable[[], None], ready: Callable[[], None]) -> None:
    """Run the worker."""

    async def noop(job: Any, token: str) -> None:
        done()

    async def run() -> None:
        Worker("peer", noop, {"connection": url, "concurrency": 100})
        ready()
        await asyncio.Event().wait()

    uvloop.run(run())
