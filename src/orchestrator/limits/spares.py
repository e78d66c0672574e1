"""Grants whose call is over and that nobody is known to wait for: for the next call, or given back with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.limits.book import Ended
from orchestrator.limits.permit import Grant

IDLE_SECONDS = 0.1  # for so long one is kept for a next call: who waits elsewhere takes as long to look again
LINGER_SECONDS = 0.01  # one that may not be used again: so that it goes to Redis with what is asked for next


@dataclass(frozen=True, slots=True)
class _Spare:
    grant: Grant
    ended: Ended
    timer: asyncio.TimerHandle


class Spares:
    """Of one endpoint and process."""

    def __init__(self, give_back: Callable[[Grant, Ended], object]) -> None:
        self._give_back = give_back
        self._kept: dict[str, _Spare] = {}  # by ticket, the latest last

    def put(self, grant: Grant, ended: Ended) -> None:
        """Keep one for moments."""
        pause = IDLE_SECONDS if grant.lasts else LINGER_SECONDS
        timer = asyncio.get_running_loop().call_later(pause, self._give, grant.ticket)
        self._kept[grant.ticket] = _Spare(grant, ended, timer)

    def take(self) -> Grant | None:
        """Return one for a call: the latest, so that what is not needed stays idle and is given back."""
        for ticket, spare in reversed(self._kept.items()):
            if spare.grant.lasts:
                spare.timer.cancel()
                del self._kept[ticket]
                return spare.grant
        return None

    def clear(self) -> None:
        """Give all of them back."""
        for ticket in list(self._kept):
            self._give(ticket)

    def _give(self, ticket: str) -> None:
        spare = self._kept.pop(ticket)
        spare.timer.cancel()
        self._give_back(spare.grant, spare.ended)
