"""The permits of one endpoint as Redis keeps them: every act is one script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from orchestrator import keys
from orchestrator.limits import rules
from orchestrator.limits.endpoint import Endpoint
from orchestrator.limits.rules import State
from orchestrator.limits.scripts import Scripts

LEASE_SECONDS = 15.0  # a killed worker's permits come back after that; a live one renews them
ASK_SECONDS = 10.0  # a ticket that is not asked for again for so long has left the queue
STATE_SECONDS = 3600  # what was learnt of an endpoint nobody calls; no endpoint is blocked for longer


class Outcome(StrEnum):
    """What a call says about the endpoint."""

    ANSWERED = "answered"
    REFUSED = "refused"  # throttled, overloaded, or not answered in time
    NOTHING = "nothing"  # not made, cancelled, or ended in a way that has nothing to do with load


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of asking for a permit."""

    granted: bool
    at: float  # the book's own time
    used: int  # calls under way, the granted one included
    limit: int
    before: int = 0  # how many asked before
    waiting: int = 0  # how many wait all the same, when it is granted
    wait_seconds: float | None = None  # None: until somebody gives a permit back
    blocked_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that is over."""

    ticket: str
    outcome: Outcome
    began: float  # the book's time when it was granted
    took: float
    blocked_seconds: float = 0.0  # for so long the endpoint wants no calls
    tokens_left: int = 0  # asked for and not used; negative when it used more
    earlier: tuple[float, ...] = ()  # seconds of the calls answered before under the same ticket

    @property
    def answers(self) -> list[float]:
        """Return the seconds of all that were answered under the ticket, the latest first."""
        return [*([self.took] if self.outcome is Outcome.ANSWERED else []), *reversed(self.earlier)]


class Book:
    """The permits all processes share. Methods raise what redis-py raises, or TimeoutError."""

    def __init__(self, scripts: Scripts, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._scripts = scripts
        self._state, self._held = keys.limit(endpoint.id), keys.limit_held(endpoint.id)
        self._waiting, self._asked = keys.limit_waiting(endpoint.id), keys.limit_asked(endpoint.id)
        requests = rules.bucket(endpoint.requests_per_minute)
        self._tokens = rules.bucket(endpoint.tokens_per_minute)
        self._caps = [part for cap in (requests, self._tokens) for part in (cap.capacity, cap.per_second / 1000)]
        self._about = (endpoint.id, endpoint.about)

    async def acquire(self, ticket: str, tokens: int) -> Reply:
        """Ask for a permit; who is not granted one keeps its place for ten seconds."""
        granted, now, used, limit, others, wait, blocked = await self._scripts.call(
            "acquire",
            [self._state, self._held, self._waiting, self._asked, keys.LIMIT_INDEX],
            [
                ticket, int(LEASE_SECONDS * 1000), self._endpoint.ceiling, self._endpoint.initial, tokens, *self._caps,
                *self._about, int(ASK_SECONDS * 1000), STATE_SECONDS,
            ],
        )  # fmt: skip
        waits = None if wait < 0 else wait / 1000
        before, waiting = (0, others) if granted else (others, 0)
        return Reply(bool(granted), now / 1000, used, limit, before, waiting, waits, blocked / 1000)

    async def settle(self, ended: Ended) -> None:
        """Give a permit back; when a window of answers is over, or the call was refused, the limit is looked at."""
        took = ",".join(str(int(seconds * 1000)) for seconds in ended.answers)
        blocked = int(min(ended.blocked_seconds, STATE_SECONDS) * 1000)
        found = await self._scripts.call(
            "settle",
            [self._state, self._held],
            [
                ended.ticket, ended.outcome.value, int(ended.began * 1000), took, blocked, ended.tokens_left,
                self._tokens.capacity, rules.SAMPLES, STATE_SECONDS,
            ],
        )  # fmt: skip
        if len(found) > 1:
            await self._adjust(ended, found[0] / 1000, found[1], _state(found[2:]))

    async def _adjust(self, ended: Ended, now: float, version: int, state: State) -> None:
        if ended.outcome is Outcome.REFUSED:
            after = rules.refused(state, ended.began, now, self._endpoint.ceiling)
        else:
            after = rules.answered(state, now, self._endpoint.ceiling)
        lowered = int(after.changed_at != state.changed_at)
        fields = [part for pair in _fields(after) for part in pair]
        await self._scripts.call("adjust", [self._state], [version, STATE_SECONDS, lowered, *fields])

    async def renew(self, tickets: Sequence[str]) -> None:
        """Renew the leases of permits."""
        await self._scripts.call("renew", [self._held], [int(LEASE_SECONDS * 1000), *tickets])

    async def leave(self, tickets: Sequence[str]) -> None:
        """Forget tickets, granted or not; the calls were not made."""
        await self._scripts.call("leave", [self._held, self._waiting, self._asked], tickets)


def _state(found: Sequence[Any]) -> State:
    limit, peak, answers, changed_at, too_much, baseline, samples = found
    text = samples.decode() if isinstance(samples, bytes) else str(samples)
    latest = tuple(int(ms) / 1000 for ms in text.split(",") if ms)
    return State(limit, peak, answers, changed_at / 1000, too_much, baseline / 1000, latest)


def _fields(state: State) -> list[tuple[str, Any]]:
    latest = ",".join(str(int(seconds * 1000)) for seconds in state.samples)
    values = {"limit": state.limit, "peak": state.peak, "answers": state.answers, "too_much": state.too_much}
    values |= {"changed_at": int(state.changed_at * 1000), "baseline": int(state.baseline * 1000)}
    return [*values.items(), ("samples", latest), ("window", rules.window(state))]
