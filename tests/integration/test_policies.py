"""Failure policies: when dead chunks end a job, what becomes of the others, and that nothing is counted twice then."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.deliveries import Delivery, Outcome, Result, Verdict
from orchestrator.errors import RejectError
from orchestrator.handlers.base import Context
from orchestrator.jobs import FailurePolicy, JobStatus
from orchestrator.ledger import Ledger
from orchestrator.ledger.chunks import Chunks
from orchestrator.pool.leases import LEDGER_CHECK_SECONDS
from tests.support.books import begun, check_sums, ends, events, states
from tests.support.calls import calls_of
from tests.support.jobs import delivery_of, new_job
from tests.support.system import system
from tests.support.wait import wait_until

DONE = Outcome(Verdict.PROCESSED, Result(entities=3, relations=2))
DEAD = Outcome(Verdict.FAILED, reason="model said 400")
RETRY = Outcome(Verdict.RETRY, reason="model said 500", delay_seconds=5)

STRICT, FAIL_FAST = FailurePolicy.STRICT, FailurePolicy.FAIL_FAST
THRESHOLD, BEST_EFFORT = FailurePolicy.THRESHOLD, FailurePolicy.BEST_EFFORT
COMPLETED, FAILED, CANCELLED = JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED


@pytest.mark.parametrize(
    ("policy", "most", "outcomes", "ending"),
    [
        (STRICT, 0, "ddp", (FAILED, (1, 2, 0))),
        (STRICT, 0, "ppp", (COMPLETED, (3, 0, 0))),
        (FAIL_FAST, 0, "ppp", (COMPLETED, (3, 0, 0))),
        (FAIL_FAST, 0, "pdp", (FAILED, (1, 1, 1))),
        (FAIL_FAST, 0, "ddd", (FAILED, (0, 1, 2))),
        (THRESHOLD, 0, "dpp", (FAILED, (0, 1, 2))),
        (THRESHOLD, 1, "dpp", (COMPLETED, (2, 1, 0))),
        (THRESHOLD, 1, "pddp", (FAILED, (1, 2, 1))),
        (THRESHOLD, 2, "dd", (COMPLETED, (0, 2, 0))),
        (BEST_EFFORT, 0, "ddp", (COMPLETED, (1, 2, 0))),
        (BEST_EFFORT, 0, "ddd", (FAILED, (0, 3, 0))),
        (BEST_EFFORT, 0, "ppp", (COMPLETED, (3, 0, 0))),
    ],
)
async def test_how_a_job_ends_is_its_policy_applied_to_its_chunks(
    ledger: Ledger, policy: FailurePolicy, most: int, outcomes: str, ending: tuple[JobStatus, tuple[int, int, int]]
) -> None:
    """One chunk settled after the other (p processed, d dead); what comes after the job was given up is refused."""
    job, taken = await begun(ledger, len(outcomes), policy, max_failed=most)
    for delivery, letter in zip(taken, outcomes, strict=True):
        await ledger.chunks.settle([(delivery, DONE if letter == "p" else DEAD)])
    ended = await check_sums(ledger, job.job_id)
    assert (ended.status, (ended.processed, ended.failed, ended.cancelled)) == ending


@pytest.mark.parametrize("policy", list(FailurePolicy))
async def test_the_same_settled_in_one_batch_ends_the_same_once(ledger: Ledger, policy: FailurePolicy) -> None:
    """A pool settles what finished together in one statement: what is processed in it stays processed."""
    job, taken = await begun(ledger, 6, policy, max_failed=1)
    batch = list(zip(taken[:4], (DONE, DEAD, DEAD, RETRY), strict=True))
    assert await ledger.chunks.settle(batch) == {}
    if policy in {STRICT, BEST_EFFORT}:
        assert (await ledger.jobs.get(job.job_id)).status is JobStatus.PROCESSING
        again = (await ledger.chunks.claim([delivery_of(job, 3)])).taken
        await ledger.chunks.settle([(d, DONE) for d in (*again, *taken[4:])])
    ended = await check_sums(ledger, job.job_id)
    assert ended.status is (COMPLETED if policy is BEST_EFFORT else FAILED)
    assert (ended.processed, ended.failed) == ((4, 2) if policy in {STRICT, BEST_EFFORT} else (1, 2))


async def test_x15_fail_fast_says_all_in_one_event_and_takes_the_leases_away(ledger: Ledger) -> None:
    """Queued and running chunks are cancelled with the dead one's settle; a late settle finds its chunk cancelled."""
    job = new_job(4, failure_policy=FAIL_FAST)
    await ledger.jobs.create(job)
    first, second, third = (await ledger.chunks.claim([delivery_of(job, i) for i in range(3)])).taken
    await ledger.chunks.settle([(first, DONE)])
    await ledger.chunks.settle([(second, DEAD)])
    assert await states(ledger, job) == {"c0": "processed", "c1": "failed", "c2": "cancelled", "c3": "cancelled"}
    assert await ledger.chunks.leases_lost([third]) == [third]
    assert await ledger.chunks.settle([(third, DONE)]) == {third.key: "cancelled"}
    late = await ledger.chunks.claim([delivery_of(job, 3)])
    assert not late.taken and len(late.ended) == 1
    told = await events(ledger, job.job_id)
    assert [kind for kind, _ in told] == ["queued", "started", "progress", "failed"]
    data = told[-1][1]
    assert data.pop("duration_seconds") >= 0
    assert data == {
        "chunks_processed": 1, "chunks_failed": 1, "chunks_cancelled": 2, "chunks_total": 4,
        "failure_policy": "fail_fast", "error": "model said 400", "chunk_id": "c1",
    }  # fmt: skip


