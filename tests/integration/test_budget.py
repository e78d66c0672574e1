"""What a job may cost: it pauses when that is spent, goes on when it is raised, and everybody sees what was used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from orchestrator.deliveries import Delivery, Outcome, Result, Usage, Verdict
from orchestrator.errors import ConflictError, NotFoundError, RetryError
from orchestrator.handlers.base import Context
from orchestrator.jobs import ChunkStatus, FailurePolicy, JobStatus, Scope
from orchestrator.ledger import Ledger
from orchestrator.ledger.budgets import Budgets
from orchestrator.ledger.jobs import NewJob
from orchestrator.tasks import end
from orchestrator.tracker.relay import Relay
from tests.support.api import STREAM, api_over
from tests.support.jobs import delivery_of, new_job
from tests.support.system import System, system
from tests.support.wait import wait_until

ONE = Usage(calls=2, prompt_tokens=100, completion_tokens=10, cost=Decimal("1"))


async def begin(ledger: Ledger, job: NewJob, *chunks: int) -> list[Delivery]:
    """Let a worker take chunks of a job."""
    deliveries = [delivery_of(job, i, receipt=f"r{i}") for i in chunks]
    claimed = await ledger.chunks.claim(deliveries)
    assert len(claimed.taken) == len(chunks)
    return claimed.taken


async def finish(ledger: Ledger, taken: list[Delivery], verdict: Verdict = Verdict.PROCESSED) -> None:
    """End them, at a cost."""
    assert not await ledger.chunks.settle([(d, Outcome(verdict, Result(1, 1), usage=ONE)) for d in taken])


async def spend(ledger: Ledger, job: NewJob, *chunks: int, verdict: Verdict = Verdict.PROCESSED) -> None:
    """Run chunks of a job to their end, at a cost."""
    await finish(ledger, await begin(ledger, job, *chunks), verdict)


async def events(ledger: Ledger, job_id: str) -> list[str]:
    """Return the types of a job's events, without the job's type."""
    rows = await ledger.database.run(
        lambda c: c.fetch("SELECT type FROM events WHERE job_id = $1 ORDER BY seq", job_id)
    )
    return [row["type"].partition(".")[2] for row in rows]


async def reasons(ledger: Ledger, job_id: str) -> list[tuple[str, str]]:
    """Return who holds the job back, and why."""
    found = await ledger.pauses.of_jobs([job_id])
    return [(p.by, p.reason) for p in found.get(job_id, [])]


@pytest.mark.parametrize("by", ["a person", "its policy"])
async def test_what_a_cancelled_run_had_used_is_counted_once(ledger: Ledger, by: str) -> None:
    """Its settle is refused, and what it had used went with it: cancelled jobs looked cheaper than they were."""
    job = new_job(3, failure_policy=FailurePolicy.FAIL_FAST)
    await ledger.jobs.create(job)
    cut, dead = await begin(ledger, job, 0, 1)
    if by == "a person":
        await ledger.jobs.cancel(job.job_id)
    else:
        await finish(ledger, [dead], Verdict.FAILED)
    released = Outcome(Verdict.RELEASE, ran=False, usage=ONE)
    for _ in range(2):  # as after an answer that did not arrive
        assert await ledger.chunks.settle([(cut, released)]) == {cut.key: ChunkStatus.CANCELLED}
    after = await ledger.jobs.get(job.job_id)
    runs = 1 if by == "a person" else 2
    assert (after.model_calls, after.prompt_tokens, after.completion_tokens) == (2 * runs, 100 * runs, 10 * runs)
    assert after.cost == runs and after.status in {JobStatus.CANCELLED, JobStatus.FAILED}


async def audited(ledger: Ledger) -> list[tuple[str, str, str]]:
    """Return who did what, oldest first."""
    rows = await ledger.database.run(lambda c: c.fetch("SELECT actor, action, target FROM audit ORDER BY id"))
    return [tuple(row) for row in rows]


async def test_a_job_pauses_when_its_budget_is_spent_and_goes_on_when_it_is_raised(ledger: Ledger) -> None:
    """Once each, with events and audit rows; usage of a failed run counts as that of any other."""
    job = new_job(8, budget=Decimal("3"))
    await ledger.jobs.create(job)
    await spend(ledger, job, 0, 1)
    assert await reasons(ledger, job.job_id) == []
    at_work = await begin(ledger, job, 3)
    await spend(ledger, job, 2, verdict=Verdict.RETRY)
    assert await reasons(ledger, job.job_id) == [("budget", "budget spent: 3 of 3")]
    await finish(ledger, at_work)
    assert (await events(ledger, job.job_id)).count("paused") == 1
    budgets = Budgets(ledger.database)
    assert not await budgets.set(job.job_id, Decimal("4"), tenant=None, actor="ann"), "four are spent by now"
    assert await budgets.set(job.job_id, Decimal("4.5"), tenant="lab", actor="ann")
    assert await reasons(ledger, job.job_id) == []
    await spend(ledger, job, 4)
    assert await reasons(ledger, job.job_id) == [("budget", "budget spent: 5 of 4.5")]
    assert await budgets.set(job.job_id, None, tenant=None, actor="ann"), "no limit at all"
    seen = [e for e in await events(ledger, job.job_id) if e in {"paused", "resumed"}]
    assert seen == ["paused", "resumed", "paused", "resumed"]
    after = await ledger.jobs.get(job.job_id)
    assert (after.model_calls, after.prompt_tokens, after.completion_tokens) == (10, 500, 50)
    assert (after.cost, after.budget, after.queued) == (Decimal("5"), None, 4)
    target = f"job/{job.job_id}"
    assert await audited(ledger) == [
        ("budget", "pause", target), ("ann", "budget", target), ("ann", "budget", target),
        ("budget", "pause", target), ("ann", "budget", target),
    ]  # fmt: skip


async def test_a_job_without_a_budget_and_one_that_is_done_are_not_paused(ledger: Ledger) -> None:
    """The last chunk may cost what it likes."""
    free, exact = new_job(2), new_job(2, budget=Decimal("2"))
    for job in (free, exact):
        await ledger.jobs.create(job)
        await spend(ledger, job, 0)
        await spend(ledger, job, 1)
        assert (await ledger.jobs.get(job.job_id)).status is JobStatus.COMPLETED
        assert "paused" not in await events(ledger, job.job_id)
    assert await ledger.pauses.all() == []


async def test_a_job_that_ends_while_it_is_paused_leaves_no_pause(ledger: Ledger) -> None:
    """All of it was at work when the budget was spent."""
    job = new_job(3, budget=Decimal("1"))
    await ledger.jobs.create(job)
    at_work = await begin(ledger, job, 1, 2)
    await spend(ledger, job, 0)
    assert await reasons(ledger, job.job_id)
    await finish(ledger, at_work)
    assert (await ledger.jobs.get(job.job_id)).status is JobStatus.COMPLETED and await ledger.pauses.all() == []


async def test_a_budget_of_nothing_is_spent_from_the_beginning(ledger: Ledger, redis_url: str) -> None:
    """Nothing of it is dispatched; its first event is that it was queued."""
    job = new_job(2, budget=Decimal("0"))
    await ledger.jobs.create(job)
    assert await events(ledger, job.job_id) == ["queued", "paused"]
    assert await reasons(ledger, job.job_id) == [("budget", "budget spent: 0 of 0")]


async def test_a_pause_somebody_made_is_not_the_budgets_to_end(ledger: Ledger) -> None:
    """Raising the budget says nothing about the other reason; lowering it pauses at once."""
    job, other = new_job(4, budget=Decimal("1")), new_job(4, budget=Decimal("9"))
    budgets = Budgets(ledger.database)
    for each in (job, other):
        await ledger.jobs.create(each)
    at_work = await begin(ledger, job, 0)
    await ledger.pauses.put(Scope.JOB, job.job_id, "wrong source", "ann")
    await finish(ledger, at_work)
    assert await reasons(ledger, job.job_id) == [("ann", "wrong source")]
    assert not await budgets.set(job.job_id, Decimal("5"), tenant=None, actor="bob")
    assert await reasons(ledger, job.job_id) == [("ann", "wrong source")]
    await spend(ledger, other, 0)
    assert not await budgets.set(other.job_id, Decimal("0.5"), tenant=None, actor="bob")
    assert await reasons(ledger, other.job_id) == [("budget", "budget spent: 1 of 0.5")]


async def test_whose_budget_may_be_set(ledger: Ledger) -> None:
    """Of a job of the tenant's own that has not ended."""
    job = new_job(1, budget=Decimal("1"))
    await ledger.jobs.create(job)
    budgets = Budgets(ledger.database)
    with pytest.raises(NotFoundError):
        await budgets.set(job.job_id, Decimal("2"), tenant="other", actor="eve")
    with pytest.raises(NotFoundError):
        await budgets.set("job-unknown", Decimal("2"), tenant=None, actor="eve")
    await spend(ledger, job, 0)
    with pytest.raises(ConflictError, match="ended"):
        await budgets.set(job.job_id, Decimal("2"), tenant=None, actor="ann")
    assert (await ledger.jobs.get(job.job_id)).budget == 1 and await audited(ledger) == []


