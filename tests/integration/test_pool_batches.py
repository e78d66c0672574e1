"""Batches are as large as the work allows: each costs a claim, a settle and their events, however small it is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import redis.asyncio as redis

from orchestrator.deliveries import Delivery
from orchestrator.jobs import JobStatus
from orchestrator.ledger import Ledger
from orchestrator.sources.redis_stream import RedisStreamSource
from orchestrator.tracker.relay import Relay
from tests.support.jobs import new_job
from tests.support.system import system

SLOTS, BATCH = 4, 10


async def test_slots_that_fell_out_of_step_read_together_again(
    ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a read had brought work for three slots only, these and the fourth took turns ever after.

    Slots that had just begun seemed to have no room, although what they ran ended at once: the next read was for the
    others alone. Twice the claims and settles, and never a whole one.
    """
    seen: list[dict[str, int]] = []
    poll = RedisStreamSource.poll

    async def watched(source: RedisStreamSource, rooms: Mapping[str, int]) -> list[Delivery]:
        found = await poll(source, rooms)
        if found or seen:
            seen.append(dict(rooms))
        return found

    monkeypatch.setattr(RedisStreamSource, "poll", watched)
    job = new_job((SLOTS - 1) * BATCH)
    await ledger.jobs.create(job)
    async with redis.Redis.from_url(redis_url) as client:
        await Relay(ledger, client).flush()
    async with system(ledger, redis_url, size=SLOTS, batch=BATCH) as worker:
        assert (await worker.ended(job.job_id)).status == JobStatus.COMPLETED
    assert [len(rooms) for rooms in seen[:2]] == [SLOTS, SLOTS]
