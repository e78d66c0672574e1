"""Why is it waiting: each class of answer, of a situation that was made for real."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.deliveries import Delivery, Outcome, Result, Verdict
from orchestrator.errors import RejectError
from orchestrator.handlers.base import Context
from orchestrator.jobs import Priority, Scope
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import NewJob
from orchestrator.limits.endpoint import Endpoint
from orchestrator.limits.limiter import Limiter
from orchestrator.limits.reason import WAITING
from orchestrator.limits.scripts import Scripts
from orchestrator.settings import WorkerTypeSettings
from orchestrator.tracker.relay import Relay
from orchestrator.why.reasons import Kind
from tests.support.api import STREAM, Api, api_over
from tests.support.jobs import delivery_of, new_job
from tests.support.servers import Server
from tests.support.system import System, Work, system
from tests.support.wait import wait_until


async def asked(api: Api, job: NewJob, name: str = "operator") -> list[dict[str, Any]]:
    """Return the reasons the API gives."""
    async with api.as_(name) as client:
        answer = await client.get(f"/jobs/{job.job_id}/why")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["reasons"]
    return found


async def reason(api: Api, job: NewJob, kind: Kind, says: str = "") -> dict[str, Any]:
    """Return the reason of that kind once it is given."""

    async def look() -> dict[str, Any] | None:
        return next((r for r in await asked(api, job) if r["kind"] == kind and says in r["text"]), None)

    found = await wait_until(look, what=f"reason {kind}")
    assert found is not None
    return found


async def work_on(stack: AsyncExitStack, ledger: Ledger, redis_url: str, work: Work, **changes: Any) -> System:
    """Run a worker on the API's queue, with its heartbeats."""
    worker = await stack.enter_async_context(system(ledger, redis_url, work, stream=STREAM, **changes))

    async def beat() -> None:
        while True:
            await ledger.workers.seen("h", "lightrag", 1, "1", worker.pool.pulses())
            await asyncio.sleep(0.05)

    stack.callback(asyncio.create_task(beat()).cancel)
    return worker


def queued(size: int = 2, **changes: Any) -> NewJob:
    """Return a job for the API's queue."""
    return new_job(size, queue=STREAM, **changes)


async def hang(delivery: Delivery, context: Context) -> Result:
    """Never end."""
    context.step("asking the model")
    await asyncio.Event().wait()
    return Result()


async def test_nobody_works(api: Api, ledger: Ledger) -> None:
    """No worker of the type was ever started."""
    job = queued()
    await ledger.jobs.create(job)
    found = await reason(api, job, Kind.NO_WORKER)
    assert "no worker of type lightrag" in found["text"] and "orchestrator-worker@lightrag" in found["remedy"]


@pytest.mark.parametrize(
    ("scope", "name"), [(Scope.TYPE, "lightrag"), (Scope.QUEUE, STREAM), (Scope.TENANT, "lab"), (Scope.JOB, "")]
)
async def test_it_is_held_back(api: Api, ledger: Ledger, scope: Scope, name: str) -> None:
    """By whom, why, and what lets it go on."""
    job = queued()
    await ledger.jobs.create(job)
    await ledger.pauses.put(scope, name or job.job_id, "the model is being moved", "anna")
    found = (await asked(api, job))[0]
    assert found["kind"] == Kind.PAUSED and "anna" in found["text"] and "the model is being moved" in found["text"]
    assert found["remedy"] == f"orchestrator resume {scope.value} {name or job.job_id}"


async def test_its_time_has_not_come(api: Api, ledger: Ledger) -> None:
    """A delayed job says until when."""
    later = datetime.now(UTC) + timedelta(hours=1)
    job = queued(not_before=later)
    await ledger.jobs.create(job)
    found = await reason(api, job, Kind.DELAYED)
    assert datetime.fromisoformat(found["until"]) == later and found["chunks"] == 2


async def test_it_is_held_by_a_live_worker(api: Api, ledger: Ledger, redis_url: str) -> None:
    """For how long, and at which step."""
    async with AsyncExitStack() as stack:
        worker = await work_on(stack, ledger, redis_url, hang)
        job = queued()
        await worker.submit(job)
        found = await reason(api, job, Kind.HELD, "at step: asking the model")
        assert "h-lightrag-" in found["text"] and found["chunks"] in {1, 2}