async def test_settles_that_spend_a_budget_together_pause_the_job_once(ledger: Ledger) -> None:
    """Of several workers, at the same moment as somebody raises it: the job is paused if and only if it is spent."""
    for budget in ("4", "6"):
        job = new_job(12, budget=Decimal(budget))
        await ledger.jobs.create(job)
        at_work = [await begin(ledger, job, i) for i in range(8)]
        raising = Budgets(ledger.database).set(job.job_id, Decimal("8.5"), tenant=None, actor="ann")
        await asyncio.gather(*(finish(ledger, taken) for taken in at_work), raising)
        assert await reasons(ledger, job.job_id) == []
        await spend(ledger, job, 8)
        assert await reasons(ledger, job.job_id) == [("budget", "budget spent: 9 of 8.5")]
        seen = [e for e in await events(ledger, job.job_id) if e in {"paused", "resumed"}]
        assert seen in (["paused"], ["paused", "resumed", "paused"])


@asynccontextmanager
async def dispatched(worker: System) -> AsyncIterator[None]:
    """Keep the worker's stream filled as worker processes do, with little ahead."""
    relay = Relay(worker.ledger, worker.client, window=2)
    task = asyncio.create_task(relay.run("q", 0.05))
    try:
        yield
    finally:
        await end([task])


