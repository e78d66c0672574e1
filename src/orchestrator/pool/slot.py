"""A slot: one consumer, and what it has in its hands."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from orchestrator.deliveries import Delivery, Outcome, Verdict
from orchestrator.handlers.base import Handler
from orchestrator.pool.held import Held
from orchestrator.pool.outcome import RetryPolicy, done, failed, suspect, unfit
from orchestrator.pool.quarantine import Quarantine

log = logging.getLogger("orchestrator.workers")

BACK = Outcome(Verdict.RELEASE, ran=False)
Finish = Callable[[Delivery, Outcome], None]
"""Told of a delivery whose run has ended: it is to be settled."""


class Slot:
    """Runs at most `batch` deliveries at a time, and as many more may wait for their settle; ends after `max_tasks`."""

    def __init__(
        self,
        consumer: str,
        *,
        handler: Handler,
        finish: Finish,
        policy: RetryPolicy,
        quarantine: Quarantine,
        batch: int,
        max_tasks: int,
    ) -> None:
        self.consumer = consumer
        self.held: dict[tuple[str, str], Held] = {}
        self.tasks_processed = 0
        self._handler = handler
        self._finish_with = finish
        self._policy = policy
        self._quarantine = quarantine
        self._batch = batch
        self._max_tasks = max_tasks
        self._running = 0
        self._stopping = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def room(self) -> int:
        """Return how many deliveries it can still take; 0 when it stops, has done its share, or a suspect is held."""
        if self._stopping or self._quarantine.closed:
            return 0
        room = min(self._batch - self._running, 2 * self._batch - len(self.held))
        if self._max_tasks:
            room = min(room, self._max_tasks - self.tasks_processed - len(self.held))
        return room

    @property
    def spent(self) -> bool:
        """Return whether it has done its share and holds nothing: another one shall take its place."""
        return bool(self._max_tasks) and self.tasks_processed >= self._max_tasks and not self.held

    def stop(self) -> None:
        """Take no more."""
        self._stopping = True

    async def emptied(self) -> None:
        """Wait until nothing is held."""
        await self._empty.wait()

    def start(self, deliveries: Iterable[Delivery]) -> None:
        """Run what was claimed for this slot."""
        now = time.monotonic()
        self._empty.clear()
        for delivery in deliveries:
            former = self.held.get(delivery.key)
            if former is not None:  # its chunk was dispatched again, and came to us again
                former.interrupt()
            held = self.held[delivery.key] = Held(delivery, now)
            if (dead := unfit(delivery, self._policy)) is not None:
                self._finish(held, dead)
            elif suspect(delivery, self._policy) and not self._quarantine.admit(held):
                self._finish(held, BACK)
            else:
                self._run(held)

    def forget(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Deliveries were settled; return those that are not in our hands."""
        others = [d for d in deliveries if not self._let_go(d)]
        self.tasks_processed += len(deliveries) - len(others)
        if not self.held:
            self._empty.set()
        return others

    def _let_go(self, delivery: Delivery) -> bool:
        held = self.held.get(delivery.key)
        if held is None or held.delivery is not delivery:
            return False
        del self.held[delivery.key]
        return True

    def adopt(self, delivery: Delivery) -> bool:
        """Return whether we are at work on this very entry: then it is ours as it was delivered last."""
        held = self.held.get(delivery.key)
        if held is None or held.delivery.receipt != delivery.receipt:
            return False
        held.delivery.consumer, held.delivery.handle = delivery.consumer, delivery.handle
        return True

    def _run(self, held: Held) -> None:
        held.since = time.monotonic()
        self._running += 1
        held.task = asyncio.get_running_loop().create_task(self._work(held))

    async def _work(self, held: Held) -> None:
        try:
            if held.waits and not await self._quarantine.turn(held):
                outcome = BACK
            else:
                outcome = done(await self._handler(held.delivery, held), held.used)
        except (Exception, asyncio.CancelledError) as error:
            outcome = failed(error, held.delivery, self._policy, timed_out=held.timed_out, usage=held.used)
        self._running -= 1
        self._finish(held, outcome)

    def _finish(self, held: Held, outcome: Outcome) -> None:
        held.task = None
        held.doing = "settling"
        if outcome.reason:
            extra = {"job_id": held.delivery.job_id, "chunk_id": held.delivery.chunk_id, "reason": outcome.reason}
            log.warning("chunk not processed", extra={**extra, "outcome": outcome.verdict.value})
        self._finish_with(held.delivery, outcome)
