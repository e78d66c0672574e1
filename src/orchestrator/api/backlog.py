"""How much waits already: the door closes above a bound. Counting looks at every open job: a count is kept a while."""

from __future__ import annotations

import time

from orchestrator.ledger import Ledger

GOOD_SECONDS = 1.0
"""How long a count is good for; what this process took since is added to it, what others took is not."""


class Backlog:
    """The queued chunks of one worker type, at most a second old where they are few enough."""

    def __init__(self, ledger: Ledger, worker_type: str, most: int) -> None:
        self._ledger = ledger
        self._worker_type = worker_type
        self._most = most
        self._chunks = 0
        self._good_until = 0.0

    async def excess(self) -> int:
        """Return how many chunks wait when no more may be taken, else 0. It never refuses on an old count."""
        if self._chunks >= self._most or time.monotonic() >= self._good_until:
            self._chunks = await self._ledger.workers.backlog(self._worker_type)
            self._good_until = time.monotonic() + GOOD_SECONDS
        return self._chunks if self._chunks >= self._most else 0

    def took(self, chunks: int) -> None:
        """Count what was accepted."""
        self._chunks += chunks
