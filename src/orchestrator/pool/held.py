"""What a slot has in its hands."""

from __future__ import annotations

import asyncio

from orchestrator.deliveries import Delivery
from orchestrator.handlers.base import Context


class Held(Context):
    """A delivery at work: claimed in the ledger, its handler running or its outcome about to be settled."""

    __slots__ = ("delivery", "since", "task", "timed_out", "waits")

    def __init__(self, delivery: Delivery, since: float) -> None:
        super().__init__()
        self.delivery = delivery
        self.since = since  # time.monotonic() of its start
        self.task: asyncio.Task[None] | None = None
        self.timed_out = False
        self.waits = False  # in quarantine, for its turn

    def interrupt(self) -> None:
        """Cancel the handler, if it still runs."""
        if self.task is not None:
            self.task.cancel()

    def time_out(self) -> None:
        """Cancel the handler for it takes too long."""
        self.timed_out = True
        self.interrupt()
