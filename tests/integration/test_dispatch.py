"""Dispatch: short streams, filled fairly, by priority and in time, whoever else is at it and whatever breaks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis.asyncio as redis

from orchestrator.api.dispatch import Dispatch
from orchestrator.deliveries import Delivery, Result
from orchestrator.errors import RetryError
from orchestrator.handlers.base import Context
from orchestrator.jobs import JobStatus, Priority
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import NewJob
from orchestrator.ledger.outbox import References
from orchestrator.sources.stream_entry import OURS
from orchestrator.tracker.reconcile import Reconciler
from orchestrator.tracker.relay import Relay
from orchestrator.tracker.shares import share
from orchestrator.tracker.streams import Streams
from orchestrator.tracker.window import SECONDS
from tests.support.jobs import new_job
from tests.support.relays import kept
from tests.support.system import System, system
from tests.support.wait import wait_until


async def entries(client: redis.Redis) -> list[tuple[str, str]]:
    """Return (job_id, chunk_id) of what is on the stream, in order."""
    found: Any = await client.xrange("q")
    return [(fields[b"job_id"].decode(), fields[b"chunk_id"].decode()) for _, fields in found]


async def submit(ledger: Ledger, *jobs: NewJob) -> None:
    """Write jobs down, without dispatching them."""
    for job in jobs:
        await ledger.jobs.create(job)


async def processed(ledger: Ledger, job: NewJob) -> int:
    """Return how many chunks of the job are done."""
    return (await ledger.jobs.get(job.job_id)).processed


@pytest.mark.timeout(180)
async def test_ten_chunks_are_done_long_before_a_hundred_thousand(ledger: Ledger, redis_url: str) -> None:
    """Another tenant's large job came first and is at work; the small one takes its turns and is soon through.

    Behind what lay ready when it came, which is two seconds of work, and what is in hand: a window, and then its turns.
    """
    in_hand, seconds = 2 * 20, 0.2
    window = int(SECONDS * in_hand / seconds)

    async def work(delivery: Delivery, context: Context) -> Result:
        await asyncio.sleep(seconds)  # no machine is so fast that its window is a larger one
        return Result()

    large, small = new_job(100_000, tenant="large"), new_job(10, tenant="small")
    await submit(ledger, large)
    async with system(ledger, redis_url, work, batch=20) as worker, kept(Relay(ledger, worker.client, window=64)):
        await wait_until(lambda: processed(ledger, large))
        before = await processed(ledger, large)
        await submit(ledger, small)
        ended = await worker.ended(small.job_id)
        after = await ledger.jobs.get(large.job_id)
    assert ended.status is JobStatus.COMPLETED
    assert after.status is JobStatus.PROCESSING and after.processed - before <= 2 * window


async def test_entries_have_the_order_in_which_they_are_read_fastest(ledger: Ledger, client: redis.Redis) -> None:
    """The source takes a short cut for it, which another order would silently close."""
    await submit(ledger, new_job(1))
    await Relay(ledger, client).flush()
    found: Any = await client.xrange("q")
    assert [list(fields) for _, fields in found] == [OURS]


async def test_the_ten_are_among_the_first_twenty_on_the_stream(ledger: Ledger, client: redis.Redis) -> None:
    """Though they were submitted last, and the stream holds a window of a hundred thousand."""
    large, small = new_job(100_000, tenant="large"), new_job(10, tenant="small")
    await submit(ledger, large, small)
    assert await Relay(ledger, client, window=100).flush() == 100
    found = await entries(client)
    assert len(found) == 100
    assert [c for j, c in found[:20] if j == small.job_id] == [f"c{i}" for i in range(10)]
    assert [c for j, c in found if j == large.job_id] == [f"c{i}" for i in range(90)]


async def test_bands_share_by_weight_and_none_starves(ledger: Ledger, client: redis.Redis) -> None:
    """Sixteen, four, one; whatever came first, and however small the pages."""
    jobs = {p: new_job(200, priority=p) for p in (Priority.LOW, Priority.NORMAL, Priority.HIGH)}
    await submit(ledger, *jobs.values())
    for window in range(1, 85):  # one more has room each time
        await Relay(ledger, client, window=window).flush()
    count = Counter(job_id for job_id, _ in await entries(client))
    assert [count[jobs[p].job_id] for p in (Priority.HIGH, Priority.NORMAL, Priority.LOW)] == [64, 16, 4]


async def test_many_small_jobs_of_one_tenant_do_not_hide_another(ledger: Ledger, client: redis.Redis) -> None:
    """Each tenant's oldest are looked at, however many the others have."""
    many = [new_job(1, tenant="many") for _ in range(300)]
    one = new_job(3, tenant="one")
    await submit(ledger, *many, one)
    await Relay(ledger, client, window=50).flush()
    found = await entries(client)
    assert [c for j, c in found[:6] if j == one.job_id] == ["c0", "c1", "c2"]
    assert [j for j, _ in found if j != one.job_id] == [j.job_id for j in many[:47]]


async def test_a_delayed_job_waits_for_its_time_and_no_longer(ledger: Ledger, redis_url: str) -> None:
    """It holds up nobody meanwhile, and its time is its age."""
    begin = datetime.now(UTC)
    due = begin + timedelta(seconds=1.5)
    much_later, later, now = (new_job(2, not_before=t) for t in (begin + timedelta(hours=1), due, None))
    await submit(ledger, much_later, later, now)
    async with system(ledger, redis_url) as worker, kept(Relay(ledger, worker.client)):
        await worker.ended(now.job_id)
        assert (await ledger.jobs.get(much_later.job_id)).status is JobStatus.QUEUED
        started = (await worker.ended(later.job_id)).started_at
    assert started is not None and due <= started < due + timedelta(seconds=15)


