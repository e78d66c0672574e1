"""The settler: what finished together, in any slot, is settled in one transaction and acked in one script."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from orchestrator.deliveries import Delivery, Outcome, Verdict
from orchestrator.errors import DependencyError
from orchestrator.sources.base import Source
from orchestrator.tracker.tracker import JobTracker

log = logging.getLogger("orchestrator.workers")

PAUSE_SECONDS = 0.5
LARGEST_BATCH = 1000


class Settler:
    """Group commit: while one batch is being settled the next one gathers."""

    def __init__(
        self, tracker: JobTracker, source: Source, settled: Callable[[list[Delivery], list[Delivery]], None]
    ) -> None:
        self._tracker = tracker
        self._source = source
        self._settled = settled  # told of the deliveries that have left our hands, and which of them were processed
        self._waiting: list[tuple[Delivery, Outcome]] = []
        self._wake = asyncio.Event()
        self._tried_at: float | None = None  # time.monotonic() of the last step of a batch that is under way

    def stuck(self, now: float, patience: float) -> bool:
        """Return whether a step has not come back for so long, not even with an error."""
        return self._tried_at is not None and now - self._tried_at > patience

    def put(self, delivery: Delivery, outcome: Outcome) -> None:
        """Hand over an outcome."""
        self._waiting.append((delivery, outcome))
        self._wake.set()

    async def run(self) -> None:
        """Settle until cancelled. Outcomes wait while PostgreSQL is away; their leases are renewed meanwhile."""
        while True:
            await self._wake.wait()
            batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
            if not self._waiting:
                self._wake.clear()
            if batch and not await self._try(batch):
                self._waiting[:0] = batch
                self._wake.set()
                await asyncio.sleep(PAUSE_SECONDS)

    async def _try(self, batch: list[tuple[Delivery, Outcome]]) -> bool:
        self._tried_at = time.monotonic()
        try:
            return await self._settle(batch)
        finally:
            self._tried_at = None

    async def _settle(self, batch: list[tuple[Delivery, Outcome]]) -> bool:
        try:
            settled = await self._tracker.settle(batch)
        except DependencyError as error:
            log.warning("cannot settle; will try again", extra={"chunks": len(batch), "error": str(error)})
            return False
        self._tried_at = time.monotonic()
        try:
            await self._tell_source(settled.accepted, settled.ended)
        except DependencyError as error:
            # The ledger has it: the entry comes back after its lease and is then found to have ended.
            log.warning("source not told of settled chunks", extra={"chunks": len(batch), "error": str(error)})
        processed = [delivery for delivery, outcome in settled.accepted if outcome.verdict is Verdict.PROCESSED]
        self._settled([delivery for delivery, _ in batch], processed)
        return True

    async def _tell_source(self, accepted: Sequence[tuple[Delivery, Outcome]], ended: Sequence[Delivery]) -> None:
        for delivery, outcome in accepted:
            if outcome.result is not None:
                delivery.result = outcome.result
            delivery.reason = outcome.reason if outcome.verdict is Verdict.RETRY else ""
        done = [*ended, *(d for d, o in accepted if o.verdict is Verdict.PROCESSED)]
        if done:
            await self._source.ack(done)
        if len(done) == len(accepted) + len(ended):
            return
        if again := [(d, o.delay_seconds) for d, o in accepted if _comes_back_later(o)]:
            await self._source.retry(again)
        if dead := [(d, o.reason) for d, o in accepted if o.verdict is Verdict.FAILED]:
            await self._source.bury(dead)
        if back := [d for d, o in accepted if o.verdict is Verdict.RELEASE and not o.delay_seconds]:
            await self._source.release(back)


def _comes_back_later(outcome: Outcome) -> bool:
    return outcome.verdict is Verdict.RETRY or (outcome.verdict is Verdict.RELEASE and outcome.delay_seconds > 0)
