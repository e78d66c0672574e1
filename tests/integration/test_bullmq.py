"""BullMQ with the clients it was made for: producers, QueueEvents and workers in Node, our worker as it is deployed."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from orchestrator.ledger import Ledger
from tests.conformance.bullmq_backend import BullBackend
from tests.conformance.workers import LEASE, Workers
from tests.support.node import Node, node
from tests.support.process import Process

pytestmark = [pytest.mark.xdist_group("bullmq"), pytest.mark.timeout(120)]
FAILS_ALWAYS = {"fail": 99}


@dataclass
class Queue:
    """A queue, its producer in Node, and workers of both kinds."""

    producer: Node
    ours: Workers

    async def add(self, wish: dict[str, Any] | None = None, **options: Any) -> str:
        """Add a job that wishes this of its handler; return its id."""
        job = await self.producer.call("add", "work", {"content": "text", "metadata": wish or {}}, options)
        return str(job["id"])

    def worker(self, host: str = "h", **sizing: Any) -> AbstractAsyncContextManager[Process]:
        """Run our worker. Where nobody dies no lease is to lapse, however slow the machine is."""
        return self.ours.start(host, **{"lease_seconds": 30.0, **sizing})

    def node_worker(self, **options: Any) -> AbstractAsyncContextManager[Node]:
        """Run a worker of Node."""
        url = self.ours.backend.credentials()["source-url"]
        return node("bullmq_worker", url, self.ours.queue, json.dumps(options))

    async def until(self, event: str, job: str) -> dict[str, Any]:
        """Wait for an event of a job, as QueueEvents tells it."""
        return await self.producer.until(event=event, jobId=job)

    def times(self, event: str, job: str) -> list[int]:
        """Return when these events were, in milliseconds by the clock of Redis."""
        return [said["at"] for said in self.producer.said(event=event, jobId=job)]

    async def states(self) -> Counter[tuple[str, int, int]]:
        """Return how many chunks of ours stand at each (status, attempts, deliveries)."""
        return await self.ours.states()


@pytest.fixture(scope="module")
def backend() -> Iterator[BullBackend]:
    """One Redis for all tests here."""
    made = BullBackend()
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


@pytest.fixture
async def queue(
    backend: BullBackend, ledger: Ledger, database: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Queue]:
    """A queue of its own for each test, and nobody at work on it yet."""
    name = f"q-{uuid4().hex[:8]}"
    async with node("bullmq_producer", backend.credentials()["source-url"], name) as producer:
        yield Queue(producer, Workers(backend, name, ledger, database, redis_url, tmp_path))


async def test_node_sees_what_our_worker_does(queue: Queue) -> None:
    """Active, progress, completed with the result, failed with the reason; the queue's states are the ledger's."""
    done, rejected = await queue.add({"sleep": 3.0}), await queue.add({"reject": True}, attempts=5)
    async with queue.worker():
        assert (await queue.until("completed", done))["returnvalue"] == {"entities": 0, "relations": 0, "detail": {}}
        assert (await queue.until("failed", rejected))["failedReason"] == "rejected: rejected on request"
        await queue.ours.done()
    assert (await queue.until("progress", done))["data"] == {"step": "sleeping"}
    for job, end in ((done, "completed"), (rejected, "failed")):
        told = [line["event"] for line in queue.producer.said(jobId=job) if line["event"] not in {"added", "progress"}]
        assert told == ["waiting", "active", end]
        assert await queue.producer.call("getState", job=job) == end
    assert await queue.states() == Counter({("processed", 1, 1): 1, ("failed", 1, 1): 1})


async def test_the_producers_attempts_and_backoff_count_and_not_ours(queue: Queue) -> None:
    """Fixed, exponential and none: as often as it says, and never earlier; Node hears that they are exhausted."""
    fixed = await queue.add(FAILS_ALWAYS, attempts=3, backoff={"type": "fixed", "delay": 400})
    growing = await queue.add(FAILS_ALWAYS, attempts=3, backoff={"type": "exponential", "delay": 300})
    once = await queue.add(FAILS_ALWAYS, attempts=1)
    own = await queue.add(FAILS_ALWAYS)
    async with queue.worker(retry_attempts=2):
        for job, attempts in ((fixed, 3), (growing, 3), (once, 1), (own, 2)):
            reason = (await queue.until("failed", job))["failedReason"]
            assert reason == f"failed on request (attempt {attempts} of {attempts})"
            assert len(queue.times("active", job)) == attempts
    assert (await queue.until("retries-exhausted", fixed))["attemptsMade"] == "3"
    for job, pauses in ((fixed, (400, 400)), (growing, (300, 600))):
        first, second, third = queue.times("active", job)
        assert second - first >= pauses[0]
        assert third - second >= pauses[1]
        assert (third - first) < sum(pauses) + 5000
    assert await queue.states() == Counter({("failed", 3, 3): 2, ("failed", 1, 1): 1, ("failed", 2, 2): 1})


async def test_the_producers_delay_and_priority_are_kept(queue: Queue) -> None:
    """What is delayed is not early; what has no priority goes first, then 1, 2, 3, 4."""
    jobs = {priority: await queue.add(priority=priority) for priority in (3, 1, 0, 2)}
    late = await queue.add(delay=1500, priority=4)
    async with queue.worker(size=1, batch=1):
        await queue.until("completed", late)
        await queue.ours.done()
    began = [line["jobId"] for line in queue.producer.said(event="active")]
    assert began == [jobs[0], jobs[1], jobs[2], jobs[3], late]
    assert queue.times("active", late)[0] >= queue.times("added", late)[0] + 1500 - 100  # it was added a moment earlier


async def test_node_sees_a_dead_workers_job_stalled_and_done_by_another(queue: Queue) -> None:
    """Killed by -9 in the middle; no attempt is lost, although the producer allows but one."""
    job = await queue.add({"hang": 1}, attempts=1)
    async with queue.worker("a", lease_seconds=LEASE) as doomed:
        await queue.until("active", job)
        await queue.ours.until("running", 1)
        doomed.send(signal.SIGKILL)
        async with queue.worker("b", lease_seconds=LEASE):
            await queue.until("stalled", job)
            await queue.until("completed", job)
            await queue.ours.done()
    assert await queue.states() == Counter({("processed", 1, 2): 1})


async def test_a_job_removed_from_the_queue_interrupts_its_handler(queue: Queue) -> None:
    """Its job is cancelled in the ledger, and the slot is free for the next."""
    job = await queue.add({"sleep": 1000})
    async with queue.worker(size=1, batch=1):
        await queue.until("active", job)
        await queue.ours.until("running", 1)
        await queue.producer.call("obliterate", {"force": True})
        await queue.ours.until("cancelled", 1, within=20 * LEASE)
        again = await queue.add()
        await queue.until("completed", again)


async def test_a_worker_of_node_takes_over_what_we_leave(queue: Queue) -> None:
    """What was released, what waits for its retry with the attempts we made counted, and what nobody began."""
    released = await queue.add({"hang": 1}, attempts=1)  # with us; a worker of Node does not know this wish
    retried = await queue.add({"fail": 2}, attempts=3, backoff=60_000)
    async with queue.worker(size=1, batch=2, grace_period_seconds=1.0) as ours:
        await queue.until("delayed", retried)
        waiting = await queue.add()
        await ours.stop()
    await queue.producer.call("promote", job=retried)
    async with queue.node_worker() as theirs:
        await theirs.until(failed=retried)
        await queue.producer.call("promote", job=retried)
        for job in (released, retried, waiting):
            assert (await queue.until("completed", job))["jobId"] == job
        began = Counter((line["began"], line["attempts"]) for line in theirs.lines if "began" in line)
    assert began[(retried, 1)] == began[(retried, 2)] == 1
    assert began[(released, 0)] == 1


async def test_we_take_over_what_a_worker_of_node_leaves(queue: Queue) -> None:
    """What it held when it died, and what it had failed: its attempts count."""
    held = await queue.add({"hold": True}, attempts=1)  # for Node alone
    failed = await queue.add(FAILS_ALWAYS, attempts=2, backoff=200)
    async with queue.node_worker(lockDuration=1000, stalledInterval=1000) as theirs:
        await theirs.until(began=held)
        theirs.kill()
        async with queue.worker(lease_seconds=LEASE):
            await queue.until("stalled", held)
            assert (await queue.until("completed", held))["returnvalue"]["detail"] == {}
            assert "attempt 2 of 2" in (await queue.until("failed", failed))["failedReason"]
            await queue.ours.done()


async def test_what_node_has_failed_leaves_us_the_attempts_that_remain(queue: Queue) -> None:
    """One owner of the budget: what others have used of it is used."""
    job = await queue.add(FAILS_ALWAYS, attempts=2, backoff=60_000)
    async with queue.node_worker() as theirs:
        await theirs.until(failed=job)
    await queue.producer.call("promote", job=job)
    async with queue.worker():
        assert "attempt 1 of 1" in (await queue.until("failed", job))["failedReason"]
        await queue.ours.done()
    assert await queue.states() == Counter({("failed", 1, 1): 1})


async def test_a_scheduler_of_node_goes_on_under_our_worker(queue: Queue) -> None:
    """Whoever takes an iteration makes the next."""
    await queue.producer.call("upsertJobScheduler", "often", {"every": 300}, {"name": "tick", "data": {"content": "x"}})
    async with queue.worker():
        await queue.ours.until("processed", 4)
        await queue.producer.call("removeJobScheduler", "often")
        await queue.ours.done()


async def test_a_flow_runs_children_first_and_a_failed_child_fails_its_parent(queue: Queue) -> None:
    """The parent that its queue has given up does not run, and ends as failed in the ledger too."""
    name = queue.ours.queue

    def flow(**options: Any) -> dict[str, Any]:
        wish = {"metadata": {"reject": bool(options)}}
        child = {"name": "child", "queueName": name, "data": {"content": "x", **wish}, "opts": options}
        return {"name": "parent", "queueName": name, "data": {"content": "y"}, "children": [child]}

    async with queue.worker():
        good = (await queue.producer.call("add", flow(), flow=True))["id"]
        await queue.until("completed", good)
        bad = (await queue.producer.call("add", flow(failParentOnFailure=True), flow=True))["id"]
        reason = (await queue.until("failed", bad))["failedReason"]
        await queue.ours.done()
    assert reason.startswith(f"given up by its queue: child bull:{name}:")
    assert await queue.states() == Counter({("processed", 1, 1): 2, ("failed", 1, 1): 1, ("failed", 0, 1): 1})
