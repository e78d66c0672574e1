"""The limiter of one endpoint in one process: asks the shared book, waits its turn, gives back what it was given."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from secrets import token_hex
from typing import Any

from redis.exceptions import RedisError

from orchestrator.errors import ThrottledError
from orchestrator.limits.book import ASK_SECONDS, LEASE_SECONDS, Book, Ended, Reply
from orchestrator.limits.endpoint import Endpoint
from orchestrator.limits.local import LocalBook
from orchestrator.limits.permit import CALLS, Grant, Permit
from orchestrator.limits.reason import WAITING, reason
from orchestrator.limits.scripts import Scripts
from orchestrator.limits.spares import Spares
from orchestrator.tasks import end

log = logging.getLogger("orchestrator.limits")

AWAY_SECONDS = 2.0  # before Redis is tried again
POLL_SECONDS = 0.05  # of the first who waits; those behind look less often
LONGEST_POLL_SECONDS = 1.0
GIVEN_UP_SECONDS = 10.0  # when to come again after waiting in vain
AWAY = (RedisError, OSError, TimeoutError)


class Limiter:
    """One for an endpoint and process. Without scripts, or while Redis is away, it limits this process alone."""

    def __init__(self, endpoint: Endpoint, scripts: Scripts | None = None) -> None:
        self.endpoint = endpoint
        self._book = Book(scripts, endpoint) if scripts is not None else None
        self._local = LocalBook(endpoint)
        self._spares = Spares(self._give_to_book)
        # each call counts where there are caps a minute
        self._calls = 1 if endpoint.requests_per_minute or endpoint.tokens_per_minute else CALLS
        self._shared: set[str] = set()  # tickets of ours that the shared book may know
        self._away_until = 0.0
        self._said = False
        self._wakes: dict[str, asyncio.Event] = {}  # of those who wait, in the order of asking
        self._refused_at = 0.0  # the last time: what was granted before is handed on no more
        self._stalls = 0  # who waits or rests
        self._stalled_since = 0.0
        self._stalled = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def stalled_seconds(self) -> float:
        """Return for how long, all in all, somebody in this process has been waiting."""
        return self._stalled + (time.monotonic() - self._stalled_since if self._stalls else 0.0)

    @asynccontextmanager
    async def permit(
        self, tokens: int, *, patience: float, waiting: Callable[[str], None] = lambda _: None
    ) -> AsyncIterator[Permit]:
        """Give leave for one call of about so many tokens; `waiting` is told, again and again, why there is none yet.

        Raises ThrottledError when there can be none within `patience` seconds. Cancelled, it leaves nothing behind.
        """
        grant = self._spares.take()
        if grant is not None:
            self._local.hold(grant.ticket)
        else:
            grant = await self._acquire(tokens, patience, waiting)
        self._keep_leases()
        permit = Permit(grant, tokens)
        try:
            yield permit
        finally:
            given = self._give_back(permit)
            if given is not None and permit.is_refused:  # who asks next must find the endpoint blocked
                await asyncio.wait({given})

    async def rest(self, seconds: float, waiting: Callable[[str], None]) -> None:
        """Wait after a refusal that does not say for how long."""
        waiting(f"{WAITING} ({self.endpoint.kind}: throttled)")
        with self._stalling():
            await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Wait until everything is given back. The client is the caller's to close."""
        if self._keeper is not None:
            await end([self._keeper])
        self._spares.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ASK_SECONDS)

    async def _acquire(self, tokens: int, patience: float, waiting: Callable[[str], None]) -> Grant:
        ticket, deadline = token_hex(8), time.monotonic() + patience
        asked: asyncio.Task[tuple[Reply, bool]] | None = None
        try:
            async with AsyncExitStack() as stack:
                while True:
                    self._spares.clear()  # what has to be given back goes in the same round trip
                    # to its end, even when we are cancelled: what it may have been granted must be given back
                    asked_at = time.monotonic()
                    asked = asyncio.create_task(self._ask(ticket, tokens))
                    reply, shared = await asyncio.shield(asked)
                    if reply.granted:
                        break
                    left = deadline - time.monotonic()
                    if (reply.wait_seconds or 0.0) > left or left <= 0:
                        raise self._given_up(reply)
                    waiting(f"{WAITING} ({self._why(reply)})")
                    wake = self._wakes.get(ticket) or stack.enter_context(self._queued(ticket))
                    await self._pause(wake, min(_poll(reply), left))
        except BaseException:
            self._begin(self._forget(ticket, asked))
            raise
        return Grant(ticket, reply, asked_at=asked_at, shared=shared, calls=self._calls)

    async def _ask(self, ticket: str, tokens: int) -> tuple[Reply, bool]:
        """Ask the shared book, or our own when that does not answer: a call never fails for want of Redis."""
        if self._book is not None and time.monotonic() >= self._away_until:
            if self._said:  # one of us finds out whether it is back; the others must not hang with it
                self._away_until = time.monotonic() + AWAY_SECONDS
            self._shared.add(ticket)
            try:
                reply = await self._book.acquire(ticket, tokens)
            except AWAY as error:
                self._lost(error)
            else:
                self._found()
                self._local.leave([ticket])
                if reply.granted:
                    self._local.note(ticket, reply)
                return reply, True
        return self._local.acquire(ticket, tokens), False

    async def _pause(self, wake: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()
        wake.clear()

    @contextmanager
    def _queued(self, ticket: str) -> Iterator[asyncio.Event]:
        """Give what is set when something was given back in this process and it is the ticket's turn to ask."""
        wake = self._wakes[ticket] = asyncio.Event()
        self._spares.clear()  # of calls that ended while it asked
        try:
            with self._stalling():
                yield wake
        finally:
            del self._wakes[ticket]

    @contextmanager
    def _stalling(self) -> Iterator[None]:
        if not self._stalls:
            self._stalled_since = time.monotonic()
        self._stalls += 1
        try:
            yield
        finally:
            self._stalls -= 1
            if not self._stalls:
                self._stalled += time.monotonic() - self._stalled_since

    def _given_up(self, reply: Reply) -> ThrottledError:
        seconds = reply.wait_seconds or GIVEN_UP_SECONDS
        return ThrottledError(reason(self._why(reply), seconds), delay_seconds=seconds)

    def _why(self, reply: Reply) -> str:
        kind = self.endpoint.kind
        if reply.blocked_seconds:
            return f"{kind}: throttled for {reply.blocked_seconds:.0f} s more"
        if reply.wait_seconds is not None:
            return f"{kind}: cap per minute, {reply.wait_seconds:.0f} s more"
        return f"{kind}: {reply.used} of {reply.limit} calls under way, {reply.before} before this one"

    def _give_back(self, permit: Permit) -> asyncio.Task[None] | None:
        ended, grant = permit.end(), permit.grant
        self._local.settle(ended)
        if grant.ticket not in self._shared:
            self._wake_next()
            return None
        if permit.is_refused:
            self._refused_at = time.monotonic()
            self._spares.clear()
        elif self._may_keep(grant):
            self._spares.put(grant, ended)
            return None
        return self._give_to_book(grant, ended)

    def _may_keep(self, grant: Grant) -> bool:
        """Return whether nobody is known to want it at once."""
        wanted = self._wakes or grant.reply.waiting
        return grant.shared and not wanted and not self._said and grant.asked_at > self._refused_at

    def _give_to_book(self, grant: Grant, ended: Ended) -> asyncio.Task[None]:
        return self._begin(self._settle(ended, shared=grant.shared))

    async def _settle(self, ended: Ended, *, shared: bool) -> None:
        """Tell the shared book; one that does not answer is told nothing, and forgets the permit with its lease."""
        self._shared.discard(ended.ticket)
        if self._book is not None and time.monotonic() >= self._away_until:
            try:
                await (self._book.settle(ended) if shared else self._book.leave([ended.ticket]))
            except AWAY as error:
                self._lost(error)
        self._wake_next()

    async def _forget(self, ticket: str, asked: asyncio.Task[Any] | None) -> None:
        """Give back what a caller that was cancelled may have been granted."""
        if asked is not None:
            await asyncio.wait({asked})
            if not asked.cancelled():
                asked.exception()  # asked for, so that nobody warns of it
        self._local.leave([ticket])
        if ticket in self._shared and self._book is not None:
            self._shared.discard(ticket)
            with contextlib.suppress(*AWAY):
                await self._book.leave([ticket])
        self._wake_next()

    def _keep_leases(self) -> None:
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep(), name=f"permits of {self.endpoint.kind}")

    async def _keep(self) -> None:
        """Renew what is held, as long as anything is."""
        while self._local.held:
            await asyncio.sleep(LEASE_SECONDS / 3)
            tickets = list(self._local.held)
            if self._book is None or not tickets:
                continue
            self._shared.update(tickets)
            try:
                await self._book.renew(tickets)
                # given back in the meantime: what was renewed must not stay until its lease ends
                if over := [t for t in tickets if t not in self._shared]:
                    await self._book.leave(over)
            except AWAY as error:
                self._lost(error)

    def _wake_next(self) -> None:
        if wake := next((w for w in self._wakes.values() if not w.is_set()), None):
            wake.set()

    def _lost(self, error: Exception) -> None:
        self._away_until = time.monotonic() + AWAY_SECONDS
        if not self._said:
            self._said = True
            self._spares.clear()  # from now on our own book says how many calls may be made
            log.warning(
                "Redis is away: model calls are limited by each process alone",
                extra={"endpoint": self.endpoint.kind, "limit": self._local.limit, "error": type(error).__name__},
            )

    def _found(self) -> None:
        if self._said:
            self._said, self._away_until = False, 0.0
            log.info("Redis is back: model calls are limited together again", extra={"endpoint": self.endpoint.kind})

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _poll(reply: Reply) -> float:
    """Return when to ask again: soon for the first in the queue, later for those behind, and not all at once."""
    longest = ASK_SECONDS / 3  # a ticket must not be forgotten meanwhile
    if reply.wait_seconds is not None:
        return min(reply.wait_seconds + random.uniform(0, POLL_SECONDS), longest)  # noqa: S311 - spreads, hides nothing
    behind = 1 + max(0, reply.before - max(0, reply.limit - reply.used))
    return min(POLL_SECONDS * behind, LONGEST_POLL_SECONDS) * random.uniform(0.5, 1.5)  # noqa: S311
