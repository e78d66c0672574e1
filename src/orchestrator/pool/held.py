"""What a slot has in its hands."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from orchestrator.deliveries import Delivery


@dataclass(slots=True, eq=False)
class Held:
    """A delivery at work: claimed in the ledger, its handler running or its outcome about to be settled."""

    delivery: Delivery
    task: asyncio.Task[None] | None = None
    since: float = field(default_factory=time.monotonic)
    step: str = "starting"

    def say(self, step: str) -> None:
        """Note where the work stands."""
        self.step = step

    def interrupt(self) -> None:
        """Cancel the handler, if it still runs."""
        if self.task is not None:
            self.task.cancel()
