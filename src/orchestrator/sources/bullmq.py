"""A BullMQ queue as a source (docs/sources/bullmq.md), beside or instead of workers in Node. Its lock is the lease."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from secrets import token_hex

import redis.asyncio as redis

from orchestrator.deliveries import Delivery
from orchestrator.errors import DependencyError
from orchestrator.jobs import ChunkStatus
from orchestrator.sources.base import SourceSetup
from orchestrator.sources.bullmq_jobs import attempts_left, backoff_seconds, generation
from orchestrator.sources.bullmq_queue import HAS_FAILED_CHILDREN, HAS_PENDING_CHILDREN, BullQueue, Taken
from orchestrator.sources.foreign import Rules, fill, job_id, receipt_of, result_of, spread
from orchestrator.sources.options import read_options
from orchestrator.sources.redis_client import connect, reachable

CREDENTIAL = "source-url"
LOOK_AT = "check the Redis of the queue, and credential source-url"
MOST_AT_ONCE = 100
PAUSE_SECONDS = 0.02
REASON_LENGTH = 1000
CHILDREN = {
    HAS_PENDING_CHILDREN: "done, but it has children that are not",
    HAS_FAILED_CHILDREN: "done, but a child of it has failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The keys of `source_options`."""

    prefix: str = "bull"
    required: tuple[str, ...] = ()
    largest_bytes: int = 1 << 20


def create(setup: SourceSetup) -> BullSource:
    """Return the source; without credential source-url its Redis is ours. Raises SettingsError and CredentialError."""
    options = read_options(Options, setup.options)
    url = setup.credentials.find(CREDENTIAL) or setup.credentials.read("redis-url")
    client = connect(url, read_block_seconds=setup.read_block_seconds, text=True)
    lock_ms = math.ceil(setup.lease_seconds * 1000)
    queue = BullQueue(client, setup.queue, prefix=options.prefix, lock_ms=lock_ms)
    return BullSource(client, queue, setup, Rules(options.required, options.largest_bytes))


