"""Dead letters of a queue that is not ours: what was asked to be retried is put back there."""

from __future__ import annotations

import asyncio
import logging

from orchestrator.errors import DependencyError
from orchestrator.ledger import Ledger
from orchestrator.sources.base import Foreign

log = logging.getLogger("orchestrator.dead-letters")

AT_ONCE = 20
PATIENCE_SECONDS = 20.0
"""A connection of the ledger is held meanwhile; no queue needs this long for so few."""


class Redrive:
    """Asks the queue on behalf of those who cannot reach it: its credentials are the workers' alone."""

    def __init__(self, ledger: Ledger, source: Foreign, worker_type: str, queue: str) -> None:
        self._ledger = ledger
        self._source = source
        self._worker_type = worker_type
        self._queue = queue

    async def run_once(self) -> int:
        """Put back what is asked for; return how many letters were answered. Raises DependencyError."""
        answered = 0
        while True:
            count = await self._some()
            answered += count
            if count < AT_ONCE:
                if answered:
                    log.info("dead letters put back at their queue, or not found there", extra={"letters": answered})
                return answered

    async def _some(self) -> int:
        asked = (self._worker_type, self._queue)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._ledger.dead_letters.redrive(*asked, self._source.redrive, AT_ONCE)
        except TimeoutError as error:
            what = f"queue {self._queue} has not put dead letters back within {PATIENCE_SECONDS:g} s"
            raise DependencyError(f"{what}; will ask again, or use that queue's own tools") from error
