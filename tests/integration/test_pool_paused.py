"""What is held back while it is on the stream already: it waits, burns nothing, and goes on when it is let go."""

from __future__ import annotations

import asyncio
from typing import Any

from orchestrator.deliveries import Delivery, Result
from orchestrator.handlers.base import Context
from orchestrator.jobs import JobStatus, Scope
from orchestrator.ledger import Ledger
from tests.support.jobs import new_job
from tests.support.relays import kept
from tests.support.system import System, system
from tests.support.wait import wait_until


async def test_a_paused_tenants_chunks_go_back_to_the_outbox(ledger: Ledger, redis_url: str) -> None:
    """The other tenant's are run; after the resume every chunk was run once, in its first attempt."""
    paused, other = new_job(3, tenant="paused"), new_job(3, tenant="other")
    async with system(ledger, redis_url) as worker, kept(worker.relay):
        await ledger.jobs.create(paused)
        await worker.relay.flush()
        await ledger.pauses.put(Scope.TENANT, "paused", "", "test")
        await worker.submit(other)
        assert (await worker.ended(other.job_id)).processed == 3
        held = await ledger.jobs.get(paused.job_id)
        done_before = held.processed  # what was claimed before the pause ends in order
        await ledger.pauses.remove(Scope.TENANT, "paused", "test")
        ended = await worker.ended(paused.job_id)
        assert (ended.status, ended.processed) == (JobStatus.COMPLETED, 3) and done_before <= 3
    rows = await ledger.jobs.chunks(paused.job_id, status=None, after=None, limit=10)
    assert [(r["attempts"], r["deliveries"]) for r in rows] == [(1, 1)] * 3


async def test_a_paused_job_that_is_queued_does_not_start(ledger: Ledger, redis_url: str) -> None:
    """Its entries are on the stream, and workers read them."""
    job = new_job(3)
    await ledger.jobs.create(job)
    await ledger.pauses.put(Scope.JOB, job.job_id, "wait", "test")
    async with system(ledger, redis_url) as worker:
        await worker.client.xadd("q", {"job_id": job.job_id, "chunk_id": "c0", "workspace": "lab", "v": "1"})
        await wait_until(worker.empty, what="the entry to be taken off the stream")
        assert not worker.handler.runs and (await ledger.jobs.get(job.job_id)).status is JobStatus.QUEUED


async def test_workers_of_a_paused_type_read_nothing(ledger: Ledger, redis_url: str) -> None:
    """What they have in hand they finish."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        begun.set()
        await go_on.wait()
        return Result()

    pauses, answers = [False], [False]

    def held_back() -> bool:
        answers.append(pauses[-1])
        return answers[-1]

    first, second = new_job(1), new_job(2)
    async with system(ledger, redis_url, work, held_back=held_back) as worker:
        await worker.submit(first)
        await begun.wait()
        pauses.append(True)
        await wait_until(lambda: asked(answers), what="the reader to be told")
        await worker.submit(second)
        go_on.set()
        assert (await worker.ended(first.job_id)).processed == 1
        await wait_until(lambda: nothing_pending(worker))  # the ledger knows it before its entry is acked
        assert len(worker.handler.runs) == 1 and await worker.client.xlen("q") == 2
        pauses.append(False)
        assert (await worker.ended(second.job_id)).processed == 2


async def nothing_pending(worker: System) -> bool:
    """Return whether every entry that was read has been acked."""
    found: Any = await worker.client.xpending("q", "g")
    return bool(found["pending"] == 0)


async def asked(answers: list[bool]) -> bool:
    """Return whether the reader has been told to read nothing."""
    return answers[-1]
