"""Announcements: what slots say of their lives, until the ledger has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from operator import itemgetter

Write = Callable[[str, Sequence[str], Sequence[int]], Awaitable[None]]
"""Write (kind, consumers, tasks_processed of each)."""


class Announcements:
    """Keeps (kind, consumer, tasks_processed) in their order; each is written once."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: list[tuple[str, str, int]] = []
        self._writing: asyncio.Task[None] | None = None

    def add(self, kind: str, consumer: str, tasks_processed: int) -> None:
        """Keep an announcement for the next `tell`."""
        self._waiting.append((kind, consumer, tasks_processed))

    async def tell(self) -> None:
        """Write what waits. Raises what writing raises; what was not written is kept.

        A caller that is cancelled, as the heartbeat is at the end of a drain, does not take with it what is being
        written: nobody would know whether the ledger has it. The next one to tell waits for that first.
        """
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
            self._writing.add_done_callback(_look)
        await asyncio.shield(self._writing)

    async def _write_all(self) -> None:
        while self._waiting:
            kind, alike = next(groupby(self._waiting, key=itemgetter(0)))
            told = list(alike)
            await self._write(kind, [consumer for _, consumer, _ in told], [tasks for *_, tasks in told])
            del self._waiting[: len(told)]


def _look(task: asyncio.Task[None]) -> None:
    """Take note of an error that nobody waits for any more; what was not written is still kept."""
    if not task.cancelled():
        task.exception()
