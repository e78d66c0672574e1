"""Keep the leases of what is held, and find out what is no longer ours."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from orchestrator.errors import DependencyError
from orchestrator.jobs import ChunkStatus
from orchestrator.pool.held import Held
from orchestrator.sources.base import Progress, Source
from orchestrator.tracker.tracker import JobTracker

log = logging.getLogger("orchestrator.workers")

Act = Callable[[], Awaitable[None]]
LEDGER_CHECK_SECONDS = 1.0
"""How often the ledger is asked: a cancelled job's handlers stop within twice this."""


class Leases:
    """Renews at the source each heartbeat; asks the ledger each second. The ledger's word ends a handler."""

    def __init__(
        self, source: Source, tracker: JobTracker, held: Callable[[], Sequence[Held]], *, heartbeat_seconds: float
    ) -> None:
        self._source = source
        self._tracker = tracker
        self._held = held
        self._shown: dict[tuple[str, str], str] = {}  # the step of each delivery that the queue shows
        look_seconds = min(LEDGER_CHECK_SECONDS, heartbeat_seconds)
        self._acts: dict[Act, float] = {
            self._renew: heartbeat_seconds,
            self._check: look_seconds,
            self._show: look_seconds,
        }
        self._ticked = dict.fromkeys(self._acts, math.inf)  # not begun

    @property
    def ticked(self) -> float:
        """When the loop that has gone on least began its last round."""
        return min(self._ticked.values())

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is to run until cancelled, each by itself: PostgreSQL may be silent and the source be there."""
        return [self._keep(act, seconds) for act, seconds in self._acts.items()]

    async def _keep(self, act: Act, seconds: float) -> None:
        while True:
            self._ticked[act] = time.monotonic()
            await asyncio.sleep(seconds)
            try:
                await act()
            except DependencyError as error:
                log.warning("leases not checked; will try again", extra={"error": str(error)})

    async def _renew(self) -> None:
        """Renew at the source. A lease lost there ends a handler only if the queue is not ours.

        Our own may have been flushed, and the ledger knows better; of another's the queue itself knows best.
        """
        held = {h.delivery.key: h for h in self._held()}
        if not held or not (lost := await self._source.renew([h.delivery for h in held.values()])):
            return
        log.info("leases gone at the source", extra={"chunks": len(lost)})
        if not self._tracker.foreign:
            return
        if cancelled := [d for d in lost if d.ended_as is ChunkStatus.CANCELLED]:
            await self._tracker.cancelled(cancelled)
        for delivery in lost:
            held[delivery.key].interrupt()

    async def _check(self) -> None:
        running = [h for h in self._held() if h.task is not None]
        if not running:
            return
        # not by key: we may have a chunk twice, and one of the two is ours
        lost = {id(delivery) for delivery in await self._tracker.leases_lost([h.delivery for h in running])}
        for held in running:
            if id(held.delivery) in lost:
                held.interrupt()

    async def _show(self) -> None:
        """Tell a queue that can show it which step each delivery is at, as far as that has changed."""
        if not isinstance(self._source, Progress):
            return
        held = {h.delivery.key: h for h in self._held() if h.task is not None and h.doing}
        steps = {key: h.doing for key, h in held.items()}
        if new := [(held[key].delivery, step) for key, step in steps.items() if self._shown.get(key) != step]:
            await self._source.progress(new)
        self._shown = steps
