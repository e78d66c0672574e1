"""Deliveries of each source through the whole path, beside the bare client of its queue, run by run in turn.

The servers are those of the conformance suite; SQS and MongoDB are stand-ins there, and slow: only the ratio counts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import uuid4

from tests.conformance.backend import Backend, Message
from tests.conformance.conftest import BACKENDS
from tests.support.process import program, write_settings
from tests.support.wait import wait_until

from bench import durable
from bench.report import Cost, middle
from bench.source_loops import LOOPS, Loop
from bench.stage import Scene, Stage, fresh

PREFIX = "source_"
NAMES = tuple(PREFIX + name for name in BACKENDS)
RUNS = 3
DELIVERIES = 5_000
STAND_INS = {"sqs": 100, "mongodb": 300}
"""Deliveries where the server is a slow stand-in."""
BATCH = 100
KIND = "work"
MESSAGE = Message({"content": "text"})


async def all_of(on: Stage, wanted: Sequence[str]) -> None:
    """Compare those that are wanted."""
    for line in wanted:
        name = line.removeprefix(PREFIX)
        backend = BACKENDS[name]()
        try:
            await backend.start()
            try:
                await _compare(on, line, backend, LOOPS[name])
            finally:
                await backend.stop()
        except Exception as error:  # the other sources are measured all the same
            on.report.fail(line, error)


async def _compare(on: Stage, line: str, backend: Backend, loop: Loop) -> None:
    count = STAND_INS.get(backend.source, DELIVERIES)
    bare: list[Cost] = []
    ours: list[Cost] = []
    for _ in range(RUNS):
        bare.append(await _raw(backend, loop, count))
        async with fresh(on) as it:
            ours.append(await _whole(it, backend, count))
    alone, cost = middle(bare), middle(ours)
    on.report.emit(
        line,
        per_second=cost.per_second,
        cpu_us=cost.cpu_us,
        ratio=alone.per_second / cost.per_second,
        raw={"per_second": round(alone.per_second, 1), "cpu_us": round(alone.cpu_us, 2)},
        deliveries=count,
    )


async def _filled(backend: Backend, count: int) -> str:
    queue = f"bench-{uuid4().hex[:8]}"
    await backend.prepare(queue)
    await backend.put(queue, [MESSAGE] * count)
    return queue


async def _raw(backend: Backend, loop: Loop, count: int) -> Cost:
    queue = await _filled(backend, count)
    began, cpu = time.perf_counter(), time.process_time()
    done = await loop(backend, queue)
    cost = Cost(count, time.perf_counter() - began, time.process_time() - cpu)
    assert done == count, f"the bare loop found {done} of {count}"
    return cost


async def _whole(it: Scene, backend: Backend, count: int) -> Cost:
    """Return what they cost from READY until the ledger has all of them, and the queue has none any more."""
    queue = await _filled(backend, count)
    types = {KIND: {"handler": "noop", "source": backend.source, **backend.settings(queue)}}
    options = write_settings(
        it.directory, redis_url=it.redis_url, dsn=it.dsn, size=durable.SLOTS, batch=BATCH, types=types
    )
    for name, content in backend.credentials().items():
        (it.directory / "credentials" / name).write_text(content)

    async def settled() -> bool:
        worker.check()
        done = "SELECT count(*) FROM chunks WHERE status = 'processed'"
        return bool(await it.ledger.database.run(lambda c: c.fetchval(done)) == count)

    async def emptied() -> bool:
        return await backend.left(queue) == 0

    async with program(it.directory, "worker", KIND, *options) as worker:
        began, cpu = time.perf_counter(), worker.cpu_seconds()
        await wait_until(settled, within=durable.END_SECONDS, what=f"{count} settled")
        await wait_until(emptied, within=durable.END_SECONDS, what="an empty queue")
        return Cost(count, time.perf_counter() - began, worker.cpu_seconds() - cpu)
