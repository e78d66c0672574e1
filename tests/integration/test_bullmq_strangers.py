"""What a producer of a BullMQ queue may write, and what stands in a queue that others work on: it stops no worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bull_jobs import Jobs, bull_jobs

pytestmark = pytest.mark.xdist_group("bullmq")

HOSTILE = [
    '{"attempts": "many", "backoff": {"delay": []}}',
    '{"removeOnComplete": {"age": "old"}, "removeOnFail": {"count": "few"}}',
    '{"parent": 5, "de": 7, "kl": "x", "stackTraceLimit": []}',
    '{"fpof": true, "rdof": true}',
    '{"repeat": 5, "backoff": "soon", "lifo": {}}',
    "not JSON",
    "[1]",
]


@pytest.fixture
async def jobs(redis_url: str, tmp_path: Path) -> AsyncIterator[Jobs]:
    """A queue of its own for each test."""
    async with bull_jobs(redis_url, tmp_path) as made:
        yield made


async def test_options_of_a_stranger_stop_nobody(jobs: Jobs) -> None:
    """Whatever they are, and in whatever field: the job is delivered, and can be settled."""
    for n, options in enumerate(HOSTILE * 2):
        made = await jobs.add()
        await jobs.client.hset(jobs.key(made), "opts", options)
        if n % 2:
            await jobs.client.hset(jobs.key(made), mapping={"progress": "?", "stacktrace": "?", "rjk": "no scheduler"})
    held = await jobs.claim(100)
    assert len(held) == 2 * len(HOSTILE)
    await jobs.source.ack(held[: len(HOSTILE)])
    await jobs.source.bury([(d, "boom") for d in held[len(HOSTILE) :]])
    assert await jobs.states() == {"completed": len(HOSTILE), "failed": len(HOSTILE)}


async def test_a_job_whose_settle_breaks_the_script_stops_no_other(jobs: Jobs) -> None:
    """Its parent is no JSON: the script fails in the middle, the others of the batch are settled."""
    broken = await jobs.add()
    await jobs.add()
    held = await jobs.claim()
    await jobs.client.hset(jobs.key(broken), "parent", "no JSON")
    await jobs.source.ack(held)
    assert await jobs.states() == {"active": 1, "completed": 1}


async def test_a_job_whose_id_the_ledger_cannot_hold_has_another_receipt(jobs: Jobs) -> None:
    """Producers choose ids: control characters, or a very long one."""
    strange = ["a\x1fb\x00c", "long" * 500]
    for job_id in strange:
        await jobs.add(jobId=job_id)
    held = await jobs.claim()
    assert all(d.receipt.isprintable() and len(d.receipt) < 100 for d in held)
    assert {d.handle.job.id for d in held} == set(strange)
    assert await jobs.source.renew(held) == []
    await jobs.source.ack(held)
    assert await jobs.states() == {"completed": 2}


async def test_a_job_without_its_hash_is_buried_with_a_reason(jobs: Jobs) -> None:
    """Somebody deleted it by hand, and left its id waiting."""
    await jobs.client.delete(jobs.key(await jobs.add()))
    [held] = await jobs.claim()
    assert held.problem == "the payload is not a JSON object"
    await jobs.source.bury([(held, held.problem)])
    assert await jobs.states() == {"failed": 1}


async def test_what_the_queue_has_given_up_says_so(jobs: Jobs) -> None:
    """Node found that it has stalled too often, or a child of it has failed; it may be retried all the same."""
    made = await jobs.add()
    await jobs.client.hset(jobs.key(made), "defa", "job stalled more than allowable limit")
    [held] = await jobs.claim()
    assert held.given_up == "job stalled more than allowable limit"
    await jobs.source.bury([(held, held.given_up)])
    assert await jobs.source.redrive([made]) == []
    [again] = await jobs.claim()
    assert again.given_up == ""