async def test_it_waits_for_the_model_limiter(api: Api, ledger: Ledger, redis_url: str) -> None:
    """A real limiter with one permit, which somebody else has."""
    limiter = Limiter(
        Endpoint(kind="llm", url="http://203.0.113.1", model="m", ceiling=1, initial=1), Scripts(api.client)
    )

    async def work(delivery: Delivery, context: Context) -> Result:
        async with limiter.permit(1, patience=30, waiting=context.step):
            return Result()

    async with AsyncExitStack() as stack:
        stack.push_async_callback(limiter.close)
        await stack.enter_async_context(limiter.permit(1, patience=5))
        worker = await work_on(stack, ledger, redis_url, work)
        job = queued(1)
        await worker.submit(job)
        found = await reason(api, job, Kind.MODEL_LIMITER)
        assert "waiting for the model limiter" in found["text"] and "orchestrator limits" in found["remedy"]


async def test_the_step_of_another_job_is_not_its_own(api: Api, ledger: Ledger, redis_url: str) -> None:
    """A slot says the step of what it has held for longest. All jobs in its hands were said to be at that step.

    So one whose chunks were at work was told to wait for the model limiter.
    """
    waits, works = queued(1), queued(1)

    async def work(delivery: Delivery, context: Context) -> Result:
        context.step(f"{WAITING} (llm: m)" if delivery.job_id == waits.job_id else "asking the model")
        await asyncio.Event().wait()
        return Result()

    async with AsyncExitStack() as stack:
        worker = await work_on(stack, ledger, redis_url, work, size=1, timeout_seconds=60.0)
        await worker.submit(waits)
        await reason(api, waits, Kind.MODEL_LIMITER, WAITING)
        await worker.submit(works)

        async def held() -> list[dict[str, Any]]:
            return [r for r in await asked(api, works) if "held by h-lightrag-0" in r["text"]]

        [found] = await wait_until(held, what="a reason to be held")
        assert found["kind"] == Kind.HELD and found["text"].endswith("at step: at work")
        await reason(api, waits, Kind.MODEL_LIMITER, WAITING)


async def test_it_is_held_by_a_dead_worker(api: Api, ledger: Ledger, redis_url: str) -> None:
    """It claimed and was never heard of again: others take over when the lease ends."""
    job = queued(1)
    async with AsyncExitStack() as stack:
        heir = await work_on(stack, ledger, redis_url, hang, host="heir", lease_seconds=30.0)
        heir.pool.stop()
        await ledger.jobs.create(job)
        await heir.source.open(["dead-lightrag-0"])
        await heir.relay.flush()
        await ledger.chunks.claim(await heir.source.claim("dead-lightrag-0", 1, 0.5))
        found = await reason(api, job, Kind.HELD_BY_DEAD)
        assert "dead-lightrag-0" in found["text"] and "was never seen" in found["text"] and found["until"]


