"""How far a stream runs ahead of the workers: a window, filled up when it is worth a page."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import redis.asyncio as redis

from orchestrator.deliveries import Delivery, Result
from orchestrator.handlers.base import Context
from orchestrator.ledger import Ledger
from orchestrator.tracker.relay import Relay
from orchestrator.tracker.window import SOONEST_SECONDS
from tests.support.jobs import new_job
from tests.support.relays import kept
from tests.support.system import system
from tests.support.wait import wait_until


async def test_a_stream_holds_a_window_and_what_is_in_hand(ledger: Ledger, redis_url: str) -> None:
    """Bounded memory: 1,000 chunks wait in the ledger; as long as nothing ends, nothing more is put on the stream."""
    go = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        await go.wait()
        return Result()

    job = new_job(1000)
    await ledger.jobs.create(job)
    async with system(ledger, redis_url, work) as worker:
        relays = [Relay(ledger, worker.client, window=16) for _ in range(2)]
        async with kept(*relays):
            await wait_until(lambda: worker.has_entries(16 + 8))
            for relay in relays * 5:
                assert await relay.flush() == 0
            assert await worker.client.xlen("q") == 16 + 8
            go.set()
            assert (await worker.ended(job.job_id)).processed == 1000
    assert len(worker.handler.runs) == 1000


async def test_a_stream_is_filled_up_when_a_quarter_of_its_window_has_left(ledger: Ledger, client: redis.Redis) -> None:
    """A page of three entries costs nearly as much as one of hundreds, and fast work took three between two looks."""
    await ledger.jobs.create(new_job(100))
    relay = Relay(ledger, client, window=16)
    await relay.fill("q", 0)
    for removed, left in ((3, 13), (1, 16)):
        found: Any = await client.xrange("q", count=removed)
        await client.xdel("q", *(entry_id for entry_id, _ in found))
        await relay.fill("q", 0)
        assert await client.xlen("q") == left


async def test_what_comes_after_an_idle_time_is_not_taken_for_slow(
    ledger: Ledger, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing had left the stream for two seconds: so it was looked at twice a second, whatever workers then did."""
    now, pauses = 0.0, list[float]()

    async def sleep(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += seconds

    monkeypatch.setattr("orchestrator.tracker.relay.time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr("orchestrator.tracker.relay.asyncio", SimpleNamespace(sleep=sleep))
    relay = Relay(ledger, client, window=16)
    for _ in range(8):
        await relay.fill("q", 0)
        now += 0.5
    await ledger.jobs.create(new_job(100))
    await relay.fill("q", SOONEST_SECONDS)
    assert len(pauses) > 1 and max(pauses) <= SOONEST_SECONDS


async def test_a_page_that_its_lanes_keep_small_is_not_the_last(ledger: Ledger, client: redis.Redis) -> None:
    """Forty tenants whose time has not come leave the one whose has 48 jobs a page: there is room for more."""
    later = datetime.now(UTC) + timedelta(hours=1)
    for n in range(40):
        await ledger.jobs.create(new_job(1, tenant=f"later-{n}", not_before=later))
    for _ in range(200):
        await ledger.jobs.create(new_job(1, tenant="now"))
    await Relay(ledger, client, window=200).fill("q", 0)
    assert await client.xlen("q") > 150
