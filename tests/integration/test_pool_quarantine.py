"""A chunk that kills its worker takes no other chunk with it: what saw many workers die runs alone."""

from __future__ import annotations

import asyncio

from orchestrator.deliveries import Delivery, Result
from orchestrator.handlers.base import Context
from orchestrator.jobs import JobStatus
from orchestrator.ledger import Ledger
from tests.support.jobs import new_job
from tests.support.system import system
from tests.support.wait import wait_until

SUSPECTS = {"c1", "c4", "c9"}


async def test_chunks_that_saw_workers_die_run_alone(ledger: Ledger, redis_url: str) -> None:
    """The nemesis found it: a deadly chunk was handed out again together with whatever had been beside it.

    Slow chunks beside it saw every one of its workers die, and were buried as poison with it. Now a chunk that saw half
    as many deaths as poison may runs when nothing else is in the hands of its worker.
    """
    running: set[str] = set()
    beside: dict[str, set[str]] = {}

    async def work(delivery: Delivery, context: Context) -> Result:
        running.add(delivery.chunk_id)
        for name in running:
            beside.setdefault(name, set()).update(running)
        await asyncio.sleep(0.05)
        running.discard(delivery.chunk_id)
        return Result()

    job = new_job(12)
    await ledger.jobs.create(job)
    await see_deaths(ledger, job.job_id, 5)
    async with system(ledger, redis_url, work, max_deliveries=8) as worker:
        await worker.relay.flush()
        ended = await worker.ended(job.job_id)
        assert (ended.status, ended.processed) == (JobStatus.COMPLETED, 12)
        await wait_until(worker.empty)
    assert {name: beside[name] for name in SUSPECTS} == {name: {name} for name in SUSPECTS}
    assert any(len(names) > 1 for names in beside.values()), "the others run together"
    rows = await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=100)
    assert {r["chunk_id"]: r["deliveries"] for r in rows if r["chunk_id"] in SUSPECTS} == dict.fromkeys(SUSPECTS, 6)


async def test_a_drain_gives_back_a_suspect_that_waits(ledger: Ledger, redis_url: str) -> None:
    """It waits for what is beside it; a drain lets it go at once, and it counts as nothing."""
    entered = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        entered.set()
        await asyncio.sleep(30 if delivery.chunk_id == "c0" else 0)
        return Result()

    job = new_job(2)
    await ledger.jobs.create(job)
    await see_deaths(ledger, job.job_id, 5)
    async with system(ledger, redis_url, work, max_deliveries=8) as worker:
        await worker.relay.flush()
        await entered.wait()
        await wait_until(lambda: running(ledger, job.job_id, 2))
    rows = await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=100)
    assert [(r["status"], r["attempts"], r["deliveries"]) for r in rows] == [("queued", 0, 0), ("queued", 0, 5)]


async def test_a_death_while_a_suspect_waits_is_not_its_own(ledger: Ledger, redis_url: str) -> None:
    """The nemesis found it: a slow chunk was buried though few of its workers had died while it ran.

    Most died while it waited to be run alone: that was a delivery as well. Now one counts from when it is its turn.
    """
    seen: dict[str, int] = {}
    go = asyncio.Event()

    async def deliveries() -> dict[str, int]:
        rows = await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=100)
        return {row["chunk_id"]: row["deliveries"] for row in rows}

    async def work(delivery: Delivery, context: Context) -> Result:
        if delivery.chunk_id == "c0":
            await go.wait()
        seen.update({delivery.chunk_id: (await deliveries())[delivery.chunk_id]})
        return Result()

    async def waits_uncounted() -> bool:
        return await running(ledger, job.job_id, 2) and await deliveries() == {"c0": 1, "c1": 5}

    job = new_job(2)
    await ledger.jobs.create(job)
    await see_deaths(ledger, job.job_id, 5)
    async with system(ledger, redis_url, work, max_deliveries=8) as worker:
        await worker.relay.flush()
        await wait_until(waits_uncounted)
        go.set()
        assert (await worker.ended(job.job_id)).status == JobStatus.COMPLETED
    assert seen == {"c0": 1, "c1": 6}


async def running(ledger: Ledger, job_id: str, count: int) -> bool:
    """Return whether so many chunks of the job are in somebody's hands."""
    return (await ledger.jobs.get(job_id)).running == count


async def see_deaths(ledger: Ledger, job_id: str, deaths: int) -> None:
    """Make the suspects such as were handed out so often and never settled."""
    await ledger.database.run(
        lambda c: c.execute(
            "UPDATE chunks SET deliveries = $2 WHERE job_id = $1 AND chunk_id = ANY ($3)",
            job_id,
            deaths,
            list(SUSPECTS),
        )
    )


async def test_a_suspect_that_was_taken_over_while_it_waited_is_not_run(ledger: Ledger, redis_url: str) -> None:
    """The nemesis found it: a worker that was stopped came back, and ran a deadly chunk that another had by then.

    Its death was then counted nowhere, for the count of a lost lease changes nothing: one run more than the cap.
    """
    go = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        if delivery.chunk_id == "c0":
            await go.wait()
        return Result()

    async def taken_over() -> bool:
        statement = "UPDATE chunks SET lease_token = 1 WHERE chunk_id = 'c1' AND status = 'running' AND deliveries = 5"
        return await ledger.database.run(lambda c: c.execute(statement)) == "UPDATE 1"

    async def first_settled() -> bool:
        return (await ledger.jobs.get(job.job_id)).processed == 1

    job = new_job(2)
    await ledger.jobs.create(job)
    await see_deaths(ledger, job.job_id, 5)
    async with system(ledger, redis_url, work, max_deliveries=8, heartbeat_seconds=60.0, lease_seconds=200.0) as worker:
        await worker.relay.flush()
        await wait_until(taken_over)
        go.set()
        await wait_until(first_settled)
    assert [name for name, _ in worker.handler.runs] == ["c0"]
