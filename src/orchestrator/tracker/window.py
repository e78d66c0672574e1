"""How far a stream may run ahead of its workers: short enough to be overtaken, long enough that nobody waits. Pure."""

from __future__ import annotations

from collections import deque

from orchestrator.tracker.streams import Depth

SECONDS = 2.0
"""Of work that lie ready: what is submitted later, and goes first, waits that long."""
SOONEST_SECONDS = 0.05
"""How often a full stream is looked at while there is more for it: a fraction of what its window holds."""
LATEST_SECONDS = 0.5  # the same, of work that has long been slow
WATCHED_SECONDS = SECONDS / 2  # what was watched for less time says little of how fast work is
DELAYED_MOST = 10_000
"""Retries that wait in Redis; with more, nothing new is dispatched: memory is bounded whatever fails."""


class Window:
    """The window of one queue: as many entries as leave it within two seconds, and never fewer than `least`.

    The rate is that of the last two seconds, or of as much of them as was watched: work that has just begun is not
    dispatched in crumbs until its window has grown. Entries in workers' hands are no part of it.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self._seen: deque[tuple[float, int]] = deque()  # (time, entries that had left)

    def size(self, depth: Depth, now: float) -> int:
        """Return how many entries may wait to be read."""
        if self._seen and depth.left < self._seen[-1][1]:
            self._seen.clear()  # Redis was emptied: it counts from the start
        self._seen.append((now, depth.left))
        while self._seen[0][0] < now - SECONDS:
            self._seen.popleft()
        began, first = self._seen[0]
        return max(self._least, round((depth.left - first) * SECONDS / max(now - began, WATCHED_SECONDS)))

    def pause(self, size: int) -> float:
        """Return how long to wait before a full stream is looked at again: until a quarter of it will have left.

        That is known of work that was watched for a while; else it may be fast.
        """
        (began, first), (now, left) = self._seen[0], self._seen[-1]
        if now - began < WATCHED_SECONDS:
            return SOONEST_SECONDS
        per_second = (left - first) / (now - began)
        return min(max(SOONEST_SECONDS, size / 4 / max(per_second, 1.0)), LATEST_SECONDS)

    def room(self, depth: Depth, now: float) -> int:
        """Return how many entries may be appended."""
        size = self.size(depth, now)
        return 0 if depth.delayed >= DELAYED_MOST else max(0, size - depth.waiting)
