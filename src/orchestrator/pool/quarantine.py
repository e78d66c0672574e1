"""Where a chunk runs that was in the hands of workers when they died: alone, so that it takes no other with it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from orchestrator.errors import DependencyError
from orchestrator.pool.held import Held
from orchestrator.tracker.tracker import JobTracker

log = logging.getLogger("orchestrator.workers")

PAUSE_SECONDS = 0.5


class Quarantine:
    """One suspect at a time. It waits until nothing else is in our hands; until it has ended we read nothing.

    Whoever kills its worker is handed out until it is buried. What is beside it each time would be buried with it.
    While it waits it can kill nobody: its delivery counts from when it is its turn, a death before that is none of its.
    """

    def __init__(self, in_hand: Callable[[], Sequence[Held]], tracker: JobTracker) -> None:
        self._in_hand = in_hand
        self._tracker = tracker
        self._suspect: Held | None = None
        self._decided = asyncio.Event()  # it is alone, or we stop
        self._stopping = False

    @property
    def closed(self) -> bool:
        """Return whether nothing may be read."""
        return self._suspect is not None

    def admit(self, held: Held) -> bool:
        """Take a suspect; False when there is one already: another worker has room for this one, or we have later."""
        if self._suspect is not None or self._stopping:
            return False
        self._suspect = held
        held.waits, held.doing = True, "waiting to run alone"
        self._decided.clear()
        return True

    async def turn(self, held: Held) -> bool:
        """Wait until the suspect is alone; False when we stop before that, or it is no longer ours: it is given back.

        It does not run before its delivery is counted: a chunk that kills whoever runs it would else be run for ever.
        """
        try:
            await self._tracker.count_delivery(held.delivery, False)
        except DependencyError as error:
            log.warning("a suspect's wait counts as a delivery", extra={"error": str(error)})
        self.look()
        await self._decided.wait()
        while True:
            try:
                ours = await self._tracker.count_delivery(held.delivery, True)
                break
            except DependencyError as error:
                log.warning("cannot begin with a suspect; will try again", extra={"error": str(error)})
                await asyncio.sleep(PAUSE_SECONDS)
        held.waits, held.doing, held.since = False, "", time.monotonic()
        return ours and not self._stopping

    def look(self) -> None:
        """Something has left our hands: it is the suspect's turn when it is alone; open again when it is gone."""
        if self._suspect is None:
            return
        held = self._in_hand()
        if not any(h is self._suspect for h in held):
            self._suspect = None
        elif len(held) == 1:
            self._decided.set()

    def stop(self) -> None:
        """Begin none any more; let the one go that waits."""
        self._stopping = True
        self._decided.set()
