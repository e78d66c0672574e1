"""After the commit: bring the job to its stream and its view to Redis, without making the caller wait."""

from __future__ import annotations

import asyncio
import logging

from redis.exceptions import RedisError

from orchestrator.errors import DependencyError
from orchestrator.ledger.jobs import Job
from orchestrator.tracker.redis_view import RedisView
from orchestrator.tracker.relay import Relay

log = logging.getLogger("orchestrator.api")

AT_ONCE = 2
"""Jobs dispatched at the same time: each holds a connection to PostgreSQL."""
MAX_WAITING = 1000
"""Jobs beyond that are left to the relay of the workers."""


class Dispatch:
    """Background tasks, one a job. What fails here the relay of the workers does."""

    def __init__(self, relay: Relay, view: RedisView) -> None:
        self._relay = relay
        self._view = view
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(AT_ONCE)

    def soon(self, job: Job) -> None:
        """Dispatch a job that has just been written."""
        if len(self._tasks) < MAX_WAITING:
            task = asyncio.create_task(self._run(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Job) -> None:
        try:
            async with self._turn:
                await self._relay.flush(job.job_id)
                await self._view.write([job])
        except (DependencyError, RedisError, OSError) as error:
            log.warning("job not dispatched; a worker will", extra={"job_id": job.job_id, "error": str(error)})
        except Exception:
            log.exception("job not dispatched by a bug of ours; a worker will", extra={"job_id": job.job_id})

    async def close(self, within_seconds: float = 1.0) -> None:
        """Give what runs a moment, then end it: what is not dispatched is in the outbox."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
