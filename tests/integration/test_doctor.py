"""The doctor: each complaint of a worker type that really has it, and the mending of what is safe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator.deliveries import Delivery, Result
from orchestrator.errors import RejectError
from orchestrator.handlers.base import Context
from orchestrator.jobs import JobStatus, Scope
from orchestrator.ledger import Ledger
from orchestrator.ledger.workers import Pulse
from orchestrator.tracker.relay import Relay
from tests.support.api import STREAM, Api, api_over
from tests.support.jobs import delivery_of, new_job
from tests.support.system import system
from tests.support.wait import wait_until

PULSES = [Pulse(f"h-lightrag-{slot}", 0, 0, 0.0) for slot in range(4)]


@pytest.fixture
async def api(ledger: Ledger, redis_url: str) -> AsyncIterator[Api]:
    """An API whose workers are seen."""
    async with api_over(ledger, redis_url) as made:
        await ledger.workers.seen("h", "lightrag", 1, "1", PULSES)
        yield made


async def diagnosis(api: Api, *, fix: bool = False, name: str = "operator") -> Any:
    """Return what the doctor says."""
    async with api.as_(name) as client:
        answer = await client.request("POST" if fix else "GET", "/doctor")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def complaints(api: Api) -> list[str]:
    """Return what is complained of."""
    return [f["complaint"] for f in (await diagnosis(api))["findings"]]


async def test_all_is_well(api: Api) -> None:
    """Nothing is found, nothing is done."""
    assert await diagnosis(api, fix=True) == {"well": True, "findings": [], "done": []}


async def test_it_is_for_operators(api: Api) -> None:
    """A tenant's key sees nothing of the others."""
    async with api.as_("alpha") as client:
        assert (await client.get("/doctor")).status_code == 403
        assert (await client.post("/doctor")).status_code == 403


async def test_workers_are_missing(api: Api, ledger: Ledger) -> None:
    """One slot, then all of them."""
    await ledger.workers.stopped(["h-lightrag-3"])
    assert await complaints(api) == ["few_workers"]
    await ledger.workers.stopped([p.consumer for p in PULSES])
    assert await complaints(api) == ["no_worker"]


async def test_redis_was_emptied_and_is_filled_again(api: Api, ledger: Ledger, redis_url: str) -> None:
    """Mended at once, not within the minute of the reconciler; and a worker then does the work."""
    job = new_job(5, queue=STREAM)
    await ledger.jobs.create(job)
    await Relay(ledger, api.client).flush(STREAM)
    await api.client.flushall()
    assert await complaints(api) == ["disagree"]
    mended = await diagnosis(api, fix=True)
    assert "1 jobs put up for dispatch again" in mended["done"][0]
    async with system(ledger, redis_url, stream=STREAM) as worker:
        assert (await worker.ended(job.job_id)).processed == 5
    assert await complaints(api) == []
    assert [e.action for e in await ledger.audit.page(None, None, 10)] == ["doctor"]


@pytest.mark.timeout(180)
async def test_chunks_of_dead_workers_are_put_back(api: Api, ledger: Ledger) -> None:
    """Their worker claimed them, and was never seen; nobody is taken for dead before PostgreSQL has run for a lease."""
    job = new_job(2, queue=STREAM)
    await ledger.jobs.create(job)
    dead = delivery_of(job, 0)
    dead.consumer = "gone-lightrag-0"
    await ledger.chunks.claim([dead])
    age = "UPDATE chunks SET started_at = started_at - interval '1 hour' WHERE status = 'running'"
    await ledger.database.run(lambda c: c.execute(age))

    async def stranded() -> bool:
        return "stranded" in await complaints(api)

    await wait_until(stranded, within=40, what="a lease of PostgreSQL")
    mended = await diagnosis(api, fix=True)
    assert "1 chunks of dead workers put back" in mended["done"][0]
    after = await ledger.jobs.get(job.job_id)
    assert (after.queued, after.running, after.status) == (2, 0, JobStatus.PROCESSING)


async def test_pauses_dead_letters_and_jobs_that_stand_still_are_named(
    api: Api, ledger: Ledger, redis_url: str
) -> None:
    """Not mended: they are somebody's decision."""

    async def work(delivery: Delivery, context: Context) -> Result:
        raise RejectError("not prose")

    job, still = new_job(1, queue=STREAM), new_job(1, queue=STREAM, tenant="alpha")
    async with system(ledger, redis_url, work, stream=STREAM) as worker:
        await worker.submit(job)
        await worker.ended(job.job_id)
    await ledger.pauses.put(Scope.TENANT, "alpha", "moving house", "anna")
    await ledger.jobs.create(still)
    age = "UPDATE jobs SET changed_at = changed_at - interval '1 hour' WHERE status = 'queued'"
    await ledger.database.run(lambda c: c.execute(age))

    async def named() -> bool:
        return {"dead_letters", "paused", "still"} <= set(await complaints(api))

    await wait_until(named, what="all three")
    found = {f["complaint"]: f for f in (await diagnosis(api))["findings"]}
    assert found["paused"]["remedy"] == "orchestrator resume tenant alpha" and "anna" in found["paused"]["text"]
    assert found["still"]["remedy"] == f"orchestrator why {still.job_id}"
    assert not any(f["safe"] for f in found.values())


async def test_redis_is_away(ledger: Ledger) -> None:
    """The ledger's part is told all the same."""
    await ledger.workers.seen("h", "lightrag", 1, "1", PULSES)
    async with api_over(ledger, "redis://127.0.0.1:1/0") as api:
        assert await complaints(api) == ["redis"]
