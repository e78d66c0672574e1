"""The clock of a queue's server, for times that others will read there: a host's own may be wrong by days."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable

ASK_SECONDS = 10.0
"""So often the server is asked again: two monotonic clocks do not drift apart in that time."""
LONGEST_SECONDS = 1.0
"""An answer that took longer says little of when the server gave it: it is asked again at the next use."""


class ServerClock:
    """Knows how far the server is ahead of our monotonic clock, which nobody can set."""

    def __init__(self, ask: Callable[[], Awaitable[float]]) -> None:
        """`ask` returns the server's seconds since the epoch."""
        self._ask = ask
        self._asked = -math.inf
        self._ahead = 0.0

    async def now(self) -> float:
        """Return the server's seconds since the epoch. Raises what asking it raises."""
        begin = time.monotonic()
        if begin - self._asked > ASK_SECONDS:
            told = await self._ask()
            end = time.monotonic()
            self._asked = end if end - begin <= LONGEST_SECONDS else -math.inf
            self._ahead = told - (begin + end) / 2
        return time.monotonic() + self._ahead
