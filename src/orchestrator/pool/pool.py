"""The pool: the slots of one process, from the first read to the end of the drain."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from orchestrator import keys
from orchestrator.deliveries import Delivery, Outcome
from orchestrator.errors import DependencyError
from orchestrator.handlers.base import Handler
from orchestrator.ledger.workers import Pulse
from orchestrator.pool.hearing import Hearing
from orchestrator.pool.held import Held
from orchestrator.pool.leases import Leases
from orchestrator.pool.meter import Meter
from orchestrator.pool.outcome import RetryPolicy
from orchestrator.pool.quarantine import Quarantine
from orchestrator.pool.reader import Reader
from orchestrator.pool.settler import Settler
from orchestrator.pool.slot import Slot
from orchestrator.settings import WorkerTypeSettings
from orchestrator.sources.base import Source
from orchestrator.tasks import end
from orchestrator.tracker.tracker import JobTracker

log = logging.getLogger("orchestrator.workers")

VIEW_SECONDS = 0.25
FINAL_FLUSH_SECONDS = 5.0
RESTART_PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 60.0  # longer than a statement may hang: PostgreSQL being slow is no reason to be killed

Announce = Callable[[str, str, int], None]
"""Tell the world (kind, consumer, tasks_processed): a slot started or stopped."""


class Pool:
    """N slots over one source and one handler. Knows neither the backend nor the work."""

    def __init__(
        self,
        settings: WorkerTypeSettings,
        *,
        host: str,
        source: Source,
        tracker: JobTracker,
        handler: Handler,
        announce: Announce = lambda kind, consumer, tasks: None,
        held_back: Callable[[], bool] = lambda: False,
    ) -> None:
        self.settings = settings
        self.consumers = [keys.consumer(host, settings.name, n) for n in range(settings.size)]
        self._source = source
        self._tracker = tracker
        self._handler = handler
        self._announce = announce
        self._policy = RetryPolicy(
            attempts=settings.retry_attempts,
            max_deliveries=settings.max_deliveries,
            backoff_base_seconds=settings.backoff_base_seconds,
            backoff_cap_seconds=settings.backoff_cap_seconds,
            timeout_seconds=settings.timeout_seconds,
        )
        self._settler = Settler(tracker, source, self._settled)
        self._quarantine = Quarantine(self.held, tracker)
        self._slots = {consumer: self._slot(consumer) for consumer in self.consumers}
        self._reader = Reader(
            source,
            tracker,
            lambda: self._slots,
            held_back=held_back,
            block_seconds=settings.read_block_seconds,
            lease_seconds=settings.lease_seconds,
        )
        self._meters = {consumer: Meter() for consumer in self.consumers}
        self._leases = Leases(source, tracker, self.held, heartbeat_seconds=settings.heartbeat_seconds)
        self._hearing = Hearing()
        self._held_back = held_back
        self._stop = asyncio.Event()
        self.drained_in: float | None = None

    def held(self) -> list[Held]:
        """Return everything in the hands of the slots."""
        return [h for slot in self._slots.values() for h in slot.held.values()]

    @property
    def obstacle(self) -> DependencyError | None:
        """What keeps us from reading, as long as it does."""
        return self._reader.obstacle

    def stop(self) -> None:
        """Begin the drain; a second call changes nothing (X-04)."""
        if not self._stop.is_set():
            log.info("draining", extra={"held": len(self.held())})
        self._stop.set()
        self._reader.stop()
        self._quarantine.stop()
        for slot in self._slots.values():
            slot.stop()

    async def open(self) -> None:
        """Register the consumers; before `run`, and again until it succeeds. Raises DependencyError."""
        await self._source.open(self.consumers)

    async def run(self) -> None:
        """Work until `stop`, then drain: wait for what is held, at most the grace period, and release the rest."""
        for consumer in self.consumers:
            self._announce("started", consumer, 0)
        async with asyncio.TaskGroup() as group:
            acts = (self._settler.run(), *self._leases.loops(), self._refresh(), self._watch_times())
            helpers = [group.create_task(act) for act in acts]
            reading = group.create_task(self._keep_reading())
            await self._stop.wait()
            await self._drain(reading)
            await end((reading, *helpers))
        for consumer, slot in self._slots.items():
            self._announce("stopped", consumer, slot.tasks_processed)
        await self._tracker.refresh()

    async def _drain(self, reading: asyncio.Task[None]) -> None:
        started = time.monotonic()
        emptied = asyncio.create_task(self._emptied(reading))
        _, late = await asyncio.wait([emptied], timeout=self.settings.grace_period_seconds)
        if late:
            log.warning("grace period over: releasing", extra={"held": len(self.held())})
            await end(h.task for h in self.held() if h.task is not None)
            await asyncio.wait([emptied], timeout=FINAL_FLUSH_SECONDS)
        await end([emptied])
        self.drained_in = time.monotonic() - started

    async def _emptied(self, reading: asyncio.Task[None]) -> None:
        """Wait until the last read is done and nothing is held."""
        await asyncio.wait([reading])
        for slot in self._slots.values():
            await slot.emptied()

    async def _keep_reading(self) -> None:
        """Read; when that breaks, begin again (X-09): what was read and not begun comes back after its lease."""
        while not self._stop.is_set():
            try:
                await self._reader.run()
            except Exception:
                log.exception("reading broke; starting it again")
                await asyncio.sleep(RESTART_PAUSE_SECONDS)

    async def _watch_times(self) -> None:
        """Interrupt handlers that take too long. One loop for all: a timer each would cost more than they do.

        While the process was stopped nobody could work: that time is not theirs.
        """
        limit = self.settings.timeout_seconds
        pause = min(1.0, limit / 4)
        while True:
            before = time.monotonic()
            await asyncio.sleep(pause)
            now = time.monotonic()
            stopped = now - before - pause
            for held in self.held():
                if stopped > pause:
                    held.since += stopped
                if held.task is not None and not held.waits and held.since < now - limit:
                    held.time_out()

    def _slot(self, consumer: str) -> Slot:
        return Slot(
            consumer,
            handler=self._handler,
            finish=self._finish,
            policy=self._policy,
            quarantine=self._quarantine,
            batch=self.settings.batch,
            max_tasks=self.settings.max_tasks_per_child,
        )

    def _finish(self, delivery: Delivery, outcome: Outcome) -> None:
        self._settler.put(delivery, outcome)
        self._reader.wake()

    def _settled(self, deliveries: list[Delivery], processed: list[Delivery]) -> None:
        """Let go of what was settled; a slot that has done its share is followed by a new one (X-01)."""
        for consumer, count in Counter(d.consumer for d in processed).items():
            self._meters[consumer].add(count)
        by_consumer: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            by_consumer.setdefault(delivery.consumer, []).append(delivery)
        for consumer, mine in by_consumer.items():
            if adopted := self._slots[consumer].forget(mine):  # begun under the name of another slot of ours
                for slot in self._slots.values():
                    adopted = slot.forget(adopted)
        for consumer, slot in self._slots.items():
            if slot.spent and not self._stop.is_set():
                self._announce("stopped", consumer, slot.tasks_processed)
                self._slots[consumer] = self._slot(consumer)
                self._announce("started", consumer, 0)
        self._quarantine.look()
        self._reader.wake()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(VIEW_SECONDS)
            try:
                await self._tracker.refresh()
            except DependencyError as error:
                log.warning("job views not refreshed", extra={"error": str(error)})

    def hears(self, waiting: int) -> bool:
        """Return False when the pool is deaf; ask at regular intervals, with how many entries wait to be read."""
        room = 0 if self._held_back() else sum(slot.room for slot in self._slots.values())
        return not self._hearing.deaf(waiting=waiting, room=room, delivered=self._reader.delivered)

    def pulses(self) -> list[Pulse]:
        """Return what each slot says of itself."""
        return [self._pulse(consumer, slot) for consumer, slot in self._slots.items()]

    def _pulse(self, consumer: str, slot: Slot) -> Pulse:
        meter = self._meters[consumer]
        longest = min(slot.held.values(), key=lambda h: h.since, default=None)
        step = (longest.doing, longest.delivery.job_id) if longest else ("", "")
        return Pulse(consumer, meter.total, len(slot.held), meter.per_second(), *step)

    def alive(self) -> bool:
        """Return whether everything moves: what feeds the watchdog."""
        return not self.standing()

    def standing(self) -> list[str]:
        """Return what does not move. While all slots are full the reader has to wait.

        A handler may take its time, but not go on when that is over.
        """
        now = time.monotonic()
        patience = max(PATIENCE_SECONDS, 3 * self.settings.heartbeat_seconds)
        found = {
            "the reader": now - self._reader.ticked > patience and any(s.room > 0 for s in self._slots.values()),
            "the leases": now - self._leases.ticked > patience,
            "the settler": self._settler.stuck(now, patience),
            "runs that ignore their end": any(h.runs_on(now, patience) for h in self.held()),
        }
        return [what for what, stands in found.items() if stands]
