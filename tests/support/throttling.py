"""The gate of a model server that bears so many calls at once, refuses the rest, and remembers how it was used."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Gate:
    """What a provider does to calls: `capacity` at once, each `latency` seconds; the rest get 429."""

    capacity: int
    latency: float = 0.05
    retry_after: float | None = None  # what a 429 says, if anything
    answered: int = 0
    throttled: int = 0
    used: list[int] = field(default_factory=list)  # calls at work as each one began
    _at_work: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def most(self) -> int:
        """Return how many calls were at work at once."""
        return max(self.used, default=0)

    def mean_use(self, last: int) -> float:
        """Return how many calls were at work on average, in the latest so many."""
        latest = self.used[-last:]
        return sum(latest) / len(latest)

    @contextmanager
    def admitted(self) -> Iterator[bool]:
        """Give whether a call is let in; if so, it takes its time."""
        with self._lock:
            admitted = self._at_work < self.capacity
            self.throttled += not admitted
            if admitted:
                self._at_work += 1
                self.used.append(self._at_work)
        try:
            if admitted:
                time.sleep(self.latency)
            yield admitted
        finally:
            if admitted:
                with self._lock:
                    self._at_work -= 1
                    self.answered += 1
