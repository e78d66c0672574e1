"""The reader: fills the free room of all slots, with one read and one claim when there is much to do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence

from orchestrator.deliveries import Delivery
from orchestrator.errors import DependencyError
from orchestrator.pool.slot import Slot
from orchestrator.sources.base import Source
from orchestrator.tracker.tracker import JobTracker

log = logging.getLogger("orchestrator.workers")

PAUSE_SECONDS = 1.0
HOLD_SECONDS = 0.2  # how often a reader that is held back looks whether it still is
LATER_SECONDS = 5.0
"""When a delivery of a paused tenant or job is looked at again, if its queue is not ours."""
RECOVER_SECONDS = 1.0  # how often entries of dead workers and due retries are looked for, at most


class Reader:
    """Reads for slots that have room, and only as much as they have."""

    def __init__(
        self,
        source: Source,
        tracker: JobTracker,
        slots: Callable[[], Mapping[str, Slot]],
        *,
        held_back: Callable[[], bool],
        block_seconds: float,
        lease_seconds: float,
    ) -> None:
        self.ticked = math.inf  # not begun
        self.delivered = 0
        self.obstacle: DependencyError | None = None  # why the last read failed
        self._source = source
        self._tracker = tracker
        self._slots = slots
        self._held_back = held_back
        self._block = block_seconds
        self._recover_interval = min(RECOVER_SECONDS, lease_seconds / 4)
        self._recover_at = 0.0
        self._former = set(slots())  # consumers whose entries of a former life were not looked for yet
        self._turn = 0
        self._changed = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """There may be room again."""
        self._changed.set()

    def stop(self) -> None:
        """Read no more; `run` returns after the read that is under way. What is new in it goes back untouched."""
        self._stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Read until stopped."""
        while not self._stopping:
            self.ticked = time.monotonic()
            rooms = self._rooms()
            if rooms and self._held_back():
                await self._pause(HOLD_SECONDS)
                continue
            if not rooms:
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                await self._read(rooms)
                self.obstacle = None
            except DependencyError as error:
                self.obstacle = error
                log.warning("cannot read; will try again", extra={"error": str(error)})
                await self._pause(PAUSE_SECONDS)

    def _rooms(self) -> dict[str, int]:
        return {name: room for name, slot in self._slots().items() if (room := slot.room) > 0}

    async def _read(self, rooms: Mapping[str, int]) -> None:
        """Take over what dead workers left, and let due retries back onto the queue; then read what is new."""
        former = next((name for name in rooms if name in self._former), None)
        if former is not None:
            await self._take_over(former, rooms[former])
            return
        consumer = self._next(rooms)
        if time.monotonic() >= self._recover_at:
            self._recover_at = time.monotonic() + self._recover_interval
            if await self._take_over(consumer, rooms[consumer]):
                return
        found = await self._source.poll(rooms)
        if not found and not self._stopping:
            found = await self._source.claim(consumer, rooms[consumer], self._block)
        found = self._others(found) if self._tracker.foreign else found
        if self._stopping and found:
            return await self._source.release(found)
        await self._begin(found)

    async def _take_over(self, consumer: str, room: int) -> bool:
        """Begin what others left; return whether there was any.

        What is still in our own hands, as we were slow to renew it, is not begun again. When we stop, nothing is: it
        comes back after its lease. It is not given back, for the ledger may have it at work under this receipt.
        """
        found = await self._source.recover(consumer, room)
        if len(found) < room:
            self._former.discard(consumer)
        others = self._others(found)
        if not self._stopping:
            await self._begin(others)
        return bool(others)

    def _others(self, found: Sequence[Delivery]) -> list[Delivery]:
        """Return what is not in our own hands still."""
        slots = self._slots().values()
        return [d for d in found if not any(slot.adopt(d) for slot in slots)]

    def _next(self, rooms: Mapping[str, int]) -> str:
        """Return a consumer with room, another one each time: work that trickles in goes round."""
        names = sorted(rooms)
        self._turn += 1
        return names[self._turn % len(names)]

    async def _pause(self, seconds: float) -> None:
        """Wait; shorter when told to stop, or when something in our hands has ended."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _begin(self, deliveries: Sequence[Delivery]) -> None:
        """Claim in the ledger what the source gave us, and start it. Raises DependencyError."""
        if not deliveries:
            return
        self.delivered += len(deliveries)
        begun = await self._tracker.begin(deliveries)
        slots = self._slots()
        by_consumer: dict[str, list[Delivery]] = {}
        for delivery in begun.taken:
            by_consumer.setdefault(delivery.consumer, []).append(delivery)
        for consumer, taken in by_consumer.items():
            slots[consumer].start(taken)
        await asyncio.sleep(0)  # what ends at once makes room for one larger read
        if begun.ended:
            await self._source.ack(begun.ended)
        if begun.wrong:
            log.warning("entries buried", extra={"entries": len(begun.wrong), "reason": begun.wrong[0][1]})
            await self._source.bury(begun.wrong)
        if begun.later:
            await self._source.retry([(delivery, LATER_SECONDS) for delivery in begun.later])