async def test_idle_workers_do_not_wait_for_their_own_relay(
    ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks twice a second; whoever submits fills the stream until then, and workers empty it many times over."""
    monkeypatch.setattr("orchestrator.api.dispatch.BRIDGE_SECONDS", 60)  # here is no relay of theirs
    async with system(ledger, redis_url) as worker:
        dispatch = Dispatch(Relay(ledger, worker.client, window=4), worker.view)
        created, _ = await ledger.jobs.create(new_job(60))
        dispatch.soon(created)
        ended = await worker.ended(created.job_id)
        await dispatch.close()
    assert ended.processed == 60


async def test_two_relays_at_once_publish_everything_once(ledger: Ledger, client: redis.Redis) -> None:
    """One at a time dispatches a queue; the other one waits or passes."""
    await submit(ledger, *(new_job(700, tenant=name) for name in "abcdef"))
    relays = [Relay(ledger, client, window=3500) for _ in range(4)]
    flushing = asyncio.gather(*(relay.flush() for relay in relays))
    pages = await asyncio.gather(*(relay.page("q", wait=False) for relay in relays))
    flushed = await flushing
    found = await entries(client)
    assert sum(flushed) + sum(page.published for page in pages) == len(found) == 3500
    assert len(set(found)) == 3500


async def test_a_crash_after_publishing_publishes_a_page_twice_and_counts_it_once(
    ledger: Ledger, redis_url: str
) -> None:
    """The transaction was not committed: the outbox is where it was, and the second entries are duplicates."""
    job = new_job(30)
    await submit(ledger, job)
    async with system(ledger, redis_url) as worker:
        streams = Streams(worker.client)

        async def crash(queue: str, references: Sequence[References]) -> None:
            await streams.append(queue, references)
            raise RuntimeError("killed here")

        async def room() -> int:
            return 20

        with pytest.raises(RuntimeError):
            await ledger.outbox.dispatch("q", room, share, crash, wait=True)
        assert await worker.relay.flush() >= 10
        assert (await worker.ended(job.job_id)).processed == 30
        await wait_until(worker.empty)
    assert len(worker.handler.runs) == 30


@pytest.mark.timeout(180)
async def test_a_redis_emptied_in_the_middle_is_filled_again(ledger: Ledger, redis_url: str) -> None:
    """Of jobs in the outbox a part was on the stream: that part is missed, and dispatched again with the rest."""

    async def work(delivery: Delivery, context: Context) -> Result:
        await asyncio.sleep(0.01)
        return Result()

    jobs = [new_job(400, tenant=name) for name in "ab"]
    await submit(ledger, *jobs)
    async with system(ledger, redis_url, work) as worker, kept(Relay(ledger, worker.client, window=30)):
        await wait_until(lambda: processed(ledger, jobs[0]))
        await worker.client.flushall()
        reconciler = Reconciler(ledger, worker.source, worker.view, worker_type="lightrag", queue="q")

        async def mended() -> bool:
            await reconciler.run_once(lease_seconds=0.6, quiet_seconds=30)
            return all([(await ledger.jobs.get(job.job_id)).status is JobStatus.COMPLETED for job in jobs])

        await wait_until(mended, within=40)
        await wait_until(worker.empty)
    assert [(await ledger.jobs.get(job.job_id)).processed for job in jobs] == [400, 400]


async def test_what_redis_must_hold_is_known_while_a_job_is_half_dispatched(ledger: Ledger, redis_url: str) -> None:
    """Waiting, in hand and to be tried again: it is what Redis holds, or nothing would be missed and mended."""
    go = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        if delivery.chunk_id in {"c1", "c2"}:
            raise RetryError("later", delay_seconds=60)
        if delivery.chunk_id != "c0":
            await go.wait()
        return Result()

    job, delayed = new_job(100), new_job(5, not_before=datetime.now(UTC) + timedelta(hours=1))
    await submit(ledger, job, delayed)
    async with system(ledger, redis_url, work, size=1, batch=4) as worker:
        relay = Relay(ledger, worker.client, window=10)
        await relay.flush()
        await wait_until(lambda: has_retries(worker, 2))
        await wait_until(lambda: is_full(worker))
        await relay.flush()
        before = await ledger.chunks.count_live("lightrag", "q")
        assert 2 + 4 + 10 <= before == await worker.source.depth() < 30
        await worker.client.flushall()
        assert await ledger.outbox.redispatch("lightrag", "q") == 1  # not the one whose time has not come
        assert await ledger.chunks.count_live("lightrag", "q") < before
        go.set()
    rows = await ledger.database.run(lambda c: c.fetch("SELECT next_seq FROM outbox ORDER BY id"))
    assert [row["next_seq"] for row in rows] == [0, 0]


async def has_retries(worker: System, count: int) -> bool:
    """Return whether so many wait to be tried again."""
    return int(await worker.client.zcard("q:delayed")) == count


async def is_full(worker: System) -> bool:
    """Return whether the slot is full of what waits for the test."""
    return [held.doing != "settling" for held in worker.pool.held()] == [True] * 4


async def test_a_cancelled_job_leaves_the_outbox(ledger: Ledger, redis_url: str) -> None:
    """Nothing more of it is published, and what was is let go of."""
    go = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        await go.wait()
        return Result()

    job = new_job(500)
    await submit(ledger, job)
    busy = system(ledger, redis_url, work, timeout_seconds=60)  # longer than is waited here: no attempt times out
    async with busy as worker, kept(Relay(ledger, worker.client, window=16)):
        await wait_until(lambda: worker.has_entries(16))
        await ledger.jobs.cancel(job.job_id)
        await wait_until(worker.empty)
        assert await worker.relay.flush() == 0
    assert len(worker.handler.runs) <= 8
