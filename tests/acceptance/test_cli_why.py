"""orchestrator why as an operator runs it: each class of answer, with what mends it."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.deliveries import Outcome, Result, Usage, Verdict
from orchestrator.jobs import Scope
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import NewJob
from orchestrator.ledger.workers import Pulse
from orchestrator.limits.reason import NO_MODEL, WAITING
from orchestrator.tracker.relay import Relay
from orchestrator.why.reasons import Kind
from tests.support.api import STREAM, Api, api_over, served
from tests.support.fleet import fleet_over
from tests.support.jobs import delivery_of, new_job
from tests.support.process import api_of
from tests.support.program import Cli
from tests.support.servers import free_port
from tests.support.wait import wait_until


async def written(api: Api, size: int = 2, **changes: Any) -> NewJob:
    """Return a job that is written down."""
    job = new_job(size, queue=STREAM, **changes)
    await api.deps.ledger.jobs.create(job)
    return job


async def seen(api: Api) -> None:
    """A worker says that it lives."""
    await api.deps.ledger.workers.seen("h", "lightrag", 1, "1", [Pulse("h-lightrag-0", 0, 0, 0.0)])


async def nobody_works(api: Api) -> NewJob:
    """No worker was ever started."""
    return await written(api)


async def held_back(api: Api) -> NewJob:
    """Somebody has paused its tenant."""
    job = await written(api, tenant="alpha")
    await api.deps.ledger.pauses.put(Scope.TENANT, "alpha", "moving house", "anna")
    return job


async def too_early(api: Api) -> NewJob:
    """Its time has not come."""
    return await written(api, not_before=datetime.now(UTC) + timedelta(hours=1))


async def spent(api: Api) -> NewJob:
    """Its first chunk cost more than all were to cost."""
    job = await written(api, 3, budget=Decimal("0.5"))
    taken = (await api.deps.ledger.chunks.claim([delivery_of(job, 0)])).taken
    used = Usage(calls=1, cost=Decimal("0.75"))
    await api.deps.ledger.chunks.settle([(taken[0], Outcome(Verdict.PROCESSED, Result(), usage=used))])
    return job


async def behind(api: Api) -> NewJob:
    """Another tenant's job is in the same queue."""
    await written(api, 7, tenant="alpha")
    return await written(api, tenant="beta")


async def flushed(api: Api) -> NewJob:
    """Somebody has emptied Redis."""
    job = await written(api, 5)
    await Relay(api.deps.ledger, api.client).flush(STREAM)
    await api.client.flushall()
    return job


async def dead(api: Api) -> NewJob:
    """One of its chunks has died."""
    job = await written(api)
    taken = (await api.deps.ledger.chunks.claim([delivery_of(job, 0)])).taken
    await api.deps.ledger.chunks.settle([(taken[0], Outcome(Verdict.FAILED, reason="not prose"))])
    return job


async def alone(api: Api) -> NewJob:
    """A worker lives, and nothing stands between it and the job: it has only not come to it."""
    await seen(api)
    return await written(api)


async def in_hand(api: Api, step: str) -> NewJob:
    """A worker that lives has one of its chunks, and says what it does with it."""
    await seen(api)
    job = await written(api)
    await api.deps.ledger.chunks.claim([delivery_of(job, 0)])
    await api.deps.ledger.workers.seen("h", "lightrag", 1, "1", [Pulse("h-lightrag-0", 0, 1, 0.0, step, job.job_id)])
    return job


async def at_work(api: Api) -> NewJob:
    """It asks the model."""
    return await in_hand(api, "asking the model")


async def waits_its_turn(api: Api) -> NewJob:
    """It has no permit yet."""
    return await in_hand(api, f"{WAITING} (llm: m)")


async def put_off(api: Api, outcome: Outcome) -> NewJob:
    """One of its chunks is to be tried again in ten minutes."""
    job = await written(api)
    taken = (await api.deps.ledger.chunks.claim([delivery_of(job, 0)])).taken
    await api.deps.ledger.chunks.settle([(taken[0], replace(outcome, delay_seconds=600.0))])
    return job


async def failed_once(api: Api) -> NewJob:
    """Its handler broke."""
    return await put_off(api, Outcome(Verdict.RETRY, reason="ValueError: model said 500"))


async def without_a_model(api: Api) -> NewJob:
    """Nobody answered: that is no attempt."""
    return await put_off(api, Outcome(Verdict.RELEASE, reason=f"{NO_MODEL}: llm: m", ran=False))


async def cancelled(api: Api) -> NewJob:
    """Somebody has changed his mind."""
    job = await written(api)
    await api.deps.ledger.jobs.cancel(job.job_id)
    return job


