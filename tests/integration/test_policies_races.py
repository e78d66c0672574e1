"""Failure policies when several settle chunks of one job at the same time: no deadlock, and the job ends once."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from orchestrator.deliveries import Outcome, Result, Verdict
from orchestrator.jobs import FailurePolicy, JobStatus
from orchestrator.ledger import Ledger
from orchestrator.ledger.statements import sql
from tests.support.books import begun, check_sums, ends, states
from tests.support.jobs import delivery_of, new_job
from tests.support.wait import wait_until

DONE = Outcome(Verdict.PROCESSED, Result(entities=3, relations=2))
DEAD = Outcome(Verdict.FAILED, reason="model said 400")
STRICT, FAIL_FAST = FailurePolicy.STRICT, FailurePolicy.FAIL_FAST
THRESHOLD, BEST_EFFORT = FailurePolicy.THRESHOLD, FailurePolicy.BEST_EFFORT
COMPLETED, FAILED, CANCELLED = JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED

SETTLE_ONE = """
    UPDATE chunks SET status = $3, lease_token = NULL, error = 'model said 400' WHERE job_id = $1 AND chunk_id = $2
"""


@pytest.mark.parametrize("other", ["processed", "failed", "queued"])
async def test_two_settles_in_flight_meet_without_a_deadlock(ledger: Ledger, database: str, other: str) -> None:
    """The first holds c0 and the job and gives the job up, while the second holds c1 and waits for the job.

    Waiting for c1 would be a deadlock. It is passed over; its own settle finds the job lost and ends it, whatever it
    brought: processed, dead, or back to the queue, which is then cancelled.
    """
    job, _ = await begun(ledger, 4, FAIL_FAST)
    first, second = [await asyncpg.connect(database) for _ in range(2)]
    holds = second.transaction()
    await holds.start()
    await second.execute("SELECT FROM chunks WHERE job_id = $1 AND chunk_id = 'c1' FOR UPDATE", job.job_id)
    await first.execute(SETTLE_ONE, job.job_id, "c0", "failed")
    between = await ledger.jobs.get(job.job_id)
    assert (between.status, between.running, between.failed, between.cancelled) == (JobStatus.PROCESSING, 1, 1, 2)
    assert await ends(ledger, job.job_id) == []
    await second.execute(SETTLE_ONE, job.job_id, "c1", other)
    await holds.commit()
    ended = await check_sums(ledger, job.job_id)
    assert ended.status is FAILED
    assert (await states(ledger, job))["c1"] == ("cancelled" if other == "queued" else other)
    await first.close()
    await second.close()


async def test_a_settle_that_waits_for_the_job_ends_it_after_us(ledger: Ledger, database: str) -> None:
    """The other order: the second settle waits in its trigger for the job's row while the first gives the job up."""
    job, _ = await begun(ledger, 4, FAIL_FAST)
    first, second = [await asyncpg.connect(database) for _ in range(2)]
    gives_up = first.transaction()
    await gives_up.start()
    await first.execute("SELECT FROM jobs WHERE job_id = $1 FOR UPDATE", job.job_id)
    waiting = asyncio.create_task(second.execute(SETTLE_ONE, job.job_id, "c1", "processed"))

    async def waits() -> bool:
        query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"
        return bool(await ledger.database.run(lambda c: c.fetchval(query, second.get_server_pid())))

    await wait_until(waits)
    await first.execute(SETTLE_ONE, job.job_id, "c0", "failed")
    await gives_up.commit()
    await waiting
    ended = await check_sums(ledger, job.job_id)
    assert (ended.status, ended.processed, ended.failed, ended.cancelled) == (FAILED, 1, 1, 2)
    await first.close()
    await second.close()


