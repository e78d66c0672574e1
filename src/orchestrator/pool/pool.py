"""The pool: the slots of one process, from the first read to the end of the drain."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from orchestrator import keys
from orchestrator.deliveries import Delivery
from orchestrator.errors import DependencyError
from orchestrator.handlers.base import Handler
from orchestrator.ledger.workers import Pulse
from orchestrator.pool.held import Held
from orchestrator.pool.leases import Leases
from orchestrator.pool.meter import Meter
from orchestrator.pool.outcome import RetryPolicy
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
        self._slots = {consumer: self._slot(consumer) for consumer in self.consumers}
        self._meters = {consumer: Meter() for consumer in self.consumers}
        self._leases = Leases(source, tracker, self.held, heartbeat_seconds=settings.heartbeat_seconds)
        self._stop = asyncio.Event()
        self.drained_in: float | None = None

    def held(self) -> list[Held]:
        """Return everything in the hands of the slots."""
        return [h for slot in self._slots.values() for h in slot.held.values()]

    def stop(self) -> None:
        """Begin the drain; a second call changes nothing (X-04)."""
        if not self._stop.is_set():
            log.info("draining", extra={"held": len(self.held())})
        self._stop.set()
        for slot in self._slots.values():
            slot.stop()

    async def run(self) -> None:
        """Work until `stop`, then drain: wait for what is held, at most the grace period, and release the rest."""
        await self._source.open(self.consumers)
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(self._keep(consumer)) for consumer in self.consumers]
            helpers = [group.create_task(act) for act in (self._settler.run(), self._leases.run(), self._refresh())]
            await self._stop.wait()
            await self._drain(keepers)
            await end((*keepers, *helpers))
        await self._tracker.refresh()

    async def _drain(self, keepers: list[asyncio.Task[None]]) -> None:
        started = time.monotonic()
        _, late = await asyncio.wait(keepers, timeout=self.settings.grace_period_seconds)
        if late:
            log.warning("grace period over: releasing", extra={"held": len(self.held())})
            await end(h.task for h in self.held() if h.task is not None)
            await asyncio.wait(keepers, timeout=FINAL_FLUSH_SECONDS)
        self.drained_in = time.monotonic() - started

    async def _keep(self, consumer: str) -> None:
        """Run a slot; a new one takes its place when it has done its share, or broke (X-01, X-09)."""
        while not self._stop.is_set():
            slot = self._slots[consumer] = self._slot(consumer)
            self._announce("started", consumer, 0)
            try:
                await slot.run()
            except Exception:
                log.exception("slot broke; starting it again", extra={"consumer": consumer})
                await slot.emptied()
                await asyncio.sleep(RESTART_PAUSE_SECONDS)
            finally:
                self._announce("stopped", consumer, slot.tasks_processed)

    def _slot(self, consumer: str) -> Slot:
        return Slot(
            consumer,
            source=self._source,
            tracker=self._tracker,
            handler=self._handler,
            settler=self._settler,
            policy=self._policy,
            batch=self.settings.batch,
            read_block_seconds=self.settings.read_block_seconds,
            lease_seconds=self.settings.lease_seconds,
            max_tasks=self.settings.max_tasks_per_child,
        )

    def _settled(self, delivery: Delivery) -> None:
        self._meters[delivery.consumer].add()
        self._slots[delivery.consumer].forget(delivery)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(VIEW_SECONDS)
            try:
                await self._tracker.refresh()
            except DependencyError as error:
                log.warning("job views not refreshed", extra={"error": str(error)})

    def pulses(self) -> list[Pulse]:
        """Return what each slot says of itself."""
        return [self._pulse(consumer, slot) for consumer, slot in self._slots.items()]

    def _pulse(self, consumer: str, slot: Slot) -> Pulse:
        meter = self._meters[consumer]
        longest = min(slot.held.values(), key=lambda h: h.since, default=None)
        return Pulse(consumer, meter.total, len(slot.held), meter.per_second(), longest.step if longest else "")

    def alive(self) -> bool:
        """Return whether the loops move: what feeds the watchdog. A slot that is full waits for its handlers."""
        now = time.monotonic()
        patience = max(PATIENCE_SECONDS, 3 * self.settings.heartbeat_seconds)
        slots = all(s.room <= 0 or now - s.ticked < patience for s in self._slots.values())
        return slots and now - self._leases.ticked < patience
