"""Whether a worker's whole queue is held back: then it reads nothing, instead of giving back what it read."""

from __future__ import annotations

from orchestrator.ledger import Ledger


class Hold:
    """What the pauses say of one worker type and its queue, as of the last refresh."""

    def __init__(self, ledger: Ledger, *, worker_type: str, queue: str) -> None:
        self._ledger = ledger
        self._worker_type = worker_type
        self._queue = queue
        self._held = False

    def __call__(self) -> bool:
        """Return whether nothing shall be read."""
        return self._held

    async def refresh(self) -> None:
        """Ask the ledger. Raises DependencyError, and the last answer stands."""
        self._held = await self._ledger.pauses.holds(self._worker_type, self._queue)
