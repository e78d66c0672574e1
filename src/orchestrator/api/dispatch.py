"""After the commit: bring jobs to their stream and their views to Redis, without making the caller wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from redis.exceptions import RedisError

from orchestrator.errors import DependencyError
from orchestrator.ledger.jobs import Job
from orchestrator.tasks import end
from orchestrator.tracker.redis_view import RedisView
from orchestrator.tracker.relay import Relay

log = logging.getLogger("orchestrator.api")

VIEWS_WAITING = 1000
"""Views beyond that are left to the reconciler of the workers."""
BRIDGE_SECONDS = 1.0
"""How long a stream is kept filled for idle workers: the next look of their own relay is sooner."""


class Dispatch:
    """In the background; what comes while it is at work it does together. What fails here the workers do."""

    def __init__(self, relay: Relay, view: RedisView) -> None:
        self._relay = relay
        self._view = view
        self._queues: set[str] = set()
        self._changed: list[Job] = []
        self._task: asyncio.Task[None] | None = None
        self._bridges: dict[str, asyncio.Task[None]] = {}

    def soon(self, job: Job) -> None:
        """Dispatch a job that has just been written, or show that it has changed."""
        if len(self._changed) < VIEWS_WAITING:
            self._changed.append(job)
        self.look([job.queue])

    def look(self, queues: Iterable[str]) -> None:
        """Dispatch what waits for these queues: something may go on."""
        self._queues.update(queues)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self._queues or self._changed:
            queues, self._queues = self._queues, set()
            changed, self._changed = self._changed, []
            try:
                for queue in queues:
                    if (await self._relay.page(queue)).more:
                        self._bridge(queue)
                await self._view.write(changed)
            except (DependencyError, RedisError, OSError) as error:
                log.warning("not dispatched; a worker will", extra={"jobs": len(changed), "error": str(error)})
            except Exception:
                log.exception("not dispatched by a bug of ours; a worker will", extra={"jobs": len(changed)})

    def _bridge(self, queue: str) -> None:
        """Go on filling the stream for a while."""
        if queue not in self._bridges:
            task = self._bridges[queue] = asyncio.create_task(self._fill(queue))
            task.add_done_callback(lambda _: self._bridges.pop(queue, None))

    async def _fill(self, queue: str) -> None:
        try:
            await self._relay.fill(queue, BRIDGE_SECONDS)
        except DependencyError as error:
            log.warning("not dispatched; a worker will", extra={"queue": queue, "error": str(error)})
        except Exception:
            log.exception("not dispatched by a bug of ours; a worker will", extra={"queue": queue})

    async def close(self, within_seconds: float = 1.0) -> None:
        """Give what runs a moment, then end it: what is not dispatched is in the outbox."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=within_seconds)
        await end([*self._bridges.values(), *([self._task] if self._task else [])])
