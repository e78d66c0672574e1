"""The relay: takes jobs from the outbox to their stream. Runs in every worker; the API calls it after each commit."""

from __future__ import annotations

from collections.abc import Sequence

import redis.asyncio as redis

from orchestrator.ledger import Ledger
from orchestrator.ledger.outbox import Reference
from orchestrator.sources.redis_stream import publish


class Relay:
    """Publishes references of queued chunks."""

    def __init__(self, ledger: Ledger, client: redis.Redis) -> None:
        self._ledger = ledger
        self._client = client

    async def flush(self, job_id: str | None = None) -> int:
        """Publish until the outbox, or the job's part of it, is empty; return how many. Raises DependencyError."""
        published = 0
        while count := await self._ledger.outbox.relay(self._publish, job_id):
            published += count
        return published

    async def _publish(self, queue: str, references: Sequence[Reference]) -> None:
        await publish(self._client, queue, [(r.job_id, r.chunk_id, r.workspace) for r in references])
