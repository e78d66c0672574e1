"""Leases at the pool: slow work is kept, a dead worker's is taken over, and our own is never begun twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator.deliveries import Delivery, Outcome, Result, Verdict
from orchestrator.handlers.base import Context
from orchestrator.jobs import JobStatus
from orchestrator.ledger import Ledger
from orchestrator.ledger.chunks import MOST_OUTLIVED
from orchestrator.sources.redis_stream import RedisStreamSource, connect
from orchestrator.tracker.relay import Relay
from tests.support.calls import calls_of
from tests.support.jobs import delivery_of, new_job
from tests.support.system import system, type_settings
from tests.support.wait import wait_until


async def test_x12_slow_work_is_kept_by_renewal_and_run_once(
    ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker looks for dead entries all the while, and must not steal live work longer than the lease.

    Nearly a lease passes twice, by Redis's clock: what is renewed in between is taken by nobody.
    """
    go_on = asyncio.Event()

    async def slow(delivery: Delivery, context: Context) -> Result:
        await go_on.wait()
        return Result()

    async def looked() -> bool:
        return looks.begun > before

    job = new_job(3)
    times: dict[str, Any] = {"heartbeat_seconds": 0.15, "lease_seconds": 3600.0, "timeout_seconds": 60.0}
    async with (
        system(ledger, redis_url, slow, host="a", **times) as first,
        system(ledger, redis_url, slow, host="b", **times) as second,
    ):
        looks = calls_of(monkeypatch, second.source, "recover")
        await first.submit(job)
        await wait_until(lambda: begun([*first.handler.runs, *second.handler.runs], 3))
        for _ in range(2):
            for entry in await first.client.xpending_range("q", "g", "-", "+", 10):
                await age(first.client, entry, 3_000_000)
            await wait_until(lambda: renewed(first.client, 3_000_000), what="the leases to be renewed")
            before = looks.begun
            await wait_until(looked, what="the other one to look")
        go_on.set()
        assert (await first.ended(job.job_id)).processed == 3
    assert len(first.handler.runs) + len(second.handler.runs) == 3


async def test_x03_work_of_a_dead_worker_is_taken_over(ledger: Ledger, redis_url: str) -> None:
    """The seed never read what a crashed worker had left pending."""
    job = new_job(4)
    await ledger.jobs.create(job)
    async with dead_worker(ledger, redis_url, 2), system(ledger, redis_url, host="heir", size=1) as heir:
        ended = await heir.ended(job.job_id)
        assert (ended.status, ended.processed) == (JobStatus.COMPLETED, 4)
        await wait_until(heir.empty)
    rows = await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=10)
    assert [(r["attempts"], r["deliveries"]) for r in rows] == [(1, 2), (1, 2), (1, 1), (1, 1)]


@asynccontextmanager
async def dead_worker(ledger: Ledger, redis_url: str, size: int) -> AsyncIterator[None]:
    """One that read and claimed so many chunks, and was never heard of again."""
    settings = type_settings()
    client = connect(redis_url)
    source = RedisStreamSource(client, stream=settings.stream, group=settings.group, lease_seconds=0.6)
    await source.open(["dead-lightrag-0"])
    await Relay(ledger, client).flush()
    taken = await source.claim("dead-lightrag-0", size, 0.05)
    assert len((await ledger.chunks.claim(taken)).taken) == size
    yield
    await client.aclose()


async def test_what_is_still_in_our_hands_is_not_begun_again(ledger: Ledger, redis_url: str) -> None:
    """Slow to renew, as on a loaded host or after SIGSTOP: our own reader finds entries of ours."""
    go_on = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        await go_on.wait()
        return Result()

    job = new_job(4)
    async with system(ledger, redis_url, work, heartbeat_seconds=20.0, lease_seconds=60.0, size=2, batch=4) as worker:
        await worker.submit(job)
        await wait_until(lambda: begun(worker.handler.runs, 4))
        entries = await worker.client.xpending_range("q", "g", "-", "+", 10)
        for entry in entries:  # old enough to be taken by whoever looks
            await age(worker.client, entry)
        await wait_until(lambda: renewed(worker.client, 10**6), what="our reader to find them")
        go_on.set()
        assert (await worker.ended(job.job_id)).processed == 4
        await wait_until(worker.empty)
    assert len(worker.handler.runs) == 4
    rows = await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=10)
    assert [(r["attempts"], r["deliveries"]) for r in rows] == [(1, 1)] * 4


async def test_a_lost_lease_is_no_death(ledger: Ledger, redis_url: str) -> None:
    """The nemesis found it: a slow chunk was buried as poison, and hardly a worker had died that held it.

    Redis was emptied, workers were stopped and cut off: each time another took the chunk over. Whoever lives on gives
    its hand-out back.
    """
    go_on = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        await go_on.wait()
        return Result()

    async def deliveries() -> list[int]:
        rows = await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=10)
        return [row["deliveries"] for row in rows]

    async def given_back() -> bool:
        return await deliveries() == [1, 1]

    job = new_job(2)
    times: dict[str, Any] = {"heartbeat_seconds": 20.0, "lease_seconds": 60.0, "timeout_seconds": 60.0}
    async with system(ledger, redis_url, work, host="a", size=1, batch=2, **times) as first:  # full: it looks no more
        await first.submit(job)
        await wait_until(lambda: begun(first.handler.runs, 2))
        for entry in await first.client.xpending_range("q", "g", "-", "+", 10):
            await age(first.client, entry)
        async with system(ledger, redis_url, work, host="b", **times) as second:
            await wait_until(lambda: begun(second.handler.runs, 2), what="the second to take both over")
            await wait_until(given_back, what="the first to find that it has lost them")
            go_on.set()
            assert (await second.ended(job.job_id)).processed == 2
            await wait_until(second.empty)
    assert await deliveries() == [1, 1]