async def test_it_is_tried_again_later(
    api: Api, ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When, and after what. That a model endpoint is to blame, and no chunk, is shown with a real handler."""
    monkeypatch.setattr("orchestrator.pool.outcome.full_jitter", lambda *_, **__: 600.0)  # it may be next to nothing

    async def work(delivery: Delivery, context: Context) -> Result:
        raise ValueError("model said 500")

    async with AsyncExitStack() as stack:
        worker = await work_on(stack, ledger, redis_url, work)
        job = queued(1)
        await worker.submit(job)
        found = await reason(api, job, Kind.RETRY_LATER)
        assert "attempt 1 of 3 failed: ValueError: model said 500" in found["text"] and found["until"]
        assert f"orchestrator job {job.job_id} --chunks" in found["remedy"]


async def test_its_chunks_are_dead(api: Api, ledger: Ledger, redis_url: str) -> None:
    """With the reason of the first, and how to try them again."""

    async def work(delivery: Delivery, context: Context) -> Result:
        raise RejectError("not prose")

    async with AsyncExitStack() as stack:
        worker = await work_on(stack, ledger, redis_url, work)
        job = queued(2)
        await worker.submit(job)
        await worker.ended(job.job_id)
        found = await reason(api, job, Kind.DEAD_LETTERED)
        assert "not prose" in found["text"] and "dead-letters retry" in found["remedy"] and found["chunks"] == 2


async def test_its_message_is_dead_on_a_queue_that_is_not_ours(api: Api, ledger: Ledger) -> None:
    """The same command: a worker of the type puts the message back."""
    sync = WorkerTypeSettings(name="lightrag", handler="noop", source="sqs", stream=STREAM)
    api.app.state.deps = replace(api.deps, types={"lightrag": sync})
    job = queued(1)
    await ledger.jobs.create(job)
    taken = (await ledger.chunks.claim([delivery_of(job, 0)])).taken
    await ledger.chunks.settle([(d, Outcome(Verdict.FAILED, reason="not prose")) for d in taken])
    found = await reason(api, job, Kind.DEAD_LETTERED)
    assert f"dead-letters retry --job {job.job_id}" in found["remedy"]


async def test_redis_and_the_ledger_disagree(api: Api, ledger: Ledger) -> None:
    """Somebody flushed Redis."""
    job = queued(5)
    await ledger.jobs.create(job)
    await Relay(ledger, api.client).flush(STREAM)
    assert not [r for r in await asked(api, job) if r["kind"] == Kind.DISAGREE]
    await api.client.flushall()
    found = await reason(api, job, Kind.DISAGREE)
    assert "5 entries" in found["text"] and "doctor --fix" in found["remedy"]


async def test_it_is_queued_behind_others(api: Api, ledger: Ledger) -> None:
    """How many chunks of whom; a tenant is told how many, and no names."""
    other, mine = queued(7, tenant="alpha"), queued(2, tenant="beta", priority=Priority.LOW)
    await ledger.jobs.create(other)
    await ledger.jobs.create(mine)
    found = await reason(api, mine, Kind.QUEUED_BEHIND)
    assert "7 chunks of tenant alpha" in found["text"] and "band low" in found["text"] and found["chunks"] == 2
    as_tenant = next(r for r in await asked(api, mine, "beta") if r["kind"] == Kind.QUEUED_BEHIND)
    assert "7 chunks of other tenants" in as_tenant["text"] and "alpha" not in as_tenant["text"]


async def test_nobody_is_behind_what_is_paused_or_of_a_lower_band(api: Api, ledger: Ledger) -> None:
    """All chunks of the queue were counted: of tenants and jobs that are paused, and of bands that come after."""
    mine, held_back = queued(2, tenant="beta"), queued(5, tenant="beta")
    for job in (mine, held_back, queued(13, tenant="gamma"), queued(17, tenant="alpha", priority=Priority.LOW)):
        await ledger.jobs.create(job)
    await ledger.pauses.put(Scope.TENANT, "gamma", "", "anna")
    await ledger.pauses.put(Scope.JOB, held_back.job_id, "", "anna")
    assert not [r for r in await asked(api, mine) if r["kind"] == Kind.QUEUED_BEHIND]
    for job in (queued(7, tenant="alpha"), queued(11, tenant="alpha", priority=Priority.HIGH)):
        await ledger.jobs.create(job)
    found = await reason(api, mine, Kind.QUEUED_BEHIND)
    assert found["text"].endswith("beside 18 chunks of tenant alpha")


async def test_redis_does_not_answer(ledger: Ledger, redis_process: Server, redis_url: str) -> None:
    """Away, or with another password: the ledger still says what it knows."""
    job = queued()
    await ledger.jobs.create(job)
    async with api_over(ledger, redis_url.replace("redis://", "redis://nobody:wrong@")) as api:
        found = (await asked(api, job))[1]
        assert found["kind"] == Kind.WRONG_CREDENTIALS and "redis-url" in found["remedy"]
    async with api_over(ledger, "redis://127.0.0.1:1/0") as api:
        assert (await asked(api, job))[1]["kind"] == Kind.REDIS_AWAY


async def test_nothing_holds_it_up(api: Api, ledger: Ledger, redis_url: str) -> None:
    """It has ended, or it is next: an answer there always is."""

    async def work(delivery: Delivery, context: Context) -> Result:
        return Result()

    async with AsyncExitStack() as stack:
        worker = await work_on(stack, ledger, redis_url, work)
        job = queued(1)
        await worker.submit(job)
        await worker.ended(job.job_id)
        assert [r["kind"] for r in await asked(api, job)] == [Kind.ENDED]
        assert "completed" in (await asked(api, job))[0]["text"]
