"""What the book granted under one ticket, and the calls made under it, one after another."""

from __future__ import annotations

import time

from orchestrator.limits.book import Ended, Outcome, Reply

CALLS = 8  # under one ticket, while there is room for others
SECONDS = 0.25  # after that the book is asked again: there may be none by now


class Grant:
    """Leave to have one call under way at a time; quick ones follow each other without the book being asked."""

    def __init__(self, ticket: str, reply: Reply, *, asked_at: float, shared: bool, calls: int = CALLS) -> None:
        """`calls` is how many may be made under it; `shared` whether the book of all hosts granted it.

        `asked_at` is by time.monotonic(): what befell the endpoint since may not be in the reply.
        """
        self.ticket = ticket
        self.reply = reply
        self.shared = shared
        self.answers: list[float] = []  # seconds each call took that was answered
        self.asked_at = asked_at
        self._calls_left = calls

    @property
    def lasts(self) -> bool:
        """Return whether one more call may be made under it."""
        room = self.reply.used < self.reply.limit  # when it was granted
        return room and self._calls_left > 0 and time.monotonic() - self.asked_at < SECONDS

    def begin(self) -> None:
        """One more call is made."""
        self._calls_left -= 1


class Permit:
    """Leave to make one call. What the call says about the endpoint is noted on it."""

    def __init__(self, grant: Grant, tokens: int) -> None:
        self.grant = grant
        self._tokens = tokens
        grant.begin()
        self._began = time.monotonic()
        self._outcome = Outcome.NOTHING
        self._blocked_seconds = 0.0
        self._tokens_left = 0

    def answered(self, tokens: int) -> None:
        """The endpoint answered, and used so many tokens."""
        self._outcome = Outcome.ANSWERED
        self._tokens_left = self._tokens - tokens

    def refused(self, blocked_seconds: float = 0.0) -> None:
        """The endpoint is at its limit; it wants no call from anybody for so long."""
        self._outcome = Outcome.REFUSED
        self._blocked_seconds = blocked_seconds

    @property
    def is_refused(self) -> bool:
        """Return whether the call was."""
        return self._outcome is Outcome.REFUSED

    def end(self) -> Ended:
        """Return what came of the call, once it is over, and of those made before under the same ticket."""
        took, earlier = time.monotonic() - self._began, tuple(self.grant.answers)
        if self._outcome is Outcome.ANSWERED:
            self.grant.answers.append(took)
        granted_at = self.grant.reply.at
        return Ended(
            self.grant.ticket, self._outcome, granted_at, took, self._blocked_seconds, self._tokens_left, earlier
        )