class BullSource:
    """Implements Source, Foreign and Progress. The queue's own scripts refuse a settle without the lock."""

    def __init__(self, client: redis.Redis, queue: BullQueue, setup: SourceSetup, rules: Rules) -> None:
        self._client = client
        self._queue = queue
        self._type, self._name = setup.worker_type, setup.queue
        self._rules = rules
        self._me = token_hex(8)
        self._turns = count()

    async def open(self, consumers: Sequence[str]) -> None:
        """Reach Redis; a queue is there when it is used, and knows no consumers."""
        with reachable("open the queue", LOOK_AT):
            await self._client.ping()

    async def claim(self, consumer: str, limit: int, wait_seconds: float) -> list[Delivery]:
        """Claim; woken by the queue's marker, or when a delayed job is due."""
        end = time.monotonic() + wait_seconds
        while True:
            found = await self.poll({consumer: limit})
            left = end - time.monotonic()
            if found or left <= 0:
                return found
            with reachable("wait for jobs", LOOK_AT):
                await self._queue.arrived(left)
            await asyncio.sleep(PAUSE_SECONDS)  # a marker may be there although no job may run

    async def poll(self, rooms: Mapping[str, int]) -> list[Delivery]:
        """Take jobs: one, and if there was one, as many more as there is room for."""
        room = sum(rooms.values())
        found = await self._take(1)
        if found and room > 1:
            with suppress(DependencyError):  # what is taken is ours; the next look says the same
                found += await self._take(min(room, MOST_AT_ONCE) - 1)
        return spread((self._delivery(taken) for taken in found), rooms)

    async def _take(self, number: int) -> list[Taken]:
        with reachable("claim", LOOK_AT):
            return await self._queue.take([f"{self._me}:{next(self._turns)}" for _ in range(number)])

    def _delivery(self, taken: Taken) -> Delivery:
        receipt = receipt_of(taken.job.id)
        delivery = Delivery(
            receipt=receipt,
            consumer="",
            job_id=job_id(self._type, self._name, receipt, generation(taken.fields)),
            chunk_id="",
            handle=taken,
            attempts_left=attempts_left(taken.fields),
            backoff_seconds=backoff_seconds(taken.fields),
            given_up=taken.fields.get("defa", ""),  # a child has failed, or Node found that it has stalled too often
        )
        return fill(delivery, taken.fields.get("data"), self._rules)

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Extend all locks in one script. A job that was removed is cancelled."""
        with reachable("renew", LOOK_AT):
            gone = set(await self._queue.extend([d.handle for d in deliveries]))
            removed = set(await self._queue.missing(sorted(gone))) if gone else set()
        lost = [d for d in deliveries if d.handle.job.id in gone]
        for delivery in lost:
            if delivery.handle.job.id in removed:
                delivery.ended_as = ChunkStatus.CANCELLED
        return lost

    async def recover(self, consumer: str, limit: int) -> list[Delivery]:
        """Let the queue put back what has stalled; a claim finds it then."""
        with reachable("recover", LOOK_AT):
            await self._queue.move_stalled()
        return []

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Complete the jobs with their results; fail those whose end was another.

        A parent whose children have failed or are not done may not be completed: it fails, as it does in Node.
        """
        calls = [
            self._queue.completed(d.handle, result_of(d))
            if d.ended_as is ChunkStatus.PROCESSED
            else self._queue.failed(d.handle, d.reason[:REASON_LENGTH] or d.ended_as.value)
            for d in deliveries
        ]
        with reachable("ack", LOOK_AT):
            codes = await self._queue.settle(calls)
            refused = [(d, CHILDREN[code]) for d, code in zip(deliveries, codes, strict=True) if code in CHILDREN]
            if refused:
                await self._queue.settle([self._queue.failed(d.handle, reason) for d, reason in refused])

    async def retry(self, deliveries: Sequence[tuple[Delivery, float]]) -> None:
        """Delay the jobs. A failed attempt is counted at the queue as well, with its reason."""
        with reachable("retry", LOOK_AT):
            now = await self._queue.now()
            later = [(d.handle, now, math.ceil(delay * 1000), d.reason[:REASON_LENGTH]) for d, delay in deliveries]
            await self._queue.settle([self._queue.later(*each) for each in later])

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Put the jobs back at once, with no attempt counted."""
        with reachable("release", LOOK_AT):
            now = await self._queue.now()
            await self._queue.settle([self._queue.later(d.handle, now, 0, "") for d in deliveries])

    async def bury(self, deliveries: Sequence[tuple[Delivery, str]]) -> None:
        """Fail the jobs for good, each with its reason: the failed ones are the queue's dead letters."""
        with reachable("bury", LOOK_AT):
            await self._queue.settle([self._queue.failed(d.handle, reason[:REASON_LENGTH]) for d, reason in deliveries])

    async def progress(self, steps: Sequence[tuple[Delivery, str]]) -> None:
        """Show the steps as the jobs' progress."""
        with reachable("show progress", LOOK_AT):
            await self._queue.show([(delivery.handle, step) for delivery, step in steps])

    async def depth(self) -> int:
        """Return how many jobs wait, are delayed or are at work."""
        with reachable("measure the queue", LOOK_AT):
            return await self._queue.depth()

    async def check(self) -> str:
        """Run the queue's scripts without a job to take: extend no locks, count."""
        with reachable("check the queue", LOOK_AT):
            await self._queue.extend([])
            await self._queue.depth()
        return f"BullMQ queue {self._name} answers and runs its scripts"

    async def redrive(self, receipts: Sequence[str]) -> list[str]:
        """Retry failed jobs, with all their attempts; return those that are gone or have not failed."""
        with reachable("redrive", LOOK_AT):
            return [receipt for receipt in receipts if not await self._queue.revive(receipt)]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
