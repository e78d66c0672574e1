"""The reconciler: compares Redis with the ledger and rebuilds what Redis has lost. The ledger is the truth."""

from __future__ import annotations

import logging

from orchestrator.ledger import Ledger
from orchestrator.sources.base import Source
from orchestrator.tracker.redis_view import RedisView

log = logging.getLogger("orchestrator.reconciler")


class Reconciler:
    """Keeps one queue whole. Every step may run on many workers at once: each is idempotent."""

    def __init__(
        self, ledger: Ledger, source: Source, view: RedisView, *, worker_type: str, queue: str, foreign: bool = False
    ) -> None:
        """`foreign`: the queue is not ours to fill."""
        self._ledger = ledger
        self._source = source
        self._view = view
        self._worker_type = worker_type
        self._queue = queue
        self._foreign = foreign
        self._suspicions = 0

    async def run_once(self, *, lease_seconds: float, quiet_seconds: float) -> int:
        """Mend the queue; return how many jobs were put up for dispatch again. Raises DependencyError."""
        stranded = await self._ledger.chunks.requeue_stranded(self._worker_type, lease_seconds)
        if stranded:
            log.warning("chunks of dead workers back to the queue", extra={"chunks": stranded})
        await self._ledger.jobs.close_quiet(quiet_seconds)
        await self._view.write(await self._ledger.jobs.views_due(max(1, self._view.ttl_seconds // 2)))
        return 0 if self._foreign else await self._redispatch()

    async def _redispatch(self) -> int:
        if not await self._missing():
            self._suspicions = 0
            return 0
        self._suspicions += 1
        if self._suspicions < 2:  # noqa: PLR2004 - numbers read one after the other may disagree once under load
            return 0
        self._suspicions = 0
        jobs = await self._ledger.outbox.redispatch(self._worker_type, self._queue)
        log.warning("Redis holds fewer entries than the ledger has chunks: dispatched again", extra={"jobs": jobs})
        return jobs

    @property
    def suspicious(self) -> bool:
        """Return whether the last look found entries missing: look again soon."""
        return self._suspicions > 0

    async def _missing(self) -> bool:
        before = await self._source.depth()
        live = await self._ledger.chunks.count_live(self._worker_type, self._queue)
        return live > max(before, await self._source.depth())
