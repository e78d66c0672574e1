"""The gate of a model server that bears so many calls, refuses, queues or hangs, and remembers how it was used."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class Gate:
    """What a provider does to calls: `capacity` at once, each `latency` seconds; the rest get 429."""

    capacity: int
    latency: float = 0.05
    retry_after: float | None = None  # what a 429 says, if anything
    queues: bool = False  # instead of refusing: they wait at the server, and go in the order they came
    hangs: bool = False  # what is let in does not end while this is so
    requests_per_minute: int = 0  # in any minute; 0: no cap
    tokens_per_minute: int = 0
    answered: int = 0
    throttled: int = 0
    used: list[int] = field(default_factory=list)  # calls at work as each one began
    taken: list[tuple[float, int]] = field(default_factory=list)  # when a call was let in, with how many tokens
    refused_at: float = 0.0  # when the last one was not
    _at_work: int = 0
    _queue: list[object] = field(default_factory=list)
    _free: threading.Condition = field(default_factory=threading.Condition)

    @property
    def most(self) -> int:
        """Return how many calls were at work at once."""
        return max(self.used, default=0)

    def mean_use(self, last: int) -> float:
        """Return how many calls were at work on average, in the latest so many."""
        latest = self.used[-last:]
        return sum(latest) / len(latest)

    @contextmanager
    def admitted(self, tokens: int = 0) -> Iterator[bool]:
        """Give whether a call is let in; if so, it takes its time."""
        with self._free:
            turn = object()
            self._queue.append(turn)
            while self.queues and (self._at_work >= self.capacity or self._queue[0] is not turn):
                self._free.wait(0.05)
            self._queue.remove(turn)
            self._free.notify_all()  # there may be room for the next one, too
            admitted = self._at_work < self.capacity and self._within_caps(tokens)
            if admitted:
                self._at_work += 1
                self.used.append(self._at_work)
                self.taken.append((time.monotonic(), tokens))
            else:
                self.throttled += 1
                self.refused_at = time.monotonic()
        try:
            if admitted:
                time.sleep(self.latency)
                while self.hangs:
                    time.sleep(0.02)
            yield admitted
        finally:
            if admitted:
                with self._free:
                    self._at_work -= 1
                    self.answered += 1
                    self._free.notify_all()

    def _within_caps(self, tokens: int) -> bool:
        if not (self.requests_per_minute or self.tokens_per_minute):
            return True
        lately = [t for at, t in self.taken if time.monotonic() - at < WINDOW_SECONDS]
        asked = ((len(lately) + 1, self.requests_per_minute), (sum(lately) + tokens, self.tokens_per_minute))
        return all(not cap or amount <= cap for amount, cap in asked)
