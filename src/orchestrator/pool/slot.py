"""A slot: one consumer that reads only for its free room, and runs what it reads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from orchestrator.deliveries import Delivery, Outcome
from orchestrator.errors import DependencyError
from orchestrator.handlers.base import Context, Handler
from orchestrator.pool.held import Held
from orchestrator.pool.outcome import RetryPolicy, done, failed, poison
from orchestrator.pool.settler import Settler
from orchestrator.sources.base import Source
from orchestrator.tracker.tracker import JobTracker

log = logging.getLogger("orchestrator.workers")

PAUSE_SECONDS = 1.0


class Slot:
    """Holds at most `batch` deliveries; ends by itself after `max_tasks` chunks, with nothing in its hands."""

    def __init__(
        self,
        consumer: str,
        *,
        source: Source,
        tracker: JobTracker,
        handler: Handler,
        settler: Settler,
        policy: RetryPolicy,
        batch: int,
        read_block_seconds: float,
        lease_seconds: float,
        max_tasks: int,
    ) -> None:
        self.consumer = consumer
        self.held: dict[tuple[str, str], Held] = {}
        self.tasks_processed = 0
        self.ticked = time.monotonic()
        self._source = source
        self._tracker = tracker
        self._handler = handler
        self._settler = settler
        self._policy = policy
        self._batch = batch
        self._block = read_block_seconds
        self._recover_interval = min(1.0, lease_seconds / 4)
        self._recover_at = 0.0
        self._max_tasks = max_tasks
        self._changed = asyncio.Event()
        self._stopping = False

    @property
    def room(self) -> int:
        """Return how many deliveries it can still take; 0 when it stops or has done its share."""
        if self._stopping:
            return 0
        room = self._batch - len(self.held)
        if self._max_tasks:
            room = min(room, self._max_tasks - self.tasks_processed - len(self.held))
        return room

    @property
    def stopping(self) -> bool:
        """Return whether it reads no more."""
        return self._stopping

    def stop(self) -> None:
        """Read no more; `run` returns when nothing is held."""
        self._stopping = True
        self._changed.set()

    async def emptied(self) -> None:
        """Stop, and wait until nothing is held."""
        self.stop()
        while self.held:
            self._changed.clear()
            await self._changed.wait()

    def forget(self, delivery: Delivery) -> None:
        """A delivery of ours was settled."""
        if self.held.pop(delivery.key, None) is not None:
            self.tasks_processed += 1
        self._changed.set()

    async def run(self) -> None:
        """Read and run until stopped or `max_tasks` chunks are done; returns with empty hands."""
        while not self._finished():
            self.ticked = time.monotonic()
            if self.room <= 0:
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                await self._read()
            except DependencyError as error:
                log.warning("cannot read; will try again", extra={"consumer": self.consumer, "error": str(error)})
                await self._pause()

    async def _read(self) -> None:
        """Take over what dead workers left, and let due retries back onto the queue; then read what is new."""
        if time.monotonic() >= self._recover_at:
            self._recover_at = time.monotonic() + self._recover_interval
            await self.accept(await self._source.recover(self.consumer, self.room))
        if self.room > 0:
            await self.accept(await self._source.claim(self.consumer, self.room, self._block))

    def _finished(self) -> bool:
        spent = bool(self._max_tasks) and self.tasks_processed >= self._max_tasks
        return (self._stopping or spent) and not self.held

    async def _pause(self) -> None:
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PAUSE_SECONDS):
                await self._changed.wait()

    async def accept(self, deliveries: Sequence[Delivery]) -> None:
        """Begin what the source gave us. What comes while we stop goes back untouched. Raises DependencyError."""
        if not deliveries:
            return
        if self._stopping:
            await self._source.release(deliveries)
            return
        begun = await self._tracker.begin(self.consumer, deliveries)
        for delivery in begun.taken:
            self._start(delivery)
        if begun.ended:
            await self._source.ack(begun.ended)
        if begun.wrong:
            log.warning("entries buried", extra={"entries": len(begun.wrong), "reason": begun.wrong[0][1]})
            await self._source.bury(begun.wrong)

    def _start(self, delivery: Delivery) -> None:
        held = self.held[delivery.key] = Held(delivery)
        dead = poison(delivery, self._policy)
        if dead is not None:
            self._finish(held, dead)
        else:
            held.task = asyncio.create_task(self._work(held), name=f"{self.consumer} {delivery.chunk_id}")

    async def _work(self, held: Held) -> None:
        timer = asyncio.timeout(self._policy.timeout_seconds)
        try:
            async with timer:
                result = await self._handler(held.delivery, Context(step=held.say))
            outcome = done(result)
        except (Exception, asyncio.CancelledError) as error:
            outcome = failed(error, held.delivery, self._policy, timed_out=timer.expired())
        self._finish(held, outcome)

    def _finish(self, held: Held, outcome: Outcome) -> None:
        held.task = None
        held.step = "settling"
        if outcome.reason:
            extra = {"job_id": held.delivery.job_id, "chunk_id": held.delivery.chunk_id, "reason": outcome.reason}
            log.warning("chunk not processed", extra={**extra, "outcome": outcome.verdict.value})
        self._settler.put(held.delivery, outcome)
