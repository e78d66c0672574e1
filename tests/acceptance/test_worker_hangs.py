"""A worker that hangs, as systemd sees it: it feeds the watchdog no more, is aborted, and the next one has its work.

Three levels: its event loop turns, its consumer hears what waits, and its runs end when their time is over.
None of them is a worker that is merely busy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Fleet, fleet_over
from tests.support.process import Process, fault
from tests.support.wait import wait_until

WATCHDOG_SECONDS = 1.5
"""WatchdogSec=: it is fed three times as often."""


@pytest.fixture
async def fleet(database: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Workers over the servers of the session."""
    async with fleet_over(database, redis_url, tmp_path) as made:
        yield made


def watched(fleet: Fleet, broken: str = "", **changes: Any) -> AbstractAsyncContextManager[Process]:
    """Run a worker under a watchdog, and with a fault of tests/support/broken."""
    environment = {"WATCHDOG_USEC": f"{WATCHDOG_SECONDS * 1e6:.0f}"}
    if broken:
        environment |= fault(broken)
    return fleet.worker(broken or "h", environment=environment, **changes)


async def says(worker: Process, words: str) -> None:
    """Wait until it has logged these words."""

    async def look() -> bool:
        return words in worker.log

    await wait_until(look, what=f"{words!r} in the log")


async def feedings(worker: Process, count: int) -> None:
    """Wait until the watchdog was fed so often from now on."""
    enough = worker.messages.count("WATCHDOG=1") + count

    async def look() -> bool:
        return worker.messages.count("WATCHDOG=1") >= enough

    await wait_until(look, what=f"{count} times WATCHDOG=1")


async def test_the_watchdog_is_fed(fleet: Fleet) -> None:
    """By the loops that do the work, more often than it asks."""
    async with watched(fleet) as worker:
        await feedings(worker, 3)


async def test_a_busy_worker_is_no_hanging_one(fleet: Fleet) -> None:
    """Its slots are full and nothing ends for three times as long as a loop may stand still: it is fed."""
    async with watched(fleet, "impatient", size=1, batch=1) as worker:
        job = await fleet.submit(2, sleep=3)
        await fleet.running(job)
        await feedings(worker, 5)
        assert (await fleet.ended(job)).processed == 2
        assert "does not move" not in worker.log
    assert await fleet.chunks(job) == [("processed", 1, 1)] * 2


async def test_x09_a_worker_whose_loop_is_blocked_is_fed_no_more(fleet: Fleet) -> None:
    """A handler that blocks: no signal is heard, no lease renewed, and the process looks alive to everybody else.

    What feeds the watchdog is a task of the very loop, so that a thread that still lives cannot feed it.
    """
    async with watched(fleet, "blocking", size=1, batch=1) as worker:
        await feedings(worker, 1)
        job = await fleet.submit(1)
        await fleet.running(job)
        await worker.starved(WATCHDOG_SECONDS)
    async with watched(fleet):
        assert (await fleet.ended(job)).processed == 1
    assert await fleet.chunks(job) == [("processed", 1, 2)]


async def test_x09_a_worker_whose_reader_is_stuck_is_fed_no_more(fleet: Fleet) -> None:
    """A read that never came back left a consumer that was up by every other sign, for days."""
    async with watched(fleet, "stuck", health_check_interval_seconds=1.0) as worker:
        await says(worker, "the reader")
        assert len(await fleet.beaten()) == 2
        await worker.starved(WATCHDOG_SECONDS)
    async with watched(fleet):
        assert (await fleet.ended(await fleet.submit(3))).processed == 3


async def test_x09_a_deaf_worker_is_fed_no_more(fleet: Fleet) -> None:
    """Its loops turn and its heart beats, and yet nothing reaches it: the seed's health stayed `up` through that."""
    async with watched(fleet, "deaf", health_check_interval_seconds=1.0) as worker:
        job = await fleet.submit(3)
        await says(worker, "waiting to be restarted")
        assert len(await fleet.beaten()) == 2
        await worker.starved(WATCHDOG_SECONDS)
    async with watched(fleet):
        assert (await fleet.ended(job)).processed == 3


async def test_x09_a_run_that_ignores_its_end_has_its_worker_restarted(fleet: Fleet) -> None:
    """Its lease was renewed for ever, its slot was gone, and its job never ended: the loops turned, so nobody minded.

    The restart is a delivery and no attempt; a chunk that does so each time is buried as poison.
    """
    job = await fleet.submit(1)
    limits: dict[str, Any] = {"timeout_seconds": 1.0, "max_deliveries": 2, "retry_attempts": 2}
    for times in (1, 2):
        async with watched(fleet, "ignoring", health_check_interval_seconds=1.0, **limits) as worker:
            await fleet.delivered(job, times)
            await says(worker, "runs that ignore their end")
            await worker.starved(WATCHDOG_SECONDS)
    async with watched(fleet, **limits):
        assert (await fleet.ended(job)).failed == 1
    [(status, attempts, deliveries)] = await fleet.chunks(job)
    assert (status, attempts, deliveries) == ("failed", 0, 3)
