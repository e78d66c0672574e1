"""The clock of a queue's server, for times that others will read there: a host's own may be wrong by days."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable

ASK_SECONDS = 10.0
"""So often the server is asked again: two monotonic clocks do not drift apart in that time."""


class ServerClock:
    """Knows how far the server is ahead of our monotonic clock, which nobody can set."""

    def __init__(self, ask: Callable[[], Awaitable[float]]) -> None:
        """`ask` returns the server's seconds since the epoch."""
        self._ask = ask
        self._asked = -math.inf
        self._ahead = 0.0

    async def now(self) -> float:
        """Return the server's seconds since the epoch. Raises what asking it raises."""
        if time.monotonic() - self._asked > ASK_SECONDS:
            told = await self._ask()
            self._asked = time.monotonic()
            self._ahead = told - self._asked
        return time.monotonic() + self._ahead
