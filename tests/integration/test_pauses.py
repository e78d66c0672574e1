"""What is held back does not start, whatever of it is on the stream already; it burns nothing, and goes on in time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator import worker as process
from orchestrator.deliveries import Delivery, Result
from orchestrator.handlers.base import Context
from orchestrator.jobs import JobStatus, Scope
from orchestrator.ledger import Ledger
from orchestrator.ledger.chunks import Chunks
from orchestrator.pool import reader
from orchestrator.pool.leases import LEDGER_CHECK_SECONDS
from orchestrator.settings import JobTrackerSettings
from orchestrator.sources.redis_stream import RedisStreamSource, connect
from orchestrator.tracker.hold import Hold
from orchestrator.tracker.relay import Relay
from tests.support.calls import calls_of
from tests.support.jobs import new_job
from tests.support.relays import kept
from tests.support.system import System, Work, system
from tests.support.wait import wait_until


def gate() -> tuple[asyncio.Event, Work]:
    """Return an event and a handler that waits for it."""
    go = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        await go.wait()
        return Result()

    return go, work


async def full(worker: System, count: int = 8) -> bool:
    """Return whether so many chunks are in the pool's hands."""
    return len(worker.pool.held()) >= count


async def idle(worker: System) -> bool:
    """Return whether nothing is in the pool's hands."""
    return not worker.pool.held()


async def test_entries_of_a_paused_tenant_leave_the_stream_and_burn_nothing(ledger: Ledger, redis_url: str) -> None:
    """They were there before the pause; another tenant's, behind them, are done meanwhile."""
    held, other = new_job(20, tenant="held"), new_job(20, tenant="other")
    async with system(ledger, redis_url) as worker:
        worker.pool.stop()
        await worker.submit(held)
        await ledger.pauses.put(Scope.TENANT, "held", "", "test")
        await worker.submit(other)
        assert await worker.client.xlen("q") == 40
    async with system(ledger, redis_url) as worker, kept(worker.relay):
        assert (await worker.ended(other.job_id)).processed == 20
        await wait_until(worker.empty)
        before = await ledger.jobs.get(held.job_id)
        assert (before.processed, before.running, before.queued) == (0, 0, 20)
        await ledger.pauses.remove(Scope.TENANT, "held", "test")
        assert (await worker.ended(held.job_id)).processed == 20
        await wait_until(worker.empty)
    assert len(worker.handler.runs) == 40
    rows = await ledger.jobs.chunks(held.job_id, status=None, after=None, limit=20)
    assert {(r["attempts"], r["deliveries"]) for r in rows} == {(1, 1)}


@pytest.mark.parametrize(("scope", "name"), [(Scope.TYPE, "lightrag"), (Scope.QUEUE, "q")], ids=str)
async def test_a_paused_type_or_queue_rests_and_goes_on_within_a_second(
    ledger: Ledger, redis_url: str, scope: Scope, name: str
) -> None:
    """What runs goes on to its end, what is dispatched or submitted meanwhile stays where it is.

    That it is a second is in how often a worker, its reader and, beside them, its relay look.
    """
    assert process.HOLD_SECONDS + reader.HOLD_SECONDS < 1 and JobTrackerSettings().relay_interval_seconds < 1
    go, work = gate()
    job, late = new_job(40), new_job(5)
    hold = Hold(ledger, worker_type="lightrag", queue="q")
    answers: list[bool] = []

    def held_back() -> bool:
        answers.append(hold())
        return answers[-1]

    async def told_again() -> bool:
        return len(answers) > 1

    async with system(ledger, redis_url, work, held_back=held_back, timeout_seconds=60.0) as worker, kept(worker.relay):
        await worker.submit(job)
        await wait_until(lambda: full(worker))
        await ledger.pauses.put(scope, name, "", "test")
        await hold.refresh()
        go.set()
        await wait_until(lambda: idle(worker))
        assert len(worker.handler.runs) == 8
        await ledger.jobs.create(late)
        answers.clear()
        await wait_until(told_again, what="the reader to be told twice to read nothing")
        assert await worker.relay.flush() == 0 and await worker.client.xlen("q") == 32
        assert all(answers) and len(worker.handler.runs) == 8 and worker.pool.alive()
        await ledger.pauses.remove(scope, name, "test")
        await hold.refresh()
        assert (await worker.ended(job.job_id)).processed == 40
        assert (await worker.ended(late.job_id)).processed == 5


