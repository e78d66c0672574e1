"""Where a chunk runs that was in the hands of workers when they died: alone, so that it takes no other with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from orchestrator.pool.held import Held

Act = Callable[[Held], None]


class Quarantine:
    """One suspect at a time. It waits until nothing else is in our hands; until it has ended we read nothing.

    Whoever kills its worker is handed out until it is buried. What is beside it each time would be buried with it.
    """

    def __init__(self, in_hand: Callable[[], Sequence[Held]]) -> None:
        self._in_hand = in_hand
        self._suspect: Held | None = None
        self._run: Act
        self._release: Act
        self._stopping = False

    @property
    def closed(self) -> bool:
        """Return whether nothing may be read."""
        return self._suspect is not None

    def offer(self, held: Held, *, run: Act, release: Act) -> None:
        """Take a suspect; when there is one already the other goes back: another worker has room, or we have later."""
        if self._suspect is not None or self._stopping:
            release(held)
            return
        self._suspect, self._run, self._release = held, run, release
        asyncio.get_running_loop().call_soon(self.look)  # when all that came with it is in our hands

    def look(self) -> None:
        """Something has left our hands: run the suspect when it is alone; open again when it is gone."""
        if self._suspect is None:
            return
        held = self._in_hand()
        if not any(h is self._suspect for h in held):
            self._suspect = None
        elif len(held) == 1 and self._suspect.waits and not self._stopping:
            self._suspect.waits = False
            self._run(self._suspect)

    def stop(self) -> None:
        """Begin none any more; let the one go that waits."""
        self._stopping = True
        if self._suspect is not None and self._suspect.waits:
            self._suspect.waits = False
            self._release(self._suspect)