async def test_a_chunk_that_stalls_its_workers_ends(ledger: Ledger) -> None:
    """Each outlives it, and loses its lease to the next: without an end to that it would go round for ever."""
    job = new_job(1)
    await ledger.jobs.create(job)
    counted = []
    for _ in range(MOST_OUTLIVED + 2):
        lost = (await ledger.chunks.claim([delivery_of(job, 0)])).taken
        heir = (await ledger.chunks.claim([delivery_of(job, 0)])).taken
        await ledger.chunks.outlived(lost)
        counted.append((await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=1))[0]["deliveries"])
        await ledger.chunks.settle([(d, Outcome(Verdict.RELEASE, ran=False)) for d in heir])
    assert counted == [1] * MOST_OUTLIVED + [2, 3]


@pytest.mark.parametrize("size", [1, 3])
async def test_a_chunk_that_comes_to_us_twice_runs_on_once(ledger: Ledger, redis_url: str, size: int) -> None:
    """Cut off from PostgreSQL for a while: others thought us dead, the chunk was dispatched again, we read it again.

    The run that has lost its lease ends; the settle of that one made the pool forget the other, whose lease was then
    renewed by nobody.
    """
    ends: list[str] = []
    go_on = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        try:
            await go_on.wait()
            ends.append("done")
        except asyncio.CancelledError:
            ends.append("cut")
            raise
        return Result()

    async def settled() -> bool:
        return ends == ["cut"] and [h.doing for h in worker.pool.held()] == ["starting"]

    async def nothing_held() -> bool:
        return worker.pool.held() == []

    job = new_job(1)
    async with system(ledger, redis_url, work, heartbeat_seconds=20.0, lease_seconds=60.0, size=size) as worker:
        await worker.submit(job)
        await wait_until(lambda: begun(worker.handler.runs, 1))
        await ledger.database.run(lambda c: c.execute("UPDATE chunks SET status = 'queued', lease_token = NULL"))
        await ledger.outbox.put_back("q", [(job.job_id, "c0")])
        await worker.relay.flush()
        await wait_until(lambda: begun(worker.handler.runs, 2))
        await wait_until(settled)
        go_on.set()
        assert (await worker.ended(job.job_id)).processed == 1
        await wait_until(nothing_held)
    assert ends == ["cut", "done"]
    rows = await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=10)
    assert [(r["attempts"], r["deliveries"]) for r in rows] == [(1, 1)]


async def begun(runs: list[tuple[str, int]], count: int) -> bool:
    """Return whether so many runs have begun."""
    return len(runs) >= count


async def renewed(client: Any, idle_ms: int) -> bool:
    """Return whether every pending entry was touched since it was made that old."""
    entries = await client.xpending_range("q", "g", "-", "+", 10)
    return all(e["time_since_delivered"] < idle_ms for e in entries)


async def age(client: Any, entry: Any, idle_ms: int = 10**6) -> None:
    """Make a pending entry look as if nobody had renewed it for long."""
    await client.xclaim("q", "g", entry["consumer"], 0, [entry["message_id"]], idle=idle_ms, justid=True)


async def test_what_is_taken_over_as_the_worker_stops_keeps_its_entry(
    ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was given back as a new entry; for the ledger it was at work under the old one, so nobody could go on with it.

    By the nemesis: an entry had left before it was settled. A later look of the reconciler put the chunk right.
    """
    job, stopped = new_job(2), asyncio.Event()
    await ledger.jobs.create(job)
    client = connect(redis_url)
    await Relay(ledger, client).flush()
    dead = RedisStreamSource(client, stream="q", group="g", lease_seconds=0.6)
    await dead.open(["dead-lightrag-0"])
    held = await dead.claim("dead-lightrag-0", 2, 0.5)
    await ledger.chunks.claim(held)
    receipts = [delivery.receipt for delivery in held]
    await client.xclaim("q", "g", "dead-lightrag-0", 0, list[Any](receipts), idle=3_600_000, justid=True)
    recover = RedisStreamSource.recover

    async def last(source: RedisStreamSource, consumer: str, limit: int) -> list[Delivery]:
        found = await recover(source, consumer, limit)
        if found:
            worker.pool.stop()
            stopped.set()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(RedisStreamSource, "recover", last)
        async with system(ledger, redis_url) as worker:
            await asyncio.wait_for(stopped.wait(), 10)
    left: Any = await client.xrange("q")
    assert [entry_id.decode() for entry_id, _ in left] == receipts and not worker.handler.runs
    await client.aclose()
    async with system(ledger, redis_url) as heir:
        assert (await heir.ended(job.job_id)).processed == 2
    assert sorted(heir.handler.runs) == [("c0", 1), ("c1", 1)]