Make = Callable[[Api], Awaitable[NewJob]]


@pytest.mark.parametrize(
    ("make", "says", "remedy"),
    [
        (nobody_works, "no worker of type lightrag", "systemctl restart orchestrator-worker@lightrag"),
        (held_back, "paused by anna", "orchestrator resume tenant alpha"),
        (too_early, "no earlier than", "nothing to do but wait"),
        (spent, "cost 0.75 of a budget of 0.5\n", "orchestrator budget {job} AMOUNT"),
        (behind, "beside 7 chunks of tenant alpha", "--priority high"),
        (flushed, "5 entries of queue", "orchestrator doctor --fix"),
        (at_work, "at step: asking the model", "it is at work; orchestrator watch {job}"),
        (waits_its_turn, "waiting for the model limiter", "orchestrator limits"),
        (failed_once, "attempt 1 of 3 failed: ValueError: model said 500", "orchestrator job {job} --chunks"),
        (without_a_model, "no attempt was made: model endpoint does not answer", "orchestrator limits"),
        (dead, "not prose", "orchestrator dead-letters retry --job {job}"),
        (alone, "nothing holds it up", "orchestrator watch {job}"),
        (cancelled, "it has ended: cancelled", "submit it again"),
    ],
)
async def test_each_class_is_told_with_what_mends_it(cli: Cli, api: Api, make: Make, says: str, remedy: str) -> None:
    """A sentence a reason, and under it what to do."""
    job = await make(api)
    done = await cli("why", job.job_id)
    assert done.code == 0 and says in done.out and remedy.format(job=job.job_id) in done.out
    if make is alone:
        assert done.out.count("\n- ") == 1, "it is said when there is nothing else to say"


async def test_a_redis_that_is_away_is_told(ledger: Ledger, tmp_path: Path) -> None:
    """The API still says what the ledger knows."""
    job = new_job(1, queue=STREAM)
    await ledger.jobs.create(job)
    (tmp_path / "key").write_text("key-of-operator\n")
    async with api_over(ledger, f"redis://127.0.0.1:{free_port()}/0") as api, served(api) as url:
        done = await Cli(url, tmp_path / "key")("why", job.job_id)
    assert done.code == 0 and "Redis does not answer" in done.out and "systemctl start redis-server" in done.out


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("password", (Kind.WRONG_CREDENTIALS, "Redis refuses our user", "ansible-playbook site.yml")),
        ("port", (Kind.OBSTACLE, "Redis does not answer", "the worker goes on by itself")),
    ],
)
async def test_a_worker_that_cannot_begin_says_why(
    database: str, redis_url: str, tmp_path: Path, wrong: str, expected: tuple[Kind, str, str]
) -> None:
    """It lives, and only its own journal told so: to whoever waited there was no worker."""
    kind, says, remedy = expected
    urls = {
        "password": redis_url.replace("redis://", "redis://nobody:hunter2@"),
        "port": f"redis://127.0.0.1:{free_port()}/0",
    }
    async with fleet_over(database, redis_url, tmp_path) as fleet, fleet.worker("other"):
        sick = replace(fleet, redis_url=urls[wrong])
        async with sick.worker(ready=False) as worker, api_of(tmp_path / "other") as cli:
            job = await fleet.submit(1, hang=9)
            await worker.told("STATUS=waiting: Redis")

            async def told() -> dict[str, Any] | None:
                reasons = (await cli("why", job.job_id, "-o", "json")).json["reasons"]
                return next((r for r in reasons if r["kind"] == kind), None)

            found = await wait_until(told)
            assert found is not None and "on host h cannot work" in found["text"] and says in found["text"]
            assert "hunter2" not in found["text"] and remedy in found["remedy"]


async def test_what_a_killed_worker_held_is_told(database: str, redis_url: str, tmp_path: Path) -> None:
    """A real process, killed in the middle: in whose hands it is, when they were seen last, and when others take it."""
    async with (
        fleet_over(database, redis_url, tmp_path) as fleet,
        fleet.worker() as worker,
        api_of(tmp_path / "h") as cli,
    ):
        job = await fleet.submit(1, hang=9)
        await fleet.running(job)
        worker.send(signal.SIGKILL)
        await worker.ended()

        async def told() -> dict[str, Any] | None:
            reasons = (await cli("why", job.job_id, "-o", "json")).json["reasons"]
            return next((r for r in reasons if r["kind"] == Kind.HELD_BY_DEAD), None)

        found = await wait_until(told)
        assert found is not None and "was last seen" in found["text"] and found["chunks"] == 1
        async with fleet.worker("heir"):
            await fleet.delivered(job, 2)
            assert datetime.now(UTC) > datetime.fromisoformat(found["until"])