async def test_a_paused_jobs_handlers_go_on_and_none_starts(ledger: Ledger, redis_url: str) -> None:
    """A pause is no cancel."""
    go, work = gate()
    job = new_job(30)
    async with system(ledger, redis_url, work) as worker, kept(worker.relay):
        await ledger.jobs.create(job)
        await wait_until(lambda: full(worker))
        await ledger.pauses.put(Scope.JOB, job.job_id, "", "test")
        go.set()
        await wait_until(worker.empty)
        assert (await ledger.jobs.get(job.job_id)).processed == len(worker.handler.runs) == 8
        assert await ledger.chunks.count_live("lightrag", "q") == 0  # nothing is missed, nothing is dispatched again
        await ledger.pauses.remove(Scope.JOB, job.job_id, "test")
        assert (await worker.ended(job.job_id)).status is JobStatus.COMPLETED
        await wait_until(worker.empty)
    assert len(worker.handler.runs) == 30


async def test_what_a_dead_worker_had_begun_of_a_paused_job_is_taken_over(ledger: Ledger, redis_url: str) -> None:
    """It had started, so it goes on; given back it would get a new entry, which the ledger takes for a second one."""
    job = new_job(4)
    await ledger.jobs.create(job)
    client = connect(redis_url)
    dead = RedisStreamSource(client, stream="q", group="g", lease_seconds=0.6)
    await dead.open(["dead-lightrag-0"])
    await Relay(ledger, client).flush()
    taken = await dead.claim("dead-lightrag-0", 2, 0.05)
    assert len((await ledger.chunks.claim(taken)).taken) == 2
    await client.aclose()
    await ledger.pauses.put(Scope.JOB, job.job_id, "", "test")
    async with system(ledger, redis_url, host="heir") as heir, kept(heir.relay):
        await wait_until(heir.empty)
        assert (await ledger.jobs.get(job.job_id)).processed == len(heir.handler.runs) == 2
        await ledger.pauses.remove(Scope.JOB, job.job_id, "test")
        assert (await heir.ended(job.job_id)).processed == 4


async def test_an_external_producers_job_can_be_held_back(ledger: Ledger, redis_url: str) -> None:
    """Its text is in the ledger from the first sight on; later entries refer to it."""
    async with system(ledger, redis_url) as worker, kept(worker.relay):
        await ledger.pauses.put(Scope.TENANT, "stream", "", "test")
        for n in range(3):
            entry: dict[Any, Any] = {"job_id": "ext", "chunk_id": f"c{n}", "content": f"text {n}", "chunks_total": "3"}
            await worker.client.xadd("q", entry)
        await wait_until(lambda: known(ledger, "ext", 3))
        await wait_until(worker.empty)
        assert worker.handler.runs == []
        await ledger.pauses.remove(Scope.TENANT, "stream", "test")
        assert (await worker.ended("ext")).processed == 3


async def known(ledger: Ledger, job_id: str, count: int) -> bool:
    """Return whether the ledger has so many chunks of a job."""
    return len(await ledger.jobs.chunks(job_id, status=None, after=None, limit=10)) == count


@pytest.mark.parametrize(
    "times", [{}, {"heartbeat_seconds": 60.0, "lease_seconds": 180.0}], ids=["of the tests", "of a deployment"]
)
async def test_a_cancel_is_felt_within_two_seconds(
    ledger: Ledger, redis_url: str, times: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what runs, what is on the stream, and what waits in the outbox; however seldom leases are renewed.

    A look is under way, perhaps, and sees nothing of it yet; the next one, a second later, does.
    """
    assert LEDGER_CHECK_SECONDS <= 1
    looks = calls_of(monkeypatch, Chunks, "leases_lost")
    stopped: list[str] = []

    async def work(delivery: Delivery, context: Context) -> Result:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(delivery.chunk_id)
        return Result()

    job = new_job(3000)
    async with system(ledger, redis_url, work, timeout_seconds=60.0, **times) as worker:
        await worker.submit(job)
        await wait_until(lambda: full(worker))
        assert (await ledger.jobs.cancel(job.job_id)).status is JobStatus.CANCELLED
        before = len(looks.returned)
        await wait_until(lambda: all_stopped(stopped))
        assert sum(map(len, looks.returned)) == 8 and len(looks.returned) - before <= 2
        await wait_until(worker.empty)
        assert await worker.relay.flush() == 0
    assert len(worker.handler.runs) == len(stopped) == 8


async def all_stopped(stopped: list[str]) -> bool:
    """Return whether every handler has been interrupted."""
    return len(stopped) >= 8
