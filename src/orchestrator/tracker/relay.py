"""The relay: takes jobs from the outbox to their stream, fairly and never far ahead. Runs in workers and in the API."""

from __future__ import annotations

import asyncio
import logging
import time

import redis.asyncio as redis

from orchestrator.errors import DependencyError
from orchestrator.ledger import Ledger
from orchestrator.ledger.outbox import Page
from orchestrator.tracker.shares import share
from orchestrator.tracker.streams import Streams
from orchestrator.tracker.window import SOONEST_SECONDS, Window

log = logging.getLogger("orchestrator.relay")

WINDOW = 1000
HUNGRY_SECONDS = 0.005
"""How often a stream is looked at that was found more than half empty: its window has yet to grow."""


class Relay:
    """Publishes references of queued chunks. Any number may run at once: one at a time dispatches a queue."""

    def __init__(self, ledger: Ledger, client: redis.Redis, *, window: int = WINDOW) -> None:
        """`window` is how many entries may lie ahead of the workers, however slow they are."""
        self._ledger = ledger
        self._streams = Streams(client)
        self._least = window
        self._windows: dict[str, Window] = {}

    async def run(self, queue: str, interval_seconds: float) -> None:
        """Keep a queue's stream filled until cancelled; look for work at each interval, sooner while there is more."""
        while True:
            try:
                pause = await self._refill(queue)
            except DependencyError as error:
                log.warning("cannot dispatch; will try again", extra={"queue": queue, "error": str(error)})
                pause = None
            except Exception:
                log.exception("dispatch broke by a bug of ours; trying again", extra={"queue": queue})
                pause = None
            await asyncio.sleep(interval_seconds if pause is None else pause)

    async def fill(self, queue: str, seconds: float) -> None:
        """Keep a queue's stream filled for so long, or until there is nothing more. Raises DependencyError."""
        end = time.monotonic() + seconds
        while True:
            pause = await self._refill(queue)
            if pause is None or time.monotonic() > end:
                return
            await asyncio.sleep(pause)

    async def _refill(self, queue: str) -> float | None:
        """Fill the stream; return how long to wait before the next look, None when there is nothing more.

        It is filled when a quarter of its window has left: a page of a few entries costs nearly as much as a large one.
        """
        hungry = False
        while True:
            depth = await self._streams.look(queue)
            window = self._window(queue)
            size = window.size(depth, time.monotonic())
            hungry = hungry or 2 * depth.waiting < size
            pause = HUNGRY_SECONDS if hungry else window.pause(size)
            if 4 * depth.waiting > 3 * size:
                return pause
            page = await self.page(queue, wait=False)
            if not page.ours:
                return SOONEST_SECONDS
            if not page.more:
                if not page.published:
                    self._windows.pop(queue, None)  # idleness says nothing of how fast the next work is
                return None
            if not page.published:
                return pause

    async def flush(self, queue: str | None = None) -> int:
        """Publish until nothing is left or no room, of one queue or of all; return how many. Raises DependencyError."""
        published = 0
        for name in [queue] if queue else await self._ledger.outbox.queues():
            while (page := await self.page(name)).published:
                published += page.published
                if not page.more:
                    break
        return published

    async def page(self, queue: str, *, wait: bool = True) -> Page:
        """Publish one page at most. Raises DependencyError.

        Whoever has just written a job waits while another one is at this queue, for that one may not have seen it.
        """
        return await self._ledger.outbox.dispatch(
            queue, lambda: self._room(queue), share, self._streams.append, wait=wait
        )

    async def _room(self, queue: str) -> int:
        return self._window(queue).room(await self._streams.look(queue), time.monotonic())

    def _window(self, queue: str) -> Window:
        return self._windows.setdefault(queue, Window(self._least))
