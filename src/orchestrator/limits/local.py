"""The permits of one process alone: what a limiter goes by while Redis is away. Same rules, same answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.limits import rules
from orchestrator.limits.book import Ended, Outcome, Reply
from orchestrator.limits.endpoint import Endpoint


class LocalBook:
    """Permits in memory. It also counts those the shared book granted, so that it knows what is under way."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._state = rules.started(endpoint.initial, endpoint.ceiling)
        self._requests = _Level(rules.bucket(endpoint.requests_per_minute))
        self._tokens = _Level(rules.bucket(endpoint.tokens_per_minute))
        self._waiting: dict[str, None] = {}  # in the order of asking
        self._blocked_until = 0.0
        self.held: dict[str, None] = {}

    @property
    def limit(self) -> int:
        """Return how many calls at once this process may make alone."""
        return self._state.limit

    def note(self, ticket: str, reply: Reply) -> None:
        """The shared book granted a permit: take over our share of its limit."""
        self.held[ticket] = None
        share = reply.limit * len(self.held) / max(1, reply.used)
        self._state = replace(self._state, limit=rules.bounded(share, self._endpoint.ceiling))

    def hold(self, ticket: str) -> None:
        """One more call is made under what the shared book granted."""
        self.held[ticket] = None

    def acquire(self, ticket: str, tokens: int) -> Reply:
        """Ask for a permit; who is not granted one keeps its place until it leaves."""
        now = time.monotonic()
        self._waiting.setdefault(ticket)
        before = next(i for i, known in enumerate(self._waiting) if known == ticket)
        blocked = max(0.0, self._blocked_until - now)
        free = self._state.limit - len(self.held)
        wait: float | None = None
        if blocked:
            wait = blocked
        elif before < free:
            wait = max(self._requests.wait(now, before + 1), self._tokens.wait(now, tokens * (before + 1)))
        if wait != 0.0:
            return Reply(False, now, len(self.held), self._state.limit, before, 0, wait, blocked)
        del self._waiting[ticket]
        self.held[ticket] = None
        self._requests.take(now, 1)
        self._tokens.take(now, tokens)
        used = len(self.held)
        self._state = replace(self._state, peak=max(self._state.peak, used))
        return Reply(True, now, used, self._state.limit)

    def settle(self, ended: Ended) -> None:
        """Give a permit back and learn from the call."""
        now = time.monotonic()
        self.held.pop(ended.ticket, None)
        ceiling = self._endpoint.ceiling
        self._tokens.take(now, -ended.tokens_left)
        if ended.outcome is Outcome.REFUSED:
            self._blocked_until = max(self._blocked_until, now + ended.blocked_seconds)
            self._state = rules.refused(self._state, now - ended.took, now, ceiling)
        elif ended.outcome is Outcome.ANSWERED:
            latest = (ended.took, *self._state.samples)[: rules.SAMPLES]
            self._state = replace(self._state, answers=self._state.answers + 1, samples=latest)
            if self._state.answers >= rules.window(self._state):
                self._state = rules.answered(self._state, now, ceiling)

    def leave(self, tickets: Sequence[str]) -> None:
        """Forget tickets, granted or not."""
        for ticket in tickets:
            self.held.pop(ticket, None)
            self._waiting.pop(ticket, None)


class _Level:
    """What a bucket holds."""

    def __init__(self, bucket: rules.Bucket) -> None:
        self._bucket = bucket
        self._level = bucket.capacity
        self._at = time.monotonic()

    def wait(self, now: float, need: float) -> float:
        """Return how long until it holds so much, or is full."""
        if not self._bucket.capacity:
            return 0.0
        missing = min(need, self._bucket.capacity) - self._filled(now)
        return max(0.0, missing / self._bucket.per_second)

    def take(self, now: float, amount: float) -> None:
        """Take so much out of it, more than it holds if need be."""
        if self._bucket.capacity:
            self._level, self._at = min(self._bucket.capacity, self._filled(now) - amount), now

    def _filled(self, now: float) -> float:
        return min(self._bucket.capacity, self._level + (now - self._at) * self._bucket.per_second)
