"""What a chunk costs with a thousand and with a million queued; what the worker holds in memory over the million.

Of several runs the cheapest counts, as timeit's manual advises: what else goes on in a machine only ever adds. A
million is drained but once, so its pieces count as runs, as long as more than half a million are still queued.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from tests.support.process import Process

from bench import durable
from bench.processes import rss_mb
from bench.stage import Scene, Stage, fresh
from orchestrator.jobs import TERMINAL_JOB, Scope

JOB = 100_000  # chunks: no job may have more
ROUND = (1_000, 1_000, 10_000, 100_000)
LONGEST = 1_000_000
ROUNDS = (ROUND, ROUND, ROUND, (LONGEST,), ROUND, ROUND, ROUND)
"""Chunks queued, one drain after another: each size meets whatever the machine is like before and after the longest."""
PIECE = 50_000  # chunks of a long drain
WARM_UP = 20_000
IDLE_SECONDS = 2.0
LOOK_SECONDS = 0.1
BATCH = 100


@dataclass(frozen=True, slots=True)
class Drain:
    """A queue from full to empty."""

    chunks: int
    seconds: float
    cpu_seconds: float
    looks: Sequence[tuple[int, float]]
    """(chunks done, processor seconds of the worker), again and again."""

    def cpu_us(self) -> list[float]:
        """Return what a chunk cost: in all, or, of a long drain, in each piece of the longer half of the queue."""
        if self.chunks <= JOB:
            return [self.cpu_seconds / self.chunks * 1e6]
        marks = [self.looks[0]]
        for done, cpu in self.looks:
            if done - marks[-1][0] >= PIECE and done <= self.chunks / 2:
                marks.append((done, cpu))
        return [(cpu - was) / (done - had) * 1e6 for (had, was), (done, cpu) in pairwise(marks)]


async def queue(on: Stage, wanted: Sequence[str]) -> None:
    """Let one worker drain queues of all sizes, the million in the middle."""
    drains: dict[int, list[Drain]] = {}
    async with fresh(on) as it, durable.worker(it, batch=BATCH) as worker:
        await _drain(it, worker, WARM_UP, 0.0)
        before = worker.cpu_seconds()
        await asyncio.sleep(IDLE_SECONDS)
        idle = (worker.cpu_seconds() - before) / IDLE_SECONDS
        memory = [rss_mb(worker.pid)]
        for size in chain(*ROUNDS):
            drains.setdefault(size, []).append(await _drain(it, worker, size, idle, memory))
    cpu = {str(size): round(min(us for drain in runs for us in drain.cpu_us()), 2) for size, runs in drains.items()}
    longest = drains[LONGEST][0]
    on.report.emit(
        "flat_queue",
        per_second=LONGEST / longest.seconds,
        cpu_us=longest.cpu_seconds / LONGEST * 1e6,
        ratio=max(cpu.values()) / min(cpu.values()),
        cpu_us_by_queued=cpu,
        rss_mb={"start": memory[0], "most": max(memory), "end": memory[-1]},
        rss_ratio=round(max(memory) / memory[0], 3),
        chunks=LONGEST,
    )


async def _drain(it: Scene, worker: Process, size: int, idle: float, memory: list[float] | None = None) -> Drain:
    """Queue so many, let go, and return what the worker spent, and the seconds, to the last one's end.

    What it would have cost to stand idle until the first of them started is taken off.
    """
    jobs = [durable.new_job(min(JOB, size)) for _ in range(0, size, JOB)]
    await it.ledger.pauses.put(Scope.QUEUE, durable.STREAM, "until all are there", "bench")
    for job in jobs:
        await it.ledger.jobs.create(job)
    cpu, began = worker.cpu_seconds(), asyncio.get_running_loop().time()
    await it.ledger.pauses.remove(Scope.QUEUE, durable.STREAM, "bench")
    looks = []
    while True:
        worker.check()
        spent = worker.cpu_seconds() - cpu
        found = await it.ledger.jobs.many([job.job_id for job in jobs])
        looks.append((sum(job.processed for job in found), spent))
        if memory is not None:
            memory.append(rss_mb(worker.pid))
        if all(job.status in TERMINAL_JOB for job in found):
            break
        await asyncio.sleep(LOOK_SECONDS)
    spent, ended = worker.cpu_seconds() - cpu, asyncio.get_running_loop().time()
    assert sum(job.processed for job in found) == size
    started = min(job.started_at for job in found if job.started_at)
    last = max(job.completed_at for job in found if job.completed_at)
    at_work = (last - started).total_seconds()
    return Drain(size, at_work, spent - idle * max(0.0, ended - began - at_work), looks)