async def test_the_error_that_is_told_is_that_of_the_chunk_that_is_named(ledger: Ledger) -> None:
    """The least error text and the least chunk id of a batch belonged to two different chunks."""
    job, taken = await begun(ledger, 2, STRICT)
    reasons = [Outcome(Verdict.FAILED, reason="z, of c0"), Outcome(Verdict.FAILED, reason="a, of c1")]
    await ledger.chunks.settle(list(zip(taken, reasons, strict=True)))
    ((_, data),) = await ends(ledger, job.job_id)
    assert (data["chunk_id"], data["error"]) == ("c0", "z, of c0")


async def test_a_completed_job_tells_of_its_dead_chunks(ledger: Ledger) -> None:
    """Completed is not all processed: the event and the row say how many are missing, and why."""
    job, taken = await begun(ledger, 3, BEST_EFFORT)
    await ledger.chunks.settle(list(zip(taken, (DONE, DEAD, DONE), strict=True)))
    ((kind, data),) = await ends(ledger, job.job_id)
    assert (kind, data["chunks_failed"], data["error"], data["chunk_id"]) == ("completed", 1, "model said 400", "c1")
    assert (await ledger.jobs.get(job.job_id)).percent_complete == 66.66


@pytest.mark.parametrize("policy", [STRICT, THRESHOLD, BEST_EFFORT])
async def test_a_cancelled_job_is_cancelled_by_whatever_policy(ledger: Ledger, policy: FailurePolicy) -> None:
    """What a person cancelled has not been completed; with a dead chunk a strict job has failed, as ever."""
    job, taken = await begun(ledger, 4, policy, max_failed=2)
    await ledger.chunks.settle(list(zip(taken[:2], (DONE, DEAD), strict=True)))
    await ledger.jobs.cancel(job.job_id)
    ended = await check_sums(ledger, job.job_id)
    assert ended.status is (FAILED if policy is STRICT else CANCELLED)


async def test_chunks_never_sent_are_not_waited_for_once_a_job_is_given_up(ledger: Ledger) -> None:
    """A declared total of five, two of them seen: the policy ends the job with what there is."""
    entries = [Delivery(f"x-{c}", "h", "ext", c, "w", content="hello", chunks_total=5) for c in ("a", "b")]
    await ledger.chunks.register("lightrag", "q", "ingestion", entries)
    await ledger.database.run(lambda c: c.execute("UPDATE jobs SET failure_policy = 'fail_fast'"))
    taken = (await ledger.chunks.claim(entries)).taken
    await ledger.chunks.settle([(taken[0], DEAD)])
    ended = await check_sums(ledger, "ext")
    assert (ended.status, ended.chunks_total, ended.cancelled) == (FAILED, 2, 1)


async def test_fail_fast_stops_the_running_handlers_of_a_pool_within_two_seconds(
    ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their lease is gone: they are interrupted, nothing of the job is begun any more, and no entry stays.

    A look is under way, perhaps, and sees nothing of it yet; the next one, a second later, does.
    """
    assert LEDGER_CHECK_SECONDS <= 1
    looks = calls_of(monkeypatch, Chunks, "leases_lost")
    at_work, stopped = set[str](), set[str]()
    die = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        at_work.add(delivery.chunk_id)
        if delivery.chunk_id == "c0":
            await die.wait()
            raise RejectError("not prose")
        try:
            await asyncio.Event().wait()
        finally:
            stopped.add(delivery.chunk_id)
        return Result()

    job = new_job(12, failure_policy=FAIL_FAST)
    async with system(ledger, redis_url, work, size=2, batch=3, timeout_seconds=60.0) as worker:
        await worker.submit(job)

        async def full() -> bool:
            return len(at_work) == 6

        await wait_until(full)
        die.set()
        ended = await worker.ended(job.job_id)
        before = len(looks.returned)
        assert (ended.status, ended.failed, ended.cancelled) == (FAILED, 1, 11)

        async def all_stopped() -> bool:
            return len(stopped) == len(at_work) - 1

        await wait_until(all_stopped)
        lost = [len(found) for found in looks.returned]
        assert lost[before:].count(0) <= 1 and sum(lost) >= len(stopped)
        assert 5 <= len(stopped) <= 6, "one more may be begun before the dead one is settled"
        await wait_until(worker.empty)
    assert await worker.ledger.jobs.get(job.job_id) == ended
    await check_sums(ledger, job.job_id)


async def test_what_was_dispatched_and_not_begun_is_never_begun(ledger: Ledger, redis_url: str) -> None:
    """Entries of chunks that the policy cancelled are acked unread by the handler; the next job goes on."""

    async def work(delivery: Delivery, context: Context) -> Result:
        if delivery.chunk_id == "c0":
            raise RejectError("not prose")
        return Result()

    doomed, next_one = new_job(40, failure_policy=FAIL_FAST), new_job(5, failure_policy=THRESHOLD, max_failed=1)
    async with system(ledger, redis_url, work, size=1, batch=1) as worker:
        await worker.submit(doomed)
        await worker.submit(next_one)
        assert (await worker.ended(doomed.job_id)).status is FAILED
        done = await worker.ended(next_one.job_id)
        assert (done.status, done.processed, done.failed) == (COMPLETED, 4, 1)
        await wait_until(worker.empty)
    ended = await check_sums(ledger, doomed.job_id)
    cut_short = len(worker.handler.runs) - (ended.processed + ended.failed + 5)
    assert 0 <= cut_short <= 2, "no more than the slot had in its hands when the policy spoke"
