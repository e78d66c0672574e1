"""A BullMQ queue as other tools see it, and the source under test on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis.asyncio as redis
from bullmq import Queue

from orchestrator.deliveries import Delivery
from orchestrator.settings.credentials import Credentials
from orchestrator.sources.base import SourceSetup
from orchestrator.sources.bullmq import BullSource, create

LEASE = 30.0


def bull_setup(
    tmp_path: Path, queue: str, credential: str = "source-url", url: str = "", **options: Any
) -> SourceSetup:
    """What a worker type would give."""
    if url:
        (tmp_path / credential).write_text(url)
    return SourceSetup("chat", queue, options, LEASE, Credentials(tmp_path))


@dataclass
class Jobs:
    """A queue as other tools see it, and the source under test."""

    queue: Any
    client: redis.Redis
    source: BullSource

    def key(self, name: str) -> str:
        """Return a key of the queue."""
        return f"bull:{self.queue.name}:{name}"

    async def add(self, data: Any = None, **options: Any) -> str:
        """Add a job; return its id."""
        return str((await self.queue.add("work", data or {"content": "x"}, options)).id)

    async def claim(self, limit: int = 10) -> list[Delivery]:
        """Claim without waiting; let stalled jobs come back first."""
        await self.source.recover("c0", limit)
        return await self.source.claim("c0", limit, 0)

    async def lapse(self, *jobs: str) -> None:
        """Let locks run out, as they do when nobody renews them."""
        await self.client.delete(*(self.key(f"{job}:lock") for job in jobs))

    async def field(self, job: str, name: str) -> str | None:
        """Return a field of a job."""
        found = await self.client.hget(self.key(job), name)
        return None if found is None else str(found)

    async def states(self) -> dict[str, int]:
        """Return how many jobs are in each state that has some."""
        names = ("wait", "active", "delayed", "completed", "failed")
        return {name: count for name, count in (await self.queue.getJobCounts(*names)).items() if count}


@asynccontextmanager
async def bull_jobs(redis_url: str, tmp_path: Path) -> AsyncIterator[Jobs]:
    """A queue of its own."""
    queue = Queue(f"q-{uuid4().hex[:8]}", {"connection": redis_url})
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    source = create(bull_setup(tmp_path, queue.name, url=redis_url))
    await source.open(["c0", "c1"])
    yield Jobs(queue, client, source)
    await source.close()
    await client.aclose()
    await queue.close()
