"""How fast: chunks a second over the last minute (E-28; X-10 had a constant zero)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0


class Meter:
    """Counts what was processed, by second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: deque[tuple[int, int]] = deque()
        self._born = clock()
        self.total = 0

    def add(self, count: int = 1) -> None:
        """Count `count` chunks as processed now."""
        self.total += count
        second = int(self._clock())
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + count)
        else:
            self._seconds.append((second, count))
        self._forget()

    def per_second(self) -> float:
        """Return the mean over the last minute, or over our life when that is shorter."""
        self._forget()
        lived = min(WINDOW_SECONDS, max(1.0, self._clock() - self._born))
        return round(sum(n for _, n in self._seconds) / lived, 2)

    def _forget(self) -> None:
        oldest = self._clock() - WINDOW_SECONDS
        while self._seconds and self._seconds[0][0] < oldest:
            self._seconds.popleft()