async def test_no_call_is_made_for_a_job_whose_budget_is_spent(ledger: Ledger, redis_url: str) -> None:
    """But for what was at work, or ahead of the workers; raised, it completes, and another job is not held up."""
    calls: list[str] = []

    async def work(delivery: Delivery, context: Context) -> Result:
        calls.append(delivery.job_id)
        context.usage.add(calls=1, prompt_tokens=10, completion_tokens=1, cost=Decimal("0.25"))
        if delivery.chunk_id == "c1" and delivery.attempt == 1:
            raise RetryError("the model said nonsense", delay_seconds=0.01)
        return Result()

    job, other = new_job(40, budget=Decimal("2")), new_job(10)
    async with system(ledger, redis_url, work, size=1, batch=2) as worker, dispatched(worker):
        await ledger.jobs.create(job)
        await wait_until(lambda: _paused_and_quiet(ledger, job.job_id))
        await ledger.jobs.create(other)
        assert (await worker.ended(other.job_id)).status is JobStatus.COMPLETED
        await wait_until(lambda: _paused_and_quiet(ledger, job.job_id))  # a claim may have begun before the pause
        spent = calls.count(job.job_id)
        assert 8 <= spent <= 12, "eight it could pay for, and what was in flight"
        held = await ledger.jobs.get(job.job_id)
        assert (held.status, held.model_calls, held.cost) == (JobStatus.PROCESSING, spent, spent * Decimal("0.25"))
        await Budgets(ledger.database).set(job.job_id, Decimal("100"), tenant=None, actor="ann")
        ended = await worker.ended(job.job_id)
    assert (ended.status, ended.processed, ended.model_calls) == (JobStatus.COMPLETED, 40, 41)
    assert (ended.cost, ended.prompt_tokens, ended.completion_tokens) == (Decimal("10.25"), 410, 41)
    kinds = [e for e in await events(ledger, job.job_id) if e != "progress"]
    assert kinds == ["queued", "started", "paused", "resumed", "completed"]


