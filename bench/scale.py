"""One, two and four worker processes on queues and workspaces of their own, against the cores they use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from tests.support.process import Process, program

from bench import durable
from bench.processes import cpu_seconds
from bench.report import Cost, middle
from bench.stage import Scene, Stage, fresh
from orchestrator.jobs import TERMINAL_JOB, Scope
from orchestrator.ledger.jobs import Job

CHUNKS = 80_000  # of all workers together
RUNS = 3
NUMBERS = (1, 2, 4)
PREFIX = "workers_"
NAMES = tuple(f"{PREFIX}{number}" for number in NUMBERS)
LOOK_SECONDS = 0.02
BATCH = 100


@dataclass(frozen=True, slots=True)
class Sample:
    """How far everything is at a moment."""

    at: float
    processed: int
    cpu_seconds: float


async def workers(on: Stage, wanted: Sequence[str]) -> None:
    """Compare them run by run in turn. One worker is measured in any case: the others are compared with it."""
    numbers = sorted({1, *(int(name.removeprefix(PREFIX)) for name in wanted)})
    found: dict[int, list[Cost]] = {number: [] for number in numbers}
    for _ in range(RUNS):
        for number in numbers:
            async with fresh(on) as it:
                found[number].append(await side_by_side(it, number))
    one = middle(found[1])
    for number in numbers:
        cost = middle(found[number])
        on.report.emit(
            f"{PREFIX}{number}",
            per_second=cost.per_second,
            cpu_us=cost.cpu_us,  # of workers, Redis and PostgreSQL together
            ratio=cost.cpu_us / one.cpu_us,  # linear in the cores used: a chunk costs what it costs with one worker
            speedup=round(cost.per_second / one.per_second, 2),
            cores_used=round(cost.cpu_seconds / cost.seconds, 2),
            chunks=cost.chunks,
        )


async def side_by_side(it: Scene, number: int) -> Cost:
    """Return what was done, and at what cost, while all of them were at work."""
    jobs = [
        replace(durable.new_job(CHUNKS // number), worker_type=f"noop{n}", queue=f"bench:scale:{n}", workspace=f"w{n}")
        for n in range(number)
    ]
    for job in jobs:
        await it.ledger.pauses.put(Scope.QUEUE, job.queue, "until all are there", "bench")
        await it.ledger.jobs.create(job)
    async with AsyncExitStack() as stack:
        processes = []
        for n, job in enumerate(jobs):
            where = it.directory / f"worker-{n}"
            options = durable.settings(it, batch=BATCH, kind=job.worker_type, stream=job.queue, directory=where)
            started = program(where, "worker", job.worker_type, *options)
            processes.append(await stack.enter_async_context(started))
        for job in jobs:
            await it.ledger.pauses.remove(Scope.QUEUE, job.queue, "bench")
        first, last = await _watch(it, [job.job_id for job in jobs], processes)
    return Cost(last.processed - first.processed, last.at - first.at, last.cpu_seconds - first.cpu_seconds)


async def _watch(it: Scene, ids: Sequence[str], processes: Sequence[Process]) -> tuple[Sample, Sample]:
    """Return the first and the last look at which every job was under way."""
    samples: list[Sample] = []
    while True:
        for process in processes:
            process.check()
        jobs = await it.ledger.jobs.many(ids)
        if any(job.status in TERMINAL_JOB for job in jobs):
            assert len(samples) > 1, "no moment at which all were at work"
            return samples[0], samples[-1]
        if all(job.processed for job in jobs):
            samples.append(_sample(it, jobs, processes))
        await asyncio.sleep(LOOK_SECONDS)


def _sample(it: Scene, jobs: Sequence[Job], processes: Sequence[Process]) -> Sample:
    spent = sum(process.cpu_seconds() for process in processes)
    for server in (it.stage.redis, it.stage.postgres):
        assert server.process is not None
        spent += cpu_seconds(server.process.pid)
    return Sample(time.perf_counter(), sum(job.processed for job in jobs), spent)
