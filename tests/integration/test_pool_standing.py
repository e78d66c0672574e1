"""What stands still in a pool, though nothing raises an error: it says so, and no longer when it moves again."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.deliveries import Delivery, Result
from orchestrator.errors import RetryError
from orchestrator.handlers.base import Context
from orchestrator.ledger import Ledger
from orchestrator.ledger.schema import migrate
from orchestrator.pool import pool
from orchestrator.sources.redis_stream import publish
from tests.support.jobs import new_job
from tests.support.system import System, system
from tests.support.wait import wait_until


@pytest.mark.parametrize("part", ["the reader", "the settler"])
async def test_a_statement_that_gets_no_connection_is_seen(
    database: str, redis_url: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement ends by its timeout, but one that waits for a connection has not begun and waits for ever.

    Here somebody has the only one. A worker whose settles waited like that filled its slots with what had ended, read
    nothing more, and fed the watchdog: only the reader was looked at, and that had no room.
    """
    monkeypatch.setattr(pool, "PATIENCE_SECONDS", 0.5)
    await migrate(database)
    ledger = await Ledger.open(database, connections=1)
    go_on = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        await go_on.wait()
        return Result()

    async with system(ledger, redis_url, work, size=1, batch=1) as worker:
        job = new_job(1)
        await ledger.jobs.create(job)
        if part == "the settler":
            await worker.relay.flush()
            await wait_until(lambda: at_work(worker))
        async with ledger.database.transaction():
            if part == "the reader":
                await publish(worker.client, "q", [(job.job_id, "c0", job.workspace)])
                await wait_until(lambda: delivered(worker))  # now it needs the connection
            go_on.set()
            await wait_until(lambda: stands(worker, part))
            assert not worker.pool.alive()
        if part == "the reader":
            await worker.relay.flush()
        assert (await worker.ended(job.job_id)).processed == 1
        await wait_until(lambda: moves(worker))
    await ledger.close()


async def delivered(worker: System) -> bool:
    """Return whether the reader has been given an entry."""
    return any(consumer.pending for consumer in await worker.source.consumers())


async def stands(worker: System, part: str) -> bool:
    """Return whether this part stands still."""
    return part in worker.pool.standing()


async def moves(worker: System) -> bool:
    """Return whether nothing stands still."""
    return worker.pool.alive()


async def at_work(worker: System) -> bool:
    """Return whether a run has begun."""
    return bool(worker.handler.runs)


async def test_x10_the_rate_is_of_what_was_processed(ledger: Ledger, redis_url: str) -> None:
    """Whatever left a slot was counted: with the model away a queue that stood still had its chunks a second."""

    async def work(delivery: Delivery, context: Context) -> Result:
        if delivery.attempt < 3:
            raise RetryError("the model is away")
        return Result()

    async with system(ledger, redis_url, work) as worker:
        job = new_job(4)
        await worker.submit(job)
        assert (await worker.ended(job.job_id)).processed == 4
        await wait_until(worker.empty)
    assert sum(pulse.tasks_processed for pulse in worker.pool.pulses()) == 4
    assert len(worker.handler.runs) == 12
