"""The whole durable path: read, claim in the ledger, handler, settle with events, ack; by a deployed worker process."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import uuid4

import redis.asyncio as redis
from tests.support.process import Process, program, write_settings
from tests.support.wait import wait_until

from bench.report import Cost
from bench.stage import Scene
from orchestrator.jobs import TERMINAL_JOB
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import Job, NewChunk, NewJob
from orchestrator.tracker.relay import Relay

KIND, STREAM = "noop", "bench:noop"
SLOTS = 4
END_SECONDS = 300.0


def new_job(count: int) -> NewJob:
    """Return a job of so many small chunks."""
    chunks = [NewChunk(chunk_id=f"chunk-{n:06d}", content="text") for n in range(count)]
    return NewJob(
        job_id=str(uuid4()),
        tenant="bench",
        worker_type=KIND,
        queue=STREAM,
        workspace="w",
        job_type="ingestion",
        chunks=chunks,
    )


def settings(
    it: Scene, *, batch: int, kind: str = KIND, stream: str = STREAM, directory: Path | None = None
) -> list[str]:
    """Write the settings of a worker type that does nothing; return the options that name them."""
    types = {kind: {"handler": "noop", "stream": stream, "group": "g"}}
    where = directory or it.directory
    where.mkdir(exist_ok=True)
    return write_settings(where, redis_url=it.redis_url, dsn=it.dsn, size=SLOTS, batch=batch, types=types)


def worker(it: Scene, *, batch: int) -> AbstractAsyncContextManager[Process]:
    """Run a worker process."""
    return program(it.directory, "worker", KIND, *settings(it, batch=batch))


async def throughput(it: Scene, *, count: int, batch: int) -> Cost:
    """Queue a job, start a worker, and return what its chunks cost from READY to the job's end."""
    async with redis.Redis.from_url(it.redis_url) as client:
        job = new_job(count)
        await it.ledger.jobs.create(job)
        await Relay(it.ledger, client).flush()
    async with worker(it, batch=batch) as process:
        began, cpu = time.time(), process.cpu_seconds()
        ended = await end_of(it.ledger, job.job_id, process)
        spent = process.cpu_seconds() - cpu
    assert ended.processed == count, f"{ended.processed} of {count} chunks processed: {ended.error_message}"
    assert ended.completed_at is not None
    return Cost(count, ended.completed_at.timestamp() - began, spent)


async def end_of(ledger: Ledger, job_id: str, worker: Process) -> Job:
    """Return the job when it has ended."""

    async def look() -> Job | None:
        worker.check()
        job = await ledger.jobs.get(job_id)
        return job if job.status in TERMINAL_JOB else None

    job = await wait_until(look, within=END_SECONDS, what=f"end of {job_id}")
    assert job is not None
    return job
