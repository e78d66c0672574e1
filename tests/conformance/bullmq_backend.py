"""BullMQ on a real Redis; its producers here use the Python library (Node's are in tests/integration)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import redis.asyncio as redis
from bullmq import Queue

from tests.conformance.backend import Message, ServerBackend
from tests.support.servers import redis_server

STATES = ("wait", "paused", "prioritized", "delayed", "active")


class BullBackend(ServerBackend):
    """Implements Backend and Restarts over a Redis of its own, which writes everything down at once."""

    source = "bullmq"
    many = 10_000

    def __init__(self) -> None:
        super().__init__(partial(redis_server, "--appendonly", "yes", "--appendfsync", "always"))

    def settings(self, queue: str) -> dict[str, Any]:
        """Return what is its own."""
        return {"stream": queue}

    def credentials(self) -> dict[str, str]:
        """Return the way to this Redis."""
        return {"source-url": self.server.url}

    async def restart(self) -> None:
        """Cut its power, and start it with its log."""
        self.server.kill()
        self.server.start()

    async def prepare(self, queue: str) -> None:
        """A queue is there when it is used."""

    @asynccontextmanager
    async def _queue(self, name: str) -> AsyncIterator[Any]:
        queue = Queue(name, {"connection": self.server.url})
        try:
            yield queue
        finally:
            await queue.close()

    async def put(self, queue: str, messages: Sequence[Message]) -> list[str]:
        """Add a job each. What is no JSON is written into the job behind the library's back, before anyone sees it."""
        receipts: list[str] = []
        async with self._queue(queue) as made, redis.Redis.from_url(self.server.url) as client:
            for start in range(0, len(messages), 1000):
                some = messages[start : start + 1000]
                odd = any(isinstance(message.payload, str | bytes) for message in some)
                if odd:
                    await made.pause()
                jobs = await made.addBulk([{"name": "work", "data": _data(m), "opts": {"attempts": 0}} for m in some])
                for job, message in zip(jobs, some, strict=True):
                    if isinstance(message.payload, str | bytes):
                        await client.hset(f"bull:{queue}:{job.id}", "data", message.payload)
                if odd:
                    await made.resume()
                receipts += [str(job.id) for job in jobs]
        return receipts

    async def left(self, queue: str) -> int:
        """Return the sum of its counts."""
        async with self._queue(queue) as made:
            counts = await made.getJobCounts(*STATES)
        return sum(counts.values())

    async def dead(self, queue: str) -> list[str]:
        """Return the reasons of the failed jobs."""
        async with redis.Redis.from_url(self.server.url, decode_responses=True) as client:
            failed = await client.zrange(f"bull:{queue}:failed", 0, -1)
            reasons = [await client.hget(f"bull:{queue}:{job_id}", "failedReason") for job_id in map(str, failed)]
        return [reason if isinstance(reason, str) else "" for reason in reasons]


def _data(message: Message) -> Any:
    return {} if isinstance(message.payload, str | bytes) else message.payload
