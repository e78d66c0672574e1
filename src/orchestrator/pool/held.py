"""What a slot has in its hands."""

from __future__ import annotations

import asyncio
import time

from orchestrator.deliveries import Delivery
from orchestrator.handlers.base import Context


class Held(Context):
    """A delivery at work: claimed in the ledger, its handler running or its outcome about to be settled."""

    __slots__ = ("delivery", "since", "task", "timed_out_at", "waits")

    def __init__(self, delivery: Delivery, since: float) -> None:
        super().__init__()
        self.delivery = delivery
        self.since = since  # time.monotonic() of its start
        self.task: asyncio.Task[None] | None = None
        self.timed_out_at: float | None = None  # time.monotonic() of when it was first told to end
        self.waits = False  # in quarantine, for its turn

    @property
    def timed_out(self) -> bool:
        """Return whether it took too long."""
        return self.timed_out_at is not None

    def runs_on(self, now: float, patience: float) -> bool:
        """Return whether its handler still runs, though it was told to end so long ago."""
        return self.task is not None and self.timed_out_at is not None and now - self.timed_out_at > patience

    def interrupt(self) -> None:
        """Cancel the handler, if it still runs."""
        if self.task is not None:
            self.task.cancel()

    def time_out(self) -> None:
        """Cancel the handler for it takes too long."""
        if self.timed_out_at is None:
            self.timed_out_at = time.monotonic()
        self.interrupt()
