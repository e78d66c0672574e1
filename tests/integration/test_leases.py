"""The loops that keep leases do not wait for each other."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.deliveries import Delivery, Result
from orchestrator.handlers.base import Context
from orchestrator.ledger import Ledger
from orchestrator.ledger.schema import migrate
from orchestrator.sources.redis_stream import RedisStreamSource
from tests.support.calls import calls_of
from tests.support.jobs import new_job
from tests.support.system import system
from tests.support.wait import wait_until


async def test_a_silent_postgresql_holds_up_no_renewal(
    database: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that answers nothing, and refuses nothing, once let leases lapse at the queue: the check came before them.

    Here somebody has the ledger's only connection, and the check waits for it.
    """
    await migrate(database)
    ledger = await Ledger.open(database, connections=1)
    at_work, go_on = asyncio.Event(), asyncio.Event()
    renewals = calls_of(monkeypatch, RedisStreamSource, "renew")

    async def work(delivery: Delivery, context: Context) -> Result:
        at_work.set()
        await go_on.wait()
        return Result()

    async def renewed(times: int) -> bool:
        return renewals.begun >= times

    async with system(ledger, redis_url, work, size=1, batch=1, lease_seconds=60) as worker:
        job = new_job(1)
        await worker.submit(job)
        await at_work.wait()
        async with ledger.database.transaction():
            before = renewals.begun
            await wait_until(lambda: renewed(before + 5))
        go_on.set()
        assert (await worker.ended(job.job_id)).processed == 1
    await ledger.close()
