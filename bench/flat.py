"""What a chunk costs with a thousand and with a million queued; what the worker holds in memory over the million."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import median

from tests.support.process import Process

from bench import durable
from bench.processes import rss_mb
from bench.stage import Scene, Stage, fresh
from orchestrator.jobs import TERMINAL_JOB, Scope

JOB = 100_000  # chunks: no job may have more
QUEUED = {1_000: 15, 10_000: 3, 100_000: 1, 1_000_000: 1}
"""Chunks queued -> how often; the few are over so soon that one run says little."""
WARM_UP = 20_000
IDLE_SECONDS = 2.0
LOOK_SECONDS = 0.1
BATCH = 100


async def queue(on: Stage, wanted: Sequence[str]) -> None:
    """Let one worker drain queues of all sizes, the million last."""
    cpu: dict[str, float] = {}
    async with fresh(on) as it, durable.worker(it, batch=BATCH) as worker:
        await _drain(it, worker, WARM_UP, 0.0)
        before = worker.cpu_seconds()
        await asyncio.sleep(IDLE_SECONDS)
        idle = (worker.cpu_seconds() - before) / IDLE_SECONDS
        memory = [rss_mb(worker.pid)]
        for size, times in QUEUED.items():
            runs = [await _drain(it, worker, size, idle, memory) for _ in range(times)]
            cpu[f"{size}"] = round(median(spent for spent, _ in runs) / size * 1e6, 2)
        seconds = runs[-1][1]
    on.report.emit(
        "flat_queue",
        per_second=size / seconds,
        cpu_us=cpu[f"{size}"],
        ratio=max(cpu.values()) / min(cpu.values()),
        cpu_us_by_queued=cpu,
        rss_mb={"start": memory[0], "most": max(memory), "end": memory[-1]},
        rss_ratio=round(max(memory) / memory[0], 3),
        chunks=size,
    )


async def _drain(
    it: Scene, worker: Process, size: int, idle: float, memory: list[float] | None = None
) -> tuple[float, float]:
    """Queue so many, let go, and return the worker's processor time for them, and the seconds, to the last one's end.

    What it would have cost to stand idle until the first of them started is taken off.
    """
    jobs = [durable.new_job(min(JOB, size)) for _ in range(0, size, JOB)]
    await it.ledger.pauses.put(Scope.QUEUE, durable.STREAM, "until all are there", "bench")
    for job in jobs:
        await it.ledger.jobs.create(job)
    cpu, began = worker.cpu_seconds(), asyncio.get_running_loop().time()
    await it.ledger.pauses.remove(Scope.QUEUE, durable.STREAM, "bench")
    while True:
        worker.check()
        found = await it.ledger.jobs.many([job.job_id for job in jobs])
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
    return spent - idle * max(0.0, ended - began - at_work), at_work