async def _paused_and_quiet(ledger: Ledger, job_id: str) -> bool:
    return bool(await reasons(ledger, job_id)) and (await ledger.jobs.get(job_id)).running == 0


async def test_the_budget_over_the_api(ledger: Ledger, redis_url: str) -> None:
    """Set by its tenant; wrong values, ended jobs and the jobs of others are refused as such."""
    job = new_job(4, tenant="alpha", queue=STREAM, budget=Decimal("1"))
    await ledger.jobs.create(job)
    await spend(ledger, job, 0)
    path = f"/jobs/{job.job_id}"
    async with api_over(ledger, redis_url) as api, api.as_("alpha") as client, api.as_("beta") as beta:
        seen = (await client.get(path)).json()
        assert seen["usage"] == {
            "model_calls": 2, "prompt_tokens": 100, "completion_tokens": 10, "cost": 1.0, "budget": 1.0,
        }  # fmt: skip
        assert [p["reason"] for p in seen["paused"]] == ["budget spent: 1 of 1"]
        wrong: list[Any] = [{"budget": -1}, {"budget": "x"}, {"budget": 1e12}, {}, {"budget": 1, "cost": 0}, [], None]
        for body in wrong:
            assert (await client.patch(path, json=body)).status_code == 422, body
        assert (await client.patch(path, content=b'{"budget": NaN}')).status_code == 422
        assert (await beta.patch(path, json={"budget": 5})).status_code == 404
        raised = await client.patch(path, json={"budget": 2.5})
        assert raised.status_code == 200 and raised.json()["paused"] == [] and raised.json()["usage"]["budget"] == 2.5
        await wait_until(lambda: _on_stream(api.client))
        assert (await client.patch(path, json={"budget": None})).json()["usage"]["budget"] is None
        await client.post(f"{path}/cancel")
        assert (await client.patch(path, json={"budget": 9})).status_code == 409


async def _on_stream(client: Any) -> bool:
    return bool(await client.xlen(STREAM) == 3)


async def test_usage_by_tenant(ledger: Ledger, redis_url: str) -> None:
    """An operator sees all; a tenant its own, and may not ask for another's."""
    for tenant, chunks in (("alpha", 2), ("alpha", 1), ("beta", 1)):
        job = new_job(3, tenant=tenant)
        await ledger.jobs.create(job)
        await spend(ledger, job, *range(chunks))
    async with api_over(ledger, redis_url) as api, api.as_("alpha") as alpha, api.as_("operator") as operator:
        report = (await operator.get("/usage")).json()
        assert [(t["tenant"], t["jobs"], t["model_calls"], t["cost"]) for t in report["tenants"]] == [
            ("alpha", 2, 6, 3.0), ("beta", 1, 2, 1.0),
        ]  # fmt: skip
        assert [t["tenant"] for t in (await alpha.get("/usage")).json()["tenants"]] == ["alpha"]
        assert (await alpha.get("/usage", params={"tenant": "beta"})).status_code == 403
        assert (await operator.get("/usage", params={"tenant": "beta\x00"})).json()["tenants"] == []
        future = await operator.get("/usage", params={"since": "2090-01-01T00:00:00Z"})
        assert future.json()["tenants"] == []
        assert (await operator.get("/usage", params={"since": "yesterday"})).status_code == 422
        assert (await operator.get("/usage", params={"since": "2026-01-01T00:00:00"})).status_code == 422
