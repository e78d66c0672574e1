"""Follow the event log: one reader of the ledger a process, any number of subscribers, no event missed or repeated.

A seq is taken before its transaction commits, so a lower one may become visible after a higher one. Where a seq is
missing, nothing above it is handed out until the transactions that were writing events when the gap was noticed have
ended; what is missing then was rolled back or deleted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from orchestrator.errors import DependencyError
from orchestrator.events.log import Event, EventLog

log = logging.getLogger("orchestrator.events")

PAGE = 1000
"""Events read from the ledger at once."""
PATIENCE_SECONDS = 1.0
"""Pause after PostgreSQL did not answer."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A missing seq: who may still fill it, and up to which seq the same holds."""

    upto: int
    writers: frozenset[str]


def settled(events: Sequence[Event], watermark: int, void_upto: int) -> int:
    """Return how many leading events have nothing missing below them; up to `void_upto` nothing is missing."""
    expected = watermark + 1
    for index, event in enumerate(events):
        if event.seq != expected and event.seq > void_upto + 1:
            return index
        expected = event.seq + 1
    return len(events)


class Follower:
    """Reads the log while it has subscribers. Every event at or below `watermark` that ever comes has come."""

    def __init__(self, events: EventLog, *, poll_seconds: float = 0.1, queue_size: int = 1000) -> None:
        self.log = events
        self.queue_size = queue_size
        self.watermark = 0
        self._poll_seconds = poll_seconds
        self._void_upto = 0
        self._gap: Gap | None = None
        self._subscriptions: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    @property
    def subscribers(self) -> int:
        """Return how many subscribers there are."""
        return len(self._subscriptions)

    @property
    def running(self) -> bool:
        """Tell whether the log is being read."""
        return self._task is not None

    @property
    def waiting(self) -> bool:
        """Tell whether a missing seq holds events back."""
        return self._gap is not None

    async def subscribe(
        self, last_event_id: int | None = None, *, job_id: str | None = None, tenant: str | None = None
    ) -> Subscription:
        """Return a subscription to events after `last_event_id`, or after now; close it when done.

        An id higher than any in the ledger comes from another life of it and means now. Raises DependencyError when
        PostgreSQL does not answer.
        """
        async with self._starting:
            if self._task is None and not self._closed:
                await self._start()
            position = self.watermark
            if last_event_id is not None:
                known = last_event_id <= self.watermark
                position = last_event_id if known else min(last_event_id, await self.log.watermark())
            subscription = Subscription(self, position, job_id, tenant)
            self._subscriptions.add(subscription)
            if self._task is None and not self._closed:  # the last subscriber left while we asked the ledger
                self._task = asyncio.create_task(self._run())
            if self._closed:
                subscription.close()
            return subscription

    def leave(self, subscription: Subscription) -> None:
        """Take a subscription off; the last one stops the reading."""
        self._subscriptions.discard(subscription)
        if not self._subscriptions and self._task is not None:
            self._task.cancel()
            self._task = None

    def close(self) -> None:
        """End every subscription: its iteration ends after what it already holds."""
        self._closed = True
        for subscription in list(self._subscriptions):
            subscription.close()

    async def _start(self) -> None:
        """Find a watermark: the highest seq, once whoever may hold a lower one has ended."""
        highest = await self.log.watermark()
        writers = await self.log.writers()
        while writers:
            await asyncio.sleep(self._poll_seconds / 4)
            writers &= await self.log.writers()
        self.watermark = self._void_upto = highest
        self._gap = None
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        answered = True
        while True:
            try:
                full = await self._poll()
                answered = True
                await asyncio.sleep(0 if full else self._poll_seconds)
            except DependencyError as error:
                if answered:
                    log.warning("event log cannot be read; streams wait", extra={"error": str(error)})
                answered = False
                await asyncio.sleep(PATIENCE_SECONDS)
            except Exception:
                log.exception("event log cannot be followed; trying again")
                await asyncio.sleep(PATIENCE_SECONDS)

    async def _poll(self) -> bool:
        """Hand out what has settled; return whether there is more to read at once."""
        gap = self._gap
        # Asked before reading: the rows of a writer that has ended by now are seen by the read that follows.
        if gap is not None and not gap.writers & await self.log.writers():
            self._void_upto, self._gap = gap.upto, None
        events = await self.log.after(self.watermark, limit=PAGE)
        count = settled(events, self.watermark, self._void_upto)
        if count:
            self._hand_out(events[:count])
        if count == len(events):
            return count == PAGE
        if self._gap is None:
            self._gap = Gap(events[-1].seq, await self.log.writers())
            return not self._gap.writers
        return False

    def _hand_out(self, events: list[Event]) -> None:
        for subscription in self._subscriptions:
            subscription.offer(events)
        self.watermark = events[-1].seq


class Subscription:
    """Events for one reader: from the ledger up to the watermark, then live; a slow reader goes back to the ledger."""

    def __init__(self, follower: Follower, position: int, job_id: str | None, tenant: str | None) -> None:
        self._follower = follower
        self._position = position  # everything up to here has been handed out, or is not wanted
        self._job_id = job_id
        self._tenant = tenant
        self._queue: deque[Event] = deque()
        self._live = False
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def held(self) -> int:
        """Return how many events wait in memory."""
        return len(self._queue)

    def offer(self, events: Sequence[Event]) -> None:
        """Take live events. Called by the follower before it moves its watermark."""
        if not self._live:
            return
        wanted = [e for e in events if self._wants(e)]
        if len(self._queue) + len(wanted) > self._follower.queue_size:
            self._queue.clear()
            self._live = False
        elif wanted:
            self._queue.extend(wanted)
        elif not self._queue:
            self._position = max(self._position, events[-1].seq)
        if self._queue or not self._live:
            self._wake.set()

    def _wants(self, event: Event) -> bool:
        if self._job_id is not None and event.job_id != self._job_id:
            return False
        return event.seq > self._position and (self._tenant is None or event.tenant == self._tenant)

    async def batch(self) -> list[Event]:
        """Return the next events in order, at least one; none when the subscription has been closed.

        May be cancelled: nothing is lost. Raises DependencyError when it needs the ledger and finds no PostgreSQL.
        """
        while not self._closed:
            if not self._live:
                if events := await self._catch_up():
                    return events
            elif self._queue:
                events = list(self._queue)
                self._queue.clear()
                self._position = events[-1].seq
                return events
            else:
                self._wake.clear()
                await self._wake.wait()
        return []

    async def _catch_up(self) -> list[Event]:
        upto = self._follower.watermark
        events = await self._follower.log.after(
            self._position, upto=upto, job_id=self._job_id, tenant=self._tenant, limit=PAGE
        )
        if len(events) == PAGE:
            self._position = events[-1].seq
        else:
            self._position = max(self._position, upto)
            self._live = self._follower.watermark == upto  # no await since: nothing fell between
        return events

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate over the events until the subscription is closed."""
        while events := await self.batch():
            for event in events:
                yield event

    def close(self) -> None:
        """End the iteration and leave the follower."""
        self._closed = True
        self._wake.set()
        self._follower.leave(self)