async def test_a_chunk_claimed_again_in_the_same_moment_does_not_outlive_its_job(ledger: Ledger, database: str) -> None:
    """A redelivered chunk goes from running to running: no counter changes, so the claim does not look at the job."""
    job, taken = await begun(ledger, 2, FAIL_FAST)
    other = await asyncpg.connect(database)
    holds = other.transaction()
    await holds.start()
    await other.execute("SELECT FROM chunks WHERE job_id = $1 AND chunk_id = 'c1' FOR UPDATE", job.job_id)
    await ledger.chunks.settle([(taken[0], DEAD)])
    assert (await ledger.jobs.get(job.job_id)).running == 1
    await other.execute(sql("claim_chunks"), job.job_id, "c1", delivery_of(job, 1).receipt, "another", 5)
    await holds.commit()
    await other.close()
    assert (await ledger.jobs.get(job.job_id)).status is JobStatus.PROCESSING
    await ledger.jobs.close_quiet(3600)
    assert (await check_sums(ledger, job.job_id)).status is FAILED


async def test_a_chunk_whose_holder_was_rolled_back_is_found_by_the_reconciler(ledger: Ledger, database: str) -> None:
    """The one that was passed over never came to the job: its connection broke. The next look ends the job."""
    job, taken = await begun(ledger, 3, FAIL_FAST)
    other = await asyncpg.connect(database)
    holds = other.transaction()
    await holds.start()
    await other.execute("SELECT FROM chunks WHERE job_id = $1 AND chunk_id = 'c1' FOR UPDATE", job.job_id)
    await ledger.chunks.settle([(taken[0], DEAD)])
    await holds.rollback()
    await other.close()
    assert (await ledger.jobs.get(job.job_id)).status is JobStatus.PROCESSING
    await ledger.jobs.close_quiet(3600)
    ended = await check_sums(ledger, job.job_id)
    assert (ended.status, ended.failed, ended.cancelled) == (FAILED, 1, 2)


@pytest.mark.parametrize(("policy", "most"), [(FAIL_FAST, 0), (THRESHOLD, 5), (STRICT, 0), (BEST_EFFORT, 0)])
async def test_x17_many_settles_at_once_lose_nothing_and_end_the_job_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, policy: FailurePolicy, most: int
) -> None:
    """Settles and claims of three jobs at the same time, in batches that cross the jobs; every fifth chunk is dead."""
    monkeypatch.setattr("orchestrator.ledger.database.CONTENTION_TRIES", 1)  # a deadlock is an error here
    size = 60
    jobs = [new_job(size, failure_policy=policy, max_failed=most) for _ in range(3)]
    for job in jobs:
        await ledger.jobs.create(job)

    async def work(start: int) -> None:
        for i in range(start, size, 12):
            batch = [delivery_of(job, n) for n in range(i, min(i + 2, size)) for job in jobs]
            taken = (await ledger.chunks.claim(batch)).taken
            for half in (taken[::2], taken[1::2]):
                if half:
                    await ledger.chunks.settle([(d, DEAD if int(d.chunk_id[1:]) % 5 == 0 else DONE) for d in half])

    async with asyncio.timeout(30):
        await asyncio.gather(*(work(start) for start in range(0, 12, 2)))
    for job in jobs:
        ended = await check_sums(ledger, job.job_id)
        assert ended.status is (COMPLETED if policy is BEST_EFFORT else FAILED)
        if policy in {STRICT, BEST_EFFORT}:
            assert (ended.processed, ended.failed, ended.cancelled) == (48, 12, 0)
        else:
            assert ended.failed > most and ended.cancelled > 0


async def test_a_users_cancel_and_a_policy_at_the_same_time_end_the_job_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both cancel what is left; whoever comes first, the books are right."""
    monkeypatch.setattr("orchestrator.ledger.database.CONTENTION_TRIES", 1)
    for _ in range(10):
        job, taken = await begun(ledger, 8, FAIL_FAST)
        await asyncio.gather(
            ledger.chunks.settle([(taken[0], DEAD)]),
            ledger.jobs.cancel(job.job_id),
            ledger.chunks.settle([(taken[1], DONE)]),
        )
        assert (await check_sums(ledger, job.job_id)).status in {FAILED, CANCELLED}
