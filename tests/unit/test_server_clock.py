"""The clock of a server, counted by a clock that nobody can set."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orchestrator.sources import server_clock
from orchestrator.sources.server_clock import ASK_SECONDS, ServerClock


async def test_a_host_whose_clock_is_wrong_has_the_servers_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nemesis set a worker's clock thirty days ahead: what it delayed by half a second waited for a month."""
    asked = 0
    elapsed = 100.0

    async def ask() -> float:
        nonlocal asked
        asked += 1
        return 5000.0 + elapsed

    wrong = SimpleNamespace(monotonic=lambda: elapsed, time=lambda: 30 * 86_400.0)
    monkeypatch.setattr(server_clock, "time", wrong)
    clock = ServerClock(ask)
    assert (await clock.now(), asked) == (5100.0, 1)
    elapsed += ASK_SECONDS
    assert (await clock.now(), asked) == (5110.0, 1)
    elapsed += 1.0
    assert (await clock.now(), asked) == (5111.0, 2)


async def test_a_slow_answer_does_not_shift_the_clock_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall while the server was asked once made leases too short, by as much, for ten seconds."""
    elapsed, slow = 100.0, 4.0

    async def ask() -> float:
        nonlocal elapsed
        elapsed += slow / 2  # there
        told = 5000.0 + elapsed
        elapsed += slow / 2  # and back
        return told

    monkeypatch.setattr(server_clock, "time", SimpleNamespace(monotonic=lambda: elapsed))
    clock = ServerClock(ask)
    assert await clock.now() == 5104.0, "the middle of the way is when it answered, as far as anybody knows"
    slow = 0.5
    assert await clock.now() == 5104.5, "it is asked again, for that is a guess"
    slow = 4.0
    assert await clock.now() == 5104.5
