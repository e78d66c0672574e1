"""A whole worker in one process: real ledger, real Redis, a handler of the test's choice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio as redis

from orchestrator.deliveries import Delivery, Result
from orchestrator.handlers.base import Context
from orchestrator.jobs import TERMINAL_JOB
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import Job, NewJob
from orchestrator.pool.pool import Pool
from orchestrator.settings import WorkerTypeSettings
from orchestrator.sources.redis_stream import RedisStreamSource, connect
from orchestrator.tracker.redis_view import RedisView
from orchestrator.tracker.relay import Relay
from orchestrator.tracker.tracker import JobTracker
from tests.support.wait import wait_until

Work = Callable[[Delivery, Context], Awaitable[Result]]


def type_settings(**changes: Any) -> WorkerTypeSettings:
    """Return settings with times short enough for a test."""
    values: dict[str, Any] = {
        "name": "lightrag",
        "handler": "noop",
        "stream": "q",
        "group": "g",
        "size": 2,
        "batch": 4,
        "timeout_seconds": 10.0,
        "backoff_base_seconds": 0.05,
        "backoff_cap_seconds": 0.1,
        "read_block_seconds": 0.1,
        "heartbeat_seconds": 0.15,
        "lease_seconds": 0.6,
        "grace_period_seconds": 1.0,
    }
    return WorkerTypeSettings(**{**values, **changes})


@dataclass(slots=True)
class ScriptedHandler:
    """A handler that records its runs and does what the test says."""

    work: Work
    runs: list[tuple[str, int]] = field(default_factory=list)

    async def open(self) -> None:
        """Nothing to connect."""

    async def __call__(self, delivery: Delivery, context: Context) -> Result:
        """Record and do."""
        self.runs.append((delivery.chunk_id, delivery.attempt))
        return await self.work(delivery, context)

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class System:
    """What a test holds of a running worker."""

    ledger: Ledger
    client: redis.Redis
    source: RedisStreamSource
    pool: Pool
    handler: ScriptedHandler
    relay: Relay
    view: RedisView
    announced: list[tuple[str, str, int]]

    async def submit(self, job: NewJob) -> None:
        """Create the job and put it on the stream."""
        await self.ledger.jobs.create(job)
        await self.relay.flush()

    async def ended(self, job_id: str, within: float = 20.0) -> Job:
        """Return the job when it has ended."""

        async def look() -> Job | None:
            job = await self.ledger.jobs.get(job_id)
            return job if job.status in TERMINAL_JOB else None

        job = await wait_until(look, within=within, what=f"end of {job_id}")
        assert job is not None
        return job

    async def empty(self) -> bool:
        """Return whether the queue holds nothing any more, waiting or in flight."""
        return await self.source.depth() == 0

    async def has_entries(self, count: int) -> bool:
        """Return whether the stream holds at least so many."""
        return int(await self.client.xlen("q")) >= count


async def _done(delivery: Delivery, context: Context) -> Result:
    return Result()


@asynccontextmanager
async def system(
    ledger: Ledger,
    redis_url: str,
    work: Work = _done,
    *,
    host: str = "h",
    held_back: Callable[[], bool] = lambda: False,
    **changes: Any,
) -> AsyncIterator[System]:
    """Run a worker; it is drained at the end."""
    settings = type_settings(**changes)
    client = connect(redis_url, read_block_seconds=settings.read_block_seconds)
    source = RedisStreamSource(
        client, stream=settings.stream, group=settings.group, lease_seconds=settings.lease_seconds
    )
    view = RedisView(client, 3600)
    tracker = JobTracker(ledger, view, worker_type=settings.name, queue=settings.stream, job_type=settings.job_type)
    handler = ScriptedHandler(work)
    announced: list[tuple[str, str, int]] = []
    pool = Pool(
        settings,
        host=host,
        source=source,
        tracker=tracker,
        handler=handler,
        announce=lambda kind, consumer, tasks: announced.append((kind, consumer, tasks)),
        held_back=held_back,
    )
    await pool.open()
    running = asyncio.create_task(pool.run())
    try:
        yield System(ledger, client, source, pool, handler, Relay(ledger, client), view, announced)
    finally:
        pool.stop()
        await running
        await client.aclose()
